/* SPDX-License-Identifier: MIT */
/* Every page of an arena: what it is. See tools/ha/pages.c. */
#ifndef HA_PAGES_H
#define HA_PAGES_H

#include "spans.h"

enum page_state {
	PAGE_UNGROWN,		/* reserved address space */
	PAGE_RETURNED,		/* free, given back to the kernel or never touched */
	PAGE_FREE,		/* free and resident */
	PAGE_WINDOW,		/* free, lent to a cache of pages */
	PAGE_OTHER,		/* in use, and of no span: metadata, or on its way */
	PAGE_SPAN,
	NR_PAGE_STATES
};

struct page {
	uint8_t state;		/* enum page_state */
	uint8_t fill;		/* of a span: live objects in 255ths of all */
	uint16_t sc;		/* of a span: its class, 0 for large */
};

/* What lies over the end of an arena: the rest of a large span. */
struct page_rest {
	uint64_t start;		/* address and pages of it */
	uint64_t nr;
	struct page page;
};

/*
 * The pages of arena @i into pages[], which has an element for each. *rest is handed
 * from one arena to the next. False when the memory cannot be read.
 */
bool pages_read(struct heap *h, uint64_t i, struct page *pages, struct page_rest *rest,
		uint64_t *nr_lost);

#endif /* HA_PAGES_H */
