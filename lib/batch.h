/* SPDX-License-Identifier: MIT */
/*
 * Batches: up to 64 objects on their way between a CPU's magazines and the spans, and
 * the pool of empty ones.  See lib/batch.c.
 */
#ifndef _LIB_BATCH_H
#define _LIB_BATCH_H

#include <asm-generic/rseq.h>
#include "rcu.h"

#define MAX_BATCH		64

struct mag_batch {
	struct cds_lfs_node node;
	uint32_t n;			/* slots in use */
	uint32_t in_slab;		/* (c) */
	struct mag_slot slots[MAX_BATCH];
};

/*
 * An empty batch; NULL when there is no memory or the pool is busy: do without.
 * @slot: the caller's cache slot, which has one at hand.  Any thread, any context in
 * which malloc may be called.
 */
struct mag_batch *batch_get(unsigned int slot);
void batch_put(unsigned int slot, struct mag_batch *b);

/*
 * Give back the memory of empty batches, if next to none has been taken since the last
 * call, or whatever @all; bytes that went.  Any thread, without locks.
 */
size_t batch_release(bool all);

bool batch_fork_held(void);
void batch_fork_prepare(bool nested);
void batch_fork_done(void);
/* In the child: a popper that stayed in the parent. */
void batch_fork_child(void);

#endif /* _LIB_BATCH_H */
