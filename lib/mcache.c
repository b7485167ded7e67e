// SPDX-License-Identifier: MIT
/*
 * Per-CPU caches: what is done with magazines.  Whose they are is in lib/mcache_slot.c,
 * how they are emptied from outside in lib/mcache_drain.c.
 *
 * Invariants:
 *  1. A slot's magazines change only inside a critical section of its id, under
 *     its lock (locked slots), or detached: all tables lead to nothing for it and a
 *     membarrier has thrown every thread out of its section since.  But for floors,
 *     limits, marks and counts, see <asm-generic/rseq.h>.
 *  2. An object in a magazine has its span's bit set, and state OBJECT_FREE (any
 *     state without misuse detection).
 *  3. A magazine of node n, either one, holds objects of node n only; who calls with a route
 *     derives it from the object's page entry.
 *  4. No lock is held here while the depot, mcentral or mheap is called, but by who
 *     drains: slots_lock, or a locked slot's own.
 *
 * False sharing.  malloc marks an object's state with the tag of the slot it comes
 * from.  One that is freed on another slot goes to the outgoing magazine of its route
 * there, from which no malloc takes: two threads that free neighbours would get them
 * again, each its own, and write to one cache line from then on.  When it is full, the
 * batch goes to the depot, as any.  Outgoing magazines have the rows behind those of
 * the nodes, and are for objects of less than FOREIGN_SIZE.
 */
#include <util/probe.h>
#include "keep.h"
#include "mcache.h"
#include "mcentral.h"
#include "profile.h"

#define SHED_BATCHES		8	/* that a slow path takes home for others */
#define FALL_DEPOTS		8	/* freed past a depot, in depots, until a class has shrunk */
#define FLOOR_STEP		8	/* objects that a floor is lowered by */
/* Sets of the L1 cache of a page; a step that comes by all of them. */
#define L1_SETS			64
#define COLOUR_STEP		(13 * L1_CACHE_BYTES)

/*
 * The four operations, by sequence or under the slot's lock.
 */

static bool any_pop(size_t sc, struct mag_slot *out)
{
	struct locked_slot *ls;
	bool ok;

	/* a slow path's objects are counted by its caller */
	if (mcache_has_id())
		return rseq_mag_pop_n(mcache_id, &mcache_rows,
				      sc << MAG_HDR_SHIFT, out, 1);
	ls = slot_lock_own();
	if (!ls)
		return false;
	ok = mag_pop(ls->hdrs, route_make(thread_locked_slot % topo.nr_nodes, sc), out);
	lock_release(&ls->lock);
	return ok;
}

static bool any_push(size_t route, struct mag_slot slot)
{
	struct locked_slot *ls;
	bool ok;

	if (mcache_has_id())
		return mcache_push(route, slot);
	ls = slot_lock_own();
	if (!ls)
		return false;
	ok = mag_push(ls->hdrs, route, slot);
	lock_release(&ls->lock);
	return ok;
}

static size_t any_pop_n(size_t route, struct mag_slot *dst, size_t n)
{
	struct locked_slot *ls;

	if (mcache_has_id())
		return rseq_mag_pop_n(mcache_id, &mcache_hdrs,
				      route << MAG_HDR_SHIFT, dst, n);
	ls = slot_lock_own();
	if (!ls)
		return 0;
	n = mag_pop_n(ls->hdrs, route, dst, n);
	lock_release(&ls->lock);
	return n;
}

static size_t any_push_n(size_t route, const struct mag_slot *src, size_t n)
{
	struct locked_slot *ls;

	if (mcache_has_id())
		return n ? rseq_mag_push_n(mcache_id, &mcache_hdrs,
					   route << MAG_HDR_SHIFT, src, n) : 0;
	ls = slot_lock_own();
	if (!ls)
		return 0;
	n = mag_push_n(ls->hdrs, route, src, n);
	lock_release(&ls->lock);
	return n;
}

/* First call of a thread, or on a slot: true when there is something to retry. */
static bool slow_prepare(void)
{
	bool fresh = slot_thread_init();
	unsigned int slot;

	profile_poll();
	slot = current_slot();
	mcache_drain_inherited(slot);
	if (!slot_exists(slot))
		fresh |= slot_create(slot);
	/* a sequence declined only because this thread may not use one */
	return fresh || !mcache_has_id();
}

/* On top of the magazine; moved to a slot that is full, what does not fit goes back. */
static void keep(unsigned int nid, unsigned int sc, const struct mag_slot *slots,
		 unsigned int n)
{
	unsigned int kept = any_push_n(route_make(nid, sc), slots, n);

	if (unlikely(kept < n))
		mcentral_free(nid, sc, slots + kept, n - kept);
}

/*
 * How many of @n objects from a span are handed out last although they lie lowest.
 * Spans start on pages: what a program has one of in each class, over and over, would
 * all fall into the same set of the L1 cache.
 */
static unsigned int colour(unsigned int sc, unsigned int n)
{
	unsigned int size = size_classes[sc].size;

	return sc * COLOUR_STEP % (L1_SETS * L1_CACHE_BYTES) / size % n;
}

/* One batch of what has rested on this slot, or in a depot, goes home. */
static bool shed_rested(unsigned int slot) __noinline;
static bool shed_rested(unsigned int slot)
{
	unsigned int nr_mags = nr_rows() * ROUTE_CLASSES, nr_depots = nr_mags / 2;
	struct locked_slot *ls = mcache_has_id() ? NULL : slot_lock_own();
	struct mag_hdr *hdrs = ls ? ls->hdrs : READ_ONCE(slot_hdrs[slot]);
	struct rest *r = slot_rest(hdrs);
	struct mag_slot slots[MAX_BATCH];
	unsigned int route;
	size_t n;
	int i;

	i = rest_next(r, hdrs, nr_depots, nr_mags);
	if (ls)
		lock_release(&ls->lock);
	if (i < 0)
		return false;
	if (i < (int)nr_depots) {
		keep_drain_one(route_nid(i), route_class(i));
	} else {
		route = i - nr_depots;
		n = any_pop_n(route, slots, MAX_BATCH);
		if (n)
			mcentral_free(row_nid(route_nid(route)), route_class(route),
				      slots, n);
		slots_forget(slots, n);
		slot_narrow(hdrs, slot_node(slot), route);
	}
	if (ls)
		lock_acquire(&ls->lock);
	rest_mark(r, i, hdrs, nr_depots);
	if (ls)
		lock_release(&ls->lock);
	return true;
}

static struct mag_hdr *headers_of(unsigned int slot)
{
	return slot_is_locked(slot) ? locked_slots[slot - MAX_CIDS].hdrs :
	       READ_ONCE(slot_hdrs[slot]);
}

static void look_for_rested(unsigned int slot)
{
	struct mag_hdr *hdrs = headers_of(slot);

	for (int i = 0; i < SHED_BATCHES; i++)
		if (!hdrs || likely(!rest_due(slot_rest(hdrs))) || !shed_rested(slot))
			break;
}

/* A magazine with a floor: of slots that have no lock. */
static struct mag_hdr *floored(unsigned int slot, size_t route)
{
	struct mag_hdr *hdrs = slot_is_locked(slot) ? NULL : headers_of(slot);

	return hdrs ? &hdrs[route] : NULL;
}

/* It was full and is empty now: a batch more would have kept it from both. */
static void note_refill(unsigned int slot, unsigned int nid, unsigned int sc)
{
	struct mag_hdr *hdrs = headers_of(slot), *h;
	unsigned int flushed;

	if (!hdrs)
		return;
	h = &hdrs[route_make(nid, sc)];
	flushed = atomic_load_relaxed(&h->flushed);
	if (!(flushed & MAG_FLUSHED_REFILL))
		return;
	atomic_store_relaxed(&h->flushed, flushed & ~MAG_FLUSHED_REFILL);
	if (nid == slot_node(slot))
		slot_widen(hdrs, nid, sc);
}

static void note_flush(unsigned int slot, size_t route)
{
	struct mag_hdr *hdrs = headers_of(slot);

	if (hdrs)
		atomic_store_relaxed(&hdrs[route].flushed,
				     MAG_FLUSHED_REFILL | MAG_FLUSHED_LOOK);
}

/* All of what a class that has shrunk left in a magazine goes home; true when it has. */
static bool leave_behind(struct mag_hdr *h, unsigned int nid, unsigned int sc)
{
	struct mag_slot slots[MAX_BATCH];
	unsigned int n;

	if (!h || likely(!mag_is_shut(h)))
		return false;
	for (unsigned int i = 0; i < MAG_WIDE; i++) {
		n = any_pop_n(route_make(nid, sc), slots, size_classes[sc].batch);
		if (n)
			mcentral_free(nid, sc, slots, n);
		slots_forget(slots, n);
	}
	mag_reopen(h);
	keep_shrunk(nid, sc);
	return true;
}

/* There may be objects below the floor. */
static bool lower_floor(struct mag_hdr *h)
{
	return h && mag_lower_floor(h, FLOOR_STEP);
}

/*
 * Many more objects than the depot holds went past it: none is wanted for a while, where
 * one can keep more memory than itself.
 */
static void note_fall(unsigned int slot, size_t route, const struct depot *d)
{
	const struct size_class *k = &size_classes[route_class(route)];
	size_t holds = (size_t)atomic_load_relaxed(&d->max) * k->batch;
	struct mag_hdr *h = floored(slot, route);

	/* of other rows nobody pops */
	if (h && route_nid(route) == slot_node(slot) && k->size < vm_page_size &&
	    atomic_load_relaxed(&d->missed) > FALL_DEPOTS * holds)
		mag_shut(h);
}

/* Without magazines, for want of memory, there is no place for more than one. */
static unsigned int batch_for(unsigned int slot, unsigned int sc)
{
	return likely(slot_exists(slot)) ? size_classes[sc].batch : 1;
}

bool mcache_alloc_slow(size_t sc, struct mag_slot *out)
{
	struct mag_slot stack[MAX_BATCH], *slots = stack;
	unsigned int slot, nid, n, last = 0;
	struct mag_batch *b;
	struct mag_hdr *h;

	slot_look_around();
	if (slow_prepare() && any_pop(sc, out))
		return true;
	if (slot_follow() && slow_prepare() && any_pop(sc, out))
		return true;
	nid = mcache_nid();
	slot = current_slot();
	h = floored(slot, route_make(nid, sc));
	if (!leave_behind(h, nid, sc) && lower_floor(h) && any_pop(sc, out))
		return true;
	note_refill(slot, nid, sc);
	b = keep_shed(nid, sc) ? NULL : depot_pop(&mcentrals[nid][sc].depot, slot);
	if (b) {
		slots = b->slots;
		n = b->n;
	} else {
		keep_note_empty(nid, sc);
		n = mcentral_alloc(&nid, sc, slot, slots, batch_for(slot, sc));
		if (!n)
			return false;
		/* lowest last */
		last = colour(sc, n);
		n -= last;
		keep(nid, sc, slots + n, last);
	}
	PROBE(refill, nid, size_classes[sc].size, n + last, b != NULL);
	*out = slots[--n];
	keep(nid, sc, slots, n);
	if (b)
		batch_put(slot, b);
	else
		slots_forget(stack, n + 1 + last);
	look_for_rested(slot);
	return true;
}

/* @to: the slot that is to have it again. */
static void flush_batch(size_t route, unsigned int to)
{
	unsigned int nid = row_nid(route_nid(route)), sc = route_class(route);
	unsigned int slot = current_slot();
	struct mag_slot stack[MAX_BATCH];
	struct mag_batch *b = batch_get(slot);
	struct mag_slot *slots = b ? b->slots : stack;
	unsigned int n = any_pop_n(route, slots, size_classes[sc].batch);
	bool pushed = false;

	if (b) {
		b->n = n;
		pushed = n && depot_push(&mcentrals[nid][sc].depot, to, b);
	}
	PROBE(flush, nid, size_classes[sc].size, n, pushed);
	note_flush(slot, route);
	if (n && !pushed) {
		mcentral_free(nid, sc, slots, n);
		note_fall(slot, route, &mcentrals[nid][sc].depot);
	}
	if (b && !pushed)
		batch_put(slot, b);
	if (!b)
		slots_forget(stack, n);
	look_for_rested(slot);
}

/* Less than a batch, for another node: there it joins what comes from elsewhere. */
static void send_part(size_t route, const struct mag_slot *slots, unsigned int n)
{
	unsigned int nid = route_nid(route), sc = route_class(route);
	const struct size_class *k = &size_classes[sc];
	bool sent = depot_gather(&mcentrals[nid][sc].depot, current_slot(), slots, n,
				 k->batch);

	PROBE(flush, nid, k->size, n, sent);
	if (!sent)
		mcentral_free(nid, sc, slots, n);
}

static void flush_part(size_t route)
{
	struct mag_slot slots[MAX_BATCH];
	unsigned int n = any_pop_n(route, slots, size_classes[route_class(route)].batch);

	if (n)
		send_part(route, slots, n);
	slots_forget(slots, n);
	look_for_rested(current_slot());
}

/* There is no room for it in the magazine, or there is no magazine. */
static void free_full(size_t route, struct mag_slot slot)
{
	unsigned int sc = route_class(route), room;

	if (unlikely(!slot_exists(current_slot()))) {
		mcentral_free(route_nid(route), sc, &slot, 1);
		return;
	}
	room = mag_room(slot_node(current_slot()), route_nid(route), sc);
	if (!room) {
		send_part(route, &slot, 1);
		return;
	}
	/* more than a half is sent as it is: no other part would fit beside it */
	if (2 * room <= size_classes[sc].batch)
		flush_part(route);
	else
		flush_batch(route, current_slot());
	if (any_push(route, slot))
		return;
	/* Moved to another full slot, or no slot could be made: straight home. */
	mcentral_free(route_nid(route), route_class(route), &slot, 1);
}

void mcache_free_slow(size_t route, struct mag_slot slot)
{
	if (!slow_prepare() || !any_push(route, slot))
		free_full(route, slot);
}

static void free_foreign(size_t route, struct mag_slot slot, uint32_t tag)
{
	size_t out = outgoing(route);

	if (any_push(out, slot))
		return;
	/* to where this one came from, and the others, perhaps */
	flush_batch(out, tag_slot(tag));
	if (!any_push(out, slot))
		mcentral_free(route_nid(route), route_class(route), &slot, 1);
}

static inline bool has_outgoing(size_t route)
{
	return size_classes[route_class(route)].size < FOREIGN_SIZE;
}

/* What goes to another node is out of malloc's reach in that node's row. */
static inline bool wants_outgoing(size_t route, unsigned int slot)
{
	return route_nid(route) == slot_node(slot) && has_outgoing(route);
}

void mcache_free_foreign(struct mag_slot slot, size_t route, uint32_t tag)
{
	size_t to = route;

	/* with one node there is nothing to ask */
	if (likely(topo.nr_nodes == 1) && likely(has_outgoing(route)))
		to += ROUTE_CLASSES;
	else if (topo.nr_nodes > 1 && wants_outgoing(route, current_slot()))
		to = outgoing(route);
	if (unlikely(!mcache_push(to, slot)))
		mcache_free_tagged(slot, route, tag);
}

void mcache_free_tagged(struct mag_slot slot, size_t route, uint32_t tag)
{
	unsigned int id;

	slow_prepare();
	id = current_slot();
	if (tag != slot_tag(id) && !slot_is_locked(id) && slot_exists(id) &&
	    wants_outgoing(route, id))
		free_foreign(route, slot, tag);
	else if (!any_push(route, slot))
		free_full(route, slot);
}
