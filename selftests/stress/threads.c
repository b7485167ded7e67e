// SPDX-License-Identifier: MIT
/*
 * Everything at once: threads call malloc, calloc, realloc, the aligned
 * ones and free on tables of their own, and trade objects with each other
 * through one shared table, so that half of the frees are by strangers.
 */
#include "stress.h"

#define SLOTS	400
#define SHARED	256

static struct obj *shared[SHARED];

static struct obj *boxed_new(struct worker *w)
{
	struct obj *o = malloc(sizeof(*o));

	if (!o) {
		stress_fail("no memory for a box");
		return NULL;
	}
	if (!obj_new(o, size_mixed(&w->rng), rnd(&w->rng))) {
		free(o);
		return NULL;
	}
	return o;
}

static void boxed_end(struct obj *o)
{
	if (!o)
		return;
	obj_end(o, "shared");
	free(o);
}

static void *run(struct worker *w)
{
	struct obj *slot = calloc(SLOTS, sizeof(*slot));

	for (; slot && !stress_stop(); w->ops++) {
		struct obj *o = &slot[rnd_below(&w->rng, SLOTS)];

		switch (rnd_below(&w->rng, 8)) {
		case 0:
			if (o->p)
				obj_resize(o, size_mixed(&w->rng), "resize");
			break;
		case 1:
			boxed_end(__atomic_exchange_n(&shared[rnd_below(&w->rng, SHARED)],
						      boxed_new(w), __ATOMIC_ACQ_REL));
			break;
		default:
			obj_end(o, "own");
			if (rnd_below(&w->rng, 4))
				obj_new(o, size_mixed(&w->rng), rnd(&w->rng));
		}
	}
	for (unsigned int i = 0; slot && i < SLOTS; i++)
		obj_end(&slot[i], "own, at the end");
	free(slot);
	return NULL;
}

int main(int argc, char **argv)
{
	struct worker *w;
	unsigned long ops;

	tap_init(argc, argv);
	watchdog(60);
	w = calloc(tap_opts.threads, sizeof(*w));
	workers_start(w, tap_opts.threads, run);
	stress_run(1);
	ops = workers_join(w, tap_opts.threads);
	for (unsigned int i = 0; i < SHARED; i++)
		boxed_end(shared[i]);
	free(w);
	stress_end("%lu operations by %u threads", ops, tap_opts.threads);
	return tap_done();
}
