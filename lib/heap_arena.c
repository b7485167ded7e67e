// SPDX-License-Identifier: MIT
/*
 * From addresses to page entries: the window, and the arena index.
 *
 *	arenas      |  1  |  2  |  3  |        consecutive, as long as nobody is in
 *	            ^hint                      the way
 *	entries     |1 |2 |3 |                 at address / 8 KiB * 16
 *	            ^hint / 512
 *
 * One shift leads to the entry of a page, and one comparison tells whether it is there.
 * The first arena that is not at the hint, that cannot follow the last one, or whose
 * entries have no room where they belong, is outside of the window, and so are all after
 * it: they are found by the index.
 *
 *	address  46        26 25       13 12     0        (x86_64)
 *	        +------------+-----------+--------+
 *	        | arena no.  | page no.  |        |
 *	        +------------+-----------+--------+
 *	              |            |
 *	  arena_index[] --> heap_arena.page[] --> states, class, node
 *
 * The flat index (L1 = 0) is one mapping of 2^21 or 2^22 pointers, readable from
 * the start and writable by the kernel page as arenas come: 16 MiB of address
 * space, one or two resident pages, no commit charge.  With L1 > 0 each second
 * level is such a mapping, made when the first arena under it comes.
 *
 * Invariants:
 *  1. An index entry goes from NULL to an arena once, under arenas.lock.
 *  2. A heap_arena is never unmapped and its base never changes.
 *  3. Arenas of one reservation are consecutive; spans may cross from one to the
 *     next, never out of what was reserved.
 *  4. start[] has a bit exactly for the first page of each span in use; a page
 *     entry is written before the bit (release) and cleared after it.
 *  5. A span's entries are written before an address of it is handed out, and
 *     cleared when no object of it is: who has an object reads them without order.
 *  6. Entries of free pages are 0.  A kernel page of entries is given back while all
 *     pages that it is about are free, under the lock that hands pages out: nobody
 *     writes to it then, and what is read of it is 0 before and after.
 *
 * Hints are Go's (src/runtime/malloc.go): first arch's own far corner, growing
 * upwards; when the next slot is taken, wherever the kernel says.
 */
#include <errno.h>

#include "conf.h"
#include "fixalloc.h"
#include "heap_arena.h"
#include "inspect.h"
#include "lock.h"
#include "sizeclasses.h"

#define ARENA_HEADROOM	(2UL << 20)	/* at least */
#define HEADROOM_SHIFT	3
#define PAGE_TABLE_BYTES	(ARENA_PAGES * sizeof(struct page_entry))
#define L2_ENTRIES	(1UL << ARENA_L2_BITS)
#define L2_BYTES	(L2_ENTRIES * sizeof(struct heap_arena *))
/* Arenas remembered in order for walks: blocks of a page of pointers. */
#define WALK_BLOCK	512
#define WALK_BLOCKS	(1UL << (VM_ADDR_BITS - ARENA_SHIFT - 9))

#if ARENA_L1_BITS == 0
struct heap_arena **arena_index;
#else
struct heap_arena **arena_index[1U << ARENA_L1_BITS];
#endif

uintptr_t arena_limit;
size_t arena_window;

static struct {
	struct lock lock;
	uintptr_t hint;			/* (l) where to ask next */
	size_t nr;			/* (a) arenas created */
	struct heap_arena ***walk;	/* (a) blocks of WALK_BLOCK */
	struct heap_arena *spare;	/* (l) made, and not entered for want of more */
	size_t mapped;			/* (l) of the window's entries, bytes */
	bool full;			/* (l) the last reservation failed */
	bool closed;			/* (l) an arena is elsewhere: no window any more */
} arenas = { .lock = LOCK_INIT(RANK_ARENA), .hint = VM_ARENA_HINT };

/* May fail half-way and be called again: what there is already stays. */
int heap_arena_init(void)
{
	if (!arenas.walk)
		arenas.walk = vm_map_meta_sparse(align_up(WALK_BLOCKS * sizeof(void *),
							  vm_page_size));
#if ARENA_L1_BITS == 0
	if (arenas.walk && !arena_index)
		arena_index = vm_map_meta_sparse(L2_BYTES);
	if (!arena_index)
		return -ENOMEM;
#endif
	if (!arenas.walk)
		return -ENOMEM;
	arena_limit = NR_ARENAS;
	return 0;
}

/*
 * Make the kernel page of the word at @p writable, unless it is: then an entry of
 * it is set.
 */
static int arena_open_word(void *p)
{
	uintptr_t *page = (uintptr_t *)align_down((uintptr_t)p, vm_page_size);

	for (size_t i = 0; i < vm_page_size / sizeof(*page); i++)
		if (page[i])
			return 0;
	return vm_prepare_meta(page, vm_page_size);
}

static struct heap_arena **arena_slot(uintptr_t base)
{
	uintptr_t ai = base >> ARENA_SHIFT;
	struct heap_arena **l2;

#if ARENA_L1_BITS == 0
	l2 = arena_index;
#else
	l2 = arena_index[ai >> ARENA_L2_BITS];
	if (!l2) {
		l2 = vm_map_meta_sparse(align_up(L2_BYTES, vm_page_size));
		if (!l2)
			return NULL;
		smp_store_release(&arena_index[ai >> ARENA_L2_BITS], l2);
	}
#endif
	return &l2[ai & (L2_ENTRIES - 1)];
}

static int arena_remember(struct heap_arena *ha)
{
	size_t nr = arenas.nr;
	struct heap_arena ***block = &arenas.walk[nr / WALK_BLOCK];

	if (!*block) {
		struct heap_arena **b;

		if (arena_open_word(block))
			return -ENOMEM;
		b = meta_alloc(WALK_BLOCK * sizeof(*b));
		if (!b)
			return -ENOMEM;
		smp_store_release(block, b);
	}
	(*block)[nr % WALK_BLOCK] = ha;
	/* pairs with the acquire in heap_arena_nth() */
	smp_store_release(&arenas.nr, nr + 1);
	return 0;
}

/* Could @base be the next arena of the window? */
static bool window_next(uintptr_t base)
{
	return !arenas.closed && base >> WINDOW_SHIFT == WINDOW_ENTRIES + arena_window;
}

/*
 * Entries of an arena, exactly at @addr, or anywhere with 0.  On no huge page: parts
 * are given back, and would come again by themselves.
 */
static void *page_table_new_at(uintptr_t addr)
{
	void *p = addr ? vm_map_meta_at(addr, PAGE_TABLE_BYTES) : vm_map_meta(PAGE_TABLE_BYTES);

	if (p)
		vm_advise_huge(p, PAGE_TABLE_BYTES, false);
	return p;
}

/* The entries of @base, the window's next arena; NULL: it cannot be that. */
static struct page_entry *window_pages(uintptr_t base)
{
	uintptr_t p = base >> WINDOW_SHIFT;

	if (!window_next(base))
		return NULL;
	if (arenas.mapped == arena_window) {
		if (!page_table_new_at(p))
			return NULL;
		arenas.mapped += PAGE_TABLE_BYTES;
	}
	return (struct page_entry *)p;
}

/* @ha is in the index: from here on the window leads to it, or is closed. */
static void window_add(struct heap_arena *ha)
{
	if (!window_next(ha->base) || (uintptr_t)ha->page != ha->base >> WINDOW_SHIFT) {
		arenas.closed = true;
		return;
	}
	/* pairs with the order in which a reader came by an address of it */
	smp_store_release(&arena_window, arena_window + PAGE_TABLE_BYTES);
}

static struct heap_arena *arena_new(uintptr_t base)
{
	struct heap_arena *ha = arenas.spare ? arenas.spare : meta_alloc(sizeof(*ha));
	struct page_entry *pages = ha ? window_pages(base) : NULL;

	arenas.spare = ha;
	if (pages)
		ha->page = pages;
	else if (ha && !ha->page)
		ha->page = page_table_new_at(0);
	return ha && ha->page ? ha : NULL;
}

static int heap_arena_add(uintptr_t base, size_t reserved, unsigned int nid, bool pool)
{
	struct heap_arena **slot = arena_slot(base);
	struct heap_arena *ha;

	if (!slot)
		return -ENOMEM;
	/* An arena given up for want of metadata is taken up again. */
	ha = READ_ONCE(*slot);
	if (!ha) {
		if (arena_open_word(slot))
			return -ENOMEM;
		ha = arena_new(base);
		if (!ha)
			return -ENOMEM;
	}
	ha->base = base;
	ha->nid = nid;
	ha->reserved = reserved;
	ha->pool = pool;
	if (READ_ONCE(*slot))
		return 0;
	if (arena_remember(ha))
		return -ENOMEM;
	arenas.spare = NULL;
	/* pairs with every reader's dependency on the entry */
	smp_store_release(slot, ha);
	window_add(ha);
	return 0;
}

/* Is there room for the metadata that an arena full of the smallest objects asks for? */
static bool arena_headroom(size_t size)
{
	size_t room = max_size(min_size(size, ARENA_SIZE) >> HEADROOM_SHIFT, ARENA_HEADROOM);
	void *p = vm_map_meta(room);

	if (p)
		vm_release(p, room, room, VM_META);
	return p != NULL;
}

static uintptr_t arena_try_reserve(size_t size, unsigned int nid)
{
	uintptr_t p = arenas.hint, base;
	bool pool = conf.hugetlb && vm_reserve_hugetlb(p, size);

	if (!pool)
		p = (uintptr_t)vm_reserve(arenas.hint, size, ARENA_SIZE);
	if (!p)
		return 0;
	/* Addresses beyond the index (an odd kernel) are of no use. */
	if ((p + size - 1) >> VM_ADDR_BITS || !arena_headroom(size))
		goto out_release;
	for (base = p; base < p + size; base += ARENA_SIZE)
		if (heap_arena_add(base, min_size(size, ARENA_SIZE), nid, pool))
			goto out_release;
	return p;

out_release:
	vm_release((void *)p, size, 0, VM_HEAP);
	return 0;
}

/*
 * Where the last reservation failed, the next is likely to, and costs a dozen system
 * calls; with several nodes each refill of a full one tries, although another has
 * room.  So the smallest is asked for first, anywhere.
 */
static bool arena_any_room(size_t size)
{
	uintptr_t p = (uintptr_t)vm_reserve(0, size, 1);

	if (p)
		vm_release((void *)p, size, 0, VM_HEAP);
	return p != 0;
}

uintptr_t heap_arena_reserve(size_t *size, unsigned int nid, enum vm_bind bind)
{
	uintptr_t p = 0;

	lock_acquire(&arenas.lock);
	if (unlikely(arenas.full) && !arena_any_room(min_size(*size, CHUNK_SIZE)))
		goto out;
	p = arena_try_reserve(*size, nid);
	/* Little address space (RLIMIT_AS): take less than it all, at the hint. */
	while (!p && *size <= ARENA_SIZE && *size > CHUNK_SIZE) {
		*size /= 2;
		p = arena_try_reserve(*size, nid);
	}
	if (p) {
		/* Behind a short arena the rest of its 64 MiB stays unused. */
		arenas.hint = align_up(p + *size, ARENA_SIZE);
		vm_bind((void *)p, *size, nid, bind);
	}
	arenas.full = !p;
out:
	lock_release(&arenas.lock);
	return p;
}

static void set_entry(uintptr_t addr, const uint8_t *states, uint32_t place,
		      uint32_t magic)
{
	struct page_entry *e = arena_entry(addr);

	WRITE_ONCE(e->place, place);
	/* pairs with the acquire in page_entry_span() */
	smp_store_release(&e->states, (uint8_t *)states);
	WRITE_ONCE(e->magic, magic);
}

static uint32_t place_make(uintptr_t base, unsigned int route)
{
	return (uint32_t)route << (PLACE_ROUTE_SHIFT + PAGE_ENTRY_SHIFT) |
	       (-base & PLACE_OFFSET_MASK);
}

void heap_arena_set_span(uintptr_t base, size_t nr_pages, const uint8_t *states,
			 unsigned int nid, unsigned int sc)
{
	size_t page = base >> HA_PAGE_SHIFT;
	uint32_t place = place_make(base, sc ? route_make(nid, sc) : 0);

	if (sc && !conf.check)
		place |= PLACE_UNCHECKED;

	/* the first one last */
	for (size_t i = span_entries(nr_pages, sc); i-- > 0;)
		set_entry(base + i * HA_PAGE_SIZE, states, place, size_classes[sc].magic);
	page %= ARENA_PAGES;
	__atomic_fetch_or(&arena_lookup(base)->start[page / 64], 1ULL << (page % 64),
			  __ATOMIC_RELEASE);
}

void heap_arena_set_heap_span(uintptr_t base, size_t nr_pages, const uint8_t *states,
			      unsigned int sc)
{
	for (size_t i = span_entries(nr_pages, sc); i-- > 0;) {
		WRITE_ONCE(arena_entry(base + i * HA_PAGE_SIZE)->magic, 0);
		set_entry(base + i * HA_PAGE_SIZE, states, place_make(base, ROUTE_HEAP), 0);
	}
}

static void clear_entry(uintptr_t addr)
{
	struct page_entry *e = arena_entry(addr);

	WRITE_ONCE(e->magic, 0);
	smp_store_release(&e->states, (uint8_t *)NULL);
	WRITE_ONCE(e->place, 0);
}

void heap_arena_clear_span(uintptr_t base, size_t nr_pages, unsigned int sc)
{
	size_t page = (base >> HA_PAGE_SHIFT) % ARENA_PAGES;

	__atomic_fetch_and(&arena_lookup(base)->start[page / 64], ~(1ULL << (page % 64)),
			   __ATOMIC_RELEASE);
	for (size_t i = 0; i < span_entries(nr_pages, sc); i++)
		clear_entry(base + i * HA_PAGE_SIZE);
}

void heap_arena_make_large(uintptr_t base, unsigned int sc)
{
	struct page_entry *e = arena_entry(base);

	WRITE_ONCE(e->magic, 0);
	WRITE_ONCE(e->place, place_make(base, 0));
	for (size_t i = span_entries(size_classes[sc].pages, sc); i-- > 1;)
		clear_entry(base + i * HA_PAGE_SIZE);
}

unsigned int heap_arena_set_due(uintptr_t base, size_t size)
{
	uintptr_t addr = align_down(base, DUE_SIZE), end = base + size;
	unsigned int nr = 0;

	for (; addr < end; addr += DUE_SIZE) {
		uint32_t *due = &arena_lookup(addr)->due;
		uint32_t bit = 1U << (addr % ARENA_SIZE >> DUE_SHIFT);

		nr += !(*due & bit);
		atomic_store_relaxed(due, *due | bit);
	}
	return nr;
}

/* The last first page of a span up to @page of @ha; ARENA_PAGES: none. */
static size_t arena_last_start(const struct heap_arena *ha, size_t page)
{
	size_t i = page / 64;
	uint64_t bits = smp_load_acquire(&ha->start[i]);

	bits &= ~0ULL >> (63 - page % 64);
	while (!bits && i > 0)
		bits = smp_load_acquire(&ha->start[--i]);
	return bits ? i * 64 + ilog2(bits) : ARENA_PAGES;
}

struct mspan *heap_arena_find_span(uintptr_t addr)
{
	struct heap_arena *ha = arena_lookup(addr);
	size_t page = (addr >> HA_PAGE_SHIFT) % ARENA_PAGES;
	struct mspan *s = ha ? page_entry_span(&ha->page[page]) : NULL;

	/* Walk back to the nearest first page; it may be arenas away. */
	while (ha && !s) {
		page = arena_last_start(ha, page);
		if (page < ARENA_PAGES)
			return page_entry_span(&ha->page[page]);
		ha = ha->base ? arena_lookup(ha->base - 1) : NULL;
		page = ARENA_PAGES - 1;
	}
	return s;
}

size_t heap_arena_count(void)
{
	return smp_load_acquire(&arenas.nr);
}

struct heap_arena *heap_arena_nth(size_t n)
{
	if (n >= smp_load_acquire(&arenas.nr))
		return NULL;
	return arenas.walk[n / WALK_BLOCK][n % WALK_BLOCK];
}

bool heap_arena_fork_held(void)
{
	return lock_is_held(&arenas.lock);
}

void heap_arena_fork_prepare(bool nested)
{
	lock_fork_prepare(&arenas.lock, nested);
}

void heap_arena_fork_done(void)
{
	lock_fork_done(&arenas.lock);
}

INSPECT_TABLE(heap_arena) = {
	INSPECT_NUMBER(walk_block, WALK_BLOCK),
	INSPECT_OBJECT(arenas_nr, arenas.nr),
	INSPECT_OBJECT(arenas_walk, arenas.walk),
	INSPECT_END
};
