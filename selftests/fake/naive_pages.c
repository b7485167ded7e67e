// SPDX-License-Identifier: MIT
/*
 * The flat reference of naive_pages.h; shares nothing with the tree but the
 * constants of the geometry.
 */
#include <stdlib.h>
#include <string.h>

#include "naive_pages.h"

void naive_add_window(struct naive_pages *np, uintptr_t base, size_t nr)
{
	struct naive_window *w = &np->win[np->nr_windows++];

	w->base = base;
	w->nr = nr;
	w->page = calloc(nr, 1);
	if (!w->page)
		abort();
}

void naive_release(struct naive_pages *np)
{
	unsigned int i;

	for (i = 0; i < np->nr_windows; i++)
		free(np->win[i].page);
	np->nr_windows = 0;
}

/* NULL outside of every window. */
static uint8_t *lookup(const struct naive_pages *np, uintptr_t addr)
{
	unsigned int i;

	for (i = 0; i < np->nr_windows; i++) {
		const struct naive_window *w = &np->win[i];

		if (addr >= w->base && addr - w->base < w->nr * HA_PAGE_SIZE)
			return &w->page[(addr - w->base) / HA_PAGE_SIZE];
	}
	return NULL;
}

enum naive_state naive_get(const struct naive_pages *np, uintptr_t addr)
{
	uint8_t *p = lookup(np, addr);

	return p ? *p : NAIVE_HOLE;
}

size_t naive_set(struct naive_pages *np, uintptr_t base, size_t nr,
		 enum naive_state to, enum naive_state was)
{
	size_t i, count = 0;
	uint8_t *p = lookup(np, base);

	/* A run never leaves its window. */
	if (!p || !lookup(np, base + (nr - 1) * HA_PAGE_SIZE))
		abort();
	for (i = 0; i < nr; i++) {
		count += p[i] == was;
		p[i] = to;
	}
	return count;
}

size_t naive_count(const struct naive_pages *np, uintptr_t base, size_t nr,
		   enum naive_state state)
{
	size_t i, count = 0;

	for (i = 0; i < nr; i++)
		count += naive_get(np, base + i * HA_PAGE_SIZE) == state;
	return count;
}

size_t naive_total(const struct naive_pages *np, enum naive_state state)
{
	size_t i, count = 0;
	unsigned int k;

	for (k = 0; k < np->nr_windows; k++)
		for (i = 0; i < np->win[k].nr; i++)
			count += np->win[k].page[i] == state;
	return count;
}

static bool is_free(uint8_t state)
{
	return state == NAIVE_FREE || state == NAIVE_SCAV;
}

uintptr_t naive_find(const struct naive_pages *np, size_t nr, size_t align)
{
	unsigned int k;

	for (k = 0; k < np->nr_windows; k++) {
		const struct naive_window *w = &np->win[k];
		size_t run = 0, i;

		/* From the top, so that run is what begins at page i. */
		uintptr_t best = 0;

		for (i = w->nr; i-- > 0;) {
			uintptr_t addr = w->base + i * HA_PAGE_SIZE;

			run = is_free(w->page[i]) ? run + 1 : 0;
			if (run >= nr && addr / HA_PAGE_SIZE % align == 0)
				best = addr;
		}
		if (best)
			return best;
	}
	return 0;
}

/* Is the group of @min pages at @addr whole and a candidate? */
static bool group_unscav(const struct naive_pages *np, uintptr_t addr, size_t min)
{
	size_t nr = naive_count(np, addr, min, NAIVE_FREE);

	/* the kernel's page is resident when any part of it is */
	return nr && nr + naive_count(np, addr, min, NAIVE_SCAV) == min;
}

uintptr_t naive_unscav(const struct naive_pages *np, uintptr_t limit, size_t min,
		       size_t max, size_t *nr)
{
	uintptr_t group = min * HA_PAGE_SIZE;
	unsigned int k;

	for (k = np->nr_windows; k-- > 0;) {
		const struct naive_window *w = &np->win[k];
		uintptr_t end = w->base + w->nr * HA_PAGE_SIZE, a, low;

		if (end > limit)
			end = limit / group * group;
		for (a = end; a >= w->base + group; a -= group) {
			if (!group_unscav(np, a - group, min))
				continue;
			low = a - group;
			/* Downwards, not past the chunk. */
			while (low % CHUNK_SIZE && a - low + group <= max * HA_PAGE_SIZE &&
			       group_unscav(np, low - group, min))
				low -= group;
			*nr = (a - low) / HA_PAGE_SIZE;
			return low;
		}
	}
	return 0;
}

void naive_masks(const struct naive_pages *np, uintptr_t base, uint64_t *free,
		 uint64_t *scav)
{
	unsigned int i;

	*free = 0;
	*scav = 0;
	for (i = 0; i < 64; i++) {
		enum naive_state s = naive_get(np, base + i * HA_PAGE_SIZE);

		if (is_free(s))
			*free |= 1ULL << i;
		if (s == NAIVE_SCAV)
			*scav |= 1ULL << i;
	}
}
