// SPDX-License-Identifier: MIT
/*
 * Assists: allocations that meet a limit give memory back before they go on.
 *
 *	soft   free pages, as many as are wanted and some more; when there are not
 *	       enough, what depots and windows hold, all that is cached when that
 *	       is more than its share, and pages inside spans of classes that rest,
 *	       once in a while.  Several threads
 *	       at once; all of them together take half of a CPU at most, by a leaky
 *	       bucket: when it is full, allocations pass the limit.  Half way from
 *	       there to where the kernel kills, each allocation gives back before it
 *	       takes, whatever that costs: many CPUs can fill the rest in no time.
 *	hard   step by step until the request fits: free pages, windows, everything
 *	       cached.  One thread at a time, so that what one gives back is not
 *	       missed by another that looks meanwhile.  When it does not fit then, the
 *	       allocation fails; nothing else changes.
 *	none   the kernel gives no memory, with a limit or without: everything cached.
 *
 * Called by allocations of pages, with no lock held (lib/limit.h), also by a thread
 * that is inside here already: starting the background thread allocates.
 */
#include <time.h>

#include <util/probe.h>
#include "assist.h"
#include "keep.h"
#include "limit.h"
#include "lock.h"
#include "mcache.h"
#include "mcentral.h"
#include "mheap.h"
#include "mheap_meta.h"
#include "numa.h"
#include "scavenge.h"

/* A soft assist gives back this much, and as much as is asked for if that is more. */
#define GIVE_MIN	(1UL << 20)
#define GIVE_MAX	(8UL << 20)
/* Depots and windows are emptied this often at most. */
#define DRAIN_NS	200000000ULL
#define DANGER_NS	5000000ULL	/* the same in danger of being killed */

struct assist_stat assist_stat;
struct limit_bucket assist_bucket;

static struct lock room_lock = LOCK_INIT(RANK_LIMIT);
static uint64_t drained_at;		/* (a) ns */
static __tls bool assisting;

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static size_t resident_free(void)
{
	size_t bytes = 0;

	for (unsigned int n = 0; n < topo.nr_nodes; n++)
		bytes += mheap_resident_free(n);
	return bytes;
}

static size_t give_back(size_t want)
{
	size_t done = 0;

	for (unsigned int n = 0; n < topo.nr_nodes && done < want; n++)
		done += mheap_release(n, want - done);
	atomic_add_relaxed(&assist_stat.bytes, done);
	return done;
}

static bool flush_windows(void)
{
	bool any = false;

	for (unsigned int n = 0; n < topo.nr_nodes; n++)
		any |= mheap_flush_caches(n);
	return any;
}

/* It counts for the hard limit as pages do. */
static void release_metadata(void)
{
	for (unsigned int n = 0; n < topo.nr_nodes; n++)
		while (mheap_meta_release(n, true))
			;
}

static bool drain_due(uint64_t now, bool danger)
{
	uint64_t last = atomic_load_relaxed(&drained_at);

	return now - last >= (danger ? DANGER_NS : DRAIN_NS) &&
	       try_cmpxchg_acquire(&drained_at, last, now);
}

static void drain_depots(void)
{
	for (unsigned int n = 0; n < topo.nr_nodes; n++)
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
			keep_drain(n, sc);
	flush_windows();
}

static size_t soft_want(size_t bytes, bool danger)
{
	size_t over = limit_total() + bytes - min_size(limit_soft(), limit_total() + bytes);

	if (danger)
		return max_size(over, GIVE_MIN);
	return min_size(max_size(over, GIVE_MIN), max_size(bytes, GIVE_MAX));
}

static void soft_work(size_t want, bool drain)
{
	size_t done = give_back(want);

	if (done < want && drain) {
		if (mcache_cached_bytes() > limit_cache_max())
			mcache_drain_all();
		drain_depots();
		done += give_back(want - done);
		if (done < want)
			done += scavenge_rested(want - done);
	}
	if (done)
		atomic_add_relaxed(&assist_stat.nr, 1);
	PROBE(limit_soft, want, done);
}

void assist_soft(size_t bytes)
{
	uint64_t now, cpu;
	bool drain, danger;

	if (assisting || mcache_in_vfork())
		return;
	now = clock_ns(CLOCK_MONOTONIC);
	danger = limit_in_danger(bytes);
	if (!danger && !limit_bucket_open(&assist_bucket, now))
		return;
	drain = resident_free() < GIVE_MIN && drain_due(now, danger);
	/* everything is in use: nothing to measure */
	if (!drain && !resident_free())
		return;
	assisting = true;
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	soft_work(soft_want(bytes, danger), drain);
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	if (!danger)
		limit_bucket_add(&assist_bucket, cpu);
	atomic_add_relaxed(&assist_stat.cpu_ns, cpu);
	assisting = false;
}

/* Give back what is free until @bytes fit. */
static bool free_pages_fit(size_t bytes)
{
	while (!limit_fits(bytes))
		if (!give_back(max_size(bytes, GIVE_MIN)))
			return false;
	return true;
}

bool assist_hard(size_t bytes)
{
	bool fits;

	if (lock_is_held(&room_lock))
		return false;
	lock_acquire(&room_lock);
	atomic_add_relaxed(&assist_stat.nr_hard, 1);
	fits = free_pages_fit(bytes);
	if (!fits) {
		flush_windows();
		fits = free_pages_fit(bytes);
	}
	if (!fits && !mcache_in_vfork()) {
		mcache_drain_all();
		flush_windows();
		release_metadata();
		fits = free_pages_fit(bytes);
	}
	lock_release(&room_lock);
	PROBE(limit_hard, bytes, fits);
	return fits;
}

static size_t free_bytes(void)
{
	struct mheap_stat st;
	size_t pages = 0;

	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		mheap_stat(n, &st);
		pages += st.free;
	}
	return pages << HA_PAGE_SHIFT;
}

bool assist_gather(size_t bytes)
{
	size_t cached = mcache_cached_bytes();
	bool any = false;

	/* beyond any hope: not worth emptying the caches for */
	if (mcache_in_vfork() || bytes > cached + free_bytes())
		return false;
	if (cached) {
		mcache_drain_all();
		any = mcache_cached_bytes() < cached;
	}
	return flush_windows() || any;
}

bool assist_fork_held(void)
{
	return lock_is_held(&room_lock);
}

void assist_fork_prepare(bool nested)
{
	lock_fork_prepare(&room_lock, nested);
}

void assist_fork_done(void)
{
	lock_fork_done(&room_lock);
}
