/* SPDX-License-Identifier: MIT */
/* The heap profile of a process or a core file, read from outside. See tools/ha/outside.c. */
#ifndef HA_OUTSIDE_H
#define HA_OUTSIDE_H

#include "layout.h"
#include "profile.h"

/* An object that is followed. */
struct followed {
	uint64_t addr;
	uint64_t size;
	uint64_t weight;	/* objects that it stands for, in units of 2^-unit_shift */
	uint64_t stack;		/* address of its stack */
	size_t sample;		/* number of the stack's in the profile */
};

struct followed_list {
	struct followed *f;	/* by address */
	size_t nr;
	unsigned int unit_shift;
};

/*
 * All of it, without names yet; 0, or the exit status with one line said. @list: the
 * objects that live, NULL: not wanted.
 */
int outside_profile(struct target *t, const struct layout *l, struct profile *p,
		    struct followed_list *list);
/* Is a session on? *never: there has been none. False when that cannot be read. */
bool outside_session(struct target *t, const struct layout *l, bool *on, bool *never);

#endif /* HA_OUTSIDE_H */
