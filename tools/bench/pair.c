// SPDX-License-Identifier: MIT
/*
 * pair.c - malloc and free of one object, over and over
 *
 * Source of the workload: the first benchmark of C. Lever and D. Boreham,
 * "malloc() Performance in a Multithreaded Linux Environment", USENIX Annual
 * Technical Conference, FREENIX track, 2000: each thread requests and frees
 * a block in a tight loop. It shows the length of the fast path and nothing
 * else: the object never leaves the first cache level.
 *
 *	pair [-s size | -s lo-hi] [-b depth] [-n pairs] [-t threads]
 *
 *	-s	bytes; a range draws each size from a table made beforehand,
 *		so that the generator is not in the loop
 *	-b	allocate this many, then free them last in, first out
 *	-n	pairs of malloc and free, each thread
 *
 * An operation is one pair.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define NR_SIZES	4096u	/* power of two */

static uint32_t sizes[NR_SIZES];
static uint64_t nr_pairs = 30 * 1000 * 1000;
static uint64_t depth = 1;
static pthread_barrier_t gate;

static void run_fixed(size_t size)
{
	uint64_t i;

	for (i = 0; i < nr_pairs; i++) {
		char *p = malloc(size);

		if (!p)
			bench_die("malloc(%zu) failed", size);
		*(volatile char *)p = 1;
		free(p);
	}
}

static void run_mixed(void)
{
	uint64_t i;

	for (i = 0; i < nr_pairs; i++) {
		char *p = malloc(sizes[i % NR_SIZES]);

		if (!p)
			bench_die("malloc failed");
		*(volatile char *)p = 1;
		free(p);
	}
}

static void run_stack(void **stack)
{
	uint64_t i, j;

	for (i = 0; i < nr_pairs; i += depth) {
		for (j = 0; j < depth; j++) {
			stack[j] = malloc(sizes[(i + j) % NR_SIZES]);
			if (!stack[j])
				bench_die("malloc failed");
			*(volatile char *)stack[j] = 1;
		}
		while (j--)
			free(stack[j]);
	}
}

static void *worker(void *arg)
{
	pthread_barrier_wait(&gate);
	if (depth > 1)
		run_stack(arg);
	else if (sizes[0] == sizes[1] && sizes[0] == sizes[2])
		run_fixed(sizes[0]);
	else
		run_mixed();
	pthread_barrier_wait(&gate);
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t nr_threads = 1, lo = 64, hi = 64, rnd = bench_seed(1, 0);
	pthread_t *threads;
	char params[128];
	void *stack;
	struct bench b;
	unsigned int i;
	char *dash;
	int c;

	while ((c = getopt(argc, argv, "s:b:n:t:")) != -1) {
		switch (c) {
		case 's':
			dash = strchr(optarg, '-');
			if (dash)
				*dash = 0;
			lo = bench_number(optarg);
			hi = dash ? bench_number(dash + 1) : lo;
			break;
		case 'b':
			depth = bench_number(optarg);
			break;
		case 'n':
			nr_pairs = bench_number(optarg);
			break;
		case 't':
			nr_threads = bench_number(optarg);
			break;
		default:
			bench_die("usage: pair [-s size|lo-hi] [-b depth] [-n pairs] [-t threads]");
		}
	}
	if (!lo || hi < lo || hi >> 31 || !depth || !nr_pairs || !nr_threads)
		bench_die("need 0 < lo <= hi < 2^31, and no zero count");

	nr_pairs = (bench_scaled(nr_pairs) + depth - 1) / depth * depth;
	for (i = 0; i < NR_SIZES; i++)
		sizes[i] = bench_size(bench_random(&rnd), BENCH_UNIFORM, lo, hi);
	threads = bench_map(nr_threads * sizeof(*threads));
	pthread_barrier_init(&gate, NULL, nr_threads);
	for (i = 1; i < nr_threads; i++)
		if (pthread_create(&threads[i], NULL, worker,
				   bench_map(depth * sizeof(void *))))
			bench_die("no thread");
	stack = bench_map(depth * sizeof(void *));

	bench_start(&b);
	worker(stack);
	bench_stop(&b);
	bench_peak(&b);
	for (i = 1; i < nr_threads; i++)
		pthread_join(threads[i], NULL);

	snprintf(params, sizeof(params), "size=%llu-%llu,depth=%llu,threads=%llu",
		 (unsigned long long)lo, (unsigned long long)hi,
		 (unsigned long long)depth, (unsigned long long)nr_threads);
	bench_report(&b, "pair", params, nr_pairs * nr_threads, nr_threads);
	return 0;
}
