/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU caches: magazines of objects, one a route, popped and pushed without a
 * lock or an atomic instruction.  See lib/mcache.c.
 */
#ifndef _LIB_MCACHE_H
#define _LIB_MCACHE_H

#include "mcache_drain.h"
#include "mcache_slot.h"

/*
 * One object for this CPU's node, of the class that is @twice / 2, @from a magazine that
 * has counted to its end if @due; see take_slot().  False: take the slow path.
 */
static __always_inline bool mcache_pop_twice(size_t twice, struct mag_slot *out,
					     struct mag_hdr **from, bool *due)
{
	return rseq_mag_pop(mcache_id, &mcache_rows, twice, out, from, due);
}

/*
 * The object goes to the magazine of its route, whose header lies at @off, if it
 * came from this slot, by its @tag; else take the slow path, or that for foreign
 * ones.
 */
static __always_inline enum mag_result mcache_push_off(size_t off, struct mag_slot slot,
						       uint32_t tag)
{
	return rseq_mag_push_own(mcache_id, &mcache_hdrs, off, slot, tag);
}

/* By route, for whom tags do not matter. */
static inline bool mcache_push(size_t route, struct mag_slot slot)
{
	return rseq_mag_push(mcache_id, &mcache_hdrs,
			     route << MAG_HDR_SHIFT, slot);
}

/* The magazine is empty, or there is none yet: refill.  False: no memory. */
bool mcache_alloc_slow(size_t sc, struct mag_slot *out);
/* The magazine is full, or there is none yet: flush a batch.  Never fails. */
void mcache_free_slow(size_t route, struct mag_slot slot);
/* The object came from another slot, by its @tag. */
void mcache_free_foreign(struct mag_slot slot, size_t route, uint32_t tag);
/* It may have: what the fast path declined for its tag, also the first free of a thread. */
void mcache_free_tagged(struct mag_slot slot, size_t route, uint32_t tag);

#endif /* _LIB_MCACHE_H */
