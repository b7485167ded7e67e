// SPDX-License-Identifier: MIT
/*
 * Heaps that are given up whole.
 *
 *	ha_heap --> partial[class] --> span <-> span     bits and states as ever
 *	        --> full           --> span <-> large span
 *
 * A heap has spans of its own, small and large, and nothing else has objects in
 * them.  So reset and destroy return spans, and look at no object: a byte of state
 * an object is cleared, a span at a time.
 *
 * Why an object of a heap is safe in anybody's hands.  The page entries of its spans
 * say ROUTE_HEAP (lib/heap_arena.h).  That is no class: free() and its like leave
 * their fast paths at the test for an object's start, so that no magazine and no
 * depot ever takes such an object, and come here.  The descriptor names the heap;
 * free(), realloc(), malloc_usable_size(), look-ups and the walk all work.
 *
 * One lock for several heaps (STRIPES of them, by number of the heap), so that a
 * fork takes a fixed number however many heaps there are.  A call costs that lock,
 * and the bits of a span.  The page heap is called without it.
 *
 * Invariants:
 *  1. A span's heap, bits and states change under the heap's lock alone; a span in
 *     a list of a heap is in use.
 *  2. States are all OBJECT_FREE before a span goes back.
 *  3. mapped <= limit, unless the limit was lowered.
 *  4. A descriptor is recycled, never unmapped, and keeps its lock for ever: who
 *     comes late to a span finds a lock, and under it that the span has gone.
 *
 * Tiny objects share blocks of TINY_BLOCK bytes, which are objects of the heap.
 * The first bytes of a block are left out, so that none of them starts where the
 * block does: to free one is an invalid free, and not that of its block.
 */
#include <errno.h>
#include <string.h>

#include <asm/cache.h>
#include <util/line.h>
#include "debug.h"
#include "fixalloc.h"
#include "inspect.h"
#include "limit.h"
#include "lookup.h"
#include "mcache.h"
#include "mheap.h"
#include "profile.h"
#include "span_drop.h"
#include "span_zero.h"
#include "uheap.h"

#define STRIPES		64
#define TINY_BLOCK	1024
#define TINY_FRONT	16

static struct {
	struct lock lock;
} __aligned(L1_CACHE_BYTES) stripes[STRIPES] = {
	[0 ... STRIPES - 1] = { .lock = LOCK_INIT(RANK_HEAP) },
};

static struct {
	struct lock lock;
	struct ha_heap *all;		/* (a) newest first */
	uint32_t nr;			/* (l) ever made */
} heaps = { .lock = LOCK_INIT(RANK_HEAPS) };

static size_t dropped[MAX_NODES];	/* (a) bytes given back inside spans */

static void heap_lock(struct ha_heap *h)
{
	lock_acquire(&stripes[h->stripe].lock);
}

static void heap_unlock(struct ha_heap *h)
{
	lock_release(&stripes[h->stripe].lock);
}

static struct ha_heap *heap_new(void)
{
	struct ha_heap *h = meta_alloc(sizeof(*h));

	if (!h)
		return NULL;
	list_init(&h->full);
	for (unsigned int sc = 0; sc < NR_SIZE_CLASSES; sc++)
		list_init(&h->partial[sc]);
	h->stripe = heaps.nr++ % STRIPES;
	h->next = heaps.all;
	/* pairs with the acquire in uheap_next() */
	smp_store_release(&heaps.all, h);
	return h;
}

struct ha_heap *uheap_get(const char *name, size_t limit)
{
	struct ha_heap *h;

	lock_acquire(&heaps.lock);
	for (h = heaps.all; h && atomic_load_relaxed(&h->used); h = h->next)
		;
	if (!h)
		h = heap_new();
	if (h) {
		heap_lock(h);
		name_copy(h->name, sizeof(h->name), name);
		h->limit = limit ? limit : SIZE_MAX;
		h->nr_allocs = 0;
		h->nr_frees = 0;
		heap_unlock(h);
		smp_store_release(&h->used, 1);
	}
	lock_release(&heaps.lock);
	return h;
}

bool uheap_used(const struct ha_heap *h)
{
	return atomic_load_relaxed(&h->used);
}

struct ha_heap *uheap_next(struct ha_heap *h)
{
	h = h ? h->next : smp_load_acquire(&heaps.all);
	while (h && !smp_load_acquire(&h->used))
		h = h->next;
	return h;
}

/*
 * Allocation.
 */

static bool heap_charge(struct ha_heap *h, size_t bytes)
{
	bool ok;

	heap_lock(h);
	ok = bytes <= h->limit && h->mapped <= h->limit - bytes;
	if (ok)
		h->mapped += bytes;
	heap_unlock(h);
	return ok;
}

static void heap_uncharge(struct ha_heap *h, size_t bytes)
{
	heap_lock(h);
	h->mapped -= bytes;
	heap_unlock(h);
}

/* A new span becomes one of the heap's: from here on all look-ups say so. */
static void span_adopt(struct ha_heap *h, struct mspan *s)
{
	s->heap = h;
	heap_arena_set_heap_span(s->start, s->nr_pages, s->object_state, s->sc);
}

static void count_alloc(struct ha_heap *h, size_t bytes)
{
	h->live += bytes;
	h->nr_live++;
	h->nr_allocs++;
}

/* Kernel pages of @s that were given back come back with its next object. */
static void forget_dropped(struct mspan *s)
{
	size_t bytes = popcount64(s->dropped) * vm_page_size;

	if (!bytes)
		return;
	atomic_sub_relaxed(&dropped[s->nid], bytes);
	limit_dropped(-bytes);
	s->dropped = 0;
}

/* Under the lock: an object of a span at hand. */
static void *take_small(struct ha_heap *h, unsigned int sc)
{
	struct mag_slot slot;
	struct mspan *s;

	if (list_empty(&h->partial[sc]))
		return NULL;
	s = list_entry(h->partial[sc].next, struct mspan, link);
	forget_dropped(s);
	mspan_alloc(s, &slot, 1);
	if (mspan_full(s)) {
		list_del(&s->link);
		list_add(&s->link, &h->full);
	}
	__atomic_store_n(slot.state, OBJECT_LIVE, __ATOMIC_RELEASE);
	count_alloc(h, s->size);
	return slot.obj;
}

static bool grow_small(struct ha_heap *h, unsigned int sc)
{
	size_t bytes = (size_t)size_classes[sc].pages << HA_PAGE_SHIFT;
	struct mspan *s;

	if (!heap_charge(h, bytes))
		return false;
	s = mheap_alloc_span(mcache_nid(), sc, h->stripe);
	if (!s) {
		heap_uncharge(h, bytes);
		return false;
	}
	span_adopt(h, s);
	heap_lock(h);
	list_add(&s->link, &h->partial[sc]);
	heap_unlock(h);
	return true;
}

static void *alloc_small(struct ha_heap *h, unsigned int sc)
{
	void *p;

	do {
		heap_lock(h);
		p = take_small(h, sc);
		heap_unlock(h);
	} while (!p && grow_small(h, sc));
	return p;
}

static void *alloc_large(struct ha_heap *h, size_t size, size_t align_pages, bool zero)
{
	size_t nr_pages = size ? size_to_pages(size) : 1;
	size_t bytes = nr_pages << HA_PAGE_SHIFT;
	struct mspan *s;
	bool zeroed;

	if (size > PTRDIFF_MAX || !heap_charge(h, bytes))
		return NULL;
	s = mheap_alloc_large(mcache_nid(), nr_pages, align_pages, &zeroed);
	if (!s) {
		heap_uncharge(h, bytes);
		return NULL;
	}
	s->nr_alloc = 1;
	span_adopt(h, s);
	if (zero && !zeroed)
		span_zero(s);
	heap_lock(h);
	__atomic_store_n(&s->object_state[0], OBJECT_LIVE, __ATOMIC_RELEASE);
	list_add(&s->link, &h->full);
	count_alloc(h, bytes);
	h->large += bytes;
	heap_unlock(h);
	return (void *)s->start;
}

/* Nobody else has @p yet, nor resets the heap meanwhile. */
static void profile_alloc(void *p)
{
	struct mspan *s;
	size_t size;

	profile_poll();
	if (!profile_on())
		return;
	s = page_entry_span(arena_entry((uintptr_t)p));
	size = s->sc ? s->size : mspan_size(s);
	if (profile_count(size) && profile_take(p, size))
		s->object_state[mspan_index(s, (uintptr_t)p)] = OBJECT_SAMPLED;
}

void *uheap_alloc(struct ha_heap *h, size_t size, size_t align, bool zero)
{
	unsigned int sc = 0;
	void *p = NULL;

	if (align <= 16 && size <= MAX_SMALL_SIZE)
		sc = small_class(max_size(size, align));
	else if (size <= MAX_SMALL_SIZE && align <= HA_PAGE_SIZE)
		sc = aligned_class[ilog2(align) - 4][small_class(size)];
	if (sc)
		p = alloc_small(h, sc);
	else if (align <= HA_PAGE_SIZE || align <= PTRDIFF_MAX - size)
		p = alloc_large(h, size, max_size(align >> HA_PAGE_SHIFT, 1), zero);
	if (p && sc && zero)
		memset(p, 0, size_classes[sc].size);
	if (p)
		profile_alloc(p);
	else
		errno = ENOMEM;
	return p;
}

/* Under the lock: @size bytes at the alignment that they can make use of. */
static void *take_tiny(struct ha_heap *h, size_t size)
{
	size_t align = min_size(size & -size, 8);
	char *p = (char *)align_up((uintptr_t)h->tiny, align);

	if (!h->tiny || p + size > h->tiny_end)
		return NULL;
	h->tiny = p + size;
	h->nr_tiny++;
	return p;
}

/* Another thread's block that was the current one is left as it is. */
static bool grow_tiny(struct ha_heap *h)
{
	char *block = alloc_small(h, small_class(TINY_BLOCK));

	if (!block)
		return false;
	profile_alloc(block);
	heap_lock(h);
	h->tiny = block + TINY_FRONT;
	h->tiny_end = block + TINY_BLOCK;
	heap_unlock(h);
	return true;
}

void *uheap_alloc_tiny(struct ha_heap *h, size_t size)
{
	void *p;

	size = size ? size : 1;
	do {
		heap_lock(h);
		p = take_tiny(h, size);
		heap_unlock(h);
	} while (!p && grow_tiny(h));
	if (!p)
		errno = ENOMEM;
	return p;
}

/*
 * Free.
 */

/* The object that starts at @addr, live; its heap locked.  Else misuse. */
static unsigned int object_lock(const char *op, uintptr_t addr, struct span_view *v)
{
	size_t size;
	unsigned int idx;

	if (!span_view_find(addr, v) || !v->heap)
		debug_bad_pointer(op, addr);
	heap_lock(v->heap);
	size = span_view_object_size(v);
	idx = (addr - v->start) / size;
	if (!span_view_holds(v) || idx >= span_view_nelems(v) ||
	    addr != v->start + idx * size || v->states[idx] == OBJECT_FREE) {
		heap_unlock(v->heap);
		debug_bad_pointer(op, addr);
	}
	return idx;
}

/* Under the lock: the span when nothing of it is needed any more. */
static struct mspan *put_object(struct ha_heap *h, struct mspan *s, unsigned int idx)
{
	struct list_head *partial = &h->partial[s->sc];
	bool was_full = mspan_full(s);

	if (s->object_state[idx] == OBJECT_SAMPLED)
		profile_end(mspan_object(s, idx));
	__atomic_store_n(&s->object_state[idx], OBJECT_FREE, __ATOMIC_RELEASE);
	h->live -= s->sc ? s->size : mspan_size(s);
	h->large -= s->sc ? 0 : mspan_size(s);
	h->nr_live--;
	h->nr_frees++;
	if (s->sc) {
		mspan_free(s, idx / 64, 1ULL << (idx % 64));
		if (was_full) {
			list_del(&s->link);
			list_add(&s->link, partial);
		}
		/* the only span with room is kept: the next object goes there */
		if (s->nr_alloc || (partial->next == &s->link && partial->prev == &s->link))
			return NULL;
	}
	forget_dropped(s);
	list_del(&s->link);
	h->mapped -= mspan_size(s);
	return s;
}

void uheap_free(const char *op, struct ha_heap *want, uintptr_t addr)
{
	struct span_view v;
	unsigned int idx = object_lock(op, addr, &v);
	struct mspan *s;

	if (want && v.heap != want) {
		heap_unlock(v.heap);
		debug_bad_owner(addr, "a heap");
	}
	s = put_object(v.heap, v.s, idx);
	heap_unlock(v.heap);
	if (s)
		mheap_free_span(s);
}

size_t uheap_object_size(const char *op, uintptr_t addr, struct ha_heap **h)
{
	struct span_view v;

	object_lock(op, addr, &v);
	heap_unlock(v.heap);
	*h = v.heap;
	return span_view_object_size(&v);
}

/*
 * All at once.
 */

static void end_samples(const struct mspan *s)
{
	const uint8_t *state = s->object_state, *end = state + s->nelems;

	for (; (state = memchr(state, OBJECT_SAMPLED, end - state)); state++)
		profile_end(mspan_object(s, state - s->object_state));
}

static void take_list(struct ha_heap *h, struct list_head *from, struct list_head *all)
{
	while (!list_empty(from)) {
		struct mspan *s = list_entry(from->next, struct mspan, link);

		end_samples(s);
		memset(s->object_state, OBJECT_FREE, s->nelems);
		forget_dropped(s);
		h->mapped -= mspan_size(s);
		list_del(&s->link);
		list_add(&s->link, all);
	}
}

void uheap_reset(struct ha_heap *h, bool last)
{
	struct list_head all;

	list_init(&all);
	heap_lock(h);
	take_list(h, &h->full, &all);
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
		take_list(h, &h->partial[sc], &all);
	h->nr_frees += h->nr_live;
	h->live = 0;
	h->large = 0;
	h->nr_live = 0;
	h->nr_tiny = 0;
	h->tiny = NULL;
	h->tiny_end = NULL;
	heap_unlock(h);
	while (!list_empty(&all)) {
		struct mspan *s = list_entry(all.next, struct mspan, link);

		list_del(&s->link);
		mheap_free_span(s);
	}
	if (last)
		smp_store_release(&h->used, 0);
}

/*
 * Pages inside spans.
 */

static void __new_round(struct ha_heap *h)
{
	h->round = h->round % 255 + 1;
	h->visited = false;
}

void uheap_new_round(struct ha_heap *h)
{
	heap_lock(h);
	__new_round(h);
	heap_unlock(h);
}

bool uheap_look(struct ha_heap *h)
{
	heap_lock(h);
	h->rested = h->nr_allocs + h->nr_frees == h->seen;
	h->seen = h->nr_allocs + h->nr_frees;
	if (!h->rested)
		__new_round(h);
	heap_unlock(h);
	return h->rested;
}

bool uheap_scavenge(struct ha_heap *h, unsigned int nr_spans, bool all, size_t *bytes)
{
	unsigned int left = nr_spans;
	struct span_drop drop;

	span_drop_init(&drop, all);
	heap_lock(h);
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES && left && !h->visited; sc++) {
		struct list_head *head = &h->partial[sc];

		/* Visited ones go to the end: one that has been says all have. */
		while (left && !list_empty(head)) {
			struct mspan *s = list_entry(head->next, struct mspan, link);

			if (s->set_idx == h->round)
				break;
			s->set_idx = h->round;
			list_del(&s->link);
			list_add_tail(&s->link, head);
			span_drop_add(&drop, s);
			left--;
		}
	}
	span_drop_flush(&drop);
	for (unsigned int n = 0; n < MAX_NODES; n++)
		atomic_add_relaxed(&dropped[n], drop.bytes_of[n]);
	limit_dropped(drop.bytes);
	h->visited |= left != 0;
	heap_unlock(h);
	*bytes += drop.bytes;
	return left == 0;
}

size_t uheap_dropped(unsigned int nid)
{
	return atomic_load_relaxed(&dropped[nid]);
}

void uheap_set_limit(struct ha_heap *h, size_t limit)
{
	heap_lock(h);
	h->limit = limit ? limit : SIZE_MAX;
	heap_unlock(h);
}

void uheap_stat(struct ha_heap *h, struct ha_heap_stats *st)
{
	heap_lock(h);
	*st = (struct ha_heap_stats){
		.size = sizeof(*st),
		.name = h->name,
		.limit = h->limit == SIZE_MAX ? 0 : h->limit,
		.mapped = h->mapped,
		.live = h->live,
		.nr_live = h->nr_live,
		.nr_allocs = h->nr_allocs,
		.nr_frees = h->nr_frees,
		.nr_tiny = h->nr_tiny,
	};
	heap_unlock(h);
}

void uheap_name(struct ha_heap *h, char *name)
{
	heap_lock(h);
	memcpy(name, h->name, sizeof(h->name));
	heap_unlock(h);
}

size_t uheap_small_bytes(void)
{
	size_t bytes = 0;

	for (struct ha_heap *h = uheap_next(NULL); h; h = uheap_next(h)) {
		heap_lock(h);
		bytes += h->live - h->large;
		heap_unlock(h);
	}
	return bytes;
}

bool uheap_fork_held(void)
{
	for (unsigned int i = 0; i < STRIPES; i++)
		if (lock_is_held(&stripes[i].lock))
			return true;
	return lock_is_held(&heaps.lock);
}

void uheap_fork_prepare(bool nested)
{
	lock_fork_prepare(&heaps.lock, nested);
	for (unsigned int i = 0; i < STRIPES; i++)
		lock_fork_prepare(&stripes[i].lock, nested);
}

void uheap_fork_done(void)
{
	for (unsigned int i = STRIPES; i-- > 0;)
		lock_fork_done(&stripes[i].lock);
	lock_fork_done(&heaps.lock);
}

INSPECT_TABLE(uheap) = {
	INSPECT_SIZEOF(ha_heap),
	INSPECT_OBJECT(heaps_all, heaps.all),
	INSPECT_MEMBER(ha_heap, next),
	INSPECT_MEMBER(ha_heap, used),
	INSPECT_MEMBER(ha_heap, name),
	INSPECT_MEMBER(ha_heap, limit),
	INSPECT_MEMBER(ha_heap, mapped),
	INSPECT_MEMBER(ha_heap, live),
	INSPECT_MEMBER(ha_heap, large),
	INSPECT_MEMBER(ha_heap, nr_live),
	INSPECT_MEMBER(ha_heap, nr_allocs),
	INSPECT_MEMBER(ha_heap, nr_frees),
	INSPECT_MEMBER(ha_heap, nr_tiny),
	INSPECT_END
};
