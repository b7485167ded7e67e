// SPDX-License-Identifier: MIT
/*
 * Heaps, as users see them: checks of what is handed in, then lib/uheap.c.
 */
#include <errno.h>
#include <string.h>

#include <util/align.h>
#include "debug.h"
#include "malloc.h"
#include "uheap.h"

static void check_heap(const char *op, const struct ha_heap *h)
{
	if (unlikely(!uheap_used(h)))
		debug_bad_handle(op, "heap", h);
}

__export struct ha_heap *ha_heap_create(const char *name, size_t limit)
{
	struct ha_heap *h;

	if (!heap_ready())
		return NULL;
	h = uheap_get(name, limit);
	if (!h)
		errno = ENOMEM;
	return h;
}

__export void ha_heap_destroy(struct ha_heap *h)
{
	if (!h)
		return;
	check_heap("ha_heap_destroy", h);
	uheap_reset(h, true);
}

__export void ha_heap_reset(struct ha_heap *h)
{
	check_heap("ha_heap_reset", h);
	uheap_reset(h, false);
}

__export void *ha_heap_alloc(struct ha_heap *h, size_t size, size_t align,
			     unsigned int flags)
{
	check_heap("ha_heap_alloc", h);
	if ((align && !is_power_of_2(align)) || flags & ~HA_ZERO) {
		errno = EINVAL;
		return NULL;
	}
	return uheap_alloc(h, size, align ? align : 1, flags & HA_ZERO);
}

__export void *ha_heap_alloc_tiny(struct ha_heap *h, size_t size)
{
	check_heap("ha_heap_alloc_tiny", h);
	if (size > UHEAP_TINY_MAX) {
		errno = EINVAL;
		return NULL;
	}
	return uheap_alloc_tiny(h, size);
}

__export void ha_heap_free(struct ha_heap *h, void *ptr)
{
	check_heap("ha_heap_free", h);
	if (ptr)
		uheap_free("free", h, (uintptr_t)ptr);
}

__export void ha_heap_set_limit(struct ha_heap *h, size_t limit)
{
	check_heap("ha_heap_set_limit", h);
	uheap_set_limit(h, limit);
}

__export int ha_heap_stats_get(struct ha_heap *h, struct ha_heap_stats *out)
{
	struct ha_heap_stats st;
	size_t size = out->size;

	check_heap("ha_heap_stats_get", h);
	if (size < 2 * sizeof(size_t)) {
		errno = EINVAL;
		return -1;
	}
	uheap_stat(h, &st);
	st.size = min_size(size, sizeof(st));
	memcpy(out, &st, st.size);
	return 0;
}
