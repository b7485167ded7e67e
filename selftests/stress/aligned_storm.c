// SPDX-License-Identifier: MIT
/*
 * aligned_alloc, posix_memalign and memalign in all threads, 8 bytes to
 * 4 MiB of alignment, mixed with plain objects; realloc of aligned objects
 * keeps the content, and usable size is theirs to write.
 */
#include "stress.h"

#define SLOTS 128

static void aligned_new(struct worker *w, struct obj *o)
{
	size_t align = (size_t)8 << rnd_below(&w->rng, rnd_below(&w->rng, 32) ? 10 : 20);
	size_t size = rnd_size(&w->rng, rnd_below(&w->rng, 16) ? 11 : 18);
	size_t usable;
	void *p = NULL;

	switch (rnd_below(&w->rng, 3)) {
	case 0:
		p = aligned_alloc(align, size);
		break;
	case 1:
		if (posix_memalign(&p, align, size))
			p = NULL;
		break;
	default:
		p = memalign(align, size);
	}
	if (!p) {
		stress_fail("no memory for %zu bytes at %zu", size, align);
		return;
	}
	usable = malloc_usable_size(p);
	if ((uintptr_t)p & (align - 1))
		stress_fail("%p of %zu bytes is not at %zu", p, size, align);
	if (usable < size)
		stress_fail("%p of %zu bytes at %zu: %zu usable", p, size, align, usable);
	o->p = p;
	o->size = usable;
	obj_fill(o);
}

static void *run(struct worker *w)
{
	struct obj slot[SLOTS] = { { NULL, 0 } };

	for (; !stress_stop(); w->ops++) {
		struct obj *o = &slot[rnd_below(&w->rng, SLOTS)];

		if (o->p && !rnd_below(&w->rng, 8)) {
			obj_resize(o, rnd_size(&w->rng, 14), "aligned");
			continue;
		}
		obj_end(o, "aligned");
		if (rnd_below(&w->rng, 4))
			aligned_new(w, o);
		else
			obj_new(o, rnd_size(&w->rng, 12), rnd(&w->rng));
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
	stress_end("%lu operations by %u threads", ops, tap_opts.threads);
	return tap_done();
}
