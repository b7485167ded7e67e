/* SPDX-License-Identifier: MIT */
/*
 * A window of 64 pages owned by one CPU slot, so that most small spans need no
 * heap lock.  Plain data: the owner serialises.  struct page_cache is defined
 * where it is filled, in page_alloc.h:
 *
 *	base              64-page aligned address, 0 when empty
 *	free   bit i set: page i is in the window and free
 *	scav   bit i set: that free page has been given back (reads as zero)
 *
 * Invariant: scav is a subset of free.  Pages in a window count as in use in
 * page_alloc.
 */
#ifndef _LIB_PAGE_CACHE_H
#define _LIB_PAGE_CACHE_H

#include "page_alloc.h"

static inline bool page_cache_empty(const struct page_cache *c)
{
	return c->free == 0;
}

/* First free run of @nr (1..64) pages, or 0; *nr_scav as page_alloc_alloc. */
uintptr_t page_cache_alloc(struct page_cache *c, size_t nr, size_t *nr_scav);
/* Give every page back to @pa and empty the window; @pa's lock is held. */
void page_cache_flush(struct page_cache *c, struct page_alloc *pa);

#endif /* _LIB_PAGE_CACHE_H */
