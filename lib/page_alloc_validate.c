// SPDX-License-Identifier: MIT
/*
 * Is the tree what lib/page_alloc.c says that it is?  Every summary and every count
 * anew, bit by bit and in ways of its own, for tests and CONFIG_DEBUG.
 */
#include "page_alloc.h"
#include "page_alloc_tree.h"

/* What page_alloc_validate() has counted. */
struct census {
	size_t pages;
	size_t free;
	size_t scav;
	uintptr_t first_free;
};

/* One chunk bit by bit: its summary, the rules of its bitmaps, the counts. */
static bool validate_chunk(struct palloc_region *r, unsigned int ci, uintptr_t base,
			   struct census *c)
{
	const struct palloc_data *d = &r->chunks[ci];
	unsigned int i, run = 0, start = 0, max = 0, free = 0, unscav = 0;
	palloc_sum want;

	if (!chunk_sum(r, ci)->v && !d->alloc[0]) {
		/* Not grown, as the rest must say: nothing was ever written. */
		return palloc_bits_all_clear(d->alloc, 0, CHUNK_PAGES) &&
		       palloc_bits_all_clear(d->scav, 0, CHUNK_PAGES);
	}
	for (i = 0; i < CHUNK_PAGES; i++) {
		bool used = bitmap_test(d->alloc, i);
		bool scav = bitmap_test(d->scav, i);

		run = used ? 0 : run + 1;
		if (run == i + 1)
			start = run;
		max = max_size(max, run);
		if (used && scav)
			return false;
		free += !used;
		unscav += !used && !scav;
		c->scav += scav;
	}
	if (free && !c->first_free) {
		for (i = 0; bitmap_test(d->alloc, i); i++)
			;
		c->first_free = base + i * HA_PAGE_SIZE;
	}
	c->pages += CHUNK_PAGES;
	c->free += free;
	want = palloc_sum_pack(start, max, run);
	return chunk_sum(r, ci)->v == want.v &&
	       (!unscav || bitmap_test(r->unscav, ci));
}

/* One summary against the eight below it, in a way of its own. */
static bool validate_sum(palloc_sum s, const palloc_sum *below, unsigned int log_pages)
{
	size_t each = 1UL << log_pages, start = 0, max = 0, end = 0;
	unsigned int i;

	for (i = 0; i < FANOUT && palloc_sum_start(below[i]) == each; i++)
		start += each;
	if (i < FANOUT)
		start += palloc_sum_start(below[i]);
	for (i = FANOUT; i && palloc_sum_end(below[i - 1]) == each; i--)
		end += each;
	if (i)
		end += palloc_sum_end(below[i - 1]);
	for (i = 0; i < FANOUT; i++) {
		size_t run = palloc_sum_end(below[i]);
		unsigned int j;

		/* The run that leaves @i upwards, through whole siblings. */
		for (j = i + 1; j < FANOUT; j++) {
			run += palloc_sum_start(below[j]);
			if (palloc_sum_start(below[j]) != each)
				break;
		}
		max = max_size(max, max_size(run, palloc_sum_max(below[i])));
	}
	return palloc_sum_start(s) == start && palloc_sum_max(s) == max &&
	       palloc_sum_end(s) == end;
}

static bool validate_region(const struct page_alloc *pa, unsigned int ri,
			    struct census *c)
{
	struct palloc_region *r = pa->regions[ri];
	unsigned int level, i;

	for (i = 0; i < REGION_CHUNKS; i++)
		if (!validate_chunk(r, i, sum_base(ri, LEAF_LEVEL, i), c))
			return false;
	for (level = 1; level < LEAF_LEVEL; level++)
		for (i = 0; i < 1U << (FANOUT_SHIFT * level); i++)
			if (!validate_sum(level_sums(r, level)[i],
					  &level_sums(r, level + 1)[i << FANOUT_SHIFT],
					  level_log_pages(level + 1)))
				return false;
	return validate_sum(pa->root[ri], level_sums(r, 1), level_log_pages(1));
}

bool page_alloc_validate(const struct page_alloc *pa)
{
	struct census c = { 0 };
	unsigned int ri;

	for (ri = 0; ri < PALLOC_ROOT_ENTRIES; ri++) {
		if (bitmap_test(pa->root_map, ri) != (pa->root[ri].v != 0))
			return false;
		if (!pa->regions[ri]) {
			if (pa->root[ri].v)
				return false;
			continue;
		}
		if (!validate_region(pa, ri, &c))
			return false;
	}
	if (c.first_free &&
	    (c.first_free < pa->search_addr || c.first_free < pa->min_addr))
		return false;
	return c.pages == pa->nr_pages && c.free == pa->nr_free &&
	       c.scav == pa->nr_scav && pa->min_addr <= pa->max_addr;
}
