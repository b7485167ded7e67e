/* SPDX-License-Identifier: MIT */
/*
 * Per node and size class: the depot of batches, and behind it the spans.  See
 * lib/mcentral.c.
 */
#ifndef _LIB_MCENTRAL_H
#define _LIB_MCENTRAL_H

#include <asm/cache.h>
#include "depot.h"
#include "heap_arena.h"
#include "lock.h"
#include "span_set.h"

struct mcentral {
	struct depot depot;
	struct lock lock;
	struct span_set partial;	/* (l) spans with room */
	uint64_t nr_refill;		/* (a) objects handed to caches, from spans */
	uint64_t nr_refills;		/* (a) times */
	uint64_t nr_flushes;		/* (a) batches that came back, to spans */
	uint32_t stale;			/* (a) batches of the depot that are to go home first */
	int64_t nr_out;			/* (l) objects out of the spans: live or cached */
	size_t nr_spans;		/* (l) spans of the class, full ones too */
	size_t dropped;			/* (a) bytes given back inside the spans; under the lock */
} __aligned(DESTRUCTIVE_BYTES);

extern struct mcentral mcentrals[MAX_NODES][NR_SIZE_CLASSES];
extern struct depot_stack depot_stacks[MAX_NODES][NR_SIZE_CLASSES][DEPOT_STACKS] __hidden;

/* Refills of caches, and objects in them, from depot and spans. */
static inline uint64_t mcentral_nr_refills(const struct mcentral *mc)
{
	return atomic_load_relaxed(&mc->nr_refills) +
	       depot_nr_pops(&mc->depot);
}

static inline uint64_t mcentral_nr_refill(const struct mcentral *mc)
{
	return atomic_load_relaxed(&mc->nr_refill) +
	       depot_nr_popped(&mc->depot);
}

void mcentral_init(unsigned int nr_nodes);
/* One more cache slot is in use: it may want spans of its own. */
void mcentral_add_slot(void);

/*
 * Up to @n objects of class @sc of node *@nid, into slots[], lowest address last
 * (the caller pops from the end).  Fewer when memory is short, 0 for none; one
 * of another node, named in *@nid, when this one is full.  @slot: the caller's
 * cache slot.  Holds no lock.
 */
unsigned int mcentral_alloc(unsigned int *nid, unsigned int sc, unsigned int slot,
			    struct mag_slot *slots, unsigned int n);
/* One object of the fullest span that has room; false when none has. */
bool mcentral_alloc_dense(unsigned int nid, unsigned int sc, struct mag_slot *slot);
/*
 * Is the span of @s used less than the mean of its class's partly used spans, and
 * not the one that mcentral_alloc_dense() would take from?  A span that has gone
 * meanwhile gets an answer of no meaning.
 */
bool mcentral_is_sparse(const struct mspan *s);
/* Take @n objects of one route back into their spans.  Holds no lock. */
void mcentral_free(unsigned int nid, unsigned int sc,
		   const struct mag_slot *slots, unsigned int n);
/* The only object of @s, which is out, leaves its class for good. */
void mcentral_disown(struct mspan *s);
/*
 * Give whole free kernel pages inside partly used spans back to the kernel, in
 * spans not visited in @round yet, at most @nr_spans of them; @all: also where that
 * splits huge pages for little.  *bytes: what went back.  False when there was
 * nothing left to visit.
 */
bool mcentral_scavenge(unsigned int nid, unsigned int sc, uint16_t round,
		       unsigned int nr_spans, bool all, size_t *bytes);

bool mcentral_fork_held(unsigned int nr_nodes);
void mcentral_fork_prepare(unsigned int nr_nodes, bool nested);
void mcentral_fork_done(unsigned int nr_nodes, bool child);

#endif /* _LIB_MCENTRAL_H */
