/* SPDX-License-Identifier: MIT */
/* What an allocation that meets a limit does about it.  See lib/assist.c. */
#ifndef _LIB_ASSIST_H
#define _LIB_ASSIST_H

#include "limit.h"

/* The two calls of struct limit_ops. */
void assist_soft(size_t bytes);
bool assist_hard(size_t bytes);

/*
 * There is no memory, whatever the limits say: all that is cached anywhere goes home.
 * True when there was something.  Holds no lock; for as much as @bytes.
 */
bool assist_gather(size_t bytes);

/* What assists have done so far. */
struct assist_stat {
	size_t nr;		/* soft ones that gave something back */
	size_t nr_hard;		/* times the hard limit was met */
	size_t bytes;		/* given back by both */
	uint64_t cpu_ns;	/* spent on soft ones */
};

extern struct assist_stat assist_stat;	/* (a) each field */
extern struct limit_bucket assist_bucket;	/* CPU time of soft ones */

bool assist_fork_held(void);
void assist_fork_prepare(bool nested);
void assist_fork_done(void);

#endif /* _LIB_ASSIST_H */
