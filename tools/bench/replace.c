// SPDX-License-Identifier: MIT
/*
 * replace.c - random replacement over a set of live objects
 *
 * Source of the workload: the equilibrium of D. E. Knuth, The Art of Computer
 * Programming, volume 1, section 2.5 (a full heap in which a random block
 * leaves and a new one of random size comes), with sizes as B. Zorn and
 * D. Grunwald found them in "Empirical Measurements of Six
 * Allocation-intensive C Programs" (SIGPLAN Notices 27(12), 1992): many small
 * ones and a long tail. At 1e3 objects all is in cache; from 1e5 on the object
 * freed and everything the allocator knows about it is cold.
 *
 *	replace [-n live] [-o ops] [-d power|uniform] [-a min] [-b max]
 *		[-t threads] [-s seed]
 *
 * An operation is one free, one malloc, and a write of the new object's first
 * and last byte. The filling is not timed. With threads each has its own
 * live / threads objects.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

struct worker {
	pthread_t	thread;
	void		**slots;
	uint64_t	rnd;
} __attribute__((aligned(128)));

static uint64_t nr_slots;	/* of each thread */
static uint64_t nr_ops;		/* of each thread */
static uint32_t size_min = 16, size_max = 1024;
static enum bench_dist dist = BENCH_POWER;
static pthread_barrier_t gate;

static void *new_object(uint64_t *rnd)
{
	size_t size = bench_size(bench_random(rnd), dist, size_min, size_max);
	void *p = malloc(size);

	if (!p)
		bench_die("malloc(%zu) failed", size);
	bench_touch(p, size);
	return p;
}

static void fill(struct worker *w)
{
	uint64_t i;

	for (i = 0; i < nr_slots; i++)
		w->slots[i] = new_object(&w->rnd);
}

static void replace(struct worker *w)
{
	uint64_t i, rnd = w->rnd;

	for (i = 0; i < nr_ops; i++) {
		void **slot = &w->slots[bench_below(bench_random(&rnd), nr_slots)];

		free(*slot);
		*slot = new_object(&rnd);
	}
}

static void *worker(void *arg)
{
	struct worker *w = arg;

	fill(w);
	pthread_barrier_wait(&gate);	/* all are full: the clock starts */
	pthread_barrier_wait(&gate);
	replace(w);
	pthread_barrier_wait(&gate);	/* the clock stops */
	pthread_barrier_wait(&gate);	/* the peak has been read */
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t live = 100 * 1000, ops = 0, nr_threads = 1, seed = 1, i;
	struct worker *workers;
	char params[160];
	struct bench b;
	int c;

	while ((c = getopt(argc, argv, "n:o:d:a:b:t:s:")) != -1) {
		switch (c) {
		case 'n':
			live = bench_number(optarg);
			break;
		case 'o':
			ops = bench_number(optarg);
			break;
		case 'd':
			dist = strcmp(optarg, "uniform") ? BENCH_POWER : BENCH_UNIFORM;
			break;
		case 'a':
			size_min = bench_number(optarg);
			break;
		case 'b':
			size_max = bench_number(optarg);
			break;
		case 't':
			nr_threads = bench_number(optarg);
			break;
		case 's':
			seed = bench_number(optarg);
			break;
		default:
			bench_die("usage: replace [-n live] [-o ops] [-d power|uniform] [-a min] [-b max] [-t threads] [-s seed]");
		}
	}
	if (!nr_threads || live < nr_threads || live >> 31 || !size_min ||
	    size_max < size_min)
		bench_die("need threads <= live < 2^31 and 0 < min <= max");
	if (!ops)
		ops = live > 1000 * 1000 ? 4 * live : 4 * 1000 * 1000;

	nr_slots = live / nr_threads;
	nr_ops = ops / nr_threads;
	workers = bench_map(nr_threads * sizeof(*workers));
	pthread_barrier_init(&gate, NULL, nr_threads + 1);
	for (i = 0; i < nr_threads; i++) {
		workers[i].slots = bench_map(nr_slots * sizeof(void *));
		workers[i].rnd = bench_seed(seed, i);
		if (pthread_create(&workers[i].thread, NULL, worker, &workers[i]))
			bench_die("no thread");
	}

	pthread_barrier_wait(&gate);
	bench_start(&b);
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	bench_stop(&b);
	snprintf(params, sizeof(params), "live=%llu,dist=%s,size=%u-%u,threads=%llu",
		 (unsigned long long)live,
		 dist == BENCH_POWER ? "power" : "uniform", size_min, size_max,
		 (unsigned long long)nr_threads);
	bench_report(&b, "replace", params, nr_ops * nr_threads, nr_threads);
	pthread_barrier_wait(&gate);
	for (i = 0; i < nr_threads; i++)
		pthread_join(workers[i].thread, NULL);
	return 0;
}
