// SPDX-License-Identifier: MIT
/*
 * Any address, any thread, any signal handler: which object is there.
 *
 *	arena_index -> page entry -> descriptor, states     three loads, no lock
 *
 * Why no load can fault, whatever other threads do meanwhile:
 *  - the index is readable from its first moment; an arena, once in it, is never
 *    unmapped (lib/heap_arena.c, 1 and 2);
 *  - an entry's address of states that is not NULL was written by
 *    heap_arena_set_span(), and the word in front of them leads to a descriptor.  Both
 *    are metadata, never unmapped (lib/fixalloc.c, 1).  They belong to each other, to
 *    one kind and to one node for ever (lib/mheap.c), so that a stale one leads to a
 *    descriptor of as many objects as it always had, in another life or dead, and
 *    never to memory of another kind;
 *  - either may have been given back to the kernel meanwhile (lib/mspan_pool.c), and
 *    then it reads as zero: a word that leads nowhere, which is looked at, or a
 *    descriptor in a life that there is none of.  Nothing here goes by an address that
 *    stands in a descriptor.
 *
 * Why what is read belongs together.  The facts are taken between two looks at the
 * entry's states and at mspan.seq, which counts the lives of the descriptor:
 *
 *	w = states    q = seq    w again    facts    w again    q again
 *
 * Every load is an acquire, so that they happen in this order.  mspan_init()
 * counts seq before the entries of the new life are written (release), and they
 * are cleared before a life ends.  The numbers of lives go on where they were when a
 * descriptor has been given back, and none of them is 0.  Take the first "w again" that
 * finds w.  If it is from q's life, then a life that began meanwhile shows as different states or,
 * where it has the very same pages, as a different seq behind them.  If it is from
 * a later life than q's, then seq had been counted before those states were written,
 * and "q again" differs.  Equal answers mean one life, and facts of that life
 * alone: those that never change in it (node, start, heap), the length of a large
 * span, which is one word, and an object's state, which is one byte.  The class
 * changes once where realloc makes a large span of a medium one: its object is found
 * as the one or as the other.  Only
 * as many lives as there are numbers (30 thousand and more), of descriptors of one
 * slab and at last at the same place, in the middle of a look-up would pass unseen; the
 * answer then is about an object that did not live throughout, for
 * which any state is as good.
 *
 * A look that fails is repeated; it fails only because another thread has moved
 * on.  A handler that interrupted its own thread in the middle of a change finds
 * entries and seq at rest, and comes to an end.  So does who meets what was given
 * back: the entry was cleared before, and shows that it was.
 *
 * What is not promised: more than that the answer was true at a moment of the call.
 * Only who owns the object, or keeps its owner from freeing it, can rely on more.
 */
#include <errno.h>
#include <string.h>

#include "conf.h"
#include "lookup.h"

/* The facts behind @states, which stood in @e; false when they do not hold. */
static __no_tsan bool view_read(const struct page_entry *e, uint8_t *states,
				uintptr_t page, struct span_view *v)
{
	struct mspan *s = smp_load_acquire((struct mspan *const *)states - 1);
	uint32_t place;

	v->entry = e;
	v->states = states;
	v->s = s;
	/* given back, or so a moment ago: the entry shows it at the next look */
	if (!s)
		return false;
	v->seq = smp_load_acquire(&s->seq);
	if (!v->seq || smp_load_acquire(&e->states) != states)
		return false;
	place = smp_load_acquire(&e->place);
	v->sc = smp_load_acquire(&s->sc);
	v->nid = smp_load_acquire(&s->nid);
	v->nr_pages = v->sc ? size_classes[v->sc].pages :
			      smp_load_acquire(&s->nr_pages);
	v->start = page - place_offset(place, page);
	v->heap = place_route(place) == ROUTE_HEAP ? smp_load_acquire(&s->heap) : NULL;
	return span_view_holds(v);
}

__no_tsan bool span_view_holds(const struct span_view *v)
{
	return smp_load_acquire(&v->entry->states) == v->states &&
	       smp_load_acquire(&v->s->seq) == v->seq;
}

__no_tsan bool span_view_get(const struct heap_arena *ha, size_t page, struct span_view *v)
{
	const struct page_entry *e = &ha->page[page];
	uint8_t *states;

	while ((states = smp_load_acquire(&e->states)))
		if (view_read(e, states, ha->base + (page << HA_PAGE_SHIFT), v))
			return true;
	return false;
}

/*
 * The nearest first page of a span at or below @page of @ha, which may lie arenas
 * away: *page and the arena, or NULL.
 */
static __no_tsan struct heap_arena *first_page_below(struct heap_arena *ha, size_t *page)
{
	while (ha) {
		size_t i = *page / 64;
		uint64_t bits = smp_load_acquire(&ha->start[i]);

		bits &= ~0ULL >> (63 - *page % 64);
		while (!bits && i > 0)
			bits = smp_load_acquire(&ha->start[--i]);
		if (bits) {
			*page = i * 64 + ilog2(bits);
			return ha;
		}
		ha = ha->base ? arena_lookup(ha->base - 1) : NULL;
		*page = ARENA_PAGES - 1;
	}
	return NULL;
}

bool span_view_find(uintptr_t addr, struct span_view *v)
{
	struct heap_arena *ha = arena_lookup(addr);
	size_t page = (addr >> HA_PAGE_SHIFT) & (ARENA_PAGES - 1);

	if (!ha)
		return false;
	/* Every page of a small span, and the first one of a large, has an entry. */
	if (span_view_get(ha, page, v))
		return addr - v->start < span_view_size(v);
	/*
	 * A large object that lives throughout has its first page marked throughout,
	 * and no other mark stands between that and @addr.
	 */
	ha = first_page_below(ha, &page);
	return ha && span_view_get(ha, page, v) &&
	       addr - v->start < span_view_size(v);
}

__no_tsan unsigned int span_view_state(const struct span_view *v, unsigned int idx)
{
	const uint64_t *bits = &v->s->bits[idx / 64];

	/* Without misuse detection free leaves the states of small objects alone. */
	if (conf.check || !v->sc || v->heap) {
		if (smp_load_acquire(&v->states[idx]) != OBJECT_FREE)
			return HA_OBJECT_LIVE;
		if (!v->sc)
			return HA_OBJECT_FREE;
	}
	if (!(smp_load_acquire(bits) >> (idx % 64) & 1))
		return HA_OBJECT_FREE;
	return conf.check || v->heap ? HA_OBJECT_CACHED : HA_OBJECT_UNKNOWN;
}

void span_view_object(const struct span_view *v, unsigned int idx,
		      unsigned int state, struct ha_object *obj)
{
	size_t size = span_view_object_size(v);

	*obj = (struct ha_object){
		.size = sizeof(*obj),
		.start = (void *)(v->start + idx * size),
		.usable = size,
		.heap = v->heap,
		.span = (void *)v->start,
		.span_size = span_view_size(v),
		.size_class = v->sc,
		.node = v->nid,
		.index = idx,
		.nr_objects = span_view_nelems(v),
		.state = state,
	};
}

__export int ha_lookup(const void *addr, struct ha_object *out)
{
	uintptr_t a = (uintptr_t)addr;
	size_t size = out->size;
	struct ha_object obj;
	struct span_view v;
	unsigned int idx, state;

	if (size < offsetof(struct ha_object, heap)) {
		errno = EINVAL;
		return -1;
	}
	do {
		if (!span_view_find(a, &v))
			return 0;
		idx = (a - v.start) / span_view_object_size(&v);
		if (idx >= span_view_nelems(&v))
			return 0;
		state = span_view_state(&v, idx);
	} while (!span_view_holds(&v));
	span_view_object(&v, idx, state, &obj);
	obj.size = min_size(size, sizeof(obj));
	memcpy(out, &obj, obj.size);
	return 1;
}
