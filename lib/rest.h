/* SPDX-License-Identifier: MIT */
/*
 * Which caches have rested.  An object in a magazine or a depot keeps its whole span
 * from its class's other uses and from the page heap: a hundred objects of a class
 * that nobody uses any more can hold a hundred pages.  So each slot remembers what
 * its magazines, and the depots, looked like an epoch ago, and those that look the
 * same go home, by the slot's own thread.  See lib/rest.c.
 */
#ifndef _LIB_REST_H
#define _LIB_REST_H

#include <asm-generic/rseq.h>
#include "mheap.h"

struct rest {
	uint32_t epoch;		/* (a) of the last whole round */
	uint32_t cursor;	/* (a) where the present one is */
	uint32_t seen[];	/* (a) depots by route, then magazines by route */
};

/* Bytes of it, for @nr_depots depots and @nr_mags magazines. */
static inline size_t rest_bytes(unsigned int nr_depots, unsigned int nr_mags)
{
	return sizeof(struct rest) + (nr_depots + nr_mags) * sizeof(uint32_t);
}

/* Is there something to look at? */
static inline bool rest_due(const struct rest *r)
{
	return atomic_load_relaxed(&r->epoch) != atomic_load_relaxed(&mheap_epoch);
}

/*
 * Look at some more: the depot, or the magazine behind the last depot, that has rested
 * and is not empty, of which the caller takes a batch home; -1 when there is none
 * among them.  Caller: on the slot, for locked ones under its lock; what it
 * has moved away from meanwhile may be looked at by two, which does no harm.
 */
int rest_next(struct rest *r, const struct mag_hdr *hdrs, unsigned int nr_depots,
	      unsigned int nr_mags);
/* It was the caller that changed depot or magazine @i: it rests all the same. */
void rest_mark(struct rest *r, unsigned int i, const struct mag_hdr *hdrs,
	       unsigned int nr_depots);

#endif /* _LIB_REST_H */
