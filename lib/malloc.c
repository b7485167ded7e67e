// SPDX-License-Identifier: MIT
/*
 * The entry points: malloc, calloc, realloc, free, and the slow half of each
 * right below its fast one.
 *
 *	malloc: size -> class (one table) -> pop from this CPU's magazine
 *	free:   address -> page word -> class, state byte -> push
 *
 * Misuse detection.  An object's state byte lies in its span's descriptor.
 * malloc sets it, through the pointer that came with the slot; free finds it by
 * the page word, wants it set, and clears it before the object is cached.  So a
 * second free, a pointer into an object, or one that was never allocated is
 * stopped at the call.  A plain load and store: two threads that free the same
 * object at the same instant may both pass, and the second is then caught when
 * its batch meets the span's bitmap.
 *
 * Page word, index and state need no lock: a live object keeps its span, its
 * descriptor and its page word unchanged.
 */
#include <errno.h>
#include <string.h>

#include "conf.h"
#include "debug.h"
#include "fork.h"
#include "malloc.h"
#include "mcache.h"
#include "mcentral.h"
#include "mheap.h"
#include "numa.h"
#include "sysmon.h"
#include "uheap.h"

static struct lock init_lock = LOCK_INIT(RANK_INIT);
static bool initialised;		/* (a) */
static bool check_on = true;		/* (c) conf.check, beside the fast path */

/*
 * What free needs of a class, by route: a magic of 0 stands for "no such class"
 * and fails the test for an object's start.
 */
static struct {
	uint64_t magic;		/* (c) 32 bits of it */
	uint64_t pad;		/* 16 bytes: the page word has the route as an offset */
} routes[NR_ROUTES];

static_assert(sizeof(routes[0]) == 1 << PAGE_WORD_ROUTE_SHIFT &&
	      sizeof(struct mag_hdr) == 1 << PAGE_WORD_ROUTE_SHIFT,
	      "a masked page word is an offset of both");

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
			for (unsigned int n = 0; n < topo.nr_nodes; n++)
				for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
					routes[route_make(n, sc)].magic =
						size_classes[sc].magic;
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

/*
 * Large objects: a span each.
 */
static void *alloc_large(size_t size, size_t align_pages, bool zero)
{
	bool zeroed;
	struct mspan *s;

	if (unlikely(size > PTRDIFF_MAX || !heap_ready()))
		goto nomem;
	s = mheap_alloc_large(mcache_nid(), size ? size_to_pages(size) : 1,
			      align_pages, &zeroed);
	if (!s)
		goto nomem;
	s->nr_alloc = 1;
	s->user_size = size;
	if (zero && !zeroed)
		memset((void *)s->start, 0, size);
	s->object_state[0] = OBJECT_LIVE;
	return (void *)s->start;
nomem:
	errno = ENOMEM;
	return NULL;
}

static __always_inline void *take_slot(const struct mag_slot *slot)
{
	/* a line of its own in a large heap: not touched for nothing */
	if (likely(check_on))
		*slot->state = OBJECT_LIVE;
	return slot->obj;
}

static __always_inline size_t size_class_of(size_t size)
{
	return class_of_8[(size + 7) >> 3];
}

static void *alloc_class_slow(size_t sc) __noinline;
static void *alloc_class_slow(size_t sc)
{
	struct mag_slot slot;

	if (heap_ready() && mcache_alloc_slow(sc, &slot))
		return take_slot(&slot);
	errno = ENOMEM;
	return NULL;
}

/* Whatever the fast path declined. */
static void *malloc_slow(size_t size) __noinline;
static void *malloc_slow(size_t size)
{
	if (size <= MAX_SMALL_SIZE)
		return alloc_class_slow(size_class_of(size));
	return alloc_large(size, 1, false);
}

static __always_inline void *alloc_class(size_t sc)
{
	struct mag_slot slot;

	if (likely(mcache_pop(sc, &slot)))
		return take_slot(&slot);
	return alloc_class_slow(sc);
}

__export __hot void *ha_malloc(size_t size)
{
	struct mag_slot slot;

	if (likely(size <= MAX_SMALL_SIZE) &&
	    likely(mcache_pop(size_class_of(size), &slot)))
		return take_slot(&slot);
	return malloc_slow(size);
}
EXPORT_AS(ha_malloc, malloc);

/*
 * Free.
 */
static void free_slow(void *ptr) __noinline;

/* An address as the fast paths see it. */
struct object {
	uint64_t word;		/* page word */
	uint8_t *state;
	uint64_t route_off;	/* route, as the offset of a 16-byte entry */
};

/* True when @addr is the start of an object of a size class; fills in @o. */
static __always_inline bool object_find(uintptr_t addr, struct object *o)
{
	struct heap_arena *ha = arena_lookup(addr);
	uint64_t product, magic;

	if (unlikely(!ha))
		return false;
	o->word = arena_page_word(ha, addr);
	o->route_off = o->word & PAGE_WORD_ROUTE_MASK;
	magic = routes[o->route_off >> PAGE_WORD_ROUTE_SHIFT].magic;
	product = page_word_offset(o->word, addr) * magic;
	/* a route of 0 (large, or no span at all) has magic 0 and ends here */
	if (unlikely((uint32_t)product >= (uint32_t)magic))
		return false;
	o->state = page_word_states(o->word) + (product >> 32);
	return true;
}

__export __hot void ha_free(void *ptr)
{
	struct mag_slot slot = { .obj = ptr };
	struct object o;

	if (unlikely(!object_find((uintptr_t)ptr, &o)))
		goto slow;
	if (likely(check_on)) {
		if (unlikely(*o.state != OBJECT_LIVE))
			goto slow;
		*o.state = OBJECT_FREE;
	}
	slot.state = o.state;
	if (likely(mcache_push_off(o.route_off, slot)))
		return;
	mcache_free_slow(o.route_off >> PAGE_WORD_ROUTE_SHIFT, slot);
	return;
slow:
	free_slow(ptr);
}
EXPORT_AS(ha_free, free);
EXPORT_AS(ha_free, cfree);

/* NULL, a large object, one of a heap of the user's, or misuse. */
static void free_slow(void *ptr)
{
	uintptr_t addr = (uintptr_t)ptr;
	struct heap_arena *ha;
	struct mspan *s;
	uint64_t w;

	if (!ptr)
		return;
	ha = heap_ready() ? arena_lookup(addr) : NULL;
	w = ha ? smp_load_acquire(&ha->page[(addr >> HA_PAGE_SHIFT) &
					    (ARENA_PAGES - 1)]) : 0;
	if (page_word_route(w) == ROUTE_HEAP) {
		uheap_free("free", NULL, addr);
		return;
	}
	if (!w || page_word_route(w))
		debug_bad_pointer("free", addr);
	s = page_word_span(w);
	/* one of two threads that free it at once wins */
	if (s->start != addr ||
	    __atomic_exchange_n(&s->object_state[0], OBJECT_FREE,
				__ATOMIC_ACQ_REL) != OBJECT_LIVE)
		debug_bad_pointer("free", addr);
	mheap_free_span(s);
}

/*
 * Look-ups of live objects.  @op names the caller in a report.  *large: its span,
 * when it is a large object; *heap: the heap of the user's that it is from.
 */
static size_t live_size(const char *op, void *ptr, struct mspan **large,
			struct ha_heap **heap)
{
	uintptr_t addr = (uintptr_t)ptr;
	struct object o;
	uint64_t w;
	struct heap_arena *ha;
	struct mspan *s;

	*large = NULL;
	*heap = NULL;
	if (likely(object_find(addr, &o))) {
		if (unlikely(check_on && *o.state != OBJECT_LIVE))
			debug_bad_pointer(op, addr);
		return size_classes[route_class(page_word_route(o.word))].size;
	}
	ha = heap_ready() ? arena_lookup(addr) : NULL;
	w = ha ? arena_page_word(ha, addr) : 0;
	if (page_word_route(w) == ROUTE_HEAP)
		return uheap_object_size(op, addr, heap);
	if (!w || page_word_route(w))
		debug_bad_pointer(op, addr);
	s = page_word_span(w);
	if (s->start != addr || s->object_state[0] != OBJECT_LIVE)
		debug_bad_pointer(op, addr);
	*large = s;
	return mspan_size(s);
}

__export size_t ha_malloc_usable_size(void *ptr)
{
	struct ha_heap *heap;
	struct mspan *large;

	return ptr ? live_size("malloc_usable_size", ptr, &large, &heap) : 0;
}
EXPORT_AS(ha_malloc_usable_size, malloc_usable_size);

/*
 * Is @size one that the object can have?  realloc keeps an object that shrinks to
 * no less than half, and an aligned one may be larger than its size asks.
 */
static void check_size(void *ptr, size_t align, size_t size)
{
	struct ha_heap *heap;
	struct mspan *large;
	size_t has = live_size("free", ptr, &large, &heap);

	if (size <= has && (size >= has / 2 || has <= max_size(align, 16)))
		return;
	if (align > 16 && size <= has && is_aligned((uintptr_t)ptr, align))
		return;
	if (size > has || ha_good_size(size) != has)
		debug_size_mismatch((uintptr_t)ptr, size, has);
}

__export void ha_free_sized(void *ptr, size_t size)
{
	if (ptr && check_on)
		check_size(ptr, 1, size);
	ha_free(ptr);
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
		return size_classes[size_class_of(size)].size;
	if (size > PTRDIFF_MAX)
		return size;
	return size_to_pages(size) << HA_PAGE_SHIFT;
}

/*
 * calloc, realloc.
 */
static void *zalloc(size_t size)
{
	void *p;

	if (unlikely(size > MAX_SMALL_SIZE))
		return alloc_large(size, 1, true);
	p = alloc_class(size_class_of(size));
	return p ? memset(p, 0, size) : NULL;
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

/* In place when the pages allow; a shrink to a small size moves. */
static bool realloc_large(struct mspan *s, size_t size)
{
	size_t nr_pages;

	if (size <= MAX_SMALL_SIZE || size > PTRDIFF_MAX)
		return false;
	nr_pages = size_to_pages(size);
	if (nr_pages != s->nr_pages && !mheap_resize_large(s, nr_pages))
		return false;
	s->user_size = size;
	return true;
}

/* Can an object of @old bytes have @size, and go on being told from others? */
static bool keeps(size_t old, size_t size)
{
	return size <= old && size >= old / 2;
}

__export int ha_resize(void *ptr, size_t size)
{
	struct ha_heap *heap;
	struct mspan *large;
	size_t old = live_size("resize", ptr, &large, &heap);

	if (large ? realloc_large(large, size) : keeps(old, size))
		return 0;
	errno = ENOMEM;
	return -1;
}

__export void *ha_realloc(void *ptr, size_t size)
{
	struct ha_heap *heap;
	struct mspan *large;
	size_t old;
	void *new;

	if (!ptr)
		return ha_malloc(size);
	if (!size) {
		ha_free(ptr);
		return NULL;
	}
	old = live_size("realloc", ptr, &large, &heap);
	if (large ? realloc_large(large, size) : keeps(old, size))
		return ptr;
	new = heap ? uheap_alloc(heap, size, 1, false) : ha_malloc(size);
	if (!new)
		return NULL;
	memcpy(new, ptr, min_size(old, size));
	ha_free(ptr);
	return new;
}
EXPORT_AS(ha_realloc, realloc);

__export void *ha_reallocarray(void *ptr, size_t nmemb, size_t size)
{
	size_t bytes;

	if (unlikely(__builtin_mul_overflow(nmemb, size, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	return ha_realloc(ptr, bytes);
}
EXPORT_AS(ha_reallocarray, reallocarray);

/*
 * Alignment: a class whose size is a multiple of it (spans start on a page), else
 * pages.
 */
void *heap_alloc(size_t align, size_t size, bool zero)
{
	size_t sc = 0;
	void *p;

	if (align <= 16 && size <= MAX_SMALL_SIZE)
		sc = size_class_of(size < align ? align : size);
	else if (size <= MAX_SMALL_SIZE && align <= HA_PAGE_SIZE)
		sc = aligned_class[ilog2(align) - 4][size_class_of(size)];
	if (sc) {
		p = alloc_class(sc);
		return p && zero ? memset(p, 0, size) : p;
	}
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
