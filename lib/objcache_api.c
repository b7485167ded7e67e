// SPDX-License-Identifier: MIT
/*
 * Object caches, as users see them.
 *
 *	             ha_cache_alloc                      ha_cache_free
 *	                  |                                   |
 *	   kept? -- yes --+-- no: allocate, construct         +-- room: keep
 *	                                                      +-- full: destroy, free
 *
 * The constructor runs once for each object that comes from the heap, not at each
 * allocation: an object returns to the cache in the state that it was constructed
 * in, as in Bonwick's slab allocator and the kernel's kmem_cache.
 *
 * An object's state byte is OBJECT_FREE while it is kept, exchanged atomically: a
 * double free is told from a free, and the walk does not report it.  It comes from
 * the ordinary size classes: ha_free() of it works, but destroys nothing and is
 * not counted.
 */
#include <errno.h>
#include <string.h>

#include <util/align.h>
#include "conf.h"
#include "debug.h"
#include "lookup.h"
#include "malloc.h"
#include "objcache.h"
#include "objcache_api.h"
#include "profile.h"

__export struct ha_cache *ha_cache_create(const char *name,
					  const struct ha_cache_options *opt)
{
	struct ha_cache_options o = { 0 };
	struct ha_cache *c;
	void *p;

	memcpy(&o, opt, min_size(opt->size, sizeof(o)));
	if ((o.align && !is_power_of_2(o.align)) || !o.object_size ||
	    o.object_size > PTRDIFF_MAX || o.flags & ~HA_ZERO || o.reserved) {
		errno = EINVAL;
		return NULL;
	}
	if (!o.align)
		o.align = 1;
	/* the usable size follows from an object; and there has to be one */
	p = heap_alloc(o.align, o.object_size, false);
	if (!p)
		return NULL;
	c = objcache_get(name, &o, ha_malloc_usable_size(p));
	ha_free(p);
	if (!c)
		errno = ENOMEM;
	return c;
}

static void check_cache(const char *op, struct ha_cache *c)
{
	if (unlikely(!atomic_load_relaxed(&c->used)))
		debug_bad_handle(op, "object cache", c);
}

static void *cache_fresh(struct ha_cache *c)
{
	void *p = heap_alloc(c->opt.align, c->opt.object_size, c->opt.flags & HA_ZERO);
	int err;

	if (!p)
		return NULL;
	err = c->opt.construct ? c->opt.construct(p, c->opt.arg) : 0;
	if (err) {
		ha_free(p);
		errno = err;
		return NULL;
	}
	atomic_add_relaxed(&c->fresh, 1);
	return p;
}

__export void *ha_cache_alloc(struct ha_cache *c)
{
	uint8_t state = OBJECT_LIVE;
	struct mag_slot slot;

	check_cache("ha_cache_alloc", c);
	if (!objcache_pop(c, &slot))
		return cache_fresh(c);
	if (profile_on() && profile_count(c->usable) && profile_take(slot.obj, c->usable))
		state = OBJECT_SAMPLED;
	__atomic_store_n(slot.state, state, __ATOMIC_RELAXED);
	return slot.obj;
}

static void cache_destroy_object(struct ha_cache *c, void *p)
{
	if (c->opt.destroy)
		c->opt.destroy(p, c->opt.arg);
	ha_free(p);
}

/* The state of the object that starts at @addr; misuse when none does. */
static uint8_t *object_state(struct ha_cache *c, uintptr_t addr)
{
	struct span_view v;
	uint8_t *state;
	unsigned int route;
	size_t size;

	state = small_object_at(addr, &route);
	if (state) {
		size = size_classes[route_class(route)].size;
		if (size != c->usable)
			debug_size_mismatch(addr, c->opt.object_size, size);
		return state;
	}
	if (!span_view_find(addr, &v))
		debug_bad_pointer("free", addr);
	if (v.heap)
		debug_bad_owner(addr, "an object cache");
	size = span_view_object_size(&v);
	if ((addr - v.start) % size || (addr - v.start) / size >= span_view_nelems(&v))
		debug_bad_pointer("free", addr);
	if (size != c->usable)
		debug_size_mismatch(addr, c->opt.object_size, size);
	return &v.states[(addr - v.start) / size];
}

__export void ha_cache_free(struct ha_cache *c, void *ptr)
{
	struct mag_slot slot = { .obj = ptr };
	uint8_t state;

	check_cache("ha_cache_free", c);
	if (!ptr)
		return;
	slot.state = object_state(c, (uintptr_t)ptr);
	/* kept objects say that they are free whether or not that is checked */
	state = __atomic_exchange_n(slot.state, OBJECT_FREE, __ATOMIC_ACQ_REL);
	if (state == OBJECT_FREE && conf.check)
		debug_bad_pointer("free", (uintptr_t)ptr);
	if (unlikely(state == OBJECT_SAMPLED && conf.check))
		profile_end(ptr);
	if (objcache_push(c, slot))
		return;
	__atomic_store_n(slot.state, OBJECT_LIVE, __ATOMIC_RELAXED);
	atomic_add_relaxed(&c->dropped, 1);
	cache_destroy_object(c, ptr);
}

__export size_t ha_cache_shrink(struct ha_cache *c)
{
	struct mag_slot slots[OBJCACHE_KEEP];
	size_t done = 0;

	check_cache("ha_cache_shrink", c);
	for (unsigned int i = 0; i < OBJCACHE_STRIPES; i++) {
		unsigned int n = objcache_take(c, i, slots);

		for (unsigned int k = 0; k < n; k++) {
			__atomic_store_n(slots[k].state, OBJECT_LIVE, __ATOMIC_RELAXED);
			cache_destroy_object(c, slots[k].obj);
		}
		atomic_add_relaxed(&c->destroyed, n);
		done += n;
	}
	return done;
}

__export int ha_cache_destroy(struct ha_cache *c)
{
	struct ha_cache_stats st;

	if (!c)
		return 0;
	check_cache("ha_cache_destroy", c);
	objcache_stat(c, &st);
	if (st.nr_live) {
		errno = EBUSY;
		return -1;
	}
	ha_cache_shrink(c);
	objcache_put(c);
	return 0;
}

__export int ha_cache_stats_get(struct ha_cache *c, struct ha_cache_stats *out)
{
	struct ha_cache_stats st;
	size_t size = out->size;

	check_cache("ha_cache_stats_get", c);
	if (size < 2 * sizeof(size_t)) {
		errno = EINVAL;
		return -1;
	}
	objcache_stat(c, &st);
	st.size = min_size(size, sizeof(st));
	memcpy(out, &st, st.size);
	return 0;
}

void objcache_shrink_all(void)
{
	for (struct ha_cache *c = objcache_next(NULL); c; c = objcache_next(c))
		ha_cache_shrink(c);
}
