// SPDX-License-Identifier: MIT
/*
 * realloc without end: up, down, across the classes and beyond them, by a
 * little, to zero and from NULL, of aligned objects too. The content must
 * follow; nothing else may change.
 */
#include "stress.h"

#define SLOTS 64

static size_t next_size(struct worker *w, const struct obj *o)
{
	switch (rnd_below(&w->rng, 16)) {
	case 0:
		return rnd_size(&w->rng, 22);
	case 1 ... 3:
		return rnd_size(&w->rng, 16);
	case 4 ... 7:
		return o->size + rnd_below(&w->rng, 64);
	case 8 ... 9:
		return o->size > 64 ? o->size - rnd_below(&w->rng, 64) : 1;
	case 10:
		return o->size < (1 << 21) ? o->size * 2 : 1;
	case 11:
		return o->size / 2 + 1;
	default:
		return rnd_size(&w->rng, 10);
	}
}

static void *run(struct worker *w)
{
	struct obj slot[SLOTS] = { { NULL, 0 } };

	for (; !stress_stop(); w->ops++) {
		struct obj *o = &slot[rnd_below(&w->rng, SLOTS)];

		if (!o->p) {
			obj_new(o, rnd_size(&w->rng, 12), rnd(&w->rng));
		} else if (!rnd_below(&w->rng, 32)) {
			if (!obj_check(o, "before realloc to 0"))
				continue;
			o->p = realloc(o->p, HIDE((size_t)0));
			if (o->p)
				stress_fail("realloc(p, 0) returned an object");
		} else {
			obj_resize(o, next_size(w, o), "storm");
			o = &slot[rnd_below(&w->rng, SLOTS)];
			if (o->p)
				obj_check(o, "a bystander");
		}
	}
	for (unsigned int i = 0; i < SLOTS; i++)
		obj_end(&slot[i], "at the end");
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
	free(w);
	stress_end("%lu reallocs by %u threads", ops, tap_opts.threads);
	return tap_done();
}
