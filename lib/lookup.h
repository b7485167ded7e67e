/* SPDX-License-Identifier: MIT */
/*
 * From any address to the object there, safely.  See lib/lookup.c.
 */
#ifndef _LIB_LOOKUP_H
#define _LIB_LOOKUP_H

#include <heaparena/heaparena.h>
#include "heap_arena.h"
#include "mspan.h"

/* A span as it was at one moment. */
struct span_view {
	const struct page_entry *entry;	/* of the page that led to it */
	uint8_t *states;	/* and what that said */
	struct mspan *s;
	uint16_t seq;		/* which life of the descriptor */
	uint8_t sc;
	uint8_t nid;
	uintptr_t start;
	size_t nr_pages;
	struct ha_heap *heap;	/* NULL: of no heap */
};

/*
 * The span whose page entry is that of page @page of @ha; false when there is none.
 * For large spans, and medium ones of many pages, that is the first page alone.
 */
bool span_view_get(const struct heap_arena *ha, size_t page, struct span_view *v);
/* The span that covers @addr, whatever page of it that is. */
bool span_view_find(uintptr_t addr, struct span_view *v);
/* Still the same span, in the same life? */
bool span_view_holds(const struct span_view *v);

static inline unsigned int span_view_nelems(const struct span_view *v)
{
	return class_nelems(v->sc);
}

static inline size_t span_view_size(const struct span_view *v)
{
	return v->nr_pages << HA_PAGE_SHIFT;
}

/* Bytes of each object. */
static inline size_t span_view_object_size(const struct span_view *v)
{
	return v->sc ? size_classes[v->sc].size : span_view_size(v);
}

/*
 * For callers that own the object, if there is one: the state of the object of a
 * size class that starts at @addr, and its route; NULL for anything else.
 */
static __always_inline uint8_t *small_object_at(uintptr_t addr, unsigned int *route)
{
	const struct page_entry *e = arena_entry(addr);
	uint32_t magic = e ? READ_ONCE(e->magic) : 0;
	uint64_t product;

	if (unlikely(!magic))
		return NULL;
	product = (uint64_t)place_offset(READ_ONCE(e->place), addr) * magic;
	if (unlikely((uint32_t)product >= magic))
		return NULL;
	*route = page_entry_route(e);
	return READ_ONCE(e->states) + (product >> 32);
}

/* What is known of object @idx now: an enum ha_object_state. */
unsigned int span_view_state(const struct span_view *v, unsigned int idx);
/* For callers of the API; @state as above. */
void span_view_object(const struct span_view *v, unsigned int idx,
		      unsigned int state, struct ha_object *obj);

#endif /* _LIB_LOOKUP_H */
