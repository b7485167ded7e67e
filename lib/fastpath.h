/* SPDX-License-Identifier: MIT */
/*
 * The fast paths of malloc and free, for the entry points that begin with them: in
 * lib/malloc.c, and the C++ operators.  Each leaves by one jump into a slow half.
 *
 *	malloc: size -> class (one table) -> pop from this CPU's magazine
 *	free:   address -> page entry -> class, state byte -> push
 */
#ifndef _LIB_FASTPATH_H
#define _LIB_FASTPATH_H

#include "heap_arena.h"
#include "mcache.h"
#include "mspan.h"
#include "sizeclasses.h"

static_assert(sizeof(struct mag_hdr) == 1 << PAGE_ENTRY_SHIFT,
	      "a shifted place is the offset of a header");

/* Takes an object popped from @h, whose count has ended: a sample, perhaps. */
void *take_due(struct mag_slot slot, struct mag_hdr *h, size_t twice) __noinline
	__attribute__((returns_nonnull));

/* An object of the class that is @twice / 2, popped from @h. */
static __always_inline void *take_slot(const struct mag_slot *slot, struct mag_hdr *h,
				       bool due, size_t twice)
{
	/* check:off: the state is in a line of its own in a large heap, not touched for nothing */
	if (unlikely(due) && !h->tag)
		goto out;
	if (unlikely(due))
		return take_due(*slot, h, twice);
	*slot->state = h->tag;
out:
	if (!slot->obj)
		__builtin_unreachable();	/* or callers would ask */
	return slot->obj;
}

/* An object of @size bytes; NULL: take the slow path. */
static __always_inline void *malloc_fast(size_t size)
{
	struct mag_slot slot;
	struct mag_hdr *h;
	size_t twice;
	bool due;

	if (unlikely(size > MAX_SMALL_SIZE))
		return NULL;
	twice = class_twice[(size + 7) >> 3];
	if (unlikely(!mcache_pop_twice(twice, &slot, &h, &due)))
		return NULL;
	return take_slot(&slot, h, due, twice);
}

/* An object of a size class as the fast paths see it. */
struct object {
	uint8_t *state;
	uint32_t place;		/* its page entry's */
};

/* True when @addr is the start of an object of a size class; fills in @o. */
static __always_inline bool object_find(const struct page_entry *e,
					uintptr_t addr, struct object *o)
{
	uint64_t magic = READ_ONCE(e->magic);
	uint32_t place = READ_ONCE(e->place);
	uint64_t product = place_offset(place, addr) * magic;

	/* the magic of a large span, or of none, is 0 and ends here */
	if (unlikely((uint32_t)product >= (uint32_t)magic))
		return false;
	/* a plain load, which can be an operand: that of a live object does not change */
	o->state = e->states + (product >> 32);
	o->place = place;
	return true;
}

/* Is its class that of @size?  Medium ones are not asked here. */
static __always_inline bool object_fits(const struct object *o, size_t size)
{
	return size <= MAX_SMALL_SIZE && class_twice[(size + 7) >> 3] ==
	       2 * route_class(place_route(o->place));
}

/* It was the user's no more, or it came from another slot, or there is no room. */
void object_declined(struct mag_slot slot, size_t route, uint32_t tag,
		     enum mag_result why);

/*
 * The user's no more.  That it was is asked together with where it came from: the
 * tag of no slot with magazines is OBJECT_FREE, so that a second free is declined.
 */
static __always_inline void object_free(void *ptr, const struct object *o)
{
	struct mag_slot slot = { .obj = ptr, .state = o->state };
	uint32_t place = o->place, tag = 0;
	enum mag_result r;
	size_t hdr_off;

	if (likely(!(place & PLACE_UNCHECKED))) {
		tag = *o->state;
		*o->state = OBJECT_FREE;
	} else {
		place &= ~PLACE_UNCHECKED;
	}
	hdr_off = place >> PLACE_ROUTE_SHIFT;
	r = mcache_push_off(hdr_off, slot, tag);
	if (unlikely(r != MAG_DONE))
		object_declined(slot, hdr_off >> MAG_HDR_SHIFT, tag, r);
}

#endif /* _LIB_FASTPATH_H */
