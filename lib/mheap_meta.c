// SPDX-License-Identifier: MIT
/*
 * Giving back metadata.
 *
 *	descriptors, states   of slabs without a span in use (lib/mspan_pool.c)
 *	page entries          of ranges without a page in use, a kernel page at a time
 *
 * Both read as zero afterwards and stay mapped, so that look-ups need no lock: a
 * descriptor of no life, states that are free, entries of nothing.
 *
 * Slabs go when they have been empty for as long as the scavenger holds the peak of
 * pages, so that a load which swings finds them at its next rise.  Page entries have
 * rested by the time that the last pages which they are about were given back, and are
 * one page fault in 500 when those are used again.
 *
 * A slab is taken off the pool and given back without the heap's lock.  Entries go
 * under it, for it is what keeps others from writing them; an arena at a time, whose
 * entries are 128 KiB and next to each other: one call.
 */
#include "mheap.h"
#include "mheap_meta.h"

/* Looks for which a slab has to be empty: two seconds and more. */
#define REST_LOOKS	3
/* Slabs at a time. */
#define SLABS_MAX	(VM_RETURN_MAX / SLAB_RANGES)

struct slab_batch {
	struct mspan_slab *slab[SLABS_MAX];
	struct mspan_pool *pool[SLABS_MAX];
	struct iovec range[SLABS_MAX * SLAB_RANGES];
	unsigned int nr;
};

void mheap_meta_look(unsigned int nid)
{
	struct mheap *h = &mheaps[nid];

	lock_acquire(&h->lock);
	h->look++;
	lock_release(&h->lock);
}

static void take_slabs(struct mheap *h, struct slab_batch *b, uint32_t age)
{
	lock_acquire(&h->lock);
	for (unsigned int kind = 0; kind < NR_SPAN_KINDS && b->nr < SLABS_MAX; kind++) {
		struct mspan_pool *p = &h->spans[kind];
		struct mspan_slab *slab;

		while (b->nr < SLABS_MAX &&
		       (slab = mspan_pool_take_empty(p, h->look, age,
						     &b->range[b->nr * SLAB_RANGES]))) {
			b->pool[b->nr] = p;
			b->slab[b->nr++] = slab;
		}
	}
	lock_release(&h->lock);
}

/* Of the ranges the first @done have gone: a slab of which one has not is not gone. */
static size_t put_slabs(struct mheap *h, const struct slab_batch *b, unsigned int done)
{
	unsigned int nr_gone = done / SLAB_RANGES;
	size_t bytes = 0;

	lock_acquire(&h->lock);
	for (unsigned int i = 0; i < b->nr; i++)
		bytes += mspan_pool_went(b->pool[i], b->slab[i], i < nr_gone, h->look);
	lock_release(&h->lock);
	return bytes;
}

static size_t release_slabs(struct mheap *h, uint32_t age)
{
	struct slab_batch b = { .nr = 0 };

	take_slabs(h, &b, age);
	if (!b.nr)
		return 0;
	for (unsigned int i = 0; i < b.nr; i++)
		mspan_slab_prepare(b.slab[i]);
	return put_slabs(h, &b, vm_return_many(b.range, b.nr * SLAB_RANGES));
}

/* Under the lock: entries of @ha that nobody needs, next to each other as one range. */
static unsigned int due_ranges(struct mheap *h, struct heap_arena *ha,
			       struct iovec *ranges, unsigned int max)
{
	size_t step = entry_range();
	unsigned int nr = 0;

	for (uintptr_t base = ha->base; base < ha->base + ARENA_SIZE; base += step) {
		uint32_t marks = bits_mask(base % ARENA_SIZE >> DUE_SHIFT, step >> DUE_SHIFT);
		char *entries = (char *)arena_page(ha, base);

		if (!(ha->due & marks))
			continue;
		/* what else is in use will make it due again when it goes */
		atomic_sub_relaxed(&h->nr_due, popcount64(ha->due & marks));
		atomic_store_relaxed(&ha->due, ha->due & ~marks);
		if (!page_alloc_all_returned(&h->pages, base, step >> HA_PAGE_SHIFT))
			continue;
		if (nr && (char *)ranges[nr - 1].iov_base + ranges[nr - 1].iov_len == entries)
			ranges[nr - 1].iov_len += vm_page_size;
		else if (nr < max)
			ranges[nr++] = (struct iovec){ entries, vm_page_size };
	}
	return nr;
}

/* The kernel said no: they are due as before. */
static void entries_stay(struct mheap *h, struct heap_arena *ha, const struct iovec *range)
{
	size_t idx = (struct page_entry *)range->iov_base - ha->page;

	mheap_set_due(h, ha->base + idx * HA_PAGE_SIZE,
		      range->iov_len / sizeof(struct page_entry) * HA_PAGE_SIZE);
}

static size_t release_entries(struct mheap *h, struct heap_arena *ha)
{
	struct iovec ranges[ARENA_SIZE >> DUE_SHIFT];
	unsigned int nr, done;
	size_t bytes = 0;

	lock_acquire(&h->lock);
	nr = due_ranges(h, ha, ranges, ARRAY_SIZE(ranges));
	done = nr ? vm_return_many(ranges, nr) : 0;
	for (unsigned int i = 0; i < nr; i++) {
		if (i < done)
			bytes += ranges[i].iov_len;
		else
			entries_stay(h, ha, &ranges[i]);
	}
	lock_release(&h->lock);
	return bytes;
}

/* The first arena that has something to give. */
static size_t release_some_entries(struct mheap *h)
{
	struct heap_arena *ha;
	size_t bytes = 0;

	if (!atomic_load_relaxed(&h->nr_due))
		return 0;
	for (size_t n = 0; !bytes && (ha = heap_arena_nth(n)); n++)
		if (ha->nid == h->nid && atomic_load_relaxed(&ha->due))
			bytes = release_entries(h, ha);
	return bytes;
}

size_t mheap_meta_release(unsigned int nid, bool all)
{
	struct mheap *h = &mheaps[nid];

	return release_slabs(h, all ? 0 : REST_LOOKS) + release_some_entries(h);
}

bool mheap_meta_rests(unsigned int nid)
{
	struct mheap *h = &mheaps[nid];
	bool rests = false;

	lock_acquire(&h->lock);
	for (unsigned int kind = 0; kind < NR_SPAN_KINDS && !rests; kind++)
		rests = mspan_pool_has_empty(&h->spans[kind]);
	rests |= atomic_load_relaxed(&h->nr_due) != 0;
	lock_release(&h->lock);
	return rests;
}
