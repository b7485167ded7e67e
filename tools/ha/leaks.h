/* SPDX-License-Identifier: MIT */
/* What lives at the end of a program. See tools/ha/leaks.c. */
#ifndef HA_LEAKS_H
#define HA_LEAKS_H

#include <stdio.h>

#include "profile.h"

/* What lives in a profile, by stack, the first @rows of them; an exit status. */
int leaks_report(struct profile *p, size_t rows, FILE *f);

/*
 * Runs argv[] with options @conf and a profile, waits for it, and reports on stderr
 * what every process of it that came to its end had left; its exit status.
 */
int leaks_run(const char *conf, char **argv);

#endif /* HA_LEAKS_H */
