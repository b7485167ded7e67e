// SPDX-License-Identifier: MIT
/*
 * Draining: what caches hold goes back to the spans.
 *
 * A magazine changes inside a sequence of its slot alone.  To empty somebody else's,
 * the slot is detached, so that the tables lead nowhere for it and every operation
 * there takes its slow path; a membarrier throws who was inside out of his section;
 * then nobody is in its magazines but who holds slots_lock.  Locked slots have their
 * lock.
 *
 * A slot that is busy may have much that it does not use: below what it pops and pushes
 * lie objects that have been there since a busier time, and each keeps a page.  So floors
 * are raised to the tops once a second (<asm-generic/rseq.h>), and what is below one a
 * second later goes home, when it is enough to be worth a fence.  The slot is detached
 * for no longer than it takes to move that to a buffer.
 *
 * Fork: no section needs to be waited for.  A thread that was inside one did not
 * commit, and does not exist in the child; committed magazines are whole.
 */
#include <util/probe.h>
#include "keep.h"
#include "mcache_drain.h"
#include "mcentral.h"

#define COLD_MIN	128	/* objects of a slot that are worth a fence */
#define COLD_MAX	1024	/* in a second */

struct cold_run {
	uint16_t route;
	uint16_t n;
};

/* (l slots_lock) out of magazines and not in spans yet */
static struct mag_slot cold_slots[COLD_MAX];
static struct cold_run cold_runs[COLD_MAX];
static uint32_t slot_look[MAX_CIDS + NR_LOCKED];	/* (l) hdrs_look() a while ago */
uint32_t mcache_fork_stale;

static void drain_hdrs(unsigned int slot, struct mag_hdr *hdrs)
{
	struct mag_slot slots[MAX_BATCH];
	size_t n, total = 0;

	for (unsigned int row = 0; row < nr_rows(); row++) {
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
			while ((n = mag_pop_n(hdrs, route_make(row, sc), slots,
					      MAX_BATCH))) {
				mcentral_free(row_nid(row), sc, slots, n);
				slots_forget(slots, n);
				total += n;
			}
			slot_narrow(hdrs, slot_node(slot), route_make(row, sc));
		}
	}
	PROBE(drain, slot, total);
}

/* What a slot looks like from outside, tops and pops: the same twice means that it rests. */
static uint32_t hdrs_look(const struct mag_hdr *hdrs)
{
	uint32_t sum = 1;

	for (unsigned int i = 0; i < nr_rows() * ROUTE_CLASSES; i++)
		sum = sum * 31 + (uint32_t)atomic_load_relaxed(&hdrs[i].word);
	return sum;
}

/* Look again at slot @i; true when it rests. */
static bool look_again(unsigned int i, const struct mag_hdr *hdrs)
{
	uint32_t look = hdrs_look(hdrs);
	bool rests = slot_look[i] == look;

	slot_look[i] = look;
	return rests;
}

static bool hdrs_empty(const struct mag_hdr *hdrs)
{
	for (unsigned int i = 0; i < nr_rows() * ROUTE_CLASSES; i++)
		if (READ_ONCE(hdrs[i].top) != hdrs[i].base)
			return false;
	return true;
}

static bool drain_wanted(unsigned int i, bool idle_only, bool *all_done)
{
	bool wanted;

	if (!slot_hdrs[i])
		return false;
	wanted = !idle_only || look_again(i, slot_hdrs[i]);
	*all_done &= wanted;
	return wanted && !hdrs_empty(slot_hdrs[i]);
}

/* True when no slot is busy. */
static bool drain_rseq_slots(bool idle_only)
{
	uint64_t chosen[MAX_CIDS / 64] = { 0 };
	bool all_done = true;

	lock_acquire(&slots_lock);
	for (unsigned int i = 0; i < nr_slot_ids; i++)
		if (drain_wanted(i, idle_only, &all_done))
			bitmap_set(chosen, i);
	/* From here on no section is inside the magazines (invariant 1). */
	if (slots_close(chosen))
		for (unsigned int i = 0; i < nr_slot_ids; i++)
			if (bitmap_test(chosen, i))
				drain_hdrs(i, slot_hdrs[i]);
	for (unsigned int i = 0; i < nr_slot_ids; i++)
		if (bitmap_test(chosen, i))
			slot_look[i] = hdrs_look(slot_hdrs[i]);
	slots_open(chosen);
	lock_release(&slots_lock);
	return all_done;
}

static bool drain_locked_slots(bool idle_only)
{
	bool all_done = true;

	for (unsigned int i = 0; i < NR_LOCKED; i++) {
		struct locked_slot *ls = &locked_slots[i];

		if (!smp_load_acquire(&ls->hdrs))
			continue;
		lock_acquire(&ls->lock);
		if (!idle_only || look_again(MAX_CIDS + i, ls->hdrs)) {
			drain_hdrs(MAX_CIDS + i, ls->hdrs);
			slot_look[MAX_CIDS + i] = hdrs_look(ls->hdrs);
		} else {
			all_done = false;
		}
		lock_release(&ls->lock);
	}
	return all_done;
}

/*
 * Cold objects.
 */

/* Room that no flush asked for since the last look. */
static void look_for_wide(unsigned int slot, struct mag_hdr *hdrs)
{
	unsigned int nid = slot_node(slot);

	for (unsigned int sc = 1; sc < FIRST_MEDIUM_CLASS; sc++) {
		struct mag_hdr *h = &hdrs[route_make(nid, sc)];
		unsigned int flushed = atomic_load_relaxed(&h->flushed);

		if (flushed & MAG_FLUSHED_LOOK)
			atomic_store_relaxed(&h->flushed, flushed & ~MAG_FLUSHED_LOOK);
		else
			slot_narrow(hdrs, nid, route_make(nid, sc));
	}
}

/* How many; those of a slot that has too few may be used again for a second. */
static unsigned int look_for_cold(unsigned int slot, struct mag_hdr *hdrs)
{
	unsigned int n = 0;

	look_for_wide(slot, hdrs);
	for (unsigned int i = 0; i < nr_rows() * ROUTE_CLASSES; i++)
		n += mag_nr_cold(&hdrs[i]);
	for (unsigned int i = 0; i < nr_rows() * ROUTE_CLASSES && n < COLD_MIN; i++)
		mag_raise_floor(&hdrs[i]);
	return n;
}

/* At most a batch, or @max, of a magazine; nobody is in it. */
static unsigned int take_cold(struct mag_hdr *h, struct mag_slot *dst, unsigned int max)
{
	unsigned int n = min_size(mag_nr_cold(h), min_size(max, MAX_BATCH));
	struct mag_slot *bottom = mag_slot_at(h, h->base);
	unsigned int left = mag_nr(h) - n;

	memcpy(dst, bottom, n * sizeof(*dst));
	memmove(bottom, bottom + n, left * sizeof(*bottom));
	mag_lower_floor(h, n);
	h->top -= n * MAG_SLOT_UNITS;
	return n;
}

/* What of @hdrs has room behind the first *nr slots and *nr_runs runs. */
static void collect_cold(struct mag_hdr *hdrs, unsigned int *nr, unsigned int *nr_runs)
{
	unsigned int n;

	for (unsigned int i = 0; i < nr_rows() * ROUTE_CLASSES; i++) {
		while ((n = take_cold(&hdrs[i], cold_slots + *nr, COLD_MAX - *nr))) {
			cold_runs[(*nr_runs)++] = (struct cold_run){ i, n };
			*nr += n;
		}
	}
}

static void free_cold(unsigned int nr_runs)
{
	struct mag_slot *slots = cold_slots;

	for (unsigned int i = 0; i < nr_runs; i++) {
		unsigned int route = cold_runs[i].route, n = cold_runs[i].n;

		mcentral_free(row_nid(route_nid(route)), route_class(route), slots, n);
		slots_forget(slots, n);
		slots += n;
	}
}

static void trim_rseq_slots(void)
{
	uint64_t chosen[MAX_CIDS / 64] = { 0 };
	unsigned int nr = 0, nr_runs = 0;

	lock_acquire(&slots_lock);
	for (unsigned int i = 0; i < nr_slot_ids; i++)
		if (slot_hdrs[i] && look_for_cold(i, slot_hdrs[i]) >= COLD_MIN)
			bitmap_set(chosen, i);
	if (slots_close(chosen))
		for (unsigned int i = 0; i < nr_slot_ids; i++)
			if (bitmap_test(chosen, i))
				collect_cold(slot_hdrs[i], &nr, &nr_runs);
	slots_open(chosen);
	free_cold(nr_runs);
	lock_release(&slots_lock);
}

/* Under the slot's lock. */
static void trim_locked_slot(unsigned int slot, struct mag_hdr *hdrs)
{
	struct mag_slot slots[MAX_BATCH];
	unsigned int n;

	if (look_for_cold(slot, hdrs) < COLD_MIN)
		return;
	for (unsigned int i = 0; i < nr_rows() * ROUTE_CLASSES; i++) {
		while ((n = take_cold(&hdrs[i], slots, MAX_BATCH))) {
			mcentral_free(row_nid(route_nid(i)), route_class(i), slots, n);
			slots_forget(slots, n);
		}
	}
}

void mcache_drain_cold(void)
{
	if (mcache_uses_rseq())
		trim_rseq_slots();
	for (unsigned int i = 0; i < NR_LOCKED; i++) {
		struct locked_slot *ls = &locked_slots[i];

		if (!smp_load_acquire(&ls->hdrs))
			continue;
		lock_acquire(&ls->lock);
		trim_locked_slot(MAX_CIDS + i, ls->hdrs);
		lock_release(&ls->lock);
	}
}

/* A child inherits every slot and runs on one: the rest is taken into reach. */
void mcache_drain_after_fork(unsigned int slot)
{
	if (!xchg(&mcache_fork_stale, 0))
		return;
	for (unsigned int i = 0; i < nr_slot_ids; i++) {
		if (i != slot && slot_hdrs[i]) {
			drain_rseq_slots(false);
			break;
		}
	}
	drain_locked_slots(false);
}

void mcache_drain_all(void)
{
	if (mcache_uses_rseq())
		drain_rseq_slots(false);
	drain_locked_slots(false);
	for (unsigned int nid = 0; nid < topo.nr_nodes; nid++)
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
			keep_drain(nid, sc);
}

bool mcache_drain_idle(void)
{
	bool rseq_done = !mcache_uses_rseq() || drain_rseq_slots(true);

	return drain_locked_slots(true) && rseq_done;
}

static __no_tsan size_t hdrs_count(const struct mag_hdr *hdrs, unsigned int sc)
{
	size_t n = 0;

	for (unsigned int row = 0; row < nr_rows(); row++) {
		const struct mag_hdr *h = &hdrs[route_make(row, sc)];

		n += (READ_ONCE(h->top) - h->base) / MAG_SLOT_UNITS;
	}
	return n;
}

size_t mcache_nr_cached(unsigned int sc)
{
	size_t n = 0;

	for (unsigned int i = 0; i < nr_slot_ids; i++)
		if (READ_ONCE(slot_hdrs[i]))
			n += hdrs_count(slot_hdrs[i], sc);
	for (unsigned int i = 0; i < NR_LOCKED; i++)
		if (smp_load_acquire(&locked_slots[i].hdrs))
			n += hdrs_count(locked_slots[i].hdrs, sc);
	for (unsigned int nid = 0; nid < topo.nr_nodes; nid++)
		n += depot_objects(&mcentrals[nid][sc].depot);
	return n;
}

size_t mcache_cached_bytes(void)
{
	size_t bytes = 0;

	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
		bytes += mcache_nr_cached(sc) * size_classes[sc].size;
	return bytes;
}

bool mcache_fork_held(void)
{
	return slot_fork_held();
}

void mcache_fork_prepare(bool nested)
{
	slot_fork_prepare(nested);
}

void mcache_fork_done(bool child)
{
	slot_fork_done();
	if (child) {
		batch_fork_child();
		atomic_store_relaxed(&mcache_fork_stale, 1);
	}
}
