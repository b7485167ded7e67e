/* SPDX-License-Identifier: MIT */
/*
 * From an address to what the allocator knows about it: the entries of its 8 KiB
 * page, one flat table for the window of addresses that the arenas fill from the
 * hint on, and an index of 64 MiB arenas for those that had to go elsewhere.
 * See lib/heap_arena.c.
 *
 * A page entry has what free() needs of a class and an object's state, so that it
 * touches nothing of the descriptor.  All pages of a span have the same, if it is
 * of a class and has no more than PLACE_SPAN_PAGES.  Others have one only on their
 * first page: a large one with a magic of 0, as in an empty entry.
 *
 *	place	31          21 20 18 17 16         13 12       0
 *		+-------------+-----+--+-------------+----------+
 *		|    route    |  0  |u | -page no.   |    0     |
 *		+-------------+-----+--+-------------+----------+
 *		 node | class        |  of the span's first page
 *		                    unchecked
 *
 * Shifted, the route is the byte offset of a 16-byte header; and the low 17 bits
 * of an address plus the place are its offset in the span, on whatever page.
 *
 * Spans of a heap of the user's (lib/uheap.c) have ROUTE_HEAP, whatever their class:
 * a route that no magazine has, and a magic of 0, so that free() leaves its fast
 * path there too.
 */
#ifndef _LIB_HEAP_ARENA_H
#define _LIB_HEAP_ARENA_H

#include <asm/atomic.h>
#include <util/bitops.h>
#include "page.h"
#include "vm.h"

struct mspan;

struct page_entry {
	uint8_t *states;	/* (a) object states of the span; in front of them: it */
	uint32_t magic;		/* (a) offset * magic >> 32 is the object's number */
	uint32_t place;		/* (a) */
};

static_assert(sizeof(struct page_entry) == 16, "scaled by a shift");

#define PAGE_ENTRY_SHIFT	4
#define PLACE_ROUTE_SHIFT	17	/* to a header's offset; 4 more to the route */
#define PLACE_SPAN_PAGES	16
#define PLACE_UNCHECKED		(1U << PLACE_ROUTE_SHIFT)	/* check:off: states are not kept */
#define PLACE_OFFSET_MASK	(PLACE_SPAN_PAGES * HA_PAGE_SIZE - 1)

#define ROUTE_CLASS_BITS	7
#define ROUTE_CLASSES		(1U << ROUTE_CLASS_BITS)
#define ROUTE_CLASS_MASK	(ROUTE_CLASSES - 1)
#define MAX_NODES		16
#define NR_ROUTES		(MAX_NODES * ROUTE_CLASSES)
/* Node 0, and a class that there is not. */
#define ROUTE_HEAP		ROUTE_CLASS_MASK

#define NR_ARENAS		(1UL << (VM_ADDR_BITS - ARENA_SHIFT))

struct heap_arena {
	struct page_entry *page;		/* (c) ARENA_PAGES */
	uint64_t start[ARENA_PAGES / 64];	/* (a) 1 = first page of a span */
	uintptr_t base;				/* (c) */
	size_t reserved;			/* (l RANK_MHEAP) bytes of it reserved */
	uint32_t due;				/* (l RANK_MHEAP; a for a glance) see heap_arena_set_due() */
	unsigned int nid;			/* (c) */
	uint32_t huge;				/* (a) chunks on huge pages; see lib/thp.c */
	uint8_t dense[ARENA_CHUNKS];		/* lib/collapse.c's: looks at which it was dense */
	bool pool;				/* (c) of hugetlb's: nothing of it is given back */
};

static_assert(ARENA_CHUNKS <= 32, "a bit a chunk");

/* Marks of page entries that may not be needed any more: a bit for so many bytes. */
#define DUE_SHIFT		21
#define DUE_SIZE		(1UL << DUE_SHIFT)

static_assert(ARENA_SIZE >> DUE_SHIFT <= 32, "one word of marks");

#if ARENA_L1_BITS == 0
extern struct heap_arena **arena_index __hidden;
#else
extern struct heap_arena **arena_index[1U << ARENA_L1_BITS] __hidden;
#endif

/* NR_ARENAS once there is an index, 0 before: nothing is found then. */
extern uintptr_t arena_limit __hidden;

/*
 * The arena that holds @addr, or NULL.  Lock-free; an entry is set once and never
 * changes, released by heap_arena_add(): the loads behind it depend on it.
 */
static __always_inline struct heap_arena *arena_lookup(uintptr_t addr)
{
	uintptr_t ai = addr >> ARENA_SHIFT;

	if (unlikely(ai >= arena_limit))
		return NULL;
#if ARENA_L1_BITS == 0
	return arena_index[ai];
#else
	struct heap_arena **l2 = arena_index[ai >> ARENA_L2_BITS];

	return l2 ? l2[ai & ((1UL << ARENA_L2_BITS) - 1)] : NULL;
#endif
}

/* Memory of the kernel's pool of huge pages: MADV_DONTNEED of a part says 0 and does nothing. */
static inline bool arena_is_pool(uintptr_t addr)
{
	return arena_lookup(addr)->pool;
}

static inline struct page_entry *arena_page(const struct heap_arena *ha,
					    uintptr_t addr)
{
	return &ha->page[(addr >> HA_PAGE_SHIFT) & (ARENA_PAGES - 1)];
}

/*
 * The window: from VM_ARENA_HINT on, as far as arenas follow each other.  Their page
 * entries lie where an address leads by one shift.  It grows at its end only, by arenas
 * that are entered in the index already.
 */
#define WINDOW_SHIFT		(HA_PAGE_SHIFT - PAGE_ENTRY_SHIFT)
#define WINDOW_ENTRIES		(VM_ARENA_HINT >> WINDOW_SHIFT)

static_assert(WINDOW_ENTRIES >> 31 == 0, "a displacement");

extern size_t arena_window __hidden;	/* (a) bytes of entries */

/* The entry of @addr's page, or NULL outside of the window. */
static __always_inline struct page_entry *window_entry(uintptr_t addr)
{
	uintptr_t p = (addr >> WINDOW_SHIFT) & -sizeof(struct page_entry);
	struct page_entry *e = (struct page_entry *)p;

	if (unlikely(p - WINDOW_ENTRIES >= arena_window))
		return NULL;
	if (!e)
		__builtin_unreachable();
	return e;
}

/* The entry of @addr's page, or NULL when it is in no arena. */
static inline struct page_entry *arena_entry(uintptr_t addr)
{
	struct page_entry *e = window_entry(addr);
	struct heap_arena *ha;

	if (likely(e))
		return e;
	ha = arena_lookup(addr);
	return ha ? arena_page(ha, addr) : NULL;
}

/* The states of a page's span, or NULL. */
static inline uint8_t *page_entry_states(const struct page_entry *e)
{
	/* pairs with the release in heap_arena_set_span() */
	return smp_load_acquire(&e->states);
}

/* NULL when the states have been given back: those of no live object. */
static inline struct mspan *states_span(const uint8_t *states)
{
	return ((struct mspan *const *)states)[-1];
}

/* The span of a page that has an entry, or NULL. */
static inline struct mspan *page_entry_span(const struct page_entry *e)
{
	uint8_t *states = page_entry_states(e);

	return states ? states_span(states) : NULL;
}

static inline unsigned int place_route(uint32_t place)
{
	return place >> (PLACE_ROUTE_SHIFT + PAGE_ENTRY_SHIFT);
}

static inline unsigned int page_entry_route(const struct page_entry *e)
{
	return place_route(READ_ONCE(e->place));
}

/* Byte offset of @addr, on a page with an entry, in the span that is at @place. */
static __always_inline uint32_t place_offset(uint32_t place, uintptr_t addr)
{
	return (uint32_t)(addr + place) & PLACE_OFFSET_MASK;
}

static inline unsigned int route_make(unsigned int nid, unsigned int sc)
{
	return nid << ROUTE_CLASS_BITS | sc;
}

static inline unsigned int route_class(unsigned int route)
{
	return route & ROUTE_CLASS_MASK;
}

static inline unsigned int route_nid(unsigned int route)
{
	return route >> ROUTE_CLASS_BITS;
}

/* How many of a span's pages have an entry, the first ones. */
static inline size_t span_entries(size_t nr_pages, unsigned int sc)
{
	return sc && nr_pages <= PLACE_SPAN_PAGES ? nr_pages : 1;
}

/* 0 or -ENOMEM; once, before the first arena. */
int heap_arena_init(void);

/*
 * Reserve @size bytes (a multiple of 64 MiB) of consecutive arenas for @nid, next
 * to the last ones where possible.  With *size one arena and no room for it,
 * reserves less: *size says what there is, at least 4 MiB.  0 when nothing can be
 * had.  Caller: the node's mheap lock.
 */
uintptr_t heap_arena_reserve(size_t *size, unsigned int nid, enum vm_bind bind);
/* Enter or clear a span in the page entries.  Any thread that owns the pages. */
void heap_arena_set_span(uintptr_t base, size_t nr_pages, const uint8_t *states,
			 unsigned int nid, unsigned int sc);
/* The same for a span of a heap of the user's, whose entries say who has it. */
void heap_arena_set_heap_span(uintptr_t base, size_t nr_pages, const uint8_t *states,
			      unsigned int sc);
/* A medium span of class @sc becomes a large one; its first page stays its first. */
void heap_arena_make_large(uintptr_t base, unsigned int sc);
void heap_arena_clear_span(uintptr_t base, size_t nr_pages, unsigned int sc);

/*
 * Mark [base, base + size): its pages are free, and the last of them have just been
 * given back, so that their entries, which are all 0, may be given back as well
 * (lib/mheap_meta.c).  How many marks were set that had not been.  Caller: the node's
 * mheap lock.
 */
unsigned int heap_arena_set_due(uintptr_t base, size_t size);

/* The memory whose entries fill a kernel page: 2 MiB, or more where that is larger. */
static inline size_t entry_range(void)
{
	return vm_page_size / sizeof(struct page_entry) * HA_PAGE_SIZE;
}

/*
 * The span descriptor that covers @addr, whatever page of the span it lies in;
 * NULL when none does.  For reports and look-ups, not for the fast path: large
 * spans are found by walking back to the first page.  Lock-free; the caller
 * checks the descriptor's own bounds.
 */
struct mspan *heap_arena_find_span(uintptr_t addr);

/* Arenas in order of creation, for walks; NULL past the last. */
struct heap_arena *heap_arena_nth(size_t n);
size_t heap_arena_count(void);

bool heap_arena_fork_held(void);
void heap_arena_fork_prepare(bool nested);
void heap_arena_fork_done(void);

#endif /* _LIB_HEAP_ARENA_H */
