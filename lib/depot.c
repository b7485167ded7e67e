// SPDX-License-Identifier: MIT
/*
 * The depot: see lib/depot.h.
 *
 * Empty batches are metadata: made when none is at hand, never given back, their
 * number bounded by the depots' bounds plus one per thread inside a slow path.
 */
#include "depot.h"
#include "fixalloc.h"

static struct lfstack empty_batches;

void depot_init(struct depot *d, uint32_t max)
{
	lfstack_init(&d->full);
	d->count = 0;
	d->objects = 0;
	d->max = max;
}

bool depot_push(struct depot *d, struct mag_batch *b)
{
	if (atomic_load_relaxed(&d->count) >= d->max)
		return false;
	atomic_add_relaxed(&d->count, 1);
	atomic_add_relaxed(&d->objects, b->n);
	lfstack_push(&d->full, &b->node);
	return true;
}

struct mag_batch *depot_pop(struct depot *d)
{
	struct cds_lfs_node *node = lfstack_try_pop(&d->full);
	struct mag_batch *b;

	if (!node)
		return NULL;
	b = container_of(node, struct mag_batch, node);
	atomic_sub_relaxed(&d->count, 1);
	atomic_sub_relaxed(&d->objects, b->n);
	return b;
}

/* A thread of the parent may have been between a counter and the stack. */
void depot_fork_child(struct depot *d)
{
	struct cds_lfs_node *node;

	lfstack_fork_child(&d->full);
	if (!d->count && !d->objects)
		return;
	d->count = 0;
	d->objects = 0;
	for (node = lfstack_first(&d->full); node; node = lfstack_next(node)) {
		d->count++;
		d->objects += container_of(node, struct mag_batch, node)->n;
	}
}

struct mag_batch *batch_get(void)
{
	struct cds_lfs_node *node = lfstack_try_pop(&empty_batches);

	if (node)
		return container_of(node, struct mag_batch, node);
	/* Only busy: a new one each time would add up over months. */
	if (!lfstack_empty(&empty_batches))
		return NULL;
	return meta_alloc(sizeof(struct mag_batch));
}

void batch_put(struct mag_batch *b)
{
	lfstack_push(&empty_batches, &b->node);
}

void batch_fork_child(void)
{
	lfstack_fork_child(&empty_batches);
}
