// SPDX-License-Identifier: MIT
/*
 * The first and the last instructions of a thread: between clone and the
 * registration of its area, and after it, a thread may allocate (its name,
 * its thread-local storage, its keys' destructors). Short threads on all
 * CPUs, with long ones beside them, and nobody is given an object twice.
 */
#include "storm.h"

#define SHORT 8

static pthread_key_t key;

static void at_end(void *p)
{
	uint64_t rng = (uintptr_t)p;
	void *q = storm_get(&rng);

	storm_put(p);
	storm_put(q);
}

static void *short_life(struct worker *w)
{
	void *p = storm_get(&w->rng), *q = storm_get(&w->rng);

	pthread_setspecific(key, p);
	storm_put(__atomic_exchange_n(&storm_shared[rnd_below(&w->rng, STORM_SHARED)], NULL,
				      __ATOMIC_ACQ_REL));
	storm_put(q);
	return NULL;
}

int main(int argc, char **argv)
{
	struct worker *w, s[SHORT];
	unsigned long lives = 0;
	char weather[64];
	unsigned int n;
	uint64_t seed;
	double end;

	tap_init(argc, argv);
	watchdog(60);
	seed = tap_opts.seed;
	pthread_key_create(&key, at_end);
	n = storm_threads() / 2;
	w = calloc(n, sizeof(*w));
	storm_start(w, n);
	end = now_seconds() + tap_opts.seconds;
	while (!stress_stop() && now_seconds() < end) {
		tap_opts.seed = seed + lives;
		workers_start(s, SHORT, short_life);
		workers_join(s, SHORT);
		lives += SHORT;
	}
	__atomic_store_n(&stress_stopped, 1, __ATOMIC_RELAXED);
	snprintf(weather, sizeof(weather), "beside %lu short ones", lives);
	storm_end(w, n, weather);
	free(w);
	return tap_done();
}
