/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU caches: magazines of objects, one a route, popped and pushed without a
 * lock or an atomic instruction.  See lib/mcache.c.
 */
#ifndef _LIB_MCACHE_H
#define _LIB_MCACHE_H

#include <asm/rseq.h>
#include "heap_arena.h"
#include "sizeclasses.h"

/* Of one class, for another node: what a slot holds back is at most this. */
#define REMOTE_BYTES	(16UL << 10)

/*
 * The thread's rseq area, or mcache_no_area: not looked yet, or this thread must not
 * use sequences (no rseq, a vfork child).  Everything about a thread that the fast
 * path needs is in this one word; the ids in mcache_no_area lead to no magazines, so
 * that the fast path need not ask which of the two it is.
 */
extern __tls void *mcache_rs __hidden;
extern uint32_t mcache_no_area[8] __hidden;

extern size_t mcache_id_off __hidden;		/* (c) field of the area: the slot id */
/*
 * By slot id: the headers of all nodes; those of the id's own node.
 */
extern struct mag_table mcache_hdrs __hidden;
extern struct mag_table mcache_rows __hidden;

/* The area, or NULL where there must be no sequences. */
static inline char *mcache_area(void)
{
	void *rs = mcache_rs;

	return rs == mcache_no_area ? NULL : rs;
}

/* 0 or -ENOMEM. */
int mcache_init(void);

/*
 * One object for this CPU's node, of the class that is @twice / 2; false: take the
 * slow path.
 */
static __always_inline bool mcache_pop_twice(size_t twice, struct mag_slot *out,
					     uint32_t *mark)
{
	return rseq_mag_pop(mcache_rs, &mcache_id_off, &mcache_rows, twice, out, mark);
}

/*
 * The object goes to the magazine of its route, whose header lies at @off, if it
 * came from this slot, by its @tag; else take the slow path, or that for foreign
 * ones.
 */
static __always_inline enum mag_result mcache_push_off(size_t off, struct mag_slot slot,
						       uint32_t tag)
{
	return rseq_mag_push_own(mcache_rs, &mcache_id_off, &mcache_hdrs, off, slot, tag);
}

/* By route, for whom tags do not matter. */
static inline bool mcache_push(size_t route, struct mag_slot slot)
{
	return rseq_mag_push(mcache_rs, &mcache_id_off, &mcache_hdrs,
			     route << MAG_HDR_SHIFT, slot);
}

/* The magazine is empty, or there is none yet: refill.  False: no memory. */
bool mcache_alloc_slow(size_t sc, struct mag_slot *out);
/* The magazine is full, or there is none yet: flush a batch.  Never fails. */
void mcache_free_slow(size_t route, struct mag_slot slot);
/* The object came from another slot, by its @tag. */
void mcache_free_foreign(struct mag_slot slot, size_t route, uint32_t tag);
/* It may have: what the fast path declined, also the first free of a thread. */
void mcache_free_tagged(struct mag_slot slot, size_t route, uint32_t tag);
/* What marks objects that come from the slot this thread is on; 0 without marks. */
uint8_t mcache_tag(void);

/* While @on, what is popped has MAG_MORE; see lib/profile.c. */
void mcache_profile(bool on);

/* The node this thread allocates from now. */
unsigned int mcache_nid(void);

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
/* A vfork child runs on its parent's memory: no place to start a thread. */
bool mcache_in_vfork(void);

/* Objects now in magazines and depots, of class @sc, all nodes; a moment's view. */
size_t mcache_nr_cached(unsigned int sc);
/* Bytes of all of them. */
size_t mcache_cached_bytes(void);
bool mcache_uses_rseq(void);

/*
 * Test builds: this thread is whatever CPU the fake @area says, one of @nr.  No two
 * threads may be the same CPU at a time, and nobody may drain meanwhile: nothing
 * interrupts a section.
 */
#ifdef CONFIG_FAULT_INJECTION
void mcache_simulate(unsigned int nr, void *area);
#endif

bool mcache_fork_held(void);
void mcache_fork_prepare(bool nested);
void mcache_fork_done(bool child);

#endif /* _LIB_MCACHE_H */
