/* SPDX-License-Identifier: MIT */
/* Dense chunks are moved onto huge pages.  See lib/collapse.c. */
#ifndef _LIB_COLLAPSE_H
#define _LIB_COLLAPSE_H

#include <util/compiler.h>

/*
 * Count looks, once a second of @now_ms, and move what has been dense for some of
 * them, until this thread's CPU clock is at @end_ns.  True when nothing is left to
 * move.  One caller at a time, who holds no lock.
 */
bool collapse_step(uint64_t now_ms, uint64_t end_ns);
/* Heaps below this are not looked at. */
#define COLLAPSE_FROM	(64UL << 20)
/* May there be something to do in a heap of @bytes? */
bool collapse_wanted(size_t bytes);

#endif /* _LIB_COLLAPSE_H */
