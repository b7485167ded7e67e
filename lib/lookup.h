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
	const uint64_t *wp;	/* the page word that led to it */
	uint64_t word;		/* and what that said */
	struct mspan *s;
	uint16_t seq;		/* which life of the descriptor */
	uint8_t sc;
	uint8_t nid;
	uintptr_t start;
	size_t nr_pages;
	struct ha_heap *heap;	/* NULL: of no heap */
};

/*
 * The span whose page word stands at page @page of @ha; false when there is none.
 * For large spans that is the first page alone.
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
 * size class that starts at @addr, and its route as the offset of a 16-byte entry;
 * NULL for anything else.
 */
static __always_inline uint8_t *small_object_at(uintptr_t addr, size_t *route_off)
{
	struct heap_arena *ha = arena_lookup(addr);
	uint64_t w = ha ? arena_page_word(ha, addr) : 0, product;
	unsigned int sc = route_class(page_word_route(w));
	uint32_t magic;

	if (unlikely(!sc || sc >= NR_SIZE_CLASSES))
		return NULL;
	magic = size_classes[sc].magic;
	product = page_word_offset(w, addr) * magic;
	if (unlikely((uint32_t)product >= magic))
		return NULL;
	*route_off = w & PAGE_WORD_ROUTE_MASK;
	return page_word_states(w) + (product >> 32);
}

/* What is known of object @idx now: an enum ha_object_state. */
unsigned int span_view_state(const struct span_view *v, unsigned int idx);
/* For callers of the API; @state as above. */
void span_view_object(const struct span_view *v, unsigned int idx,
		      unsigned int state, struct ha_object *obj);

#endif /* _LIB_LOOKUP_H */
