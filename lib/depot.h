/* SPDX-License-Identifier: MIT */
/*
 * Batches of cached objects between the per-CPU magazines and the spans: a stack
 * of full batches per class and node, and one pool of empty ones.  After the
 * depot of Bonwick and Adams, "Magazines and Vmem" (USENIX 2001).
 *
 * Batches move whole and without a lock; span bitmaps are touched only when a
 * depot is empty or full.  Objects in a depot are free in state, taken in bits.
 *
 * Bound: at most depot.max batches each (a race of pushers may pass it by one a
 * thread).  Any thread, any context in which malloc may be called.
 */
#ifndef _LIB_DEPOT_H
#define _LIB_DEPOT_H

#include <asm-generic/rseq.h>
#include "rcu.h"

#define MAX_BATCH		64

struct mag_batch {
	struct cds_lfs_node node;
	uint32_t n;			/* slots in use */
	struct mag_slot slots[MAX_BATCH];
};

struct depot {
	struct lfstack full;
	uint32_t count;			/* (a) batches in full */
	uint32_t objects;		/* (a) objects in them: not all are whole */
	uint32_t max;			/* (c) */
};

void depot_init(struct depot *d, uint32_t max);
/* False when full: the batch stays the caller's. */
bool depot_push(struct depot *d, struct mag_batch *b);
/* NULL when empty, or another thread is popping. */
struct mag_batch *depot_pop(struct depot *d);
void depot_fork_child(struct depot *d);

/* An empty batch; NULL when there is no memory or the pool is busy: do without. */
struct mag_batch *batch_get(void);
void batch_put(struct mag_batch *b);
void batch_fork_child(void);

#endif /* _LIB_DEPOT_H */
