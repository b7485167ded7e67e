/* SPDX-License-Identifier: MIT */
/* What lives and what is lost, by call stack. See tools/ha/leakreport.c. */
#ifndef HA_LEAKREPORT_H
#define HA_LEAKREPORT_H

#include <stdio.h>

#include "layout.h"
#include "profile.h"

struct leak_options {
	size_t rows;		/* stacks of each kind, objects without one */
	unsigned int rounds;	/* looks at a process that is not stopped */
	bool stop;
	bool held;		/* it waits for us, and its registers are on its stack */
	bool lost_only;		/* nothing of what is reachable */
	bool json;
};

/* Of a process or core file: 0, or the exit status with one line said. */
int leaks_look(struct target *t, const struct layout *l, const struct leak_options *o, FILE *f);
/* Of a profile alone, which does not tell what is lost; with names. */
int leaks_of_profile(struct profile *p, size_t rows, FILE *f);

#endif /* HA_LEAKREPORT_H */
