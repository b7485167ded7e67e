// SPDX-License-Identifier: MIT
/*
 * replace.c - random replacement over a set of live objects
 *
 * Source of the workload: the equilibrium of D. E. Knuth, The Art of Computer
 * Programming, volume 1, section 2.5 (a full heap in which a random block
 * leaves and a new one of random size comes), with sizes as B. Zorn and
 * D. Grunwald found them in "Empirical Measurements of Six
 * Allocation-intensive C Programs" (SIGPLAN Notices 27(12), 1992): many small
 * ones and a long tail; and, as -d phase, with sizes that move on while the
 * objects of the phase before still die, as P. Wilson, M. Johnstone, M. Neely
 * and D. Boles ask of a test in "Dynamic Storage Allocation: A Survey and
 * Critical Review" (IWMM 1995). At 1e3 objects all is in cache; from 1e5 on the
 * object freed and everything the allocator knows about it is cold.
 *
 *	replace [-n live] [-o ops] [-d power|uniform|phase] [-a min] [-b max]
 *		[-t threads]
 *
 *	phase: after as many operations as there are live objects, sizes come
 *	from the next factor of four in [min, max]; past the last, from the first
 *
 * An operation is one free, one malloc, and a write of the new object's first
 * and last byte. The filling is not timed. With threads each has its own
 * live / threads objects.
 */
#include "bench.h"

static uint64_t live = 100 * 1000, nr_ops = 4 * 1000 * 1000, nr_threads = 1;
static uint64_t dist, size_min = 16, size_max = 1024;

static void *new_object(uint64_t *rnd)
{
	return bench_object(bench_size(bench_random(rnd), dist, size_min, size_max));
}

static void fill(struct bench_worker *w)
{
	uint64_t i;

	for (i = 0; i < w->nr_slots; i++)
		w->slots[i] = new_object(&w->rnd);
}

static void replace(struct bench_worker *w)
{
	uint64_t i, rnd = w->rnd;

	for (i = 0; i < w->nr_ops; i++) {
		void **slot = &w->slots[bench_below(bench_random(&rnd), w->nr_slots)];

		free(*slot);
		*slot = new_object(&rnd);
	}
}

static void replace_in_phases(struct bench_worker *w)
{
	uint64_t i, left = w->nr_slots, rnd = w->rnd;
	uint32_t lo = size_min, hi;

	hi = lo * 4 < size_max ? lo * 4 : size_max;
	for (i = 0; i < w->nr_ops; i++) {
		void **slot = &w->slots[bench_below(bench_random(&rnd), w->nr_slots)];

		free(*slot);
		*slot = bench_object(bench_size(bench_random(&rnd), BENCH_UNIFORM, lo, hi));
		if (--left)
			continue;
		left = w->nr_slots;
		lo = hi < size_max ? hi : size_min;
		hi = lo * 4 < size_max ? lo * 4 : size_max;
	}
}

int main(int argc, char **argv)
{
	static const char *const dists[] = { "power", "uniform", "phase", NULL };
	const struct bench_option options[] = {
		{ 'n', "live", &live, NULL },
		{ 'o', "ops", &nr_ops, NULL },
		{ 'd', "dist", &dist, dists },
		{ 'a', "min", &size_min, NULL },
		{ 'b', "max", &size_max, NULL },
		{ 't', "threads", &nr_threads, NULL },
		{ 0 },
	};
	struct bench_load load = { .name = "replace", .fill = fill, .work = replace };
	const char *params = bench_options(argc, argv, options);

	if (live < nr_threads || size_max < size_min || size_max >> 31)
		bench_die("need threads <= live and min <= max < 2^31");
	if (dist == 2) {
		dist = BENCH_UNIFORM;
		load.work = replace_in_phases;
	}
	bench_run(&load, params, nr_threads, live, nr_ops);
	return 0;
}
