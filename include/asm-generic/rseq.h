/* SPDX-License-Identifier: MIT */
/*
 * Magazines, and the five critical sections on them.
 *
 * A magazine is a stack of slots.  All headers of a slot id lie in one table, and
 * each holds offsets from itself in units of half a slot, so that a pop is: load top,
 * compare, load slot, subtract.
 *
 *	hdrs[route]                                slots (16 bytes each)
 *	+-------------+-------+-------+-----+------+      +--------+--------+-- --+-----+
 *	| count | top | floor | limit | tag | base | ---> | obj,st | obj,st | ... |     |
 *	+-------------+-------+-------+-----+------+      +--------+--------+-- --+-----+
 *	 48 bits, 16                                       ^base    ^floor   ^top  ^limit
 *
 * The tag names the id in a byte: who pops marks an object with it, and who pushes
 * learns whether it was popped here.
 *
 * The count and top are one word.  mag_pop subtracts a slot from the one and 1 from the
 * other by the same instruction, the sign of whose result it tells: so the caller is
 * called back after a number of pops that has been set before (a heap profile's next
 * sample), at no cost until then.  mag_pop_n does not count, and the plain C versions
 * call nobody.
 *
 * mag_pop stops at the floor, which is base at first.  It may be set from anywhere, at any
 * time, to anything between base and limit: who finds it above base, and objects all the
 * same, lowers it, so that what lies below one that has been raised has not been used since.
 * Above all tops the magazine is shut: pushes go on, and the next pop asks what for.
 *
 * mag_push and mag_push_n stop at the limit, which may be set from anywhere, at any time,
 * too: there are slots up to the highest that it is ever set to.  A push that had read a
 * higher one leaves top above it, and the next finds the magazine full.
 *
 * Invariants, outside of a critical section:
 *  1. base <= top <= the highest limit that was ever set, all multiples of the slot
 *     size from base.
 *  2. Slots in [base, top) hold objects that nobody else holds; what lies above
 *     top is garbage.
 *  3. base and tag change only while no thread can be inside a section on the
 *     slot (creation), so a section may trust them.
 *
 * A section starts with the index the kernel gives (concurrency id or cpu), and
 * ends with one store to the word of top: the commit.  Preemption, migration or a signal
 * before the commit restarts it; stores to slots above top before that are
 * harmless by 2.  The list, in pseudo-code; every <asm/rseq.h> has exactly these
 * as rseq_NAME(), and the plain C versions below, without tags, serve under a lock:
 *
 *   mag_pop(hdrs, idx, *out, *from, *due)
 *                                     h = hdrs[idx]; idx is given twice over
 *                                     if h.top <= h.floor: return false
 *                                     *out = slot below h.top; *from = h
 *                                     commit h.top -= 2, h.count -= 1
 *                                     *due = h.count < 0; return true
 *   mag_push(hdrs, idx, slot)         h = hdrs[idx]
 *                                     if h.top >= h.limit: return false
 *                                     slot at h.top = slot
 *                                     commit h.top += 2; return true
 *   mag_push_own(..., tag)            if h.tag != tag: say so; else the same
 *   mag_pop_n(hdrs, idx, dst, n)      n = min(n, (h.top - h.base) / 2)
 *                                     copy the top n slots to dst
 *                                     commit h.top -= n * 2; return n
 *   mag_push_n(hdrs, idx, src, n)     n = min(n, (h.limit - h.top) / 2), 0 when negative
 *                                     copy the first n of src above top
 *                                     commit h.top += n * 2; return n
 *
 * A count may be set from anywhere, by mag_set_count().  Whether it stays is sure only
 * while nobody can be inside a section on the slot: a commit that comes at the same time
 * writes what it had read before.  top is in no danger: where it has changed, nothing
 * is set.
 *
 * hdrs is what tab->row[id] leads to.  mag_pop is given a class, and a table of each
 * id's headers of its own node; the others are given a route (node and class), and a
 * table of each id's headers of all nodes: a batch fetched for one node lands in that
 * node's row even if the thread has moved since.  With one node both say the same.
 * The caller's id lies in an area that the kernel fills in, or says -1 for ever.  The
 * area is found from it, as what the last multiple of RSEQ_AREA_ALIGN is before it.
 */
#ifndef _ASM_GENERIC_RSEQ_H
#define _ASM_GENERIC_RSEQ_H

#define MAG_SLOT_SHIFT		4
#define MAG_SLOT_SIZE		(1 << MAG_SLOT_SHIFT)
#define MAG_UNIT_SHIFT		3	/* of top, base and limit */
#define MAG_SLOT_UNITS		(MAG_SLOT_SIZE >> MAG_UNIT_SHIFT)
#define MAG_COUNT_SHIFT		16
/* From a header to the end of its magazine. */
#define MAG_REACH		((1UL << MAG_COUNT_SHIFT) << MAG_UNIT_SHIFT)
/* What mag_pop subtracts. */
#define MAG_POP			((1 << MAG_COUNT_SHIFT) + MAG_SLOT_UNITS)
/* Counts: 39 hours of a pop a nanosecond and nobody is called; as long, and each pop calls. */
#define MAG_COUNT_MAX		((1LL << 47) - 1)
#define MAG_COUNT_EACH		(-1LL)
#define MAG_HDR_SHIFT		4
#define MAX_CIDS		4096
#define MAG_NR_HDRS		4095	/* of an id, at most */

/* Offsets within the registered area (include/uapi/linux/rseq.h). */
#define RSEQ_OFF_CPU_ID		4
#define RSEQ_OFF_RSEQ_CS	8
#define RSEQ_OFF_NODE_ID	20
#define RSEQ_OFF_MM_CID		24
#define RSEQ_AREA_ALIGN		32	/* the kernel asks for it; no id lies beyond */

#ifndef __ASSEMBLER__

#include <stddef.h>
#include <string.h>
#include <asm/atomic.h>
#include <util/bug.h>
#include <util/compiler.h>

struct mag_slot {
	void *obj;		/* the object */
	uint8_t *state;		/* its state byte, in the span's metadata */
};

struct mag_hdr {		/* offsets from here */
	union {
		uint64_t word;	/* (p) the count, top */
		uint16_t top;
	};
	uint16_t floor;		/* (a) */
	uint16_t limit;		/* (a) */
	uint8_t tag;		/* (c) of the id, the same in all its headers */
	uint8_t flushed;	/* (a) MAG_FLUSHED_* */
	uint16_t base;		/* (c) */
};

/*
 * Where the headers of an id lie, as an offset from here, so that 0, what the
 * table is full of at first, leads to @nothing: magazines that are empty and full
 * at once.  So do the negative ids that a thread without registration has.
 */
struct mag_table {
	struct mag_hdr nothing[MAG_NR_HDRS];	/* (c) zeroes */
	ptrdiff_t unregistered[2];		/* (c) 0: ids -2 and -1 */
	ptrdiff_t row[MAX_CIDS];		/* (a) */
};

static_assert(sizeof(struct mag_slot) == MAG_SLOT_SIZE, "asm scales by it");
static_assert(sizeof(struct mag_hdr) == 1 << MAG_HDR_SHIFT, "asm scales by it");
static_assert(offsetof(struct mag_table, row) == 16 << 12, "asm adds it");
static_assert(MAG_SLOT_UNITS == 2, "asm adds and subtracts it");
static_assert(offsetof(struct mag_hdr, floor) == 8 && offsetof(struct mag_hdr, limit) == 10 &&
	      offsetof(struct mag_hdr, tag) == 12 && offsetof(struct mag_hdr, base) == 14,
	      "asm knows them");

enum mag_result {
	MAG_DONE,
	MAG_FULL,
	MAG_FOREIGN,		/* popped on another id */
};

static inline struct mag_slot *mag_slot_at(struct mag_hdr *h, unsigned int off)
{
	return (struct mag_slot *)((char *)h + ((size_t)off << MAG_UNIT_SHIFT));
}

/* Objects in it. */
static inline unsigned int mag_nr(const struct mag_hdr *h)
{
	return (unsigned int)(h->top - h->base) / MAG_SLOT_UNITS;
}

/* @off: bytes from here to its slots, @room of them; empty. */
static inline void mag_init(struct mag_hdr *h, size_t off, unsigned int room, uint8_t tag,
			    int64_t count)
{
	size_t base = off >> MAG_UNIT_SHIFT;

	h->base = h->floor = base;
	h->limit = base + room * MAG_SLOT_UNITS;
	h->tag = tag;
	h->word = (uint64_t)count << MAG_COUNT_SHIFT | base;
}

/* It was full: since the last refill; since somebody looked. */
#define MAG_FLUSHED_REFILL	1
#define MAG_FLUSHED_LOOK	2

#define MAG_FLOOR_SHUT		UINT16_MAX

/* What is in it is not wanted; until mag_reopen(), or until its floor is lowered. */
static inline void mag_shut(struct mag_hdr *h)
{
	WRITE_ONCE(h->floor, MAG_FLOOR_SHUT);
}

static inline bool mag_is_shut(const struct mag_hdr *h)
{
	return READ_ONCE(h->floor) == MAG_FLOOR_SHUT;
}

static inline void mag_reopen(struct mag_hdr *h)
{
	WRITE_ONCE(h->floor, h->base);
}

/* Objects that have not been used since the floor was raised to top. */
static inline unsigned int mag_nr_cold(const struct mag_hdr *h)
{
	unsigned int top = READ_ONCE(h->top), floor = READ_ONCE(h->floor);

	return ((floor < top ? floor : top) - h->base) / MAG_SLOT_UNITS;
}

static inline void mag_raise_floor(struct mag_hdr *h)
{
	if (!mag_is_shut(h))
		WRITE_ONCE(h->floor, READ_ONCE(h->top));
}

/* By @n objects, and below top.  False: it was down already. */
static inline bool mag_lower_floor(struct mag_hdr *h, unsigned int n)
{
	unsigned int floor = mag_nr_cold(h) * MAG_SLOT_UNITS, step = n * MAG_SLOT_UNITS;

	if (READ_ONCE(h->floor) <= h->base)
		return false;
	WRITE_ONCE(h->floor, h->base + (floor > step ? floor - step : 0));
	return true;
}

static inline int64_t mag_count(uint64_t word)
{
	return (int64_t)word >> MAG_COUNT_SHIFT;
}

/* @word: what has been seen there; false: it is not any more. */
static inline bool mag_set_count(struct mag_hdr *h, uint64_t word, int64_t count)
{
	uint64_t top = word & ((1UL << MAG_COUNT_SHIFT) - 1);

	return try_cmpxchg_acquire(&h->word, word, (uint64_t)count << MAG_COUNT_SHIFT | top);
}

static inline bool mag_pop(struct mag_hdr *hdrs, size_t idx, struct mag_slot *out)
{
	struct mag_hdr *h = &hdrs[idx];

	if (h->top == h->base)
		return false;
	*out = *mag_slot_at(h, h->top - MAG_SLOT_UNITS);
	h->word -= MAG_POP;
	if (h->floor > h->top)
		h->floor = h->top;
	return true;
}

static inline bool mag_push(struct mag_hdr *hdrs, size_t idx, struct mag_slot slot)
{
	struct mag_hdr *h = &hdrs[idx];

	if (h->top >= atomic_load_relaxed(&h->limit))
		return false;
	*mag_slot_at(h, h->top) = slot;
	h->top += MAG_SLOT_UNITS;
	return true;
}

static inline size_t mag_pop_n(struct mag_hdr *hdrs, size_t idx,
			       struct mag_slot *dst, size_t n)
{
	struct mag_hdr *h = &hdrs[idx];
	size_t have = mag_nr(h);

	if (n > have)
		n = have;
	h->top -= n * MAG_SLOT_UNITS;
	memcpy(dst, mag_slot_at(h, h->top), n << MAG_SLOT_SHIFT);
	return n;
}

static inline size_t mag_push_n(struct mag_hdr *hdrs, size_t idx,
				const struct mag_slot *src, size_t n)
{
	struct mag_hdr *h = &hdrs[idx];
	unsigned int limit = atomic_load_relaxed(&h->limit);
	size_t room = limit > h->top ? (limit - h->top) / MAG_SLOT_UNITS : 0;

	if (n > room)
		n = room;
	memcpy(mag_slot_at(h, h->top), src, n << MAG_SLOT_SHIFT);
	h->top += n * MAG_SLOT_UNITS;
	return n;
}

#endif /* __ASSEMBLER__ */
#endif /* _ASM_GENERIC_RSEQ_H */
