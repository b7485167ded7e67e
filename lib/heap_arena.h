/* SPDX-License-Identifier: MIT */
/*
 * From an address to what the allocator knows about it: the two-level index of
 * 64 MiB arenas and the page words of each.  See lib/heap_arena.c.
 *
 * A page word, one for each 8 KiB page of an arena:
 *
 *	63                            19 18      15 14   11 10          4 3  0
 *	+-------------------------------+----------+-------+-------------+-----+
 *	| object states of the span / 8 | page idx | node  | size class  |  0  |
 *	+-------------------------------+----------+-------+-------------+-----+
 *	  the word before them: the span            \______ route ______/
 *
 * The route stands where, masked, it is the byte offset of a 16-byte entry.
 * free() needs the class and an object's state, and nothing of the descriptor.
 * All pages of a small span have one.  A large span has one only on its first
 * page, with node and class 0, so that its route is 0 as in an empty word.
 *
 * Spans of a heap of the user's (lib/heap.c) have ROUTE_HEAP, whatever their class:
 * a route that no magazine has, and whose magic is 0, so that free() leaves its
 * fast path there too.
 */
#ifndef _LIB_HEAP_ARENA_H
#define _LIB_HEAP_ARENA_H

#include <asm/atomic.h>
#include <util/bitops.h>
#include "page.h"
#include "vm.h"

struct mspan;

#define PAGE_WORD_ROUTE_SHIFT	4
#define PAGE_WORD_ROUTE_MASK	(0x7ffUL << PAGE_WORD_ROUTE_SHIFT)
#define PAGE_WORD_IDX_SHIFT	15
#define PAGE_WORD_IDX_MASK	(15UL << PAGE_WORD_IDX_SHIFT)
#define PAGE_WORD_STATES_SHIFT	19

static_assert(VM_ADDR_BITS - 3 <= 64 - PAGE_WORD_STATES_SHIFT,
	      "an address of 8-byte aligned states fits above the page index");

#define ROUTE_CLASS_BITS	7
#define ROUTE_CLASSES		(1U << ROUTE_CLASS_BITS)
#define ROUTE_CLASS_MASK	(ROUTE_CLASSES - 1)
#define MAX_NODES		16
#define NR_ROUTES		(MAX_NODES * ROUTE_CLASSES)
/* Node 0, and a class that there is not. */
#define ROUTE_HEAP		ROUTE_CLASS_MASK

#define NR_ARENAS		(1UL << (VM_ADDR_BITS - ARENA_SHIFT))

struct heap_arena {
	uint64_t page[ARENA_PAGES];		/* (a) page words */
	uint64_t start[ARENA_PAGES / 64];	/* (a) 1 = first page of a span */
	uintptr_t base;				/* (c) */
	size_t reserved;			/* (l RANK_MHEAP) bytes of it reserved */
	unsigned int nid;			/* (c) */
};

#if ARENA_L1_BITS == 0
extern struct heap_arena **arena_index __hidden;
#else
extern struct heap_arena **arena_index[1U << ARENA_L1_BITS] __hidden;
#endif

/* NR_ARENAS once there is an index, 0 before: nothing is found then. */
extern uintptr_t arena_limit __hidden;

/*
 * The arena that holds @addr, or NULL.  Lock-free; an entry is set once and never
 * changes.  The acquire in arena_lookup_sync() pairs with the release in
 * heap_arena_add(); readers that got @addr from an allocation need no order of
 * their own: the address came to them after the entry was set.
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

static __always_inline uint64_t arena_page_word(const struct heap_arena *ha,
						uintptr_t addr)
{
	return ha->page[(addr >> HA_PAGE_SHIFT) & (ARENA_PAGES - 1)];
}

static __always_inline uint8_t *page_word_states(uint64_t w)
{
	return (uint8_t *)(w >> PAGE_WORD_STATES_SHIFT << 3);
}

static inline struct mspan *page_word_span(uint64_t w)
{
	return ((struct mspan **)page_word_states(w))[-1];
}

static __always_inline unsigned int page_word_route(uint64_t w)
{
	return (w & PAGE_WORD_ROUTE_MASK) >> PAGE_WORD_ROUTE_SHIFT;
}

/* Byte offset of @addr in its span. */
static __always_inline uint64_t page_word_offset(uint64_t w, uintptr_t addr)
{
	return (addr & (HA_PAGE_SIZE - 1)) |
	       (w & PAGE_WORD_IDX_MASK) >> (PAGE_WORD_IDX_SHIFT - HA_PAGE_SHIFT);
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

/* 0 or -ENOMEM; once, before the first arena. */
int heap_arena_init(void);

/*
 * Reserve @size bytes (a multiple of 64 MiB) of consecutive arenas for @nid, next
 * to the last ones where possible.  With *size one arena and no room for it,
 * reserves less: *size says what there is, at least 4 MiB.  0 when nothing can be
 * had.  Caller: the node's mheap lock.
 */
uintptr_t heap_arena_reserve(size_t *size, unsigned int nid, enum vm_bind bind);
/* Enter or clear a span in the page words.  Any thread that owns the pages. */
void heap_arena_set_span(uintptr_t base, size_t nr_pages, const uint8_t *states,
			 unsigned int nid, unsigned int sc);
/* The same for a span of a heap of the user's, whose words say who has it. */
void heap_arena_set_heap_span(uintptr_t base, size_t nr_pages, const uint8_t *states,
			      unsigned int sc);
void heap_arena_clear_span(uintptr_t base, size_t nr_pages, unsigned int sc);

/*
 * The span descriptor that covers @addr, whatever page of the span it lies in;
 * NULL when none does.  For reports and look-ups, not for the fast path: large
 * spans are found by walking back to the first page.  Lock-free; the caller
 * checks the descriptor's own bounds.
 */
struct mspan *heap_arena_find_span(uintptr_t addr);

/* Arenas in order of creation, for walks; NULL past the last. */
struct heap_arena *heap_arena_nth(size_t n);

bool heap_arena_fork_held(void);
void heap_arena_fork_prepare(bool nested);
void heap_arena_fork_done(void);

#endif /* _LIB_HEAP_ARENA_H */
