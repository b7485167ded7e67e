// SPDX-License-Identifier: MIT
/*
 * What is beyond the malloc family and ends in one call of a lower layer: aligned
 * and zeroed in one, batches, the hint for those who move objects.
 *
 * A batch goes through the caller's magazine, object by object: the sequence for n
 * slots copies them twice, and measured slower than the one for a single slot.  What
 * is saved is the call, and the choice of class, for each.
 */
#include <errno.h>
#include <string.h>

#include <util/align.h>
#include "conf.h"
#include "lookup.h"
#include "malloc.h"
#include "mcache.h"
#include "mcentral.h"

/* Past the caches: where a moved object has to go for its old span to empty. */
static void *alloc_dense(size_t sc)
{
	struct mag_slot slot;

	if (!heap_ready() || !mcentral_alloc_dense(mcache_nid(), sc, &slot))
		return NULL;
	if (conf.check)
		*slot.state = OBJECT_LIVE;
	return slot.obj;
}

__export void *ha_alloc(size_t size, size_t align, unsigned int flags)
{
	void *p;

	if ((align && !is_power_of_2(align)) || flags & ~(HA_ZERO | HA_DENSE)) {
		errno = EINVAL;
		return NULL;
	}
	if (flags & HA_DENSE && align <= 16 && size <= MAX_SMALL_SIZE) {
		p = alloc_dense(class_of_8[(max_size(size, align) + 7) >> 3]);
		if (p)
			return flags & HA_ZERO ? memset(p, 0, size) : p;
	}
	return heap_alloc(align ? align : 1, size, flags & HA_ZERO);
}

__export int ha_sparse(const void *ptr)
{
	struct span_view v;

	if (!span_view_find((uintptr_t)ptr, &v) || !v.sc || v.heap)
		return 0;
	return mcentral_is_sparse(v.s) && span_view_holds(&v);
}

static size_t alloc_small_batch(size_t sc, size_t n, void **out)
{
	bool check = false;
	struct mag_slot slot;
	size_t done;

	for (done = 0; done < n; done++) {
		if (unlikely(!mcache_pop(sc, &slot)) &&
		    (!heap_ready() || !mcache_alloc_slow(sc, &slot)))
			break;
		/* known once there was an object */
		check = done ? check : conf.check;
		if (check)
			*slot.state = OBJECT_LIVE;
		out[done] = slot.obj;
	}
	if (done < n)
		errno = ENOMEM;
	return done;
}

__export size_t ha_alloc_batch(size_t size, size_t n, void **out)
{
	size_t done = 0;

	if (size <= MAX_SMALL_SIZE)
		return alloc_small_batch(class_of_8[(size + 7) >> 3], n, out);
	while (done < n && (out[done] = ha_malloc(size)))
		done++;
	return done;
}

/* A live small object becomes free; false for anything else: ha_free() knows. */
static __always_inline bool take_back(void *ptr, bool check, size_t *off,
				      struct mag_slot *slot)
{
	slot->obj = ptr;
	slot->state = small_object_at((uintptr_t)ptr, off);
	if (!slot->state)
		return false;
	if (check) {
		if (*slot->state != OBJECT_LIVE)
			return false;
		*slot->state = OBJECT_FREE;
	}
	return true;
}

__export void ha_free_batch(void *const *ptrs, size_t n)
{
	bool check = conf.check;

	for (size_t i = 0; i < n; i++) {
		struct mag_slot slot;
		size_t off;

		if (unlikely(!take_back(ptrs[i], check, &off, &slot)))
			ha_free(ptrs[i]);
		else if (unlikely(!mcache_push_off(off, slot)))
			mcache_free_slow(off >> PAGE_WORD_ROUTE_SHIFT, slot);
	}
}
