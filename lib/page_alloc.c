// SPDX-License-Identifier: MIT
/*
 * The page allocator: which pages of the grown address space are free, and the
 * lowest run of them that is long enough.
 *
 *	level 0   root[]        2^(VM_ADDR_BITS - 34) summaries of 16 GiB (2^21 pages)
 *	level 1   8 a region    2 GiB     (2^18)   \
 *	level 2   64            256 MiB   (2^15)    | struct palloc_region, one for
 *	level 3   512           32 MiB    (2^12)    | each 16 GiB with grown memory
 *	level 4   4096          one chunk (2^9)     |
 *	chunks    4096          512 + 512 bits     /
 *
 * A summary says how long the free runs at its low end, anywhere, and at its
 * high end are (palloc_bits.h).  Eight summaries are one cache line: a search
 * reads a line a level.  A region is 550 KiB of address space of which only what
 * is written becomes resident; the upper levels come first and touch each other,
 * so an arena of 64 MiB costs five or six pages of 4 KiB in all, root included.
 *
 * Invariants
 *   1. Every summary is the merge of those below it; root_map has a bit for
 *      each root summary that is not 0.
 *   2. A chunk is grown or not.  One that is not has summary 0 and both bitmaps
 *      0: the summary, not the bitmap, says that it has no free page.  Summaries
 *      are recomputed for grown chunks only.
 *   3. scav is set only for free pages (page in use: alloc 1, scav 0).
 *   4. No free page lies below search_addr.
 *   5. A chunk with pages that are free and not given back has its bit in the
 *      region's unscav map.  The reverse need not hold: the bit is cleared by
 *      the walk that finds nothing.
 *
 * A search starts at the search address, in the middle of the tree, and climbs:
 * the rest of that chunk, the chunks beside it, the siblings of each ancestor,
 * then the root; the first summary that holds a long enough run is descended
 * into.  What is found near costs little, and starting anywhere else (aligned
 * runs need that) is the same walk.
 *
 * The owner (mheap) holds its lock around every call.  This file does not map,
 * protect or return memory, and does not know spans.
 */
#include <errno.h>
#include <string.h>

#include "inspect.h"
#include "page_alloc.h"
#include "page_alloc_tree.h"

#define ROOT_MAP_WORDS		(PALLOC_ROOT_ENTRIES / BITS_PER_WORD)

/*
 * Runs that miss the alignment before a roomy one is looked for: bounds the cost
 * of an aligned allocation among many holes that are just too short.
 */
#define ALIGN_TRIES		32

static inline struct palloc_data *chunk_of(const struct page_alloc *pa, uintptr_t addr)
{
	return &pa->regions[region_idx(addr)]->chunks[chunk_idx(addr)];
}

/* Pages of [addr, addr + nr pages) that lie in the chunk of @addr. */
static inline unsigned int chunk_part(uintptr_t addr, size_t nr)
{
	return min_size(nr, CHUNK_PAGES - page_idx(addr));
}

/*
 * The root's block: its map sits between the two arrays in one kernel page with
 * the top of root[] and the bottom of regions[], so that an arena near either
 * end of the address space (the hints are near the bottom, the kernel's own
 * choice near the top) makes two pages resident.
 *
 *	| pad | root[] ...  | map | regions[] ...        |
 *	                | kernel page |
 */
int page_alloc_init(struct page_alloc *pa, page_alloc_meta_fn fn, void *arg)
{
	size_t map_size = ROOT_MAP_WORDS * sizeof(uint64_t);
	size_t root_size = PALLOC_ROOT_ENTRIES * sizeof(palloc_sum);
	size_t regions_size = PALLOC_ROOT_ENTRIES * sizeof(struct palloc_region *);
	size_t pad = (4096 - map_size) / 2;
	char *meta;

	memset(pa, 0, sizeof(*pa));
	meta = fn(arg, align_up(pad + map_size + root_size + regions_size,
				HA_PAGE_SIZE));
	if (!meta)
		return -ENOMEM;
	pa->root = (palloc_sum *)(meta + pad);
	pa->root_map = (uint64_t *)(meta + pad + root_size);
	pa->regions = (struct palloc_region **)(meta + pad + root_size + map_size);
	pa->meta_alloc = fn;
	pa->meta_arg = arg;
	pa->search_addr = ADDR_LIMIT;
	return 0;
}

/* Recompute the summaries above the chunks [ci, last] of one region. */
static void update_region(struct page_alloc *pa, unsigned int ri, unsigned int ci,
			  unsigned int last)
{
	struct palloc_region *r = pa->regions[ri];
	palloc_sum *sums = level_sums(r, LEAF_LEVEL), *below, s;
	unsigned int level, i;
	bool changed = false;

	for (i = ci; i <= last; i++) {
		s = palloc_bits_summarize(r->chunks[i].alloc);
		changed |= s.v != sums[i].v;
		sums[i] = s;
	}
	for (level = LEAF_LEVEL - 1; changed && level > 0; level--) {
		below = sums;
		sums = level_sums(r, level);
		ci >>= FANOUT_SHIFT;
		last >>= FANOUT_SHIFT;
		changed = false;
		for (i = ci; i <= last; i++) {
			s = palloc_sum_merge(&below[i << FANOUT_SHIFT], FANOUT,
					     level_log_pages(level + 1));
			changed |= s.v != sums[i].v;
			sums[i] = s;
		}
	}
	if (!changed)
		return;
	pa->root[ri] = palloc_sum_merge(sums, FANOUT, level_log_pages(1));
	if (pa->root[ri].v)
		bitmap_set(pa->root_map, ri);
	else
		bitmap_clear(pa->root_map, ri);
}

/* The bits of [base, base + nr pages) changed; all of it is grown. */
static void update(struct page_alloc *pa, uintptr_t base, size_t nr)
{
	uintptr_t last = base + (nr << HA_PAGE_SHIFT) - 1;
	unsigned int ri, end = region_idx(last);

	for (ri = region_idx(base); ri <= end; ri++)
		update_region(pa, ri, ri == region_idx(base) ? chunk_idx(base) : 0,
			      ri == end ? chunk_idx(last) : REGION_CHUNKS - 1);
}

static struct palloc_region *region_get(struct page_alloc *pa, unsigned int ri)
{
	if (!pa->regions[ri])
		pa->regions[ri] = pa->meta_alloc(pa->meta_arg,
				align_up(sizeof(struct palloc_region), HA_PAGE_SIZE));
	return pa->regions[ri];
}

int page_alloc_grow(struct page_alloc *pa, uintptr_t base, size_t size)
{
	uintptr_t end = base + size, addr;
	size_t nr = size >> HA_PAGE_SHIFT;
	unsigned int ri;

	BUG_ON(!base || !size || end < base || end > ADDR_LIMIT);
	BUG_ON(!is_aligned(base | size, CHUNK_SIZE));

	/* A region that is left empty by a later failure stays for the next try. */
	for (ri = region_idx(base); ri <= region_idx(end - 1); ri++)
		if (!region_get(pa, ri))
			return -ENOMEM;

	for (addr = base; addr < end; addr += CHUNK_SIZE) {
		struct palloc_region *r = pa->regions[region_idx(addr)];
		struct palloc_data *d = &r->chunks[chunk_idx(addr)];

		BUG_ON(chunk_sum(r, chunk_idx(addr))->v || d->alloc[0]);
		memset(d->scav, 0xff, sizeof(d->scav));
	}
	update(pa, base, nr);

	if (!pa->nr_pages || base < pa->min_addr)
		pa->min_addr = base;
	if (end > pa->max_addr)
		pa->max_addr = end;
	if (base < pa->search_addr)
		pa->search_addr = base;
	pa->nr_pages += nr;
	pa->nr_free += nr;
	pa->nr_scav += nr;
	return 0;
}

/*
 * A search under way.  @run and @len are the free run that ends where the walk
 * stands; @first is where the first free page may be (0: none seen yet).
 */
struct finder {
	size_t need;
	uintptr_t run;
	size_t len;
	uintptr_t first;
	size_t steps;
};

enum finder_step { STEP_ON, STEP_FOUND, STEP_DESCEND };

/* Walk over one summary: on, found at f->run, or found somewhere inside. */
static inline enum finder_step finder_walk(struct finder *f, palloc_sum s,
					   uintptr_t base, unsigned int log_pages)
{
	unsigned int start = palloc_sum_start(s), end = palloc_sum_end(s);

	f->steps++;
	if (!s.v) {
		f->len = 0;
		return STEP_ON;
	}
	if (!f->first)
		f->first = base;
	if (!f->len)
		f->run = base;
	if (f->len + start >= f->need)
		return STEP_FOUND;
	if (palloc_sum_max(s) >= f->need)
		return STEP_DESCEND;
	if (start == 1U << log_pages) {
		f->len += start;
	} else {
		f->len = end;
		f->run = base + (((1UL << log_pages) - end) << HA_PAGE_SHIFT);
	}
	return STEP_ON;
}

/* Summary @i of @level is known to hold the run; find it. */
static uintptr_t find_below(struct page_alloc *pa, struct finder *f, unsigned int ri,
			    unsigned int level, unsigned int i)
{
	struct palloc_region *r = pa->regions[ri];
	enum finder_step step = STEP_DESCEND;
	unsigned int page, first, last;
	uintptr_t base = 0;

	for (; level < LEAF_LEVEL; level++) {
		/* The first free page is inside: the levels below say where. */
		if (f->first == sum_base(ri, level, i))
			f->first = 0;
		i <<= FANOUT_SHIFT;
		last = i + FANOUT - 1;
		for (;; i++) {
			base = sum_base(ri, level + 1, i);
			step = finder_walk(f, level_sums(r, level + 1)[i], base,
					   level_log_pages(level + 1));
			if (step != STEP_ON)
				break;
			BUG_ON(i == last);
		}
		if (step == STEP_FOUND)
			return f->run;
	}
	base = sum_base(ri, LEAF_LEVEL, i);
	page = palloc_bits_find(r->chunks[i].alloc, f->need, 0, &first);
	BUG_ON(page == CHUNK_PAGES);
	if (f->first == base)
		f->first += first * HA_PAGE_SIZE;
	return base + page * HA_PAGE_SIZE;
}

/* The part of a search inside the region of @from: its chunk, then upwards. */
static uintptr_t find_climb(struct page_alloc *pa, struct finder *f, uintptr_t from)
{
	unsigned int ri = region_idx(from), i = chunk_idx(from), level;
	struct palloc_region *r = pa->regions[ri];
	unsigned int idx = page_idx(from), page, first, j;
	uintptr_t base = align_down(from, CHUNK_SIZE);
	palloc_sum s = *chunk_sum(r, i);
	enum finder_step step;

	f->steps++;
	if (s.v) {
		if (palloc_sum_max(s) >= f->need) {
			page = palloc_bits_find(r->chunks[i].alloc, f->need, idx,
						&first);
			if (first != CHUNK_PAGES)
				f->first = base + first * HA_PAGE_SIZE;
			if (page != CHUNK_PAGES)
				return base + page * HA_PAGE_SIZE;
		} else {
			f->first = from;
		}
		f->len = min_size(palloc_sum_end(s), CHUNK_PAGES - idx);
		f->run = base + CHUNK_SIZE - f->len * HA_PAGE_SIZE;
	}
	for (level = LEAF_LEVEL; level > 0; level--, i >>= FANOUT_SHIFT) {
		for (j = i + 1; j % FANOUT; j++) {
			step = finder_walk(f, level_sums(r, level)[j],
					   sum_base(ri, level, j),
					   level_log_pages(level));
			if (step == STEP_FOUND)
				return f->run;
			if (step == STEP_DESCEND)
				return find_below(pa, f, ri, level, j);
		}
	}
	return 0;
}

/* First set bit of the root map in [ri, last], or PALLOC_ROOT_ENTRIES. */
static unsigned int root_next(const struct page_alloc *pa, unsigned int ri,
			      unsigned int last)
{
	unsigned int w = ri / BITS_PER_WORD;
	uint64_t x;

	if (ri > last)
		return PALLOC_ROOT_ENTRIES;
	x = pa->root_map[w] & ~0ULL << (ri % BITS_PER_WORD);
	while (!x) {
		if (++w > last / BITS_PER_WORD)
			return PALLOC_ROOT_ENTRIES;
		x = pa->root_map[w];
	}
	return w * BITS_PER_WORD + ctz64(x);
}

/* Last set bit of the root map at or before @ri, or PALLOC_ROOT_ENTRIES. */
static unsigned int root_prev(const struct page_alloc *pa, unsigned int ri)
{
	unsigned int w = ri / BITS_PER_WORD;
	uint64_t x = pa->root_map[w] & ~0ULL >> (63 - ri % BITS_PER_WORD);

	while (!x) {
		if (!w--)
			return PALLOC_ROOT_ENTRIES;
		x = pa->root_map[w];
	}
	return w * BITS_PER_WORD + ilog2(x);
}

/* The part of a search above region @prev, with the run that leaves it. */
static uintptr_t find_root(struct page_alloc *pa, struct finder *f, unsigned int prev)
{
	unsigned int last = region_idx(pa->max_addr - 1), ri;

	for (ri = root_next(pa, prev + 1, last); ri != PALLOC_ROOT_ENTRIES;
	     prev = ri, ri = root_next(pa, ri + 1, last)) {
		if (ri != prev + 1)
			f->len = 0;
		switch (finder_walk(f, pa->root[ri], region_base(ri),
				    level_log_pages(0))) {
		case STEP_FOUND:
			return f->run;
		case STEP_DESCEND:
			return find_below(pa, f, ri, 0, 0);
		case STEP_ON:
			break;
		}
	}
	return 0;
}

/*
 * The lowest address at or after @from where @nr free pages begin, or 0.
 * *first: no free page lies in [from, *first); 0 when there is none at all.
 */
static uintptr_t find(struct page_alloc *pa, size_t nr, uintptr_t from,
		      uintptr_t *first)
{
	struct finder f = { .need = nr };
	uintptr_t addr = 0;

	*first = 0;
	if (from >= pa->max_addr)
		return 0;
	if (pa->regions[region_idx(from)])
		addr = find_climb(pa, &f, from);
	if (!addr)
		addr = find_root(pa, &f, region_idx(from));
	*first = f.first;
	pa->nr_steps += f.steps;
	return addr;
}

/*
 * @addr is the first fit for @nr pages; move on to one that begins at a multiple
 * of @align bytes.  Where the run at @addr reaches past the next multiple the
 * second search ends where it begins.
 */
static uintptr_t find_aligned(struct page_alloc *pa, size_t nr, size_t align,
			      uintptr_t addr)
{
	unsigned int tries;
	uintptr_t first;

	for (tries = 0; addr && !is_aligned(addr, align); tries++) {
		if (tries == ALIGN_TRIES) {
			uintptr_t roomy = find(pa, nr + (align >> HA_PAGE_SHIFT) - 1,
					       addr, &first);

			if (roomy)
				return align_up(roomy, align);
			/* Tight: only the exact walk can tell. */
		}
		addr = find(pa, nr, align_up(addr, align), &first);
	}
	return addr;
}

/* Returns how many of the pages had been given back. */
static size_t mark_used(struct page_alloc *pa, uintptr_t base, size_t nr)
{
	uintptr_t addr = base;
	size_t scav = 0, left = nr;
	unsigned int n;

	for (; left; left -= n, addr += n * HA_PAGE_SIZE) {
		struct palloc_data *d = chunk_of(pa, addr);
		unsigned int idx = page_idx(addr);

		n = chunk_part(addr, left);
		scav += palloc_bits_popcount(d->scav, idx, n);
		palloc_bits_clear(d->scav, idx, n);
		palloc_bits_set(d->alloc, idx, n);
	}
	pa->nr_free -= nr;
	pa->nr_scav -= scav;
	update(pa, base, nr);
	return scav;
}

uintptr_t page_alloc_alloc(struct page_alloc *pa, size_t nr, size_t align_pages,
			   size_t *nr_scav)
{
	uintptr_t addr, first;

	if (!nr || nr > pa->nr_free || align_pages > ADDR_LIMIT >> HA_PAGE_SHIFT)
		return 0;
	VM_BUG_ON(!is_power_of_2(align_pages));

	addr = find(pa, nr, pa->search_addr, &first);
	if (first > pa->search_addr)
		pa->search_addr = first;
	addr = find_aligned(pa, nr, align_pages << HA_PAGE_SHIFT, addr);
	if (!addr)
		return 0;
	*nr_scav = mark_used(pa, addr, nr);
	if (addr == pa->search_addr)
		pa->search_addr = addr + (nr << HA_PAGE_SHIFT);
	return addr;
}

/*
 * How many of the pages at @addr, in one chunk, are free; the chunk's summary
 * decides, because the bitmap of one that was never grown is clear.
 */
static unsigned int count_free_part(const struct page_alloc *pa, uintptr_t addr,
				    unsigned int n)
{
	struct palloc_region *r = pa->regions[region_idx(addr)];
	unsigned int ci = chunk_idx(addr);

	if (!r || !chunk_sum(r, ci)->v)
		return 0;
	return n - palloc_bits_popcount(r->chunks[ci].alloc, page_idx(addr), n);
}

size_t page_alloc_count_free(const struct page_alloc *pa, uintptr_t base, size_t nr)
{
	size_t count = 0;
	unsigned int n;

	for (; nr && base < ADDR_LIMIT; nr -= n, base += n * HA_PAGE_SIZE) {
		n = chunk_part(base, nr);
		count += count_free_part(pa, base, n);
	}
	return count;
}

static bool part_returned(const struct page_alloc *pa, uintptr_t addr, unsigned int n)
{
	struct palloc_region *r = pa->regions[region_idx(addr)];
	unsigned int ci = chunk_idx(addr), idx = page_idx(addr);

	/* a chunk without a summary is full, or was not grown */
	if (!r || (!chunk_sum(r, ci)->v && palloc_bits_all_clear(r->chunks[ci].alloc, 0,
								  CHUNK_PAGES)))
		return true;
	return palloc_bits_all_set(r->chunks[ci].scav, idx, n);
}

bool page_alloc_all_returned(const struct page_alloc *pa, uintptr_t base, size_t nr)
{
	unsigned int n;

	for (; nr && base < ADDR_LIMIT; nr -= n, base += n * HA_PAGE_SIZE) {
		n = chunk_part(base, nr);
		if (!part_returned(pa, base, n))
			return false;
	}
	return true;
}

size_t page_alloc_set_resident(struct page_alloc *pa, uintptr_t base, size_t nr)
{
	size_t count = 0;
	unsigned int n;

	for (; nr && base < ADDR_LIMIT; nr -= n, base += n * HA_PAGE_SIZE) {
		struct palloc_region *r = pa->regions[region_idx(base)];
		unsigned int ci = chunk_idx(base), idx = page_idx(base), scav;

		n = chunk_part(base, nr);
		scav = r ? palloc_bits_popcount(r->chunks[ci].scav, idx, n) : 0;
		if (!scav)
			continue;
		palloc_bits_clear(r->chunks[ci].scav, idx, n);
		bitmap_set(r->unscav, ci);
		count += scav;
	}
	pa->nr_scav -= count;
	return count;
}

bool page_alloc_alloc_at(struct page_alloc *pa, uintptr_t base, size_t nr,
			 size_t *nr_scav)
{
	uintptr_t addr = base;
	size_t left = nr;
	unsigned int n;

	if (!nr || nr > pa->nr_free || !is_aligned(base, HA_PAGE_SIZE))
		return false;
	for (; left; left -= n, addr += n * HA_PAGE_SIZE) {
		n = chunk_part(addr, left);
		if (addr >= pa->max_addr || count_free_part(pa, addr, n) != n)
			return false;
	}
	*nr_scav = mark_used(pa, base, nr);
	if (base == pa->search_addr)
		pa->search_addr = base + (nr << HA_PAGE_SHIFT);
	return true;
}

void page_alloc_free(struct page_alloc *pa, uintptr_t base, size_t nr, bool scav)
{
	uintptr_t addr = base;
	size_t left = nr;
	unsigned int n;

	if (!nr)
		return;
	BUG_ON(!is_aligned(base, HA_PAGE_SIZE) || base < pa->min_addr ||
	       base >= pa->max_addr || nr > (pa->max_addr - base) >> HA_PAGE_SHIFT);

	for (; left; left -= n, addr += n * HA_PAGE_SIZE) {
		struct palloc_region *r = pa->regions[region_idx(addr)];
		unsigned int ci = chunk_idx(addr), idx = page_idx(addr);

		n = chunk_part(addr, left);
		/* Also catches a hole: its bitmap is clear. */
		BUG_ON(!r || !palloc_bits_all_set(r->chunks[ci].alloc, idx, n));
		palloc_bits_clear(r->chunks[ci].alloc, idx, n);
		if (scav)
			palloc_bits_set(r->chunks[ci].scav, idx, n);
		else
			bitmap_set(r->unscav, ci);
	}
	pa->nr_free += nr;
	if (scav)
		pa->nr_scav += nr;
	if (base < pa->search_addr)
		pa->search_addr = base;
	update(pa, base, nr);
}

void page_alloc_free_window(struct page_alloc *pa, uintptr_t base, uint64_t free,
			    uint64_t scav)
{
	struct palloc_region *r = pa->regions[region_idx(base)];
	unsigned int ci = chunk_idx(base), w = page_idx(base) / BITS_PER_WORD;
	uintptr_t first;

	if (!free)
		return;
	BUG_ON(!r || !is_aligned(base, PAGE_CACHE_PAGES * HA_PAGE_SIZE));
	BUG_ON((scav & ~free) || (free & ~r->chunks[ci].alloc[w]));

	r->chunks[ci].alloc[w] &= ~free;
	r->chunks[ci].scav[w] |= scav;
	if (free & ~scav)
		bitmap_set(r->unscav, ci);
	pa->nr_free += popcount64(free);
	pa->nr_scav += popcount64(scav);
	first = base + ctz64(free) * HA_PAGE_SIZE;
	if (first < pa->search_addr)
		pa->search_addr = first;
	update(pa, base, PAGE_CACHE_PAGES);
}

bool page_alloc_to_cache(struct page_alloc *pa, struct page_cache *c)
{
	struct palloc_data *d;
	uintptr_t addr, first;
	unsigned int w;

	VM_BUG_ON(c->free);
	addr = find(pa, 1, pa->search_addr, &first);
	if (!addr)
		return false;
	d = chunk_of(pa, addr);
	w = page_idx(addr) / BITS_PER_WORD;
	c->base = align_down(addr, PAGE_CACHE_PAGES * HA_PAGE_SIZE);
	c->free = ~d->alloc[w];
	c->scav = d->scav[w];
	d->alloc[w] = ~0ULL;
	d->scav[w] = 0;
	pa->nr_free -= popcount64(c->free);
	pa->nr_scav -= popcount64(c->scav);
	pa->search_addr = c->base + PAGE_CACHE_PAGES * HA_PAGE_SIZE;
	update(pa, c->base, PAGE_CACHE_PAGES);
	return true;
}

/*
 * In @busy set every aligned group of @min pages that has a bit set, so that only whole
 * groups stay clear.  @min: a power of two.
 */
static void fill_groups(uint64_t *busy, unsigned int min)
{
	unsigned int w, g, step = max_size(min / BITS_PER_WORD, 1);

	for (w = 0; w < PALLOC_WORDS; w += step) {
		uint64_t any = 0;

		if (min >= BITS_PER_WORD) {
			for (g = 0; g < step; g++)
				any |= busy[w + g];
			for (g = 0; any && g < step; g++)
				busy[w + g] = ~0ULL;
			continue;
		}
		for (g = 0; g < BITS_PER_WORD; g += min)
			if (busy[w] & bits_mask(g, min))
				busy[w] |= bits_mask(g, min);
	}
}

/* Highest clear run of @busy below @limit, at most @max pages; its length. */
static unsigned int last_clear_run(const uint64_t *busy, unsigned int limit,
				   unsigned int max, unsigned int *start)
{
	unsigned int end = limit, n = 0;

	while (end && bitmap_test(busy, end - 1)) {
		unsigned int w = (end - 1) / BITS_PER_WORD;

		if (end % BITS_PER_WORD == 0 && busy[w] == ~0ULL)
			end -= BITS_PER_WORD;
		else
			end--;
	}
	while (n < max && n < end && !bitmap_test(busy, end - n - 1))
		n++;
	*start = end - n;
	return n;
}

/*
 * What of a chunk is no candidate, in groups of @min pages, which are what the kernel
 * takes back at once.  A group is one when all of it is free and some of it is resident:
 * then the kernel's page is, whatever the rest says, which has been given back before
 * or was never touched.
 */
static void chunk_busy(const struct palloc_data *d, unsigned int min, uint64_t *busy)
{
	uint64_t kept[PALLOC_WORDS];
	unsigned int w;

	for (w = 0; w < PALLOC_WORDS; w++) {
		busy[w] = d->alloc[w];
		kept[w] = ~d->scav[w];
	}
	if (min > 1) {
		fill_groups(busy, min);
		fill_groups(kept, min);
	}
	for (w = 0; w < PALLOC_WORDS; w++)
		busy[w] |= ~kept[w];
}

/* The highest candidate of one chunk below page @limit; its length or 0. */
static unsigned int chunk_unscav(struct palloc_region *r, unsigned int ci,
				 unsigned int limit, size_t min, size_t max,
				 unsigned int *start)
{
	const struct palloc_data *d = &r->chunks[ci];
	uint64_t busy[PALLOC_WORDS];
	unsigned int w = 0;

	while (w < PALLOC_WORDS && (d->alloc[w] | d->scav[w]) == ~0ULL)
		w++;
	if (w == PALLOC_WORDS) {
		bitmap_clear(r->unscav, ci);
		return 0;
	}
	chunk_busy(d, min, busy);
	return last_clear_run(busy, align_down(limit, min), max, start);
}

/* As page_alloc_take_unscav(), in one region; only finds. */
static uintptr_t region_unscav(struct page_alloc *pa, unsigned int ri,
			       uintptr_t limit, size_t min, size_t max, size_t *nr)
{
	struct palloc_region *r = pa->regions[ri];
	/* The last page below the limit, here. */
	uintptr_t top = min_size(limit, region_base(ri) + REGION_SIZE) - HA_PAGE_SIZE;
	unsigned int ci, start, end, w = chunk_idx(top) / BITS_PER_WORD;
	uint64_t x = r->unscav[w] & ~0ULL >> (63 - chunk_idx(top) % BITS_PER_WORD);

	for (;;) {
		while (!x) {
			if (!w--)
				return 0;
			x = r->unscav[w];
		}
		ci = w * BITS_PER_WORD + ilog2(x);
		x ^= 1ULL << ilog2(x);
		end = ci == chunk_idx(top) ? page_idx(top) + 1 : CHUNK_PAGES;
		*nr = chunk_unscav(r, ci, end, min, max, &start);
		if (*nr)
			return sum_base(ri, LEAF_LEVEL, ci) + start * HA_PAGE_SIZE;
	}
}

uintptr_t page_alloc_take_unscav(struct page_alloc *pa, uintptr_t limit,
				 size_t min_pages, size_t max_pages, size_t *nr)
{
	unsigned int ri;
	uintptr_t addr;

	BUG_ON(!is_power_of_2(min_pages) || min_pages > CHUNK_PAGES);
	max_pages = align_down(max_pages, min_pages);
	limit = align_down(min_size(limit, pa->max_addr), HA_PAGE_SIZE);
	if (!max_pages || !limit)
		return 0;

	/* No bit in the root map, nothing free, nothing to give back. */
	ri = root_prev(pa, region_idx(limit - 1));
	while (ri != PALLOC_ROOT_ENTRIES) {
		addr = region_unscav(pa, ri, limit, min_pages, max_pages, nr);
		if (addr) {
			/* Given back or not, all of them go: nothing to count. */
			mark_used(pa, addr, *nr);
			return addr;
		}
		if (!ri)
			break;
		ri = root_prev(pa, ri - 1);
	}
	return 0;
}

INSPECT_TABLE(page_alloc) = {
	INSPECT_SIZEOF(palloc_region),
	INSPECT_MEMBERS(palloc_region, leaf),
	INSPECT_MEMBERS(palloc_region, chunks),
	INSPECT_END
};
