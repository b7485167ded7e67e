/* SPDX-License-Identifier: MIT */
/* What is printed of a heap profile.  See tools/ha/report.c and tools/ha/flame.c. */
#ifndef HA_REPORT_H
#define HA_REPORT_H

#include <stdio.h>

#include "profile.h"

/* What of a profile is looked at: bytes and objects of one moment, or lifetimes. */
struct view {
	const char *title;
	int bytes, objects;		/* numbers of values */
};

/* By function: its own, and with those that it calls. */
void report_top(const struct profile *p, const struct view *v, size_t nr);
/* By stack, a line each: root;caller;leaf bytes. */
void report_collapsed(const struct profile *p, int value);
/* How long objects live, by who allocates them; 0, or the exit status with one line said. */
int report_lifetimes(const struct profile *p, size_t nr);
/* Each stack with what lives of it; how many bytes in all. */
int64_t report_stacks(const struct profile *p, const struct view *v, size_t nr, FILE *f);
/* A flame graph in a file, or on stdout for "-"; 0, or the exit status with one line said. */
int report_flame(const struct profile *p, const struct view *v, const char *path);

#endif /* HA_REPORT_H */
