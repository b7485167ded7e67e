// SPDX-License-Identifier: MIT
/*
 * The depot: see lib/depot.h.
 */
#include <string.h>

#include <util/align.h>
#include "depot.h"

void depot_init(struct depot *d, uint32_t max)
{
	lfstack_init(&d->full);
	d->open = NULL;
	d->held = 0;
	d->nr_pops = 0;
	d->nr_popped = 0;
	d->max = max;
	d->floor = max;
	d->missed = 0;
	d->low = 0;
}

uint32_t depot_widen(struct depot *d, size_t more, unsigned int batch)
{
	uint32_t missed = xchg(&d->missed, 0);

	more = min_size(more, (missed + batch - 1) / batch);
	atomic_add_relaxed(&d->max, (uint32_t)more);
	return more;
}

uint32_t depot_narrow(struct depot *d, uint32_t less)
{
	uint32_t max = atomic_load_relaxed(&d->max);

	less = min_size(less, max - d->floor);
	/* who is widening it meanwhile is right */
	if (!less || !try_cmpxchg_acquire(&d->max, max, max - less))
		return 0;
	return less;
}

uint32_t depot_take_low(struct depot *d)
{
	uint32_t low = atomic_load_relaxed(&d->low);

	atomic_store_relaxed(&d->low, depot_count(d));
	return low;
}

/* What a batch of @n objects counts for. */
static uint64_t held(uint32_t n)
{
	return 1ULL << 32 | n;
}

/* Room for one more batch, of @n objects so far? */
static bool depot_room(struct depot *d, uint32_t n)
{
	if (depot_count(d) < atomic_load_relaxed(&d->max))
		return true;
	atomic_add_relaxed(&d->missed, n);
	return false;
}

bool depot_push(struct depot *d, struct mag_batch *b)
{
	if (!depot_room(d, b->n))
		return false;
	atomic_add_relaxed(&d->held, held(b->n));
	lfstack_push(&d->full, &b->node);
	return true;
}

/* The caller's alone, until it is put back or pushed. */
static struct mag_batch *open_take(struct depot *d)
{
	/* acquire pairs with open_put(): the objects of who had it before */
	return atomic_load_relaxed(&d->open) ? xchg_acquire(&d->open, NULL) : NULL;
}

static void open_put(struct depot *d, struct mag_batch *b)
{
	watch_touch(&d->full, 0);
	/* release of this one, acquire of one that another thread has opened meanwhile */
	b = xchg(&d->open, b);
	if (unlikely(b))
		lfstack_push(&d->full, &b->node);
}

bool depot_gather(struct depot *d, unsigned int slot, const struct mag_slot *slots,
		  unsigned int n, unsigned int batch)
{
	struct mag_batch *b = open_take(d);
	uint64_t more = n;

	/* so large as it gets: there is no use in two pieces of a part */
	if (b && b->n + n > batch) {
		lfstack_push(&d->full, &b->node);
		b = NULL;
	}
	if (!b) {
		b = depot_room(d, n) ? batch_get(slot) : NULL;
		if (!b)
			return false;
		b->n = 0;
		more = held(n);
	}
	memcpy(b->slots + b->n, slots, n * sizeof(*slots));
	b->n += n;
	/* before anyone can pop it, who subtracts what it has */
	atomic_add_relaxed(&d->held, more);
	if (b->n < batch)
		open_put(d, b);
	else
		lfstack_push(&d->full, &b->node);
	return true;
}

struct mag_batch *depot_pop(struct depot *d)
{
	struct cds_lfs_node *node;
	struct mag_batch *b;
	uint32_t count;

	if (lfstack_empty(&d->full) && !atomic_load_relaxed(&d->open))
		return NULL;
	if (!lfstack_pop_begin(&d->full))
		return NULL;
	node = __lfstack_pop(&d->full);
	b = node ? container_of(node, struct mag_batch, node) : open_take(d);
	if (b) {
		atomic_sub_relaxed(&d->held, held(b->n));
		count = depot_count(d);
		if (count < atomic_load_relaxed(&d->low))
			atomic_store_relaxed(&d->low, count);
		atomic_store_relaxed(&d->nr_pops, d->nr_pops + 1);
		atomic_store_relaxed(&d->nr_popped, d->nr_popped + b->n);
	}
	lfstack_pop_end(&d->full);
	return b;
}

/*
 * A thread of the parent may have been between a counter and the stack, or had the
 * open batch in hand: what is in that is lost, as what any slow path had.
 */
void depot_fork_child(struct depot *d)
{
	struct cds_lfs_node *node;

	lfstack_fork_child(&d->full);
	if (!d->held)
		return;
	d->held = d->open ? held(d->open->n) : 0;
	for (node = lfstack_first(&d->full); node; node = lfstack_next(node))
		d->held += held(container_of(node, struct mag_batch, node)->n);
}
