// SPDX-License-Identifier: MIT
/*
 * The pool of empty batches.
 *
 *	kept[slot] <--> empty batches, a lock-free stack <--- slabs of some 15
 *	                     |                                  ^
 *	                     +---- batch_release() -------------+ all of a slab at hand
 *
 * A batch is made when none is at hand.  Their number is bounded by the depots' bounds
 * plus one per thread inside a slow path, and one in front of the pool for each line of
 * kept[], so that a slot which refills and flushes in turn passes one batch to and fro
 * in a line of its own.  A large heap that swings has depots that hold a sixteenth of
 * it, and thousands of batches for that: those go back when they rest.  The first
 * BATCH_LOOSE are made one by one, and stay.
 *
 * Invariants:
 *  1. A batch belongs to one: the stack that it is on, or who took it off.
 *  2. Nothing of a batch that is on no stack is read by others: a pop reads the successor
 *     of the batch on top, which nobody else can take off meanwhile (lib/rcu.h), and a
 *     push reads no batch but its own.  So the memory of batches that are off may go.
 *  3. A slab goes when all of its batches are in the hands of the one thread that
 *     looks (rank RANK_BATCHES), which has cut them off the stack below the top, and
 *     taken the one on top as everybody does.
 *
 * Pages that went stay mapped; the slab is used again before a new one is made.
 */
#include <asm/cache.h>
#include <util/align.h>
#include "batch.h"
#include "fixalloc.h"
#include "lock.h"
#include "vm.h"

#define NR_KEPT		64	/* slots share them: a batch is exchanged whole */
#define BATCH_LOOSE	16
#define SLAB_BYTES	(16UL << 10)
/* Batches that stay at hand, and that may be taken between two looks at a rest. */
#define POOL_KEEP	16
#define REST_TAKEN	64
/* Slabs given back in one call. */
#define SLABS_MAX	32

struct batch_slab {
	struct cds_lfs_node node;
	struct mag_batch *batches;	/* (c) */
	uint32_t nr_seen;		/* (l release_lock) of its batches, in one look */
	struct batch_slab *next;	/* (l release_lock) */
};

static struct lfstack empty_batches, gone_slabs;
static struct {
	struct mag_batch *batch;	/* (a) NULL: none */
} __aligned(DESTRUCTIVE_BYTES) kept[NR_KEPT];

static struct lock release_lock = LOCK_INIT(RANK_BATCHES);
static uint32_t nr_loose;		/* (a) */
static uint64_t nr_taken;		/* (l empty_batches.popper) ever */
static uint64_t seen_taken;		/* (l release_lock) at the last look */

static size_t slab_bytes(void)
{
	return max_size(SLAB_BYTES, vm_page_size);
}

/* In a line's multiple each; the word behind the last leads to the slab. */
static size_t batch_stride(void)
{
	return align_up(sizeof(struct mag_batch), 64);
}

static unsigned int slab_batches(void)
{
	return (slab_bytes() - sizeof(struct batch_slab *)) / batch_stride();
}

static struct batch_slab **slab_word(const void *in)
{
	uintptr_t end = align_down((uintptr_t)in, slab_bytes()) + slab_bytes();

	return (struct batch_slab **)end - 1;
}

static struct mag_batch *slab_batch(const struct batch_slab *slab, unsigned int i)
{
	return (struct mag_batch *)((char *)slab->batches + i * batch_stride());
}

static void pool_put(struct mag_batch *b)
{
	lfstack_push(&empty_batches, &b->node);
}

static struct batch_slab *slab_new(void)
{
	struct batch_slab *slab = meta_alloc(sizeof(*slab));

	if (!slab)
		return NULL;
	slab->batches = meta_alloc_slab(slab_bytes());
	/* the record is lost, which is no more than the batch that is made instead */
	return slab->batches ? slab : NULL;
}

/* All batches of a slab that has none, but one, into the pool: that one. */
static struct mag_batch *slab_fill(struct batch_slab *slab)
{
	unsigned int nr = slab_batches();

	*slab_word(slab->batches) = slab;
	for (unsigned int i = 0; i < nr; i++)
		slab_batch(slab, i)->in_slab = 1;
	for (unsigned int i = 1; i < nr; i++)
		pool_put(slab_batch(slab, i));
	meta_count(slab_bytes());
	return slab->batches;
}

static struct mag_batch *batch_new(void)
{
	struct cds_lfs_node *node;
	struct batch_slab *slab;

	if (atomic_load_relaxed(&nr_loose) < BATCH_LOOSE) {
		atomic_add_relaxed(&nr_loose, 1);
		return meta_alloc(sizeof(struct mag_batch));
	}
	node = lfstack_try_pop(&gone_slabs);
	if (node)
		return slab_fill(container_of(node, struct batch_slab, node));
	if (!lfstack_empty(&gone_slabs))
		return NULL;
	slab = slab_new();
	return slab ? slab_fill(slab) : meta_alloc(sizeof(struct mag_batch));
}

static struct mag_batch *pool_get(void)
{
	struct cds_lfs_node *node = NULL;

	if (!lfstack_empty(&empty_batches)) {
		/* Only busy: a new one each time would add up over months. */
		if (!lfstack_pop_begin(&empty_batches))
			return NULL;
		node = __lfstack_pop(&empty_batches);
		atomic_store_relaxed(&nr_taken, nr_taken + 1);
		lfstack_pop_end(&empty_batches);
	}
	return node ? container_of(node, struct mag_batch, node) : batch_new();
}

struct mag_batch *batch_get(unsigned int slot)
{
	struct mag_batch **at = &kept[slot % NR_KEPT].batch, *b = NULL;

	if (atomic_load_relaxed(at))
		b = xchg(at, NULL);
	return b ? b : pool_get();
}

void batch_put(unsigned int slot, struct mag_batch *b)
{
	b = xchg(&kept[slot % NR_KEPT].batch, b);
	if (b)
		pool_put(b);
}

/*
 * Giving back.
 */

/* All of the pool, or all but the first few: the caller's from here on. */
static struct cds_lfs_node *pool_cut(bool all)
{
	struct cds_lfs_node *rest, *top;

	if (!lfstack_pop_begin(&empty_batches))
		return NULL;
	rest = lfstack_cut(&empty_batches, all ? 1 : POOL_KEEP);
	top = all ? __lfstack_pop(&empty_batches) : NULL;
	lfstack_pop_end(&empty_batches);
	if (top)
		lfstack_link(top, rest);
	return top ? top : rest;
}

static struct batch_slab *slab_of(struct cds_lfs_node *node)
{
	struct mag_batch *b = container_of(node, struct mag_batch, node);

	return b->in_slab ? *slab_word(b) : NULL;
}

/* Whole slabs among the batches from @node on; the others go back to the pool. */
static struct batch_slab *whole_slabs(struct cds_lfs_node *node)
{
	unsigned int nr = slab_batches();
	struct batch_slab *whole = NULL, *slab;
	struct cds_lfs_node *n, *next;

	for (n = node; n; n = lfstack_next(n)) {
		slab = slab_of(n);
		if (slab && ++slab->nr_seen == nr) {
			slab->next = whole;
			whole = slab;
		}
	}
	for (n = node; n; n = next) {
		next = lfstack_next(n);
		slab = slab_of(n);
		if (slab && slab->nr_seen == nr)
			continue;
		if (slab)
			slab->nr_seen = 0;
		lfstack_push(&empty_batches, n);
	}
	return whole;
}

/* Some of *list, which is not empty; what is left of it. */
static size_t release_slabs(struct batch_slab **list)
{
	struct batch_slab *slab[SLABS_MAX];
	struct iovec ranges[SLABS_MAX];
	unsigned int nr = 0, done;

	do {
		slab[nr] = *list;
		slab[nr]->nr_seen = 0;
		ranges[nr] = (struct iovec){ slab[nr]->batches, slab_bytes() };
		*list = slab[nr]->next;
	} while (++nr < SLABS_MAX && *list);
	done = vm_return_many(ranges, nr);
	for (unsigned int i = 0; i < nr; i++) {
		meta_count(-slab_bytes());
		if (i < done)
			lfstack_push(&gone_slabs, &slab[i]->node);
		else
			pool_put(slab_fill(slab[i]));
	}
	return done * slab_bytes();
}

static void empty_kept(void)
{
	for (unsigned int i = 0; i < NR_KEPT; i++) {
		struct mag_batch *b = xchg(&kept[i].batch, NULL);

		if (b)
			pool_put(b);
	}
}

size_t batch_release(bool all)
{
	struct batch_slab *whole;
	size_t bytes = 0;
	uint64_t taken;

	if (!lock_try_acquire(&release_lock))
		return 0;
	taken = atomic_load_relaxed(&nr_taken);
	if (all)
		empty_kept();
	if (all || taken - seen_taken < REST_TAKEN) {
		whole = whole_slabs(pool_cut(all));
		while (whole)
			bytes += release_slabs(&whole);
	}
	seen_taken = taken;
	lock_release(&release_lock);
	return bytes;
}

bool batch_fork_held(void)
{
	return lock_is_held(&release_lock);
}

void batch_fork_prepare(bool nested)
{
	lock_fork_prepare(&release_lock, nested);
}

void batch_fork_done(void)
{
	lock_fork_done(&release_lock);
}

void batch_fork_child(void)
{
	lfstack_fork_child(&empty_batches);
	lfstack_fork_child(&gone_slabs);
}
