// SPDX-License-Identifier: MIT
/*
 * What is beyond the malloc family and ends in one call of a lower layer: aligned
 * and zeroed in one, batches, the hint for those who move objects.
 *
 * A batch is as many calls: the sequence for n slots copies them twice, and measured
 * slower than the one for a single slot.
 */
#include <errno.h>
#include <string.h>

#include <util/align.h>
#include "conf.h"
#include "lookup.h"
#include "malloc.h"
#include "mcache.h"
#include "mcentral.h"
#include "profile.h"

/* Past the caches: where a moved object has to go for its old span to empty. */
static void *alloc_dense(size_t sc)
{
	size_t size = size_classes[sc].size;
	uint8_t state = OBJECT_LIVE;
	struct mag_slot slot;

	if (!heap_ready() || !mcentral_alloc_dense(mcache_nid(), sc, &slot))
		return NULL;
	if (profile_on() && profile_count(size) && profile_take(slot.obj, size))
		state = OBJECT_SAMPLED;
	if (conf.check)
		*slot.state = state;
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
		p = alloc_dense(small_class(max_size(size, align)));
		if (p)
			return flags & HA_ZERO ? memset(p, 0, ha_good_size(max_size(size, align))) : p;
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

__export size_t ha_alloc_batch(size_t size, size_t n, void **out)
{
	size_t done = 0;

	while (done < n && (out[done] = ha_malloc(size)))
		done++;
	return done;
}

__export void ha_free_batch(void *const *ptrs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ha_free(ptrs[i]);
}
