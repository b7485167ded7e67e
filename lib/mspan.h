/* SPDX-License-Identifier: MIT */
/*
 * A span: consecutive pages that hold objects of one size, and everything known
 * about them.  The descriptor is metadata, away from the objects:
 *
 *	+--------+---------------------------+---------------------+
 *	| header | object_state[nelems + 1]  | alloc_bits[]        |
 *	| 64 B   | a byte an object          | a bit an object     |
 *	+--------+---------------------------+---------------------+
 *
 *	alloc_bits    1: the object left the span: live, or cached on its way
 *	              (magazine, depot).  Under the mcentral lock.
 *	object_state  OBJECT_LIVE: with the user; OBJECT_FREE: anywhere else.
 *	              Written by whoever holds the object, without a lock.
 *
 * So: live = state byte; cached = bit and not state; free = no bit.  The byte
 * behind the last is always OBJECT_FREE: an offset into the span's tail lands
 * there.
 *
 * Invariants:
 *  1. nr_alloc is the number of set bits (small spans).
 *  2. OBJECT_LIVE implies the bit.
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

enum mspan_state {
	MSPAN_DEAD,		/* on a free list of descriptors */
	MSPAN_SMALL,		/* objects of a size class */
	MSPAN_LARGE,		/* one object */
};

#define OBJECT_FREE		0
#define OBJECT_LIVE		1

struct mspan {
	uintptr_t start;		/* (c) while in use */
	size_t nr_pages;		/* (c) while in use; large: realloc may change it */
	struct list_head link;		/* (l) partial set, or itself */
	uint32_t size;			/* (c) object size; 0 for large */
	uint16_t nelems;		/* (c) objects; 1 for large */
	uint16_t nr_alloc;		/* (l) bits set */
	uint8_t state;			/* (a) enum mspan_state, written last */
	uint8_t sc;			/* (c) size class */
	uint8_t nid;			/* (c) */
	uint8_t set_idx;		/* (l) which list of the set it is on */
	uint16_t hint;			/* (l) no free bit in words below it */
	uint16_t pad;
	size_t user_size;		/* (a) large: bytes asked for */
	uint64_t seq;			/* (a) counts the lives of this descriptor */
	uint8_t object_state[];		/* (a) one byte an object, then alloc_bits */
};

#define MSPAN_HEADER		64

static_assert(offsetof(struct mspan, object_state) == MSPAN_HEADER,
	      "the fast path of free adds this to the descriptor's address");

static inline size_t mspan_bits_offset(unsigned int nelems)
{
	return align_up(nelems + 1, 8);
}

/* Bytes of the descriptor of a span of @nelems objects. */
static inline size_t mspan_bytes(unsigned int nelems)
{
	return align_up(MSPAN_HEADER + mspan_bits_offset(nelems) +
			bitmap_words(nelems) * 8, 64);
}

#define MSPAN_MAX_BYTES		(MSPAN_HEADER + MAX_SPAN_OBJECTS + 64 + MAX_SPAN_OBJECTS / 8)
#define NR_MSPAN_BINS		(MSPAN_MAX_BYTES / 64 + 1)

static inline uint64_t *mspan_bits(struct mspan *s)
{
	return (uint64_t *)(s->object_state + mspan_bits_offset(s->nelems));
}

static inline size_t mspan_size(const struct mspan *s)
{
	return s->nr_pages << HA_PAGE_SHIFT;
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

/* All objects free, no state; @sc 0 makes a large span. */
void mspan_init(struct mspan *s, uintptr_t start, size_t nr_pages,
		unsigned int sc, unsigned int nid);

/*
 * Take up to @n free objects, lowest address first, into slots[]; returns how
 * many.  Caller: the mcentral lock of the span.
 */
unsigned int mspan_alloc(struct mspan *s, struct mag_slot *slots, unsigned int n);
/* Give one back; false when its bit was clear already (a double free). */
bool mspan_free(struct mspan *s, unsigned int idx);

static inline bool mspan_full(const struct mspan *s)
{
	return s->nr_alloc == s->nelems;
}

/* Recount and compare; for tests and CONFIG_DEBUG. */
bool mspan_validate(struct mspan *s);

#endif /* _LIB_MSPAN_H */
