// SPDX-License-Identifier: MIT
/*
 * The walk over all live objects, while others allocate.
 *
 *	arenas -> first pages of spans -> object states
 *
 * An object that lives throughout is reported exactly once:
 *  - its span cannot go back while it lives: the first page stays where it is and
 *    stays marked, and belongs to no other span;
 *  - each page of each arena is looked at once, upwards, and of each span each
 *    object once, by its state;
 *  - the arena was there when the walk began, and the number of arenas is read
 *    then: what is in a later one was not live at the start.
 * Realloc changes the length of a large span, never its first page.
 *
 * An object is reported when its state says live and the span is still the one
 * that was met (lib/lookup.c): no state of another life is taken for it.  A span
 * that has gone meanwhile is left: none of its objects lived throughout.
 *
 * No lock, and nothing kept between two calls of the visitor but the place: it may
 * allocate, free, walk, or not come back.
 */
#include <errno.h>

#include "conf.h"
#include "lookup.h"

struct walk {
	int (*visit)(const struct ha_object *obj, void *arg);
	void *arg;
};

static __no_tsan int walk_span(const struct walk *w, const struct span_view *v)
{
	unsigned int nelems = span_view_nelems(v);
	struct ha_object obj;
	int ret;

	for (unsigned int i = 0; i < nelems; i++) {
		if (smp_load_acquire(&v->states[i]) == OBJECT_FREE)
			continue;
		if (!span_view_holds(v))
			return 0;
		span_view_object(v, i, HA_OBJECT_LIVE, &obj);
		ret = w->visit(&obj, w->arg);
		if (ret)
			return ret;
	}
	return 0;
}

static int walk_arena(const struct walk *w, const struct heap_arena *ha)
{
	struct span_view v;
	uint64_t bits;
	int ret;

	for (size_t i = 0; i < ARENA_PAGES / 64; i++) {
		bits = smp_load_acquire(&ha->start[i]);
		for (; bits; bits &= bits - 1) {
			size_t page = i * 64 + ctz64(bits);

			/* the bit may be old: then the page is of another span */
			if (!span_view_get(ha, page, &v) ||
			    v.start != ha->base + (page << HA_PAGE_SHIFT))
				continue;
			ret = walk_span(w, &v);
			if (ret)
				return ret;
		}
	}
	return 0;
}

__export int ha_walk(int (*visit)(const struct ha_object *obj, void *arg), void *arg)
{
	const struct walk w = { visit, arg };
	size_t nr = 0;
	int ret = 0;

	if (!conf.check) {
		errno = ENOTSUP;
		return -1;
	}
	while (heap_arena_nth(nr))
		nr++;
	for (size_t i = 0; i < nr && !ret; i++)
		ret = walk_arena(&w, heap_arena_nth(i));
	return ret;
}
