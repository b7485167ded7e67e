/* SPDX-License-Identifier: MIT */
/*
 * A span: consecutive pages that hold objects of one size, and everything known
 * about them, away from the objects:
 *
 *	descriptor            states (a region of their own, packed)
 *	+--------+---------+   +------+------------------+
 *	| header | bits[]  |   | span | state[nelems + 1]|
 *	| 64 B   | 1/object|   | 8 B  | 1 byte an object |	state[] on a cache line
 *	+--------+---------+   +------+------------------+
 *	   object_state -----------------^
 *
 *	bits          1: the object left the span: live, or cached on its way
 *	              (magazine, depot).  Under the mcentral lock.
 *	object_state  OBJECT_FREE: anywhere but with the user, where it is another
 *	              value: the tag of the cache slot that it came from (lib/mcache_slot.c)
 *	              or OBJECT_LIVE.
 *	              Written by whoever holds the object, without a lock.
 *
 * So: live = state byte; cached = bit and not state; free = no bit.  The byte
 * behind the last is always OBJECT_FREE: an offset into the span's tail lands
 * there.
 *
 * Invariants:
 *  1. nr_alloc is the number of set bits (small spans).
 *  2. A state other than OBJECT_FREE implies the bit.
 *  3. A small span is on its class's partial set exactly when it is not full and
 *     not in the hands of the thread that just made or emptied it.
 */
#ifndef _LIB_MSPAN_H
#define _LIB_MSPAN_H

#include <asm-generic/rseq.h>
#include <util/bitops.h>
#include <util/list.h>
#include "page.h"
#include "sizeclasses.h"

struct ha_heap;

enum mspan_state {
	MSPAN_DEAD,		/* of no span; 0, as a descriptor given back reads */
	MSPAN_SMALL,		/* objects of a size class */
	MSPAN_LARGE,		/* one object */
};

#define OBJECT_FREE		0
#define OBJECT_LIVE		1	/* or more */
#define OBJECT_SAMPLED		UINT8_MAX	/* live, no slot's tag: see lib/profile.c */

struct mspan {
	uintptr_t start;		/* (c) while in use; first: the free list's link */
	uint32_t nr_pages;		/* (c) while in use; large: realloc may change it */
	uint32_t dropped;		/* (l) kernel pages given back, see mspan_drop() */
	struct list_head link;		/* (l) partial set, or itself */
	uint8_t *object_state;		/* (c) while resident: a byte an object */
	uint32_t size;			/* (c) object size; 0 for large */
	uint16_t nelems;		/* (c) objects; 1 for large */
	uint16_t nr_alloc;		/* (l) bits set */
	uint8_t state;			/* (a) enum mspan_state, written last */
	uint8_t sc;			/* (c) size class */
	uint8_t nid;			/* (c) */
	uint8_t set_idx;		/* (l) which list of the set; in a heap: last round */
	uint8_t hint;			/* (l) no free bit in words below it */
	uint8_t in_slab;		/* (c) while resident: see lib/mspan_pool.c */
	uint16_t seq;			/* (a) counts the lives of this descriptor; never 0 in one */
	union {
		size_t user_size;	/* (a) large: bytes asked for */
		struct ha_heap *heap;	/* (c) either kind, in a heap of the user's */
		struct {		/* (l) small: */
			uint16_t round;		/* of the scavenger's last visit */
			uint16_t user;		/* cache slot last served, + 1 */
		};
	};
	uint64_t bits[];		/* (l) */
};

static_assert(sizeof(struct mspan) == 64, "one cache line before the bits");
static_assert(MAX_SPAN_OBJECTS / 64 <= UINT8_MAX, "words of bits fit in a hint");

/* Bytes of the descriptor, and of the states, of a span of @nelems objects. */
static inline size_t mspan_bytes(unsigned int nelems)
{
	return sizeof(struct mspan) + bitmap_words(nelems) * sizeof(uint64_t);
}

static inline unsigned int class_nelems(unsigned int sc)
{
	return sc ? size_classes[sc].nelems : 1;
}

/*
 * Whole lines.  The few states of larger small objects share one, or a heap of many
 * would spread them over more cache than there is; a medium or large object can
 * afford one, and two CPUs that work on two of them do not meet in it.
 */
static inline size_t mspan_state_bytes(unsigned int sc)
{
	size_t need = sizeof(struct mspan *) + class_nelems(sc) + 1;

	if (!sc || sc >= FIRST_MEDIUM_CLASS)
		return 64;
	return need <= 16 ? 16 : need <= 32 ? 32 : align_up(need, 64);
}

static inline size_t mspan_size(const struct mspan *s)
{
	return (size_t)s->nr_pages << HA_PAGE_SHIFT;
}

static inline bool mspan_contains(const struct mspan *s, uintptr_t addr)
{
	return addr - s->start < mspan_size(s);
}

static inline void *mspan_object(const struct mspan *s, unsigned int idx)
{
	return (void *)(s->start + (size_t)idx * s->size);
}

/* Which object @addr lies in; nelems for the span's tail. */
static inline unsigned int mspan_index(const struct mspan *s, uintptr_t addr)
{
	return s->size ? (addr - s->start) / s->size : 0;
}

/*
 * All objects free; @sc 0 makes a large span.  s->object_state is set already: a
 * descriptor has the same states, and is of the same kind, for ever.
 */
void mspan_init(struct mspan *s, uintptr_t start, size_t nr_pages,
		unsigned int sc, unsigned int nid);

/*
 * Take up to @n free objects, lowest address first, into slots[]; returns how
 * many.  Caller: the mcentral lock of the span.
 */
unsigned int mspan_alloc(struct mspan *s, struct mag_slot *slots, unsigned int n);
/*
 * The same from the lowest 64 objects that are all in the span, 0 when there are
 * none: their states fill a cache line that no other CPU writes yet.
 */
unsigned int mspan_alloc_line(struct mspan *s, struct mag_slot *slots,
			      unsigned int n);
/* Give those of @mask in @word of the bits back: all of them are out. */
void mspan_free(struct mspan *s, unsigned int word, uint64_t mask);

/*
 * The next run of whole kernel pages (1 << @page_shift bytes) of a small span that
 * no object out of the span touches and that has not been given back yet: its
 * address, *size in bytes, and it is marked as given back.  0 when there is none.
 * Who allocates from the span clears s->dropped before.  Caller: the mcentral or
 * heap lock, held until the memory is gone.
 */
uintptr_t mspan_drop(struct mspan *s, unsigned int page_shift, size_t *size);

static inline bool mspan_full(const struct mspan *s)
{
	return s->nr_alloc == s->nelems;
}

/* Recount and compare; for tests and CONFIG_DEBUG. */
bool mspan_validate(struct mspan *s);

#endif /* _LIB_MSPAN_H */
