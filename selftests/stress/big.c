// SPDX-License-Identifier: MIT
/*
 * Large objects, 32 KiB to 512 MiB: random ones in all threads under a
 * bound, a buffer that grows by realloc as vectors and strings do, and
 * calloc that must be zero where memory was used before.
 */
#include "stress.h"

#define SLOTS		8
#define MAX_LIVE	(1ul << 30)

static unsigned long live;

static bool charge(size_t size)
{
	if (__atomic_add_fetch(&live, size, __ATOMIC_RELAXED) <= MAX_LIVE)
		return true;
	__atomic_sub_fetch(&live, size, __ATOMIC_RELAXED);
	return false;
}

static void big_end(struct obj *o)
{
	if (!o->p)
		return;
	obj_end(o, "big");
	__atomic_sub_fetch(&live, o->size, __ATOMIC_RELAXED);
}

static size_t big_size(uint64_t *rng)
{
	unsigned int max = rnd_below(rng, 64) ? 8 : rnd_below(rng, 8) ? 12 : 14;

	return (32768ul << rnd_below(rng, max + 1)) + rnd_below(rng, 32768);
}

static void *run(struct worker *w)
{
	struct obj slot[SLOTS] = { { NULL, 0 } };

	for (; !stress_stop(); w->ops++) {
		struct obj *o = &slot[rnd_below(&w->rng, SLOTS)];
		size_t size = big_size(&w->rng);

		if (!charge(size)) {
			big_end(o);
			continue;
		}
		if (o->p && !rnd_below(&w->rng, 4)) {
			size_t old = o->size;

			obj_resize(o, size, "big");
			__atomic_sub_fetch(&live, old, __ATOMIC_RELAXED);
			continue;
		}
		big_end(o);
		/* The zeroes of a calloc are looked at in the phase after this. */
		obj_new(o, size, 1 + rnd_below(&w->rng, 7));
		if (!o->p)
			__atomic_sub_fetch(&live, size, __ATOMIC_RELAXED);
	}
	for (unsigned int i = 0; i < SLOTS; i++)
		big_end(&slot[i]);
	return NULL;
}

static void test_growth(size_t max)
{
	struct obj o = { NULL, 0 };
	unsigned int steps = 0;

	if (!obj_new(&o, 20000, 7))
		goto out;
	for (; o.size < max && !stress_stop(); steps++)
		obj_resize(&o, o.size + o.size / 2, "growing by half");
	for (; o.size > 30000 && !stress_stop(); steps++)
		obj_resize(&o, o.size / 2, "halving");
	for (; o.size < (16 << 20) && !stress_stop(); steps++)
		obj_resize(&o, o.size + 65536, "growing by 64 KiB");
	obj_end(&o, "grown");
out:
	stress_end("a buffer grows to %zu MiB and shrinks, %u reallocs", max >> 20, steps);
}

static void test_calloc(void)
{
	uint64_t rng = tap_opts.seed;

	for (int i = 0; i < 60; i++) {
		size_t size = 32768 + rnd_below(&rng, i % 10 ? 2 << 20 : 80 << 20);
		unsigned char *p = HIDE(malloc(size)), *q;

		if (!p) {
			stress_fail("no memory for %zu bytes", size);
			break;
		}
		for (size_t k = 0; k < size; k += 512)
			p[k] = 0xff;
		free(p);
		q = HIDE(calloc(1, size));
		for (size_t k = 0; q && k < size; k += 512)
			if (q[k]) {
				stress_fail("calloc(%zu) is not zero at %zu", size, k);
				break;
			}
		free(q);
	}
	stress_end("large calloc after dirty free is zero");
}

static void test_512m(void)
{
	static const size_t sizes[] = { 512ul << 20, (512ul << 20) - 1, 64 << 20,
					(64 << 20) - 1, (64 << 20) + 1, 63 << 20,
					127 << 20, 200 << 20, 32769, 65536, 4 << 20 };
	struct obj a, b;

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (obj_new(&a, sizes[i], 7) && obj_new(&b, sizes[i], 7)) {
			obj_end(&b, "the second");
			obj_end(&a, "the first");
		}
	}
	stress_end("pairs of 32 KiB to 512 MiB, at the edges of arenas");
}

int main(int argc, char **argv)
{
	struct worker *w;
	unsigned long ops;

	tap_init(argc, argv);
	watchdog(100);
	test_512m();
	test_growth(TAP_TSAN || tap_emulated() ? 64 << 20 : 512ul << 20);
	test_calloc();
	stress_again();
	w = calloc(tap_opts.threads, sizeof(*w));
	workers_start(w, tap_opts.threads, run);
	stress_run(0.6);
	ops = workers_join(w, tap_opts.threads);
	free(w);
	stress_end("%lu operations by %u threads", ops, tap_opts.threads);
	return tap_done();
}
