// SPDX-License-Identifier: MIT
/*
 * Pages by what the page allocator says of them, and over that the windows of the
 * caches of pages, and the spans.
 *
 *	summary 0, no bit    not grown        lib/page_alloc.c, invariant 2
 *	alloc 0, scav 1      returned
 *	alloc 0, scav 0      free
 *	alloc 1              in a window, or of a span, or neither
 *
 * A picture of a moving heap: what changed between the bits and the spans shows as
 * either. A span is drawn over what the bits say.
 */
#include <stdlib.h>
#include <string.h>

#include "pages.h"

/* The part of a region that an arena is: its chunks and their summaries. */
static bool read_chunks(struct heap *h, uint64_t base, uint64_t nid, char *chunks,
			char *leaf, size_t nr)
{
	const struct layout *l = h->l;
	size_t chunk = size_of(l, M_palloc_region_chunks), sum = size_of(l, M_palloc_region_leaf);
	uint64_t per_region = 1UL << (value_of(l, N_region_shift) - value_of(l, N_chunk_shift));
	uint64_t ci = base >> value_of(l, N_chunk_shift) & (per_region - 1), regions, region;
	char *mheap = xalloc(1, size_of(l, O_mheaps));
	bool ok;

	ok = nid < count_of(l, O_mheaps) && nid < h->nr_nodes &&
	     ci + nr <= count_of(l, M_palloc_region_chunks) &&
	     ci + nr <= count_of(l, M_palloc_region_leaf) &&
	     target_read(h->t, value_of(l, O_mheaps) + nid * (uint64_t)size_of(l, O_mheaps),
			 mheap, size_of(l, O_mheaps));
	regions = ok ? member(l, M_mheap_regions, mheap) : 0;
	free(mheap);
	if (!ok || !target_read(h->t, regions + (base >> value_of(l, N_region_shift)) * 8,
				&region, 8))
		return false;
	memset(chunks, 0, nr * chunk);
	memset(leaf, 0, nr * sum);
	/* reserved, and nothing of its region grown yet */
	if (!region)
		return true;
	return target_read(h->t, region + value_of(l, M_palloc_region_chunks) + ci * chunk,
			   chunks, nr * chunk) &&
	       target_read(h->t, region + value_of(l, M_palloc_region_leaf) + ci * sum, leaf,
			   nr * sum);
}

static bool any(const char *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (p[i])
			return true;
	return false;
}

static bool take_chunks(struct heap *h, uint64_t base, uint64_t nid, struct page *pages)
{
	const struct layout *l = h->l;
	size_t per_chunk = 1UL << (value_of(l, N_chunk_shift) - h->page_shift);
	size_t nr = h->arenas.size >> value_of(l, N_chunk_shift);
	size_t stride = size_of(l, M_palloc_region_chunks), sum = size_of(l, M_palloc_region_leaf);
	unsigned int word = size_of(l, M_palloc_data_alloc) * 8;
	char *chunks = xalloc(nr, stride), *leaf = xalloc(nr, sum);
	bool ok = read_chunks(h, base, nid, chunks, leaf, nr);

	for (size_t c = 0; c < nr && ok; c++) {
		const char *d = chunks + c * stride;
		bool grown = any(d, stride) || any(leaf + c * sum, sum);

		for (size_t i = 0; i < per_chunk && grown; i++) {
			struct page *p = &pages[c * per_chunk + i];

			/* fewer bits than pages: not of this format */
			if (i / word >= count_of(l, M_palloc_data_alloc) ||
			    i / word >= count_of(l, M_palloc_data_scav))
				break;
			if (member_at(l, M_palloc_data_alloc, d, i / word) >> (i % word) & 1)
				p->state = PAGE_OTHER;
			else if (member_at(l, M_palloc_data_scav, d, i / word) >> (i % word) & 1)
				p->state = PAGE_RETURNED;
			else
				p->state = PAGE_FREE;
		}
	}
	free(chunks);
	free(leaf);
	return ok;
}

static void take_windows(struct heap *h, uint64_t base, const char *mheap, struct page *pages)
{
	const struct layout *l = h->l;

	for (uint32_t i = 0; i < count_of(l, M_mheap_cache); i++) {
		const char *c = member_ptr(l, M_mheap_cache, mheap, i);
		uint64_t at = member(l, M_heap_cache_base, c) - base;
		uint64_t bits = member(l, M_heap_cache_free, c);

		for (unsigned int b = 0; b < 64; b++, at += 1UL << h->page_shift)
			if (bits >> b & 1 && at < h->arenas.size)
				pages[at >> h->page_shift].state = PAGE_WINDOW;
	}
}

static bool read_windows(struct heap *h, uint64_t base, uint64_t nid, struct page *pages)
{
	size_t size = size_of(h->l, O_mheaps);
	char *mheap = xalloc(1, size);
	bool ok = target_read(h->t, value_of(h->l, O_mheaps) + nid * (uint64_t)size, mheap, size);

	if (ok)
		take_windows(h, base, mheap, pages);
	free(mheap);
	return ok;
}

struct painter {
	struct heap *h;
	struct page *pages;
	struct page_rest *rest;
	uint64_t base;
};

static void paint(struct painter *p, uint64_t start, uint64_t nr, struct page page)
{
	for (uint64_t i = 0; i < nr; i++) {
		uint64_t off = start - p->base + (i << p->h->page_shift);

		if (off >= p->h->arenas.size) {
			*p->rest = (struct page_rest){ p->base + off, nr - i, page };
			return;
		}
		p->pages[off >> p->h->page_shift] = page;
	}
}

static void paint_span(const struct span *s, void *arg)
{
	struct page page = { .state = PAGE_SPAN, .sc = s->sc };

	page.fill = (s->nr_live * 255UL + s->nelems / 2) / s->nelems;
	/* not to be taken for an empty one */
	if (!page.fill && s->nr_live)
		page.fill = 1;
	paint(arg, s->start, s->nr_pages, page);
}

bool pages_read(struct heap *h, uint64_t i, struct page *pages, struct page_rest *rest,
		uint64_t *nr_lost)
{
	struct painter p = { h, pages, rest, h->arenas.a[i].base };
	struct page_rest from = *rest;

	memset(pages, 0, (h->arenas.size >> h->page_shift) * sizeof(*pages));
	*rest = (struct page_rest){ 0 };
	if (!take_chunks(h, p.base, h->arenas.a[i].nid, pages) ||
	    !read_windows(h, p.base, h->arenas.a[i].nid, pages))
		return false;
	if (from.nr && from.start == p.base)
		paint(&p, from.start, from.nr, from.page);
	return heap_visit(h, i, paint_span, &p, nr_lost);
}
