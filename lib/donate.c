// SPDX-License-Identifier: MIT
/*
 * Free pages become metadata.
 *
 *	| ...  used and free, as the program goes  ... free |donated|donated|
 *	^ allocation goes lowest first                          from here down ^
 *
 * They never come back.  Taken one by one, at the lowest address, they would lie all over
 * the heap once the program has freed everything, and no large run be found there any more.
 * So they are taken in runs and from the high end, but a small part of what is free at once.
 */
#include <string.h>

#include "donate.h"
#include "fixalloc.h"
#include "heap_arena.h"

#define DONATE_PAGES	32
#define DONATE_SHARE	32

/*
 * The highest run of @nr free pages, at a multiple of so many: arena by arena.  Slow, and
 * only where memory has come to an end.
 */
static uintptr_t take_high(struct page_alloc *pa, unsigned int nid, size_t nr, size_t *nr_scav)
{
	for (size_t n = heap_arena_count(); n-- > 0;) {
		struct heap_arena *ha = heap_arena_nth(n);

		if (ha->nid != nid)
			continue;
		for (uintptr_t base = ha->base + ARENA_SIZE; base > ha->base;) {
			base -= nr << HA_PAGE_SHIFT;
			if (page_alloc_alloc_at(pa, base, nr, nr_scav))
				return base;
		}
	}
	return 0;
}

size_t donate_pages(struct page_alloc *pa, unsigned int nid)
{
	size_t nr = DONATE_PAGES, nr_scav;
	uintptr_t base = 0;

	while (nr > 1 && nr > pa->nr_free / DONATE_SHARE)
		nr /= 2;
	while (nr > 1 && !(base = take_high(pa, nid, nr, &nr_scav)))
		nr /= 2;
	if (!base)
		base = page_alloc_alloc(pa, 1, 1, &nr_scav);
	if (!base)
		return 0;
	if (nr_scav < nr)
		memset((void *)base, 0, nr << HA_PAGE_SHIFT);
	meta_donate((void *)base, nr << HA_PAGE_SHIFT);
	return nr;
}
