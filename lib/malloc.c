// SPDX-License-Identifier: MIT
/*
 * The entry points: malloc, calloc, realloc, free, and the slow half of each
 * right below its fast one.
 *
 *	malloc: size -> class (one table) -> pop from this CPU's magazine
 *	free:   address -> page entry -> class, state byte -> push
 *
 * Misuse detection.  An object's state byte lies in its span's descriptor.
 * malloc sets it, through the pointer that came with the slot; free finds it by
 * the page entry, wants it set, and clears it before the object is cached.  So a
 * second free, a pointer into an object, or one that was never allocated is
 * stopped at the call.  A plain load and store: two threads that free the same
 * object at the same instant may both pass, and the second is then caught when
 * its batch meets the span's bitmap.
 *
 * Page entry, index and state need no lock: a live object keeps its span, its
 * descriptor and its page entry unchanged.
 */
#include <errno.h>
#include <string.h>

#include <util/align.h>
#include "assist.h"
#include "conf.h"
#include "debug.h"
#include "fastpath.h"
#include "fork.h"
#include "keep.h"
#include "malloc.h"
#include "mcache.h"
#include "mcentral.h"
#include "mheap.h"
#include "numa.h"
#include "profile.h"
#include "span_zero.h"
#include "sysmon.h"
#include "uheap.h"

static struct lock init_lock = LOCK_INIT(RANK_INIT);
static bool initialised;		/* (a) */
static bool check_on = true;		/* (c) conf.check, beside the fast path */

/*
 * Initialisation: inside the first call of the process, possibly before libc's
 * own constructors.  Calls nothing that allocates.
 */
static bool heap_init(void)
{
	int saved = errno;
	bool ok = true;

	lock_acquire(&init_lock);
	if (!initialised) {
		vm_init();
		conf_init();
		topo_init(conf.numa_fake, conf.numa_on);
		ok = heap_arena_init() == 0 && mheap_init(topo.nr_nodes) == 0 &&
		     mcache_init() == 0;
		if (ok) {
			mcentral_init(topo.nr_nodes);
			keep_init(topo.nr_nodes);
			check_on = conf.check;
			/* pairs with the acquire in heap_ready() */
			smp_store_release(&initialised, true);
		}
	}
	lock_release(&init_lock);
	errno = ok ? saved : ENOMEM;
	return ok;
}

bool heap_ready(void)
{
	return likely(smp_load_acquire(&initialised)) || heap_init();
}

/* When libc and the libraries below are up; a first malloc may have come before. */
__attribute__((constructor)) static void heap_constructor(void)
{
	if (!heap_ready())
		return;
	topo_init_late();
	fork_init();
	sysmon_init();
}

/* The state of a new object: @state, or that of a sampled one. */
static uint8_t state_profiled(void *ptr, size_t size, uint8_t state)
{
	return profile_count(size) && profile_take(ptr, size) ? OBJECT_SAMPLED : state;
}

/*
 * Large objects: a span each.
 */
static struct mspan *alloc_pages(size_t nr_pages, size_t align_pages, bool *zeroed)
{
	struct mspan *s = mheap_alloc_large(mcache_nid(), nr_pages, align_pages, zeroed);

	if (unlikely(!s) && assist_gather(nr_pages << HA_PAGE_SHIFT))
		s = mheap_alloc_large(mcache_nid(), nr_pages, align_pages, zeroed);
	return s;
}

static void *alloc_large(size_t size, size_t align_pages, bool zero)
{
	bool zeroed;
	struct mspan *s;

	if (unlikely(size > PTRDIFF_MAX || !heap_ready()))
		goto nomem;
	s = alloc_pages(size ? size_to_pages(size) : 1, align_pages, &zeroed);
	if (!s)
		goto nomem;
	s->nr_alloc = 1;
	s->user_size = size;
	if (zero && !zeroed)
		span_zero(s);
	profile_poll();
	s->object_state[0] = profile_on() ?
		state_profiled((void *)s->start, mspan_size(s), OBJECT_LIVE) : OBJECT_LIVE;
	return (void *)s->start;
nomem:
	errno = ENOMEM;
	return NULL;
}

void *take_due(struct mag_slot slot, struct mag_hdr *h, size_t twice)
{
	size_t size = size_classes[twice / 2].size;

	*slot.state = profile_called(h, size) && profile_take(slot.obj, size) ?
		OBJECT_SAMPLED : h->tag;
	return slot.obj;
}

/* What others have cached is tried for before the answer is no. */
static bool alloc_cached(size_t sc, struct mag_slot *slot) __noinline;
static bool alloc_cached(size_t sc, struct mag_slot *slot)
{
	return assist_gather(size_classes[sc].size) && mcache_alloc_slow(sc, slot);
}

static void *alloc_class_slow(size_t sc) __noinline;
static void *alloc_class_slow(size_t sc)
{
	struct mag_slot slot;
	uint8_t state;

	if (!heap_ready() ||
	    (!mcache_alloc_slow(sc, &slot) && !alloc_cached(sc, &slot))) {
		errno = ENOMEM;
		return NULL;
	}
	state = mcache_tag();
	if (profile_on())
		state = state_profiled(slot.obj, size_classes[sc].size, state);
	if (likely(state))
		*slot.state = state;
	return slot.obj;
}

static __always_inline void *alloc_class(size_t sc)
{
	struct mag_slot slot;
	struct mag_hdr *h;
	bool due;

	if (likely(mcache_pop_twice(2 * sc, &slot, &h, &due)))
		return take_slot(&slot, h, due, 2 * sc);
	return alloc_class_slow(sc);
}

/* Whatever the fast path declined. */
void *malloc_slow(size_t size)
{
	if (size <= MAX_SMALL_SIZE)
		return alloc_class_slow(small_class(size));
	if (likely(size <= MAX_MEDIUM_SIZE))
		return alloc_class(medium_class(size));
	return alloc_large(size, 1, false);
}

__export __hot void *ha_malloc(size_t size)
{
	void *p = malloc_fast(size);

	return likely(p) ? p : malloc_slow(size);
}
EXPORT_AS(ha_malloc, malloc);
EXPORT_AS(ha_malloc, __libc_malloc);

/*
 * Free.
 */
static void free_slow(void *ptr) __noinline;

static void free_sampled(struct mag_slot slot, size_t route) __noinline;
static void free_sampled(struct mag_slot slot, size_t route)
{
	profile_end(slot.obj);
	mcache_free_tagged(slot, route, mcache_tag());
}

void object_declined(struct mag_slot slot, size_t route, uint32_t tag,
		     enum mag_result why)
{
	bool of_a_slot = tag - OBJECT_LIVE < OBJECT_SAMPLED - OBJECT_LIVE;

	/* popped elsewhere: with more threads than CPUs any other object */
	if (likely(of_a_slot && why == MAG_FOREIGN))
		mcache_free_foreign(slot, route, tag);
	else if (tag == OBJECT_FREE && check_on)
		debug_bad_pointer("free", (uintptr_t)slot.obj);
	/* the tag of no slot: each sampled object comes here */
	else if (unlikely(tag == OBJECT_SAMPLED))
		free_sampled(slot, route);
	else if (likely(why == MAG_FULL))
		mcache_free_slow(route, slot);
	else
		mcache_free_tagged(slot, route, tag);
}

__export __hot void ha_free(void *ptr)
{
	const struct page_entry *e = window_entry((uintptr_t)ptr);
	struct object o;

	if (likely(e) && likely(object_find(e, (uintptr_t)ptr, &o)))
		object_free(ptr, &o);
	else
		free_slow(ptr);
}
EXPORT_AS(ha_free, free);
EXPORT_AS(ha_free, __libc_free);
EXPORT_WEAK_AS(ha_free, _ZdlPv);

/* A large object, one of a heap of the user's, misuse. */
static void free_span(void *ptr) __noinline;
static void free_span(void *ptr)
{
	uintptr_t addr = (uintptr_t)ptr;
	struct page_entry *e = heap_ready() ? arena_entry(addr) : NULL;
	uint8_t *states, state;
	struct mspan *s;

	if (e && page_entry_route(e) == ROUTE_HEAP) {
		uheap_free("free", NULL, addr);
		return;
	}
	states = e && !page_entry_route(e) ? page_entry_states(e) : NULL;
	s = states ? states_span(states) : NULL;
	if (!s || s->start != addr)
		debug_bad_pointer("free", addr);
	/*
	 * One of two threads that free it at once wins.  Not by the address in the
	 * descriptor, which the winner may have given back by now.
	 */
	state = __atomic_exchange_n(&states[0], OBJECT_FREE, __ATOMIC_ACQ_REL);
	if (state == OBJECT_FREE)
		debug_bad_pointer("free", addr);
	if (state == OBJECT_SAMPLED)
		profile_end(ptr);
	mheap_free_span(s);
}

/* NULL, outside of the window, or not of a class. */
static void free_slow(void *ptr)
{
	uintptr_t addr = (uintptr_t)ptr;
	struct heap_arena *ha;
	struct object o;

	if (!ptr)
		return;
	ha = arena_lookup(addr);
	if (ha && likely(object_find(arena_page(ha, addr), addr, &o)))
		object_free(ptr, &o);
	else
		free_span(ptr);
}

/*
 * Look-ups of live objects.  @op names the caller in a report.  *own: the object's
 * span, where it has one to itself, medium or large; *heap: the heap of the user's
 * that it is from.
 */
static size_t live_size(const char *op, void *ptr, struct mspan **own,
			struct ha_heap **heap)
{
	uintptr_t addr = (uintptr_t)ptr;
	struct page_entry *e = heap_ready() ? arena_entry(addr) : NULL;
	struct object o;
	uint8_t *states;
	unsigned int sc;

	*heap = NULL;
	if (likely(e) && likely(object_find(e, addr, &o))) {
		if (unlikely(check_on && *o.state == OBJECT_FREE))
			debug_bad_pointer(op, addr);
		sc = route_class(page_entry_route(e));
		*own = sc >= FIRST_MEDIUM_CLASS ? page_entry_span(e) : NULL;
		return size_classes[sc].size;
	}
	*own = NULL;
	if (e && page_entry_route(e) == ROUTE_HEAP)
		return uheap_object_size(op, addr, heap);
	states = e && !page_entry_route(e) ? page_entry_states(e) : NULL;
	if (states)
		*own = states_span(states);
	if (!*own || (*own)->start != addr || states[0] == OBJECT_FREE)
		debug_bad_pointer(op, addr);
	return mspan_size(*own);
}

__export size_t ha_malloc_usable_size(void *ptr)
{
	struct ha_heap *heap;
	struct mspan *own;

	return ptr ? live_size("malloc_usable_size", ptr, &own, &heap) : 0;
}
EXPORT_AS(ha_malloc_usable_size, malloc_usable_size);

/* (a) 1: realloc kept an object that shrinks by more, because there was no memory. */
static uint32_t kept_large;

/*
 * Is @size one that the object can have?  realloc keeps an object that shrinks to
 * no less than half, and an aligned one may be larger than its size asks.
 */
static void check_size(void *ptr, size_t align, size_t size)
{
	struct ha_heap *heap;
	struct mspan *own;
	size_t has = live_size("free", ptr, &own, &heap);

	if (size <= has && (size >= has / 2 || has <= max_size(align, 16)))
		return;
	if (align > 16 && size <= has && is_aligned((uintptr_t)ptr, align))
		return;
	if (size <= has && atomic_load_relaxed(&kept_large))
		return;
	if (size > has || ha_good_size(size) != has)
		debug_size_mismatch((uintptr_t)ptr, size, has);
}

void free_sized_slow(void *ptr, size_t size)
{
	if (ptr && check_on)
		check_size(ptr, 1, size);
	ha_free(ptr);
}

__export __hot void ha_free_sized(void *ptr, size_t size)
{
	const struct page_entry *e = window_entry((uintptr_t)ptr);
	struct object o;

	if (likely(e) && likely(object_find(e, (uintptr_t)ptr, &o)) &&
	    likely(object_fits(&o, size)))
		object_free(ptr, &o);
	else
		free_sized_slow(ptr, size);
}
EXPORT_AS(ha_free_sized, free_sized);

__export void ha_free_aligned_sized(void *ptr, size_t align, size_t size)
{
	if (ptr && check_on)
		check_size(ptr, align, size);
	ha_free(ptr);
}
EXPORT_AS(ha_free_aligned_sized, free_aligned_sized);

__export size_t ha_good_size(size_t size)
{
	if (size <= MAX_SMALL_SIZE)
		return size_classes[small_class(size)].size;
	if (size <= MAX_MEDIUM_SIZE)
		return size_classes[medium_class(size)].size;
	if (size > PTRDIFF_MAX)
		return size;
	return size_to_pages(size) << HA_PAGE_SHIFT;
}

/*
 * calloc, realloc.
 */

/* Up to here classes are 16 bytes apart, but for that of 8. */
#define STEP_16_SIZE	256

/* All that malloc_usable_size() says of an object, which a program may use. */
static void *zero_object(void *p, size_t sc)
{
	return memset(p, 0, size_classes[sc].size);
}

static void *zalloc(size_t size)
{
	struct mag_slot slot;
	struct mag_hdr *h;
	size_t sc;
	bool due;
	void *p;

	if (likely(size <= STEP_16_SIZE)) {
		p = alloc_class(small_class(size));
		/* the size of the class, and no load to wait for */
		size = size <= 8 ? 8 : align_up(size, 16);
		/* of which the compiler knows no bound, or memset is rep stos */
		__asm__("" : "+r"(size));
		return likely(p) ? memset(p, 0, size) : NULL;
	}
	if (likely(size <= MAX_SMALL_SIZE)) {
		sc = small_class(size);
		p = alloc_class(sc);
		return likely(p) ? zero_object(p, sc) : NULL;
	}
	if (size <= MAX_MEDIUM_SIZE) {
		sc = medium_class(size);
		if (mcache_pop_twice(2 * sc, &slot, &h, &due))
			return zero_object(take_slot(&slot, h, due, 2 * sc), sc);
	}
	/* not at hand: pages of which the heap may know that they are zero */
	return alloc_large(size, 1, true);
}

__export void *ha_calloc(size_t nmemb, size_t size)
{
	size_t bytes;

	if (unlikely(__builtin_mul_overflow(nmemb, size, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	return zalloc(bytes);
}
EXPORT_AS(ha_calloc, calloc);
EXPORT_AS(ha_calloc, __libc_calloc);

/* A medium object whose pages can be extended goes on as a large one. */
static bool grow_medium(struct mspan *s, size_t size)
{
	if (size > PTRDIFF_MAX || !mheap_resize_span(s, size_to_pages(size)))
		return false;
	mcentral_disown(s);
	mheap_make_large(s);
	s->user_size = size;
	/* check:off or not: those of large objects are kept */
	if (!check_on)
		s->object_state[0] = OBJECT_LIVE;
	return true;
}

/* In place when the pages allow; a shrink to a small size moves. */
static bool realloc_large(struct mspan *s, size_t size)
{
	size_t nr_pages;

	if (size <= MAX_SMALL_SIZE || size > PTRDIFF_MAX)
		return false;
	nr_pages = size_to_pages(size);
	if (nr_pages != s->nr_pages && !mheap_resize_span(s, nr_pages))
		return false;
	s->user_size = size;
	return true;
}

/* A large object has another size than @old by now. */
static void profile_resized(struct mspan *s, size_t old)
{
	bool sampled = s->object_state[0] == OBJECT_SAMPLED;
	size_t size = mspan_size(s);

	if (likely(!sampled && !profile_on()) || size == old)
		return;
	if (profile_resize((void *)s->start, old, size, sampled))
		s->object_state[0] = OBJECT_SAMPLED;
}

/* Can an object of @old bytes have @size without moving?  Then it has. */
static bool realloc_in_place(struct mspan *own, size_t old, size_t size)
{
	bool large = own && !own->sc;

	if (!large && size <= old)
		return size >= old / 2;
	if (!own || !(large ? realloc_large(own, size) : grow_medium(own, size)))
		return false;
	profile_resized(own, old);
	return true;
}

__export int ha_resize(void *ptr, size_t size)
{
	struct ha_heap *heap;
	struct mspan *own;
	size_t old = live_size("resize", ptr, &own, &heap);

	if (realloc_in_place(own, old, size))
		return 0;
	errno = ENOMEM;
	return -1;
}

static void *realloc_object(void *ptr, size_t size) __noinline;
static void *realloc_object(void *ptr, size_t size)
{
	struct ha_heap *heap;
	struct mspan *own;
	int saved = errno;
	size_t old;
	void *new;

	old = live_size("realloc", ptr, &own, &heap);
	if (realloc_in_place(own, old, size))
		return ptr;
	new = heap ? uheap_alloc(heap, size, 1, false) : ha_malloc(size);
	if (unlikely(!new)) {
		if (size > old)
			return NULL;
		atomic_store_relaxed(&kept_large, 1);
		errno = saved;
		return ptr;
	}
	memcpy(new, ptr, min_size(old, size));
	ha_free(ptr);
	return new;
}

__export void *ha_realloc(void *ptr, size_t size)
{
	if (unlikely(!ptr))
		return ha_malloc(size);
	if (likely(size))
		return realloc_object(ptr, size);
	ha_free(ptr);
	return NULL;
}
EXPORT_AS(ha_realloc, realloc);
EXPORT_AS(ha_realloc, __libc_realloc);

/*
 * Alignment: a class whose size is a multiple of it (spans start on a page), else
 * pages.
 */
void *heap_alloc(size_t align, size_t size, bool zero)
{
	size_t sc = 0;
	void *p;

	if (align <= 16 && size <= MAX_SMALL_SIZE)
		sc = small_class(size < align ? align : size);
	else if (size <= MAX_SMALL_SIZE && align <= HA_PAGE_SIZE)
		sc = aligned_class[ilog2(align) - 4][small_class(size)];
	if (sc) {
		p = alloc_class(sc);
		return p && zero ? zero_object(p, sc) : p;
	}
	if (align <= HA_PAGE_SIZE && size > MAX_SMALL_SIZE)
		return zero ? zalloc(size) : malloc_slow(size);
	if (align > HA_PAGE_SIZE && align > PTRDIFF_MAX - size) {
		errno = ENOMEM;
		return NULL;
	}
	return alloc_large(size, max_size(align >> HA_PAGE_SHIFT, 1), zero);
}

void *heap_alloc_aligned(size_t align, size_t size)
{
	return heap_alloc(align, size, false);
}
