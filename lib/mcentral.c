// SPDX-License-Identifier: MIT
/*
 * The middle: where magazines are filled from and flushed to.
 *
 *	magazine <--- batch ---> depot (lock-free)        first choice both ways
 *	magazine <-- objects --> spans (mcentral.lock)    depot empty or full
 *	                           | empty span           ^ no span with room
 *	                           v                      |
 *	                         mheap (called without the lock)
 *
 * The lock is held for the bits of one batch, or while a few spans give back kernel
 * pages (mcentral_scavenge), never across the page heap.  A span
 * whose last object comes back leaves the set under the lock and goes to the page
 * heap after it.
 *
 * Invariants:
 *  1. A span with room is in partial, a full one is on no list, and nr_alloc
 *     counts its bits; all under the lock.
 *  2. Objects of a depot batch belong to this node and class.
 *  3. An object handed in has its bit set; a clear bit is a double free that
 *     raced past the state byte, and is reported here before any reuse.
 */
#include <stdlib.h>

#include <util/probe.h>
#include "conf.h"
#include "debug.h"
#include "limit.h"
#include "mcentral.h"
#include "mheap.h"
#include "numa.h"
#include "span_drop.h"

/*
 * Bytes of objects a depot may hold, and bounds of the batches.  Twice as many bytes
 * where there are several nodes: it is the one place where what other nodes free
 * waits, since their CPUs hold little of it (mcache.c).
 */
#define DEPOT_BYTES	(64UL << 10)
#define DEPOT_MIN	2
#define DEPOT_MAX	32

/* Spans looked at for one that a slot had before. */
#define PICK_TRIES	8

struct mcentral mcentrals[MAX_NODES][NR_SIZE_CLASSES];
struct depot_stack depot_stacks[MAX_NODES][NR_SIZE_CLASSES][DEPOT_STACKS];
static uint32_t nr_slots;		/* (a) cache slots in use */

void mcentral_add_slot(void)
{
	atomic_add_relaxed(&nr_slots, 1);
}

void mcentral_init(unsigned int nr_nodes)
{
	size_t bytes = nr_nodes > 1 ? 2 * DEPOT_BYTES : DEPOT_BYTES;

	for (unsigned int n = 0; n < nr_nodes; n++) {
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
			const struct size_class *k = &size_classes[sc];
			struct mcentral *mc = &mcentrals[n][sc];
			size_t max = bytes / ((size_t)k->size * k->batch);

			if (max < DEPOT_MIN && k->size <= DEPOT_BYTES)
				max = DEPOT_MIN;
			lock_init(&mc->lock, RANK_MCENTRAL);
			span_set_init(&mc->partial);
			depot_init(&mc->depot, depot_stacks[n][sc], min_size(max, DEPOT_MAX));
		}
	}
}

/* Kernel pages of @s that were given back come back with its next object. */
static void forget_dropped(struct mcentral *mc, struct mspan *s)
{
	size_t bytes = popcount64(s->dropped) * vm_page_size;

	if (!bytes)
		return;
	atomic_sub_relaxed(&mc->dropped, bytes);
	limit_dropped(-bytes);
	s->dropped = 0;
}

/*
 * False sharing.  malloc and free write an object's state, 64 of which share a
 * cache line: two CPUs that work on objects of one line slow each other down at
 * each call.  So a refill takes objects of a line that nobody has; a span of less
 * than a line of objects is left to the slot that it served last, as long as there
 * are fewer partly used spans than slots.
 */
static bool span_suits(const struct mcentral *mc, const struct mspan *s,
		       unsigned int slot)
{
	return s->nelems >= 64 || s->user == slot + 1 || !s->nr_alloc ||
	       mc->partial.nr_spans >= atomic_load_relaxed(&nr_slots);
}

/* The fullest span, or the fullest of a few that this slot had before. */
static struct mspan *pick_span(struct mcentral *mc, unsigned int slot)
{
	struct mspan *first = span_set_pick(&mc->partial);
	unsigned int tries = PICK_TRIES, i;
	struct list_head *pos;

	if (!first || first->nelems >= 64)
		return first;
	for (i = first->set_idx + 1; i-- > 0;) {
		list_for_each(pos, &mc->partial.lists[i]) {
			struct mspan *s = list_entry(pos, struct mspan, link);

			if (s->user == slot + 1)
				return s;
			if (!--tries)
				return first;
		}
	}
	return first;
}

/* Under the lock: up to @n objects of @s. */
static unsigned int take_span(struct mcentral *mc, struct mspan *s,
			      unsigned int slot, struct mag_slot *slots,
			      unsigned int n)
{
	unsigned int got;

	forget_dropped(mc, s);
	s->user = slot + 1;
	s->round = 0;
	got = mspan_alloc_line(s, slots, n);
	if (!got)
		got = mspan_alloc(s, slots, n);
	if (mspan_full(s))
		span_set_del(&mc->partial, s);
	else
		span_set_update(&mc->partial, s);
	mc->nr_out += got;
	return got;
}

/* Objects of the spans at hand; under the lock. */
static unsigned int mcentral_take(struct mcentral *mc, unsigned int slot,
				  struct mag_slot *slots, unsigned int n)
{
	unsigned int got = 0;
	struct mspan *s;

	lock_assert_held(&mc->lock);
	while (got < n && (s = pick_span(mc, slot)) && span_suits(mc, s, slot))
		got += take_span(mc, s, slot, slots + got, n - got);
	return got;
}

static void reverse(struct mag_slot *slots, unsigned int n)
{
	for (unsigned int i = 0; i < n / 2; i++) {
		struct mag_slot t = slots[i];

		slots[i] = slots[n - 1 - i];
		slots[n - 1 - i] = t;
	}
}

/* No memory for a span: then any object will do, whoever writes beside it. */
static unsigned int mcentral_last(unsigned int nid, unsigned int sc,
				  unsigned int slot, struct mag_slot *slots,
				  unsigned int n)
{
	struct mcentral *mc = &mcentrals[nid][sc];
	struct mspan *s;
	unsigned int got = 0;

	lock_acquire(&mc->lock);
	s = span_set_pick(&mc->partial);
	if (s)
		got = take_span(mc, s, slot, slots, n);
	lock_release(&mc->lock);
	reverse(slots, got);
	return got;
}

/*
 * No node has a page: what is left in spans of this one, or an object of another, where
 * that may be.
 */
static unsigned int mcentral_leftover(unsigned int *nid, unsigned int sc,
				      unsigned int slot, struct mag_slot *slots,
				      unsigned int n)
{
	unsigned int here = *nid, got = mcentral_last(here, sc, slot, slots, n);

	if (conf.numa == VM_BIND_STRICT)
		return got;
	for (unsigned int i = 1; !got && i < topo.nr_nodes; i++) {
		*nid = READ_ONCE(topo.order[here][i]);
		got = mcentral_last(*nid, sc, slot, slots, 1);
	}
	return got;
}

bool mcentral_alloc_dense(unsigned int nid, unsigned int sc, struct mag_slot *slot)
{
	return mcentral_last(nid, sc, 0, slot, 1) == 1;
}

bool mcentral_is_sparse(const struct mspan *s)
{
	struct mcentral *mc = &mcentrals[s->nid][s->sc];
	size_t nr_partial, nr_full, out;
	bool sparse;

	lock_acquire(&mc->lock);
	nr_partial = mc->partial.nr_spans;
	nr_full = mc->nr_spans - nr_partial;
	out = mc->nr_out - nr_full * s->nelems;
	sparse = nr_partial > 1 && !mspan_full(s) && s->nr_alloc * nr_partial <= out &&
		 span_set_pick(&mc->partial) != s;
	lock_release(&mc->lock);
	return sparse;
}

unsigned int mcentral_alloc(unsigned int *nid, unsigned int sc, unsigned int slot,
			    struct mag_slot *slots, unsigned int n)
{
	struct mcentral *mc = &mcentrals[*nid][sc];
	unsigned int got;
	struct mspan *s;

	lock_acquire(&mc->lock);
	got = mcentral_take(mc, slot, slots, n);
	lock_release(&mc->lock);
	while (!got) {
		s = mheap_alloc_span(*nid, sc, slot);
		if (!s)
			return mcentral_leftover(nid, sc, slot, slots, n);
		if (s->nid != *nid) {
			/* This node is full: no more than needed of another. */
			*nid = s->nid;
			mc = &mcentrals[*nid][sc];
			n = 1;
		}
		lock_acquire(&mc->lock);
		/* Others may have made room meanwhile: then it is not needed. */
		got = mcentral_take(mc, slot, slots, n);
		if (!got) {
			span_set_add(&mc->partial, s);
			mc->nr_spans++;
			got = take_span(mc, s, slot, slots, n);
			s = NULL;
		}
		lock_release(&mc->lock);
		if (s)
			mheap_free_span(s);
	}
	reverse(slots, got);
	atomic_add_relaxed(&mc->nr_refill, got);
	atomic_add_relaxed(&mc->nr_refills, 1);
	return got;
}

/*
 * Under the lock: the first of slots[] and those behind it that are of the same
 * span, which is told by their states, go back to it, as many at once as share a
 * word of bits; how many.
 */
static unsigned int put_run(struct mcentral *mc, struct mspan *s,
			    const struct mag_slot *slots, unsigned int n)
{
	size_t idx = slots[0].state - s->object_state;
	unsigned int i = 0;

	while (i < n && idx < s->nelems) {
		unsigned int word = idx / 64;
		uint64_t mask = 0;

		do {
			uint64_t bit = 1ULL << (idx % 64);

			if (unlikely((mask | ~s->bits[word]) & bit))
				debug_bad_pointer("free", (uintptr_t)slots[i].obj);
			mask |= bit;
			if (++i == n)
				break;
			idx = slots[i].state - s->object_state;
		} while (idx / 64 == word && idx < s->nelems);
		mspan_free(s, word, mask);
	}
	mc->nr_out -= i;
	return i;
}

/* Where @s belongs now; true when it is empty, and the caller's to return. */
static bool span_settle(struct mcentral *mc, struct mspan *s, bool was_full)
{
	if (s->nr_alloc == 0) {
		mc->nr_spans--;
		forget_dropped(mc, s);
		if (!was_full)
			span_set_del(&mc->partial, s);
		return true;
	}
	/* what came back may have left pages empty: the scavenger visits it anew */
	if (was_full)
		span_set_add(&mc->partial, s);
	else if (s->round)
		span_set_renew(&mc->partial, s);
	else
		span_set_update(&mc->partial, s);
	s->round = 0;
	return false;
}

/*
 * The spans of slots[].  In a large heap each of them is a cache miss or three, one
 * behind the other: so all page entries are read first, then all words in front of
 * the states, and what the lock will be held for is on its way by then.
 */
static void find_spans(const struct mag_slot *slots, unsigned int n,
		       struct mspan **spans)
{
	uint8_t *states[MAX_BATCH];

	for (unsigned int i = 0; i < n; i++) {
		states[i] = page_entry_states(arena_entry((uintptr_t)slots[i].obj));
		prefetch(states[i] - sizeof(struct mspan *));
	}
	for (unsigned int i = 0; i < n; i++) {
		struct mspan *s = states_span(states[i]);

		prefetch_write(s);
		prefetch_write(&s->bits[(slots[i].state - states[i]) / 64]);
		spans[i] = s;
	}
}

/*
 * Objects that were allocated or freed one after the other are often of one span:
 * its place in the set is looked at once a run.
 */
void mcentral_free(unsigned int nid, unsigned int sc,
		   const struct mag_slot *slots, unsigned int n)
{
	struct mcentral *mc = &mcentrals[nid][sc];
	struct mspan *spans[MAX_BATCH];
	unsigned int nr_empty = 0, done;

	find_spans(slots, n, spans);
	atomic_add_relaxed(&mc->nr_flushes, 1);
	lock_acquire(&mc->lock);
	for (unsigned int i = 0; i < n; i += done) {
		struct mspan *s = spans[i];
		bool was_full = mspan_full(s);

		done = put_run(mc, s, slots + i, n - i);
		if (span_settle(mc, s, was_full))
			spans[nr_empty++] = s;
	}
	lock_release(&mc->lock);
	while (nr_empty)
		mheap_free_span(spans[--nr_empty]);
}

bool mcentral_scavenge(unsigned int nid, unsigned int sc, uint16_t round,
		       unsigned int nr_spans, bool all, size_t *bytes)
{
	struct mcentral *mc = &mcentrals[nid][sc];
	unsigned int left = nr_spans;
	struct span_drop drop;

	span_drop_init(&drop, all);
	lock_acquire(&mc->lock);
	for (unsigned int i = 0; i < SPAN_SET_LISTS && left; i++) {
		struct list_head *head = &mc->partial.lists[i];

		/*
		 * Visited ones go to the end, and what objects come back to goes to the
		 * front: one that has been says all have.
		 */
		while (left && !list_empty(head)) {
			struct mspan *s = list_entry(head->next, struct mspan, link);

			if (s->round == round)
				break;
			s->round = round;
			list_del(&s->link);
			list_add_tail(&s->link, head);
			span_drop_add(&drop, s);
			left--;
		}
	}
	span_drop_flush(&drop);
	atomic_add_relaxed(&mc->dropped, drop.bytes);
	limit_dropped(drop.bytes);
	lock_release(&mc->lock);
	*bytes += drop.bytes;
	return left == 0;
}

void mcentral_disown(struct mspan *s)
{
	struct mcentral *mc = &mcentrals[s->nid][s->sc];

	lock_acquire(&mc->lock);
	mc->nr_out--;
	mc->nr_spans--;
	lock_release(&mc->lock);
}

bool mcentral_fork_held(unsigned int nr_nodes)
{
	for (unsigned int n = 0; n < nr_nodes; n++)
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
			if (lock_is_held(&mcentrals[n][sc].lock))
				return true;
	return false;
}

void mcentral_fork_prepare(unsigned int nr_nodes, bool nested)
{
	for (unsigned int n = 0; n < nr_nodes; n++)
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
			lock_fork_prepare(&mcentrals[n][sc].lock, nested);
}

void mcentral_fork_done(unsigned int nr_nodes, bool child)
{
	for (unsigned int n = nr_nodes; n-- > 0;) {
		for (unsigned int sc = NR_SIZE_CLASSES; sc-- > 1;) {
			lock_fork_done(&mcentrals[n][sc].lock);
			if (child)
				depot_fork_child(&mcentrals[n][sc].depot);
		}
	}
	/* One thread: no span waits for a slot that the child does not use. */
	if (child)
		atomic_store_relaxed(&nr_slots, 1);
}
