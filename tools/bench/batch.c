// SPDX-License-Identifier: MIT
/*
 * batch.c - work in batches: much is allocated, then nearly all of it freed
 *
 * Source of the workload: the "peaks" of P. Wilson, M. Johnstone, M. Neely and
 * D. Boles, "Dynamic Storage Allocation: A Survey and Critical Review" (IWMM
 * 1995), in the form of MicroQuill's SH6BENCH: batches of objects, freed partly
 * in the order they came in and partly in the opposite one, a tenth of each
 * outliving it by one batch.
 *
 *	batch [-n objects] [-a min] [-b max] [-o ops] [-t threads]
 *
 * An operation is one malloc and one free.
 */
#include "bench.h"

static uint64_t nr_objects = 50 * 1000, size_min = 16, size_max = 1024;
static uint64_t nr_ops = 6 * 1000 * 1000, nr_threads = 1;

/* Every tenth stays: it is freed when its slot is wanted again. */
static void free_some(struct bench_worker *w, uint64_t round)
{
	uint64_t i, j, n = w->nr_slots, half = n / 2;

	for (i = 0; i < n; i++) {
		j = i < half ? i : n - 1 - (i - half);
		if (j % 10 == round % 10)
			continue;
		free(w->slots[j]);
		w->slots[j] = NULL;
	}
}

static void work(struct bench_worker *w)
{
	uint64_t i, done = 0, round = 0, rnd = w->rnd;

	while (done < w->nr_ops) {
		for (i = 0; i < w->nr_slots && done < w->nr_ops; i++, done++) {
			free(w->slots[i]);
			w->slots[i] = bench_object(bench_size(bench_random(&rnd),
						   BENCH_POWER, size_min, size_max));
		}
		free_some(w, round++);
	}
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = {
		{ 'n', "objects", &nr_objects, NULL },
		{ 'a', "min", &size_min, NULL },
		{ 'b', "max", &size_max, NULL },
		{ 'o', "ops", &nr_ops, NULL },
		{ 't', "threads", &nr_threads, NULL },
		{ 0 },
	};
	const struct bench_load load = { .name = "batch", .work = work };
	const char *params = bench_options(argc, argv, options);

	if (nr_objects < nr_threads || size_max < size_min || size_max >> 30)
		bench_die("need threads <= objects, min <= max < 2^30");
	bench_run(&load, params, nr_threads, nr_objects, nr_ops);
	return 0;
}
