// SPDX-License-Identifier: MIT
/*
 * The depot: see lib/depot.h.
 */
#include <string.h>

#include <util/align.h>
#include "depot.h"

/* The stack of what was gathered. */
#define GATHERED	0

void depot_init(struct depot *d, struct depot_stack *stacks, uint32_t max)
{
	d->stacks = stacks;
	d->open = NULL;
	d->held = 0;
	d->nr_open_pops = 0;
	d->nr_open_popped = 0;
	d->used = false;
	d->popped = false;
	d->max = max;
	d->floor = max;
	d->missed = 0;
	d->low = 0;
}

uint32_t depot_widen(struct depot *d, size_t more, unsigned int batch, uint32_t least)
{
	uint32_t missed = xchg(&d->missed, 0);

	if (missed < least)
		return 0;
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

bool depot_take_popped(struct depot *d)
{
	bool popped = atomic_load_relaxed(&d->popped);

	if (popped)
		atomic_store_relaxed(&d->popped, false);
	return popped;
}

static uint32_t beyond(const struct depot *d, uint32_t n)
{
	return n > d->floor ? n - d->floor : 0;
}

uint32_t depot_surplus(const struct depot *d)
{
	return beyond(d, depot_count(d));
}

uint32_t depot_extra(const struct depot *d)
{
	return beyond(d, atomic_load_relaxed(&d->max));
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

/* The stacks of a class that nobody uses stay untouched, in a fork's child too. */
static void depot_use(struct depot *d)
{
	if (unlikely(!atomic_load_relaxed(&d->used)))
		atomic_store_relaxed(&d->used, true);
}

static struct lfstack *stack_of(struct depot *d, unsigned int slot)
{
	return &d->stacks[slot % DEPOT_STACKS].full;
}

bool depot_push(struct depot *d, unsigned int slot, struct mag_batch *b)
{
	if (!depot_room(d, b->n))
		return false;
	depot_use(d);
	atomic_add_relaxed(&d->held, held(b->n));
	lfstack_push(stack_of(d, slot), &b->node);
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
	watch_touch(&d->open, 0);
	/* release of this one, acquire of one that another thread has opened meanwhile */
	b = xchg(&d->open, b);
	if (unlikely(b))
		lfstack_push(stack_of(d, GATHERED), &b->node);
}

bool depot_gather(struct depot *d, unsigned int slot, const struct mag_slot *slots,
		  unsigned int n, unsigned int batch)
{
	struct mag_batch *b = open_take(d);
	uint64_t more = n;

	/* so large as it gets: there is no use in two pieces of a part */
	if (b && b->n + n > batch) {
		lfstack_push(stack_of(d, GATHERED), &b->node);
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
	depot_use(d);
	/* before anyone can pop it, who subtracts what it has */
	atomic_add_relaxed(&d->held, more);
	if (b->n < batch)
		open_put(d, b);
	else
		lfstack_push(stack_of(d, GATHERED), &b->node);
	return true;
}

static struct mag_batch *stack_pop(struct depot_stack *s)
{
	struct mag_batch *b = NULL;
	struct cds_lfs_node *node;

	if (lfstack_empty(&s->full) || !lfstack_pop_begin(&s->full))
		return NULL;
	node = __lfstack_pop(&s->full);
	if (node) {
		b = container_of(node, struct mag_batch, node);
		atomic_store_relaxed(&s->nr_pops, s->nr_pops + 1);
		atomic_store_relaxed(&s->nr_popped, s->nr_popped + b->n);
	}
	lfstack_pop_end(&s->full);
	return b;
}

struct mag_batch *depot_pop(struct depot *d, unsigned int slot)
{
	struct mag_batch *b = NULL;
	uint32_t count;

	if (!depot_count(d))
		return NULL;
	for (unsigned int i = 0; i < DEPOT_STACKS && !b; i++)
		b = stack_pop(&d->stacks[(slot + i) % DEPOT_STACKS]);
	if (!b) {
		b = open_take(d);
		if (!b)
			return NULL;
		atomic_add_relaxed(&d->nr_open_pops, 1);
		atomic_add_relaxed(&d->nr_open_popped, b->n);
	}
	atomic_sub_relaxed(&d->held, held(b->n));
	if (!atomic_load_relaxed(&d->popped))
		atomic_store_relaxed(&d->popped, true);
	/* a moment's view, and two may write it: it is a hint */
	count = depot_count(d);
	if (count < atomic_load_relaxed(&d->low))
		atomic_store_relaxed(&d->low, count);
	return b;
}

uint64_t depot_nr_pops(const struct depot *d)
{
	uint64_t sum = atomic_load_relaxed(&d->nr_open_pops);

	for (unsigned int i = 0; i < DEPOT_STACKS && atomic_load_relaxed(&d->used); i++)
		sum += atomic_load_relaxed(&d->stacks[i].nr_pops);
	return sum;
}

uint64_t depot_nr_popped(const struct depot *d)
{
	uint64_t sum = atomic_load_relaxed(&d->nr_open_popped);

	for (unsigned int i = 0; i < DEPOT_STACKS && atomic_load_relaxed(&d->used); i++)
		sum += atomic_load_relaxed(&d->stacks[i].nr_popped);
	return sum;
}

/*
 * A thread of the parent may have been between a counter and the stack, or had the
 * open batch in hand: what is in that is lost, as what any slow path had.
 */
void depot_fork_child(struct depot *d)
{
	struct cds_lfs_node *node;

	if (!d->used)
		return;
	d->held = d->open ? held(d->open->n) : 0;
	for (unsigned int i = 0; i < DEPOT_STACKS; i++) {
		struct lfstack *s = &d->stacks[i].full;

		lfstack_fork_child(s);
		for (node = lfstack_first(s); node; node = lfstack_next(node))
			d->held += held(container_of(node, struct mag_batch, node)->n);
	}
}
