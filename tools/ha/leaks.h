/* SPDX-License-Identifier: MIT */
/* What lives at the end of a program. See tools/ha/leaks.c. */
#ifndef HA_LEAKS_H
#define HA_LEAKS_H

#include "ha.h"

/*
 * Runs argv[] with the environment's options and a profile, waits for it, and reports on stderr
 * what every process of it that came to its end had left; its exit status.
 */
int leaks_run(char **argv);

#endif /* HA_LEAKS_H */
