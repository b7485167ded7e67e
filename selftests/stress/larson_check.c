// SPDX-License-Identifier: MIT
/*
 * A server's life, checked: each thread replaces random objects in a table
 * for a while, starts a successor that takes the table over, and ends. So
 * objects are freed by a thread that did not allocate them, and the one
 * that did is gone. Memory in use is bounded by the tables.
 */
#include "stress.h"

#define SLOTS		1000
#define TURN		20000

struct chain {
	struct obj *slot;
	uint64_t rng;
	unsigned long ops, threads;
	int done;
};

static void *link_run(void *arg)
{
	struct chain *c = arg;
	pthread_attr_t attr;
	pthread_t next;
	int err;

	for (unsigned int i = 0; i < TURN && !stress_stop(); i++, c->ops++) {
		struct obj *o = &c->slot[rnd_below(&c->rng, SLOTS)];

		obj_end(o, "replaced");
		obj_new(o, 8 + rnd_below(&c->rng, 1000), rnd(&c->rng));
	}
	c->threads++;
	if (stress_stop()) {
		__atomic_store_n(&c->done, 1, __ATOMIC_RELEASE);
		return NULL;
	}
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = pthread_create(&next, &attr, link_run, c);
	pthread_attr_destroy(&attr);
	if (err) {
		stress_fail("pthread_create: %s", strerror(err));
		__atomic_store_n(&c->done, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned long ops = 0, threads = 0;
	struct chain *c;

	tap_init(argc, argv);
	watchdog(60);
	c = calloc(tap_opts.threads, sizeof(*c));
	for (unsigned int i = 0; i < tap_opts.threads; i++) {
		pthread_t t;

		c[i].slot = calloc(SLOTS, sizeof(*c[i].slot));
		c[i].rng = tap_opts.seed + i;
		if (pthread_create(&t, NULL, link_run, &c[i]))
			tap_bail("pthread_create");
		pthread_detach(t);
	}
	stress_run(1);
	for (unsigned int i = 0; i < tap_opts.threads; i++) {
		while (!__atomic_load_n(&c[i].done, __ATOMIC_ACQUIRE))
			sched_yield();
		for (unsigned int k = 0; k < SLOTS; k++)
			obj_end(&c[i].slot[k], "at the end");
		free(c[i].slot);
		ops += c[i].ops;
		threads += c[i].threads;
	}
	free(c);
	stress_end("%lu replacements by %lu threads in %u chains", ops, threads,
		   tap_opts.threads);
	return tap_done();
}
