/* SPDX-License-Identifier: MIT */
/*
 * Magazines, and the five critical sections on them.
 *
 * A magazine is a stack of slots.  All headers of a slot id lie in one table, and
 * each holds byte offsets from itself, so that a pop is: load top, compare, load
 * slot, store top.
 *
 *	hdrs[route]                    slots (16 bytes each)
 *	+-----+------+-------+        +--------+--------+--   --+--------+
 *	| top | base | limit |  --->  | obj,st | obj,st |  ...  |        |
 *	+-----+------+-------+        +--------+--------+--   --+--------+
 *	                               ^base             ^top    ^limit
 *
 * Invariants, outside of a critical section:
 *  1. base <= top <= limit, all multiples of the slot size from base.
 *  2. Slots in [base, top) hold objects that nobody else holds; what lies above
 *     top is garbage.
 *  3. base and limit change only while no thread can be inside a section on the
 *     slot (creation), so a section may trust them.
 *
 * A section starts with the index the kernel gives (concurrency id or cpu), and
 * ends with one store to top: the commit.  Preemption, migration or a signal
 * before the commit restarts it; stores to slots above top before that are
 * harmless by 2.  The list, in pseudo-code; every <asm/rseq.h> has exactly these
 * as rseq_NAME(), and the plain C versions below, without tags, serve under a lock:
 *
 *   mag_pop(hdrs, idx, *out, *mark)   h = hdrs[idx]; idx is given twice over
 *                                     if h.top == h.base: return false
 *                                     *out = slot below h.top; *mark = h.mark
 *                                     commit h.top -= 16; return true
 *   mag_push(hdrs, idx, slot)         h = hdrs[idx]
 *                                     if h.top >= h.limit: return false
 *                                     slot at h.top = slot
 *                                     commit h.top += 16; return true
 *   mag_push_own(..., tag)            if h.mark's byte != tag: say so; else the same
 *   mag_pop_n(hdrs, idx, dst, n)      n = min(n, (h.top - h.base) / 16)
 *                                     copy the top n slots to dst
 *                                     commit h.top -= n * 16; return n
 *   mag_push_n(hdrs, idx, src, n)     n = min(n, (h.limit - h.top) / 16)
 *                                     copy the first n of src above top
 *                                     commit h.top += n * 16; return n
 *
 * The mark is a tag that names the id in a byte: who pops marks an object with it, and
 * who pushes learns whether it was popped here.  Its sign is for who pops alone: there
 * is more to do.  It changes at any time, and no section depends on it.
 *
 * hdrs is what tab->row[id] leads to.  mag_pop is given a class, and a table of each
 * id's headers of its own node; the others are given a route (node and class), and a
 * table of each id's headers of all nodes: a batch fetched for one node lands in that
 * node's row even if the thread has moved since.  With one node both say the same.
 * The caller's area is one that the kernel fills in, or says -1 for ever.
 */
#ifndef _ASM_GENERIC_RSEQ_H
#define _ASM_GENERIC_RSEQ_H

#define MAG_SLOT_SHIFT		4
#define MAG_SLOT_SIZE		(1 << MAG_SLOT_SHIFT)
#define MAG_HDR_SHIFT		4
#define MAX_CIDS		4096
#define MAG_NR_HDRS		4096	/* of an id, at most */

/* Offsets within the registered area (include/uapi/linux/rseq.h). */
#define RSEQ_OFF_CPU_ID		4
#define RSEQ_OFF_RSEQ_CS	8
#define RSEQ_OFF_NODE_ID	20
#define RSEQ_OFF_MM_CID		24

#ifndef __ASSEMBLER__

#include <stddef.h>
#include <string.h>
#include <util/bug.h>

struct mag_slot {
	void *obj;		/* the object */
	uint8_t *state;		/* its state byte, in the span's metadata */
};

struct mag_hdr {		/* offsets from here */
	uint32_t top;		/* (p) */
	uint32_t base;		/* (c) */
	uint32_t limit;		/* (c) */
	uint32_t mark;		/* (a) tag of the id, the same in all its headers; MAG_MORE */
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

#define MAG_MORE	(1U << 31)

static_assert(sizeof(struct mag_slot) == MAG_SLOT_SIZE, "asm scales by it");
static_assert(sizeof(struct mag_hdr) == 1 << MAG_HDR_SHIFT, "asm scales by it");

enum mag_result {
	MAG_DONE,
	MAG_FULL,
	MAG_FOREIGN,		/* popped on another id */
};

static inline struct mag_slot *mag_slot_at(struct mag_hdr *h, uint32_t off)
{
	return (struct mag_slot *)((char *)h + off);
}

static inline bool mag_pop(struct mag_hdr *hdrs, size_t idx, struct mag_slot *out)
{
	struct mag_hdr *h = &hdrs[idx];

	if (h->top == h->base)
		return false;
	*out = *mag_slot_at(h, h->top - MAG_SLOT_SIZE);
	h->top -= MAG_SLOT_SIZE;
	return true;
}

static inline bool mag_push(struct mag_hdr *hdrs, size_t idx, struct mag_slot slot)
{
	struct mag_hdr *h = &hdrs[idx];

	if (h->top >= h->limit)
		return false;
	*mag_slot_at(h, h->top) = slot;
	h->top += MAG_SLOT_SIZE;
	return true;
}

static inline size_t mag_pop_n(struct mag_hdr *hdrs, size_t idx,
			       struct mag_slot *dst, size_t n)
{
	struct mag_hdr *h = &hdrs[idx];
	size_t have = (h->top - h->base) >> MAG_SLOT_SHIFT;

	if (n > have)
		n = have;
	h->top -= n << MAG_SLOT_SHIFT;
	memcpy(dst, mag_slot_at(h, h->top), n << MAG_SLOT_SHIFT);
	return n;
}

static inline size_t mag_push_n(struct mag_hdr *hdrs, size_t idx,
				const struct mag_slot *src, size_t n)
{
	struct mag_hdr *h = &hdrs[idx];
	size_t room = (h->limit - h->top) >> MAG_SLOT_SHIFT;

	if (n > room)
		n = room;
	memcpy(mag_slot_at(h, h->top), src, n << MAG_SLOT_SHIFT);
	h->top += n << MAG_SLOT_SHIFT;
	return n;
}

#endif /* __ASSEMBLER__ */
#endif /* _ASM_GENERIC_RSEQ_H */
