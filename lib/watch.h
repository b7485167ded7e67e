/* SPDX-License-Identifier: MIT */
/*
 * Test builds can see who uses what all CPUs share: the simulation of many CPUs
 * (selftests/fake/cpus.c) counts how often a cache line changes hands.  Costs
 * nothing, and is nothing, in other builds.
 */
#ifndef _LIB_WATCH_H
#define _LIB_WATCH_H

#include <util/compiler.h>

/*
 * Called by the thread that takes lock @what of @rank, or pushes to or pops from
 * the stack @what, with @rank 0; NULL: nobody looks.  Set while one thread runs.
 */
extern void (*watch_shared)(const void *what, unsigned int rank) __hidden;

static __always_inline void watch_touch(const void *what, unsigned int rank)
{
	if (IS_ENABLED(CONFIG_FAULT_INJECTION) && unlikely(watch_shared))
		watch_shared(what, rank);
}

#endif /* _LIB_WATCH_H */
