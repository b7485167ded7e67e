// SPDX-License-Identifier: MIT
/*
 * Dense chunks onto huge pages, behind the program's back.
 *
 *	chunk full enough at DENSE_LOOKS looks, a second apart
 *	    -> all of its kernel pages resident?  (mincore)
 *	        -> MADV_COLLAPSE, one huge page's worth of chunks at a time
 *
 * What was full for seconds has no page that is about to go back, and what is
 * resident already costs no memory more on huge pages.  The call copies: 2 ms for 4
 * MiB, which this thread pays out of its share, and only while that is not needed for
 * giving memory back.  khugepaged would take a minute for what this does in a second,
 * and cannot be told what not to touch.
 *
 * A huge page larger than a chunk (kernel pages of 16 or 64 KiB) takes all chunks
 * under it to be dense.
 */
#include <errno.h>
#include <time.h>

#include "collapse.h"
#include "conf.h"
#include "limit.h"
#include "mheap.h"
#include "thp.h"

#define LOOK_MS		1000
#define DENSE_LOOKS	10
#define DENSE_SEEN	255	/* moved, or could not be, since it became dense */
/* A chunk is dense with this many of its pages in use ... */
#define DENSE_PAGES	(CHUNK_PAGES - CHUNK_PAGES / 32)
/* ... and with all but one in so many of the kernel's pages resident. */
#define ABSENT_SHIFT	5
/* Looks after which somebody held a page, and no block could be moved. */
#define BUSY_MAX	8
/* Blocks that it may call impossible before it is believed of all of them. */
#define REFUSED_MAX	8

static struct {
	uint64_t looked_at;		/* ms */
	size_t next;			/* arena to go on with */
	bool due;			/* a chunk has to be looked at again */
	uint64_t busy_at;		/* the look after which a page was held */
	unsigned int nr_busy;		/* such looks since one could be moved */
	bool ready;			/* thp_init() is done */
	unsigned int nr_refused;	/* blocks since one could be moved */
	bool refused;			/* by the kernel, for good */
} collapse;

bool collapse_wanted(size_t bytes)
{
	return conf.thp == THP_AUTO && bytes >= COLLAPSE_FROM && !collapse.refused;
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* One look at each chunk of an arena; true when one is due, or soon. */
static bool look_at_arena(struct heap_arena *ha)
{
	struct mheap *h = &mheaps[ha->nid];
	bool due = false;

	lock_acquire(&h->lock);
	for (unsigned int i = 0; i < ARENA_CHUNKS; i++) {
		size_t nr_free = page_alloc_count_free(&h->pages, ha->base + i * CHUNK_SIZE,
						       CHUNK_PAGES);
		bool grown = ha->base + (i + 1) * CHUNK_SIZE <= h->pages.max_addr;

		if (!grown || nr_free > CHUNK_PAGES - DENSE_PAGES)
			ha->dense[i] = 0;
		else if (ha->dense[i] < DENSE_LOOKS)
			ha->dense[i]++;
		if (ha->dense[i] && thp_is_huge(ha->base + i * CHUNK_SIZE))
			ha->dense[i] = DENSE_SEEN;
		/* with as many it is move_some() that has it, or it waits for its neighbours */
		due |= ha->dense[i] && ha->dense[i] < DENSE_LOOKS;
	}
	lock_release(&h->lock);
	return due;
}

/* All chunks of the block at @base: dense at each look, and of one node. */
static bool block_due(uintptr_t base, size_t size)
{
	struct heap_arena *first = arena_lookup(base);

	for (uintptr_t addr = base; addr < base + size; addr += CHUNK_SIZE) {
		struct heap_arena *ha = arena_lookup(addr);

		if (!ha || ha->nid != first->nid ||
		    ha->dense[addr % ARENA_SIZE >> CHUNK_SHIFT] != DENSE_LOOKS)
			return false;
	}
	return true;
}

static void block_set(uintptr_t base, size_t size, uint8_t looks)
{
	for (uintptr_t addr = base; addr < base + size; addr += CHUNK_SIZE)
		arena_lookup(addr)->dense[addr % ARENA_SIZE >> CHUNK_SHIFT] = looks;
}

/* Not for ever, where nothing else succeeds meanwhile: a page may be pinned for good. */
static bool may_be_busy(void)
{
	if (collapse.busy_at != collapse.looked_at)
		collapse.nr_busy++;
	collapse.busy_at = collapse.looked_at;
	return collapse.nr_busy < BUSY_MAX;
}

static void block_move(uintptr_t base, size_t size)
{
	size_t nr = size / vm_page_size;
	int err;

	block_set(base, size, DENSE_SEEN);
	if (vm_count_resident((void *)base, size) < nr - (nr >> ABSENT_SHIFT))
		return;
	err = vm_collapse((void *)base, size);
	if (!err) {
		collapse.nr_busy = 0;
		collapse.nr_refused = 0;
		thp_set_huge(base, size, true);
		mheap_set_resident(arena_lookup(base)->nid, base, size);
	}
	/* somebody in the kernel holds a page of it: as many looks, and once more */
	if ((err == -EAGAIN || err == -EBUSY) && may_be_busy()) {
		block_set(base, size, 1);
		collapse.due = true;
	}
	/* a kernel that cannot says so each time; one that can, of a block now and then */
	if (err == -EINVAL && ++collapse.nr_refused == REFUSED_MAX)
		collapse.refused = true;
}

/* False when the time was up before all blocks that begin in the arena were seen. */
static bool move_arena(struct heap_arena *ha, uint64_t end_ns)
{
	size_t size = max_size(thp_size(), CHUNK_SIZE);

	for (uintptr_t base = align_up(ha->base, size); base < ha->base + ARENA_SIZE;
	     base += size) {
		if (!block_due(base, size))
			continue;
		if (cpu_ns() >= end_ns)
			return false;
		block_move(base, size);
	}
	return true;
}

static bool move_some(uint64_t end_ns)
{
	struct heap_arena *ha;

	while ((ha = heap_arena_nth(collapse.next)) && !collapse.refused) {
		if (!move_arena(ha, end_ns))
			return false;
		collapse.next++;
	}
	return true;
}

bool collapse_step(uint64_t now_ms, uint64_t end_ns)
{
	/* of what is on huge pages the kernel takes back parts when it likes */
	if (!limit_far() ||
	    !collapse_wanted(atomic_load_relaxed(&vm_stat.prepared[VM_HEAP])))
		return true;
	if (!collapse.ready) {
		thp_init();
		collapse.ready = true;
	}
	if (!thp_size())
		return true;
	if (now_ms - collapse.looked_at >= LOOK_MS) {
		struct heap_arena *ha;

		collapse.looked_at = now_ms;
		collapse.next = 0;
		collapse.due = false;
		for (size_t i = 0; (ha = heap_arena_nth(i)); i++)
			collapse.due |= look_at_arena(ha);
	}
	return move_some(end_ns) && !collapse.due;
}
