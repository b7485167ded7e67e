// SPDX-License-Identifier: MIT
/*
 * What is beyond the malloc family and ends in one call of a lower layer: aligned
 * and zeroed in one, batches, the hint for those who move objects.
 *
 * A batch goes through the caller's magazine like single objects, 32 in one
 * sequence; what the magazine does not have, or does not take, goes the slow way
 * one by one, which moves a whole batch each time.
 */
#include <errno.h>
#include <string.h>

#include <util/align.h>
#include "conf.h"
#include "depot.h"
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

/* Up to @n objects from this CPU's magazine; 0: refill it. */
static size_t pop_some(size_t sc, struct mag_slot *slots, size_t n)
{
	void *rs = mcache_rs;

	if (!rs)
		return 0;
	return rseq_mag_pop_n(rs, &mcache_id_off, mcache_hdrs,
			      route_make(mcache_nid(), sc) << MAG_HDR_SHIFT, slots, n);
}

static size_t alloc_small_batch(size_t sc, size_t n, void **out)
{
	struct mag_slot slots[MAX_BATCH];
	size_t done = 0, got;

	while (done < n) {
		got = pop_some(sc, slots, min_size(n - done, MAX_BATCH));
		if (!got) {
			if (!heap_ready() || !mcache_alloc_slow(sc, slots))
				break;
			got = 1;
		}
		for (size_t i = 0; i < got; i++) {
			if (conf.check)
				*slots[i].state = OBJECT_LIVE;
			out[done++] = slots[i].obj;
		}
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

/* Objects of one route on their way to the magazine. */
struct pending {
	size_t route;
	size_t n;
	struct mag_slot slots[MAX_BATCH];
};

static void push_pending(struct pending *p)
{
	void *rs = mcache_rs;
	size_t done = 0;

	if (rs && p->n)
		done = rseq_mag_push_n(rs, &mcache_id_off, mcache_hdrs,
				       p->route << MAG_HDR_SHIFT, p->slots, p->n);
	for (; done < p->n; done++)
		mcache_free_slow(p->route, p->slots[done]);
	p->n = 0;
}

/*
 * The route and state of a live small object, which becomes free; false for
 * anything else, which ha_free() knows about.
 */
static bool take_back(void *ptr, size_t *route, struct mag_slot *slot)
{
	uintptr_t addr = (uintptr_t)ptr;
	struct page_entry *e = arena_entry(addr);
	uint32_t magic = e ? READ_ONCE(e->magic) : 0;
	uint64_t product;

	if (!magic)
		return false;
	product = (uint64_t)place_offset(READ_ONCE(e->place), addr) * magic;
	if ((uint32_t)product >= magic)
		return false;
	slot->obj = ptr;
	slot->state = READ_ONCE(e->states) + (product >> 32);
	*route = page_entry_route(e);
	if (conf.check) {
		if (*slot->state == OBJECT_FREE)
			return false;
		*slot->state = OBJECT_FREE;
	}
	return true;
}

__export void ha_free_batch(void *const *ptrs, size_t n)
{
	struct pending p = { .n = 0 };

	for (size_t i = 0; i < n; i++) {
		struct mag_slot slot;
		size_t route;

		if (!take_back(ptrs[i], &route, &slot)) {
			ha_free(ptrs[i]);
			continue;
		}
		if (p.n == MAX_BATCH || (p.n && p.route != route))
			push_pending(&p);
		p.route = route;
		p.slots[p.n++] = slot;
	}
	push_pending(&p);
}
