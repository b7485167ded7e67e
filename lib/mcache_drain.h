/* SPDX-License-Identifier: MIT */
/*
 * What is in the caches goes back, and how much that is.  See lib/mcache_drain.c.
 */
#ifndef _LIB_MCACHE_DRAIN_H
#define _LIB_MCACHE_DRAIN_H

#include "mcache_slot.h"

#pragma GCC visibility push(hidden)

/*
 * Take every cached object of every slot back to the spans, depots included.
 * Other threads go on meanwhile, through their slow paths.  Waits for a memory
 * barrier on all CPUs.
 */
void mcache_drain_all(void);

/*
 * The same for magazines to which nothing has happened since the last call: true
 * when no slot is in use.
 */
bool mcache_drain_idle(void);
/* Of the others, what was not used since the last call, if it is much. */
void mcache_drain_cold(void);
/* After a fork: what other CPUs had cached is taken back by who refills first. */
extern uint32_t mcache_fork_stale;	/* (a) other slots hold what nobody uses */
void mcache_drain_after_fork(unsigned int slot);
static inline void mcache_drain_inherited(unsigned int slot)
{
	if (unlikely(atomic_load_relaxed(&mcache_fork_stale)))
		mcache_drain_after_fork(slot);
}

/* Objects now in magazines and depots, of class @sc, all nodes; a moment's view. */
size_t mcache_nr_cached(unsigned int sc);
/* Bytes of all of them. */
size_t mcache_cached_bytes(void);

bool mcache_fork_held(void);
void mcache_fork_prepare(bool nested);
void mcache_fork_done(bool child);

#pragma GCC visibility pop

#endif /* _LIB_MCACHE_DRAIN_H */
