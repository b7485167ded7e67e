/* SPDX-License-Identifier: MIT */
/*
 * Single objects out of the caches and in again, as lib/malloc.c does it, for tests of
 * the layers below.
 */
#ifndef SELFTESTS_FAKE_MAGAZINES_H
#define SELFTESTS_FAKE_MAGAZINES_H

#include <sched.h>

#include "mcache.h"
#include "mheap.h"
#include "numa.h"

#include "fake/heap.h"
#include "fake/unit.h"

/* The fast half and the slow one, as lib/malloc.c joins them. */
static inline bool get(unsigned int sc, struct mag_slot *slot)
{
	uintptr_t addr;
	unsigned int route;
	struct mag_hdr *h;
	uint8_t tag;
	bool due;

	if (mcache_pop_twice(2 * sc, slot, &h, &due))
		tag = h->tag;
	else if (mcache_alloc_slow(sc, slot))
		tag = mcache_tag();
	else
		return false;
	check(tag != OBJECT_FREE);
	addr = (uintptr_t)slot->obj;
	route = page_entry_route(arena_entry(addr));
	check(route_class(route) == sc && route_nid(route) < topo.nr_nodes);
	check(slot->state == arena_entry(addr)->states +
	      mspan_index(heap_arena_find_span(addr), addr));
	check(__atomic_exchange_n(slot->state, tag, __ATOMIC_RELAXED) == OBJECT_FREE);
	*(void **)slot->obj = slot->obj;
	return true;
}

static inline void put(struct mag_slot slot)
{
	uintptr_t addr = (uintptr_t)slot.obj;
	unsigned int route = page_entry_route(arena_entry(addr));
	uint8_t tag = __atomic_exchange_n(slot.state, OBJECT_FREE, __ATOMIC_RELAXED);

	check(*(void **)slot.obj == slot.obj && tag != OBJECT_FREE);
	if (mcache_push_off(route << MAG_HDR_SHIFT, slot, tag) != MAG_DONE)
		mcache_free_tagged(slot, route, tag);
}

/* On this CPU from here on. */
static inline void stay(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	check(!sched_setaffinity(0, sizeof(here), &here));
}

static inline struct mag_hdr *headers(unsigned int id)
{
	return slot_is_locked(id) ? locked_slots[id - MAX_CIDS].hdrs : slot_hdrs[id];
}

/* Nothing is held: drained and flushed, no page is left in use. */
static inline void check_goes_home(void)
{
	struct heap_sum sum;

	heap_check(&sum);
	check(heap_sum_mismatches(&sum) == 0);
	mcache_drain_all();
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
		check(mcache_nr_cached(sc) == 0);
	heap_check(&sum);
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
		if (sum.out[sc])
			ck_abort_msg("class %u: %zu objects out, %zu live", sc,
				     sum.out[sc], sum.live[sc]);
	check(sum.spans == 0 && sum.used_pages == 0);
	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		struct mheap_stat st;

		mheap_flush_caches(n);
		mheap_stat(n, &st);
		check(st.spans == 0 && st.free + st.donated == st.pages);
	}
}

#endif /* SELFTESTS_FAKE_MAGAZINES_H */
