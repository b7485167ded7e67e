/* SPDX-License-Identifier: MIT */
/* Heap profiles by what the user calls them. See tools/ha/source.c. */
#ifndef HA_SOURCE_H
#define HA_SOURCE_H

#include <sys/types.h>

#include "profile.h"

#define MAX_PID		(1UL << 22)

/*
 * A profile of a process, by number, of a core file, or of a file, with names; 0, or the
 * exit status with one line said.
 */
int source_profile(const char *what, int signal, struct profile *p);
/* Of a process or a core file alone, from its memory, without names. */
int source_memory(const char *what, struct profile *p);
/* Is the process to be asked by its signal, because the user says so, or may it not be read? */
bool source_by_signal(pid_t pid, int signal);
bool source_is_core(const char *path);

#endif /* HA_SOURCE_H */
