/* SPDX-License-Identifier: MIT */
/*
 * Batches of cached objects between the per-CPU magazines and the spans: a stack
 * of full batches per class and node, and one pool of empty ones.  After the
 * depot of Bonwick and Adams, "Magazines and Vmem" (USENIX 2001).
 *
 * Batches move whole and without a lock; span bitmaps are touched only when a
 * depot is empty or full.  Objects in a depot are free in state, taken in bits.
 *
 * Each cache slot has a stack that it pushes to, and pops from first: objects stay with
 * the CPU that has them in its caches, and lines of states are not written by two.  Only
 * when its own is empty does it take from the others.
 *
 *	stacks[slot % 8] --> batch --> batch
 *	stacks[...]
 *	open                          parts from other nodes
 *
 * What was gathered from other nodes is nobody's, and goes to the first stack whoever
 * brought it, so that the last of it is handed out first.
 *
 * The open batch gathers what comes in parts, from CPUs of other nodes, which hold
 * less than a batch for each other node.  A part is added by who has exchanged the
 * batch out; it is exchanged in again, or pushed when no further part would fit.  So
 * the bound is one of objects, whoever brings them, and a refill gets whole batches.
 * What two threads do at once:
 *
 *	           push   pop   gather
 *	  push      -      -      -      - both at once, lock-free
 *	  pop       -      X      -      X one excludes the other from a stack (goes on to
 *	                                   the next); one of two has the open batch
 *	  gather    -      -      2      2 the second opens a batch of its own; who finds
 *	                                   another in place when it puts its own back
 *	                                   pushes that one as it is
 *
 * Bound: at most depot.max batches each, an open one included (a race of pushers may
 * pass it by one a thread).  The depot counts what its bound cost (missed) and what it
 * has too much (low); its owner, who knows how much memory that is, moves the bound.
 * Any thread, any context in which malloc may be called.
 */
#ifndef _LIB_DEPOT_H
#define _LIB_DEPOT_H

#include <asm/cache.h>
#include "batch.h"

#define DEPOT_STACKS	8

struct depot_stack {
	struct lfstack full;
	uint64_t nr_pops;		/* (l full.popper) */
	uint64_t nr_popped;		/* (l full.popper) objects of them */
} __aligned(L1_CACHE_BYTES);

struct depot {
	struct depot_stack *stacks;	/* (c) [DEPOT_STACKS] */
	struct mag_batch *open;		/* (a) gathers parts; NULL: none, or in hand */
	uint64_t held;			/* (a) batches << 32 | objects in them */
	uint64_t nr_open_pops;		/* (a) of the open batch */
	uint64_t nr_open_popped;	/* (a) objects of them */
	bool used;			/* (a) something has been put in, ever */
	bool popped;			/* (a) something was taken, since depot_take_popped() */
	uint32_t max;			/* (a) */
	uint32_t floor;			/* (c) what max starts from */
	uint32_t missed;		/* (a) objects declined since depot_widen() */
	uint32_t low;			/* (a) fewest batches since depot_take_low() */
};

/* @stacks: DEPOT_STACKS of them, zeroes, which are not touched before they are used. */
void depot_init(struct depot *d, struct depot_stack *stacks, uint32_t max);
/*
 * Room for the batches of @batch objects that were declined, at most @more, none when
 * less than @least objects were: how many.
 */
uint32_t depot_widen(struct depot *d, size_t more, unsigned int batch, uint32_t least);
/* Less room by @less, but not below the floor: by how many. */
uint32_t depot_narrow(struct depot *d, uint32_t less);
/* Batches that nobody needed since the last call. */
uint32_t depot_take_low(struct depot *d);
/* Was anything popped since the last call? */
bool depot_take_popped(struct depot *d);
/* Batches beyond the floor: what it holds, and what it may hold. */
uint32_t depot_surplus(const struct depot *d);
uint32_t depot_extra(const struct depot *d);
/* False when full: the batch stays the caller's.  @slot: who is to have it again. */
bool depot_push(struct depot *d, unsigned int slot, struct mag_batch *b);
/*
 * @n objects, a part of a batch of @batch.  False when full, or without memory.  @slot:
 * as for batch_get().
 */
bool depot_gather(struct depot *d, unsigned int slot, const struct mag_slot *slots,
		  unsigned int n, unsigned int batch);
/* The @slot's own first, the open one last.  NULL when empty, or others are popping. */
struct mag_batch *depot_pop(struct depot *d, unsigned int slot);
/* Batches that were popped, and objects in them, ever. */
uint64_t depot_nr_pops(const struct depot *d);
uint64_t depot_nr_popped(const struct depot *d);
void depot_fork_child(struct depot *d);

static inline uint32_t depot_count(const struct depot *d)
{
	return atomic_load_relaxed(&d->held) >> 32;
}

/* Not all batches are whole. */
static inline uint32_t depot_objects(const struct depot *d)
{
	return atomic_load_relaxed(&d->held);
}

#endif /* _LIB_DEPOT_H */
