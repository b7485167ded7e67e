// SPDX-License-Identifier: MIT
/*
 * Giving memory back: the policy.
 *
 *	free pages        those above a goal, or above 95 % of the soft limit,
 *	                  highest address first, while allocation goes lowest first
 *	idle caches       magazines of slots, and depots of classes, that have
 *	                  rested for a while go back to their spans
 *	partly used spans kernel pages inside that hold no object, of classes that
 *	                  have rested for a while
 *	metadata          of spans that have been gone for a while (lib/mheap_meta.c)
 *
 * The goal, a node: the memory in use, as a peak that is held for a while (HOLD_MS)
 * and then decays (PEAK_SHIFT), plus a sixteenth unless the whole process rests or
 * has used no more than before for as long, or what was given back and taken again
 * soon after, which decays as well: that was not to spare, however much is free.  A
 * load that swings faster than the peak decays keeps its pages; one that has gone
 * down for good gives half of them up soon, and the rest within seconds.  After Go's
 * heap goal (src/runtime/mgcscavenge.go), with time in place of collections.
 *
 * Invariants:
 *  1. Memory is dropped only while it cannot be allocated: free pages are marked
 *     in use meanwhile (mheap_release), objects of a span need its mcentral lock.
 *  2. A class that is visited in a round is not visited again before it has been
 *     used, by more than a few refills, and rests again.
 *
 * One caller at a time (sysmon's thread, or ha_background_work()); no lock is held
 * on entry.
 */
#include <time.h>

#include "batch.h"
#include "collapse.h"
#include "keep.h"
#include "limit.h"
#include "mcache.h"
#include "mcentral.h"
#include "mheap.h"
#include "mheap_meta.h"
#include "numa.h"
#include "scavenge.h"
#include "uheap.h"

/*
 * The goal's peak loses 1/4 of its height over what is used each TICK_MS, but not so
 * soon after it was last reached, or nearly; what was wanted again loses 1/16.
 */
#define TICK_MS		100
#define TICKS_MAX	64	/* since the last step; then nothing is left of it */
#define PEAK_SHIFT	2
#define AGAIN_SHIFT	4
#define HOLD_MS		2000
#define RETAIN_SHIFT	4	/* ... and a sixteenth is kept on top of it */
/* Steps in a row in which nothing would go, until there is nothing to do. */
#define STUCK_STEPS	64
/* A fall below half of the peak is followed soon: again after 1, 2, 4 ... 64 s. */
#define FALL_MS		50	/* shorter ones are none */
#define HALVE_MS	1000
#define HALVE_MAX_MS	64000
/* Caches and classes are looked at this often; near the soft limit more often. */
#define REST_MS		1000
#define REST_CLOSE_MS	200
/* Refills and flushes in that time of a process that rests. */
#define REST_EVENTS	32
/* ... and of a class that rests; its spans are visited again after so many. */
#define REST_FEW	8
#define ROUND_EVENTS	64
/* One madvise run, and spans visited under one hold of their lock. */
#define RELEASE_STEP	(1UL << 20)
#define SPAN_STEP	32
/* Less than this above the goal is left alone. */
#define RELEASE_MIN	(256UL << 10)
#define RELEASE_MIN_PAGES	(RELEASE_MIN >> HA_PAGE_SHIFT)

struct class_rest {
	uint64_t activity;	/* refills and flushes when last looked at */
	uint64_t flushes;	/* of these, flushes */
	uint16_t round;		/* marks the spans visited since it was last used */
	uint32_t since;		/* events since that round began */
	bool rested;		/* next to none since the time before */
	bool drained;		/* its depot, since it was last used */
	bool done;		/* all its spans visited in this round */
};

static struct {
	size_t peak[MAX_NODES];		/* pages */
	uint64_t peak_at[MAX_NODES];	/* ms, when it was last reached */
	uint64_t rise_at[MAX_NODES];	/* ms, when more was last used than before */
	size_t again[MAX_NODES];	/* pages given back that were wanted again */
	size_t used[MAX_NODES];		/* pages at the last look */
	size_t dropped[MAX_NODES];	/* pages inside spans in use then */
	bool halving[MAX_NODES];	/* on the way down to half of the peak */
	uint64_t low_since[MAX_NODES];	/* ms, below half of the peak; 0: it is not */
	uint64_t halve_at[MAX_NODES];	/* ms, not before */
	uint64_t halve_wait[MAX_NODES];	/* ms, from the last one */
	uint32_t stuck[MAX_NODES];	/* steps in a row that could give no page back */
	uint32_t meta_stuck[MAX_NODES];	/* ... and no metadata */
	uint32_t asked;			/* (a) 1: the heap has been used since it was settled */
	uint64_t tick_at, rest_at;	/* ms, when each was last done */
	uint32_t last_round;		/* (a) never 0, which is a new span's */
	bool slots_done;
	bool resting;			/* hardly a class is used */
	struct class_rest rest[MAX_NODES][NR_SIZE_CLASSES];
	/* (a) refills and flushes when scavenge_rested() last looked */
	uint64_t seen[MAX_NODES][NR_SIZE_CLASSES];
} sc;

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/*
 * What a step may take of the thread's CPU clock.  That is read by a system call, and what
 * is looked at is much: so nobody asks again when it is spent.
 */
struct cpu_share {
	uint64_t end_ns;
	bool spent;
};

static bool may_go_on(struct cpu_share *share)
{
	if (!share->spent)
		share->spent = cpu_ns() >= share->end_ns;
	return !share->spent;
}

static uint16_t next_round(void)
{
	uint16_t round;

	do {
		round = __atomic_add_fetch(&sc.last_round, 1, __ATOMIC_RELAXED);
	} while (!round);
	return round;
}

/* Pages in use, less what was dropped inside them. */
static size_t pages_used(unsigned int nid, const struct mheap_stat *st)
{
	size_t dropped = 0;

	for (unsigned int c = 1; c < NR_SIZE_CLASSES; c++)
		dropped += atomic_load_relaxed(&mcentrals[nid][c].dropped);
	dropped += uheap_dropped(nid);
	return st->pages - st->free - (dropped >> HA_PAGE_SHIFT);
}

/*
 * The end of a large job: what is used has fallen below half of the peak, and half
 * of the peak is what the process may keep at once, not when the peak has decayed.
 * A load that swings would pay for it with page faults at each turn: so it has to
 * stay down from one look to another, FALL_MS apart; then it is done once, and the
 * next time after twice as long, and left off when the pages are taken again.
 * @high: most in use since the last look.
 */
static bool may_halve(unsigned int nid, size_t used, size_t high, size_t resident,
		      uint64_t now)
{
	size_t half = sc.peak[nid] / 2;

	if (used >= half)
		sc.low_since[nid] = 0;
	else if (high >= half || !sc.low_since[nid])
		sc.low_since[nid] = now;
	if (used >= half || resident <= half + RELEASE_MIN_PAGES ||
	    sc.again[nid] > half) {
		sc.halving[nid] = false;
		return false;
	}
	if (!sc.halving[nid] && now >= sc.halve_at[nid] &&
	    now - sc.low_since[nid] >= FALL_MS) {
		/* a long time without a fall: a first one again */
		if (now - sc.halve_at[nid] > 4 * sc.halve_wait[nid])
			sc.halve_wait[nid] = 0;
		sc.halve_wait[nid] = sc.halve_wait[nid] ?
			min_size(2 * sc.halve_wait[nid], HALVE_MAX_MS) : HALVE_MS;
		sc.halve_at[nid] = now + sc.halve_wait[nid];
		sc.halving[nid] = true;
	}
	return sc.halving[nid];
}

static void decay_by(size_t *pages, size_t over, unsigned int shift)
{
	if (*pages > over)
		*pages -= ((*pages - over) >> shift) + 1;
}

/* Bytes of free resident memory above the node's goal. */
static size_t above_goal(unsigned int nid, unsigned int ticks, uint64_t now)
{
	struct mheap_stat st;
	size_t used, resident, goal, peak = mheap_take_peak(nid), dropped, out, near;

	for (unsigned int i = 0; i < ticks; i++)
		decay_by(&sc.again[nid], 0, AGAIN_SHIFT);
	sc.again[nid] += mheap_again(nid, true);
	mheap_stat(nid, &st);
	used = pages_used(nid, &st);
	/*
	 * What was in use at the highest moment since the last look, less what was
	 * dropped of that then: as much as now, or as at the last look, if that was
	 * more, since spans that go take it along.
	 */
	dropped = st.pages - st.free - used;
	out = max_size(dropped, sc.dropped[nid]);
	sc.dropped[nid] = dropped;
	peak = max_size(peak > out ? peak - out : 0, used);
	resident = used + st.free - st.returned;
	near = sc.peak[nid] - (sc.peak[nid] >> RETAIN_SHIFT);
	if (peak > sc.used[nid] + RELEASE_MIN_PAGES)
		sc.rise_at[nid] = now;
	sc.used[nid] = used;
	/* reached: not what is on the way down from there, and hardly moves */
	if (peak >= near && sc.rise_at[nid] == now)
		sc.peak_at[nid] = now;
	/* close to what is used it has nothing to hold */
	if (ticks && (used >= near || now - sc.peak_at[nid] >= HOLD_MS))
		decay_by(&sc.peak[nid], used, PEAK_SHIFT);
	if (sc.peak[nid] < peak)
		sc.peak[nid] = peak;
	goal = sc.peak[nid] + max_size(sc.again[nid], sc.resting || now - sc.rise_at[nid] >=
				       HOLD_MS ? 0 : sc.peak[nid] >> RETAIN_SHIFT);
	if (may_halve(nid, used, peak, resident, now))
		goal = max_size(sc.peak[nid] / 2, used);
	/* of a fall that has begun already nobody has to tell */
	mheap_set_notice(nid, now >= sc.halve_at[nid] && !sc.low_since[nid] ?
			      sc.peak[nid] / 2 : 0);
	return resident > goal ? (resident - goal) << HA_PAGE_SHIFT : 0;
}

static uint64_t class_activity(const struct mcentral *mc)
{
	return mcentral_nr_refills(mc) +
	       atomic_load_relaxed(&mc->nr_flushes);
}

/*
 * Refills and flushes of the class since the last look.  None: its depot goes home.
 * Few: it rests as well.  Refills are of its fullest spans, and the pages that could go
 * are in others; its spans are visited anew when there have been some more.  What a
 * flush brings back is to many spans: those are visited (their round is not this one
 * any more, lib/mcentral.c).
 */
static uint64_t look_at_class(unsigned int nid, unsigned int c)
{
	struct class_rest *r = &sc.rest[nid][c];
	struct mcentral *mc = &mcentrals[nid][c];
	uint64_t events = class_activity(mc) - r->activity;

	r->rested = events <= REST_FEW;
	r->since += events;
	if (events) {
		keep_trim(nid, c);
		r->drained = false;
	} else if (!r->drained) {
		keep_drain(nid, c);
		r->since = ROUND_EVENTS + 1;
		r->drained = true;
	}
	if (atomic_load_relaxed(&mc->nr_flushes) != r->flushes)
		r->done = false;
	if (!r->rested || r->since > ROUND_EVENTS) {
		r->done = false;
		r->round = next_round();
		r->since = 0;
	}
	r->activity = class_activity(mc);
	r->flushes = atomic_load_relaxed(&mc->nr_flushes);
	return events;
}

/* Visit spans of rested classes until the budget is spent; true when none left. */
static bool scavenge_spans(struct cpu_share *share)
{
	bool all_done = true;
	size_t bytes = 0;

	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		for (unsigned int c = 1; c < NR_SIZE_CLASSES; c++) {
			struct class_rest *r = &sc.rest[n][c];

			if (r->rested && !r->done)
				mheap_close_front(n);
			while (r->rested && !r->done && may_go_on(share))
				r->done = !mcentral_scavenge(n, c, r->round, SPAN_STEP,
							     false, &bytes);
			all_done &= (r->done && r->drained) || !class_activity(&mcentrals[n][c]);
		}
	}
	return all_done;
}

/* The same in heaps of the user's that rest. */
static bool scavenge_heaps(struct cpu_share *share)
{
	size_t bytes = 0;
	bool more = false;

	for (struct ha_heap *h = uheap_next(NULL); h; h = uheap_next(h)) {
		bool left = true;

		while (h->rested && may_go_on(share) && left)
			left = uheap_scavenge(h, SPAN_STEP, false, &bytes);
		more |= left;
	}
	return !more;
}

/*
 * Nothing would go: it is locked in memory, in pieces smaller than the kernel's pages, of
 * hugetlb's pool.  That is no reason to stay awake.
 */
static bool is_stuck(uint32_t *steps)
{
	return *steps >= STUCK_STEPS || ++*steps >= STUCK_STEPS;
}

void scavenge_ask(void)
{
	atomic_store_relaxed(&sc.asked, 1);
}

static bool scavenge_pages(struct cpu_share *share, unsigned int ticks, uint64_t now)
{
	bool all_done = true;

	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		size_t left = above_goal(n, ticks, now);

		while (left > RELEASE_MIN && may_go_on(share)) {
			size_t kept = 0, done;

			done = mheap_release_sparse(n, min_size(left, RELEASE_STEP), &kept);
			left -= min_size(done, left);
			if (!done) {
				/* nothing but what shall stay */
				left -= min_size(kept, left);
				if (left > RELEASE_MIN && is_stuck(&sc.stuck[n]))
					left = 0;
				break;
			}
			sc.stuck[n] = 0;
			/* somebody wants it: look anew at the next step */
			if (mheap_again(n, false) > RELEASE_MIN_PAGES)
				left = 0;
		}
		if (left <= RELEASE_MIN)
			sc.halving[n] = false;
		all_done &= left <= RELEASE_MIN;
	}
	return all_done;
}

/* What is known of spans that have been gone for a while. */
static bool scavenge_meta(struct cpu_share *share)
{
	bool all_done = true;

	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		while (may_go_on(share) && mheap_meta_release(n, false))
			sc.meta_stuck[n] = 0;
		all_done &= !mheap_meta_rests(n) ||
			    (may_go_on(share) && is_stuck(&sc.meta_stuck[n]));
	}
	return all_done;
}

/* Down to the limit, whatever was used a moment ago. */
static void scavenge_to_limit(struct cpu_share *share)
{
	size_t left, done;

	while ((left = limit_excess()) && may_go_on(share)) {
		done = 0;
		for (unsigned int n = 0; n < topo.nr_nodes; n++)
			done += mheap_release(n, min_size(left, RELEASE_STEP));
		if (!done)
			break;
	}
}

/* The peaks have come down to what is used: time alone changes nothing more. */
static bool peaks_settled(void)
{
	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		struct mheap_stat st;

		mheap_stat(n, &st);
		if (sc.peak[n] > pages_used(n, &st) + RELEASE_MIN_PAGES ||
		    sc.again[n] > RELEASE_MIN_PAGES)
			return false;
	}
	return true;
}

bool scavenge_rests(void)
{
	return sc.resting;
}

bool scavenge_due(uint64_t now_ms)
{
	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		size_t half = sc.peak[n] / 2;

		if (half && mheap_resident_free(n) >> HA_PAGE_SHIFT > half &&
		    (sc.halving[n] || now_ms >= sc.halve_at[n]))
			return true;
	}
	return false;
}

bool scavenge_step(uint64_t now_ms, uint64_t budget_ns, uint64_t spare_ns)
{
	struct cpu_share share = { .spent = !budget_ns };
	uint64_t events;
	unsigned int ticks = min_size((now_ms - sc.tick_at) / TICK_MS, TICKS_MAX);
	bool done;

	if (xchg(&sc.asked, 0)) {
		memset(sc.stuck, 0, sizeof(sc.stuck));
		memset(sc.meta_stuck, 0, sizeof(sc.meta_stuck));
	}
	if (budget_ns)
		share.end_ns = cpu_ns() + budget_ns;
	if (ticks) {
		sc.tick_at = now_ms;
		atomic_add_relaxed(&mheap_epoch, 1);
	}
	if (now_ms - sc.rest_at >= (limit_close() ? REST_CLOSE_MS : REST_MS)) {
		sc.rest_at = now_ms;
		sc.slots_done = mcache_drain_idle();
		mcache_drain_cold();
		if (mcache_cached_bytes() > limit_cache_max())
			mcache_drain_all();
		events = 0;
		for (unsigned int n = 0; n < topo.nr_nodes; n++)
			for (unsigned int c = 1; c < NR_SIZE_CLASSES; c++)
				events += look_at_class(n, c);
		for (struct ha_heap *h = uheap_next(NULL); h; h = uheap_next(h))
			uheap_look(h);
		for (unsigned int n = 0; n < topo.nr_nodes; n++)
			mheap_meta_look(n);
		batch_release(false);
		sc.resting = events < REST_EVENTS;
		for (unsigned int n = 0; n < topo.nr_nodes && sc.resting; n++)
			mheap_flush_caches(n);
	}
	scavenge_to_limit(&share);
	done = scavenge_pages(&share, ticks, now_ms);
	done &= scavenge_spans(&share);
	done &= scavenge_heaps(&share);
	done &= scavenge_meta(&share);
	done &= collapse_step(now_ms, cpu_ns() + spare_ns);
	return done && sc.slots_done && peaks_settled();
}

size_t scavenge_rested(size_t want)
{
	uint16_t round = next_round();
	size_t bytes = 0;

	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		for (unsigned int c = 1; c < NR_SIZE_CLASSES; c++) {
			uint64_t now = class_activity(&mcentrals[n][c]);

			if (xchg(&sc.seen[n][c], now) != now)
				continue;
			while (bytes < want &&
			       mcentral_scavenge(n, c, round, SPAN_STEP, true, &bytes))
				;
		}
	}
	return bytes;
}

void scavenge_pressed(void)
{
	sc.slots_done = mcache_drain_idle();
	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		for (unsigned int c = 1; c < NR_SIZE_CLASSES; c++)
			keep_drain(n, c);
		mheap_flush_caches(n);
		mheap_release(n, SIZE_MAX);
		while (mheap_meta_release(n, true))
			;
		sc.peak[n] = 0;
		sc.again[n] = 0;
	}
}

size_t scavenge_all(void)
{
	size_t bytes = 0, done;

	mcache_drain_all();
	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		/* a round of its own, so that no span counts as visited */
		uint16_t round = next_round();

		for (unsigned int c = 1; c < NR_SIZE_CLASSES; c++)
			while (mcentral_scavenge(n, c, round, SPAN_STEP, true, &bytes))
				;
		mheap_flush_caches(n);
		bytes += mheap_release(n, SIZE_MAX);
	}
	for (struct ha_heap *h = uheap_next(NULL); h; h = uheap_next(h)) {
		uheap_new_round(h);
		while (uheap_scavenge(h, SPAN_STEP, true, &bytes))
			;
	}
	for (unsigned int n = 0; n < topo.nr_nodes; n++)
		while ((done = mheap_meta_release(n, true)))
			bytes += done;
	return bytes + batch_release(true);
}

void scavenge_fork_child(void)
{
	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		sc.peak[n] = 0;
		sc.again[n] = 0;
	}
}
