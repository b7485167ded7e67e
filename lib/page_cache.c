// SPDX-License-Identifier: MIT
/*
 * Pages out of a CPU slot's window; see page_cache.h for the data.
 *
 * The window is filled by page_alloc_to_cache() and emptied by
 * page_cache_flush(), both under the heap's lock; page_cache_alloc() needs only
 * that its caller owns the window.  Pages never come back into a window one by
 * one: a freed span goes to page_alloc, where it can join its neighbours.
 */
#include "page_cache.h"

uintptr_t page_cache_alloc(struct page_cache *c, size_t nr, size_t *nr_scav)
{
	uint64_t runs, mask;
	unsigned int bit;

	if (!nr || nr > PAGE_CACHE_PAGES)
		return 0;
	runs = palloc_word_runs(c->free, nr);
	if (!runs)
		return 0;
	bit = ctz64(runs);
	mask = bits_mask(bit, nr);
	*nr_scav = popcount64(c->scav & mask);
	c->free &= ~mask;
	c->scav &= ~mask;
	return c->base + bit * HA_PAGE_SIZE;
}

void page_cache_flush(struct page_cache *c, struct page_alloc *pa)
{
	if (c->free)
		page_alloc_free_window(pa, c->base, c->free, c->scav);
	*c = (struct page_cache){ 0 };
}
