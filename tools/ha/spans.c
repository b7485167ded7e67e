// SPDX-License-Identifier: MIT
/*
 * The heap as it lies in memory: arenas, and the spans in them.
 *
 *	arenas_walk -> blocks -> struct heap_arena -> page entries -> spans
 */
#include <stdlib.h>
#include <string.h>

#include "spans.h"

#define MAX_ARENAS	(1UL << 22)

void arenas_free(struct arenas *a)
{
	free(a->base);
	free(a->nid);
	free(a->at);
	*a = (struct arenas){ 0 };
}

/* The addresses of the arenas' descriptions, from the blocks that list them. */
static bool read_list(struct target *t, const struct layout *l, struct arenas *a)
{
	uint64_t block = value_of(l, N_walk_block), walk, from;

	if (!object(t, l, O_arenas_walk, &walk))
		return false;
	for (uint64_t i = 0; i < a->nr; i += block) {
		uint64_t n = a->nr - i < block ? a->nr - i : block;

		if (!target_read(t, walk + i / block * 8, &from, 8) ||
		    !target_read(t, from, a->at + i, n * 8))
			return false;
	}
	return true;
}

bool arenas_read(struct target *t, const struct layout *l, struct arenas *a)
{
	char *buf = xalloc(1, value_of(l, N_sizeof_heap_arena));
	bool ok;

	*a = (struct arenas){ .size = 1UL << value_of(l, N_arena_shift) };
	ok = object(t, l, O_arenas_nr, &a->nr) && a->nr <= MAX_ARENAS;
	if (ok) {
		a->at = xalloc(a->nr, sizeof(*a->at));
		a->base = xalloc(a->nr, sizeof(*a->base));
		a->nid = xalloc(a->nr, sizeof(*a->nid));
		ok = read_list(t, l, a);
	}
	for (uint64_t i = 0; ok && i < a->nr; i++) {
		ok = target_read(t, a->at[i], buf, value_of(l, N_sizeof_heap_arena));
		a->base[i] = member(l, M_heap_arena_base, buf);
		a->nid[i] = member(l, M_heap_arena_nid, buf);
	}
	free(buf);
	if (!ok)
		arenas_free(a);
	return ok;
}
