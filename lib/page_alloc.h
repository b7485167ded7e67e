/* SPDX-License-Identifier: MIT */
/*
 * Pages by address: address-ordered first fit over a sparse address space.
 * See lib/page_alloc.c for the tree; the owner (mheap) holds the lock for
 * every call.
 */
#ifndef _LIB_PAGE_ALLOC_H
#define _LIB_PAGE_ALLOC_H

#include "palloc_bits.h"

struct palloc_region;

/*
 * Where the tree takes its metadata: zeroed, page-aligned, address space that
 * becomes resident as it is touched.  NULL when there is none.
 */
typedef void *(*page_alloc_meta_fn)(void *arg, size_t size);

/* A window of pages lent to one CPU slot: page_cache.h has the picture. */
#define PAGE_CACHE_PAGES	64

struct page_cache {
	uintptr_t base;
	uint64_t free;
	uint64_t scav;
};

struct page_alloc {
	palloc_sum *root;		/* (c) PALLOC_ROOT_ENTRIES summaries */
	struct palloc_region **regions;	/* (l) one per root entry, NULL until grown */
	uintptr_t search_addr;		/* (l) no free page lies below */
	uintptr_t min_addr;		/* (l) grown range, for walks: [min, max) */
	uintptr_t max_addr;
	page_alloc_meta_fn meta_alloc;	/* (c) */
	void *meta_arg;			/* (c) */
	size_t nr_pages;		/* (l) grown pages */
	size_t nr_free;			/* (l) of these, free (page_cache counts as used) */
	size_t nr_scav;			/* (l) of the free ones, given back */
	uint64_t *root_map;		/* (l) bit per root entry that is not 0 */
	size_t nr_steps;		/* (l) summaries read by searches, ever */
};

/* 0 or -ENOMEM. */
int page_alloc_init(struct page_alloc *pa, page_alloc_meta_fn fn, void *arg);

/*
 * Hand [base, base + size) to the allocator: whole chunks, free, scavenged.
 * Grown ranges never overlap.  0 or -ENOMEM (then nothing changed).
 */
int page_alloc_grow(struct page_alloc *pa, uintptr_t base, size_t size);

/*
 * Take @nr pages, lowest address first; the start a multiple of @align_pages
 * pages (a power of two, 1 for any).  Returns the address, 0 when there is no
 * room.  *nr_scav: how many of them had been given back (all of them: zero).
 * A run may cross chunks, arenas and regions, never a hole that was not grown.
 */
uintptr_t page_alloc_alloc(struct page_alloc *pa, size_t nr, size_t align_pages,
			   size_t *nr_scav);
/* Take exactly [base, base + nr pages) if all of it is free. */
bool page_alloc_alloc_at(struct page_alloc *pa, uintptr_t base, size_t nr,
			 size_t *nr_scav);
/* Give pages back; @scav: their memory has been returned to the kernel. */
void page_alloc_free(struct page_alloc *pa, uintptr_t base, size_t nr, bool scav);

/* How many pages of [base, base + nr pages) are free; a hole counts as none. */
size_t page_alloc_count_free(const struct page_alloc *pa, uintptr_t base, size_t nr);

/* Is each page of it free and given back, or in a chunk that was not grown? */
bool page_alloc_all_returned(const struct page_alloc *pa, uintptr_t base, size_t nr);
/* Pages of it that are free and given back are resident all the same: how many. */
size_t page_alloc_set_resident(struct page_alloc *pa, uintptr_t base, size_t nr);

/*
 * The highest run of free, unscavenged pages that ends at or below @limit
 * (exclusive address): start aligned to and a multiple of @min_pages, at most
 * @max_pages long.  Of each group of @min_pages, a kernel page, one that is
 * unscavenged is enough.  Marks the run in use (so the caller can drop the lock,
 * madvise, and page_alloc_free(..., true)).  Returns the address and *nr, or 0.
 */
uintptr_t page_alloc_take_unscav(struct page_alloc *pa, uintptr_t limit,
				 size_t min_pages, size_t max_pages, size_t *nr);

/*
 * Give back the pages of the 64-page aligned window @base whose bit is set in
 * @free; those in @scav as well had been returned to the kernel.
 */
void page_alloc_free_window(struct page_alloc *pa, uintptr_t base, uint64_t free,
			    uint64_t scav);

/*
 * Take what is free in the first 64-page window at the search address into @c
 * (page_cache.h), which must be empty.  False when there is no free page.
 */
bool page_alloc_to_cache(struct page_alloc *pa, struct page_cache *c);

/* Recompute everything the slow way and compare; for tests and CONFIG_DEBUG. */
bool page_alloc_validate(const struct page_alloc *pa);

#endif /* _LIB_PAGE_ALLOC_H */
