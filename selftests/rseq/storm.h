/* SPDX-License-Identifier: MIT */
/*
 * A storm on the per-CPU caches: many threads on few size classes, each
 * object marked in the map of owners when it is handed out and unmarked
 * before it is freed. What one commit of two CPUs, threads or handlers would
 * break shows at once: an object that is handed out while it is live.
 *
 *   storm_start(w, n)     n threads, more than CPUs; objects change hands
 *                         through one shared table
 *   storm_end(w, n)       join, free everything: no mark may be left
 *
 * A program brings its own kind of weather: migration, signals, membarrier.
 * The rest of the object is not looked at; the stress programs do that.
 */
#ifndef SELFTESTS_RSEQ_STORM_H
#define SELFTESTS_RSEQ_STORM_H

#include "../stress/owner.h"
#include "../stress/stress.h"

#define STORM_SLOTS	96
#define STORM_SHARED	64
#define STORM_CLASSES	4

static void *storm_shared[STORM_SHARED];

/* Called by each thread before it begins: what its program does to it. */
static void (*storm_prepare)(struct worker *w);

static inline void *storm_get(uint64_t *rng)
{
	void *p = malloc((size_t)16 << rnd_below(rng, STORM_CLASSES));

	if (!p) {
		stress_fail("no memory");
		return NULL;
	}
	if (!owner_take(p))
		stress_fail("%p was handed out twice", p);
	return p;
}

static inline void storm_put(void *p)
{
	if (!p)
		return;
	if (!owner_drop(p))
		stress_fail("%p was freed by two owners", p);
	free(p);
}

static void *storm_thread(struct worker *w)
{
	void *slot[STORM_SLOTS] = { NULL };

	if (storm_prepare)
		storm_prepare(w);
	for (; !stress_stop(); w->ops++) {
		unsigned int k = rnd_below(&w->rng, STORM_SLOTS);

		storm_put(slot[k]);
		slot[k] = storm_get(&w->rng);
		if (w->ops % 8 == 0)
			slot[k] = __atomic_exchange_n(
				&storm_shared[rnd_below(&w->rng, STORM_SHARED)],
				slot[k], __ATOMIC_ACQ_REL);
		/* Bursts, so that magazines run full and empty. */
		if (w->ops % 1024 == 0) {
			for (unsigned int i = 0; i < STORM_SLOTS; i++) {
				storm_put(slot[i]);
				slot[i] = NULL;
			}
		}
	}
	for (unsigned int k = 0; k < STORM_SLOTS; k++)
		storm_put(slot[k]);
	return NULL;
}

/* Four threads a CPU are wanted here, not what suits the other tests. */
static __maybe unsigned int storm_threads(void)
{
	return tap_opts.threads * 2;
}

static __maybe void storm_start(struct worker *w, unsigned int n)
{
	owner_init();
	workers_start(w, n, storm_thread);
}

static __maybe void storm_end(struct worker *w, unsigned int n, const char *weather)
{
	unsigned long ops = workers_join(w, n), live;

	for (unsigned int i = 0; i < STORM_SHARED; i++)
		storm_put(storm_shared[i]);
	live = owner_live();
	if (live)
		stress_fail("%lu marks are left: two threads had one object", live);
	if (!ops)
		stress_fail("nothing was done");
	stress_end("%lu operations by %u threads, %s", ops, n, weather);
}

#endif /* SELFTESTS_RSEQ_STORM_H */
