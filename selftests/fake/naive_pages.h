/* SPDX-License-Identifier: MIT */
/*
 * Pages as one byte each, in a few windows of a sparse address space: what
 * page_alloc and page_cache are held against.
 *
 *	window 0          window 1                   window 2
 *	|....SSFFUUUS....|  nothing  |SSSUUUU........| ...
 *
 * Windows neither overlap nor touch.  Every operation is a loop over bytes.
 */
#ifndef SELFTESTS_FAKE_NAIVE_PAGES_H
#define SELFTESTS_FAKE_NAIVE_PAGES_H

#include "page_alloc.h"

enum naive_state {
	NAIVE_HOLE,		/* not grown */
	NAIVE_USED,
	NAIVE_FREE,		/* free, its memory still there */
	NAIVE_SCAV,		/* free, given back */
};

#define NAIVE_WINDOWS		8

struct naive_window {
	uintptr_t base;
	size_t nr;		/* pages */
	uint8_t *page;
};

struct naive_pages {
	struct naive_window win[NAIVE_WINDOWS];
	unsigned int nr_windows;	/* ascending */
};

void naive_add_window(struct naive_pages *np, uintptr_t base, size_t nr);
void naive_release(struct naive_pages *np);
enum naive_state naive_get(const struct naive_pages *np, uintptr_t addr);
/* Sets @nr pages and returns how many of them were @was. */
size_t naive_set(struct naive_pages *np, uintptr_t base, size_t nr,
		 enum naive_state to, enum naive_state was);
size_t naive_count(const struct naive_pages *np, uintptr_t base, size_t nr,
		   enum naive_state state);
/* All windows. */
size_t naive_total(const struct naive_pages *np, enum naive_state state);

/* Lowest free run of @nr pages at a multiple of @align pages; 0 when none. */
uintptr_t naive_find(const struct naive_pages *np, size_t nr, size_t align);
/* What page_alloc_take_unscav() promises to take; changes nothing. */
uintptr_t naive_unscav(const struct naive_pages *np, uintptr_t limit, size_t min,
		       size_t max, size_t *nr);
/* The 64 pages at @base as masks. */
void naive_masks(const struct naive_pages *np, uintptr_t base, uint64_t *free,
		 uint64_t *scav);

#endif /* SELFTESTS_FAKE_NAIVE_PAGES_H */
