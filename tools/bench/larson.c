// SPDX-License-Identifier: MIT
/*
 * larson.c - a server whose threads come and go and hand their objects over
 *
 * Source of the workload: P.-A. Larson and M. Krishnan, "Memory Allocation for
 * Long-Running Server Applications", International Symposium on Memory
 * Management, 1998. A session outlives the threads that serve it, so most
 * objects are freed by another thread than the one that allocated them, and
 * the threads' own caches die with the threads.
 *
 *	larson [-t chains] [-n slots] [-r rounds] [-g generations]
 *		[-a min] [-b max] [-s seed]
 *
 *	main: fills every slot of every chain, in random order of the chains
 *	chain: thread 0 -> thread 1 -> ... -> thread generations - 1
 *		each replaces a random object `rounds` times, starts the next
 *		thread of its chain with the same slots, and ends
 *
 * An operation is one free and one malloc, the new object's first and last
 * byte written; starting the threads is part of the time, filling is not.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

struct chain {
	void		**slots;
	uint64_t	rnd;
	uint64_t	generation;
} __attribute__((aligned(128)));

static uint64_t nr_chains = 64, nr_slots = 1000, nr_rounds = 5000;
static uint64_t nr_generations = 20;
static uint32_t size_min = 8, size_max = 1000;

static pthread_attr_t attr;
static pthread_barrier_t gate;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all_ended = PTHREAD_COND_INITIALIZER;
static uint64_t nr_ended;

static void *new_object(uint64_t *rnd)
{
	size_t size = bench_size(bench_random(rnd), BENCH_UNIFORM,
				 size_min, size_max);
	void *p = malloc(size);

	if (!p)
		bench_die("malloc(%zu) failed", size);
	bench_touch(p, size);
	return p;
}

static void *serve(void *arg)
{
	struct chain *chain = arg;
	uint64_t i, rnd = chain->rnd;
	pthread_t next;

	if (!chain->generation)
		pthread_barrier_wait(&gate);
	for (i = 0; i < nr_rounds; i++) {
		void **slot = &chain->slots[bench_below(bench_random(&rnd), nr_slots)];

		free(*slot);
		*slot = new_object(&rnd);
	}
	chain->rnd = rnd;

	if (++chain->generation < nr_generations) {
		if (pthread_create(&next, &attr, serve, chain))
			bench_die("no thread");
		return NULL;
	}
	pthread_mutex_lock(&lock);
	if (++nr_ended == nr_chains)
		pthread_cond_signal(&all_ended);
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* Neighbours in memory must not be neighbours in a chain. */
static void fill(struct chain *chains, uint64_t seed)
{
	uint64_t i, j, rnd = bench_seed(seed, 0);

	for (i = 0; i < nr_slots; i++) {
		uint64_t first = bench_below(bench_random(&rnd), nr_chains);

		for (j = 0; j < nr_chains; j++)
			chains[(first + j) % nr_chains].slots[i] = new_object(&rnd);
	}
}

int main(int argc, char **argv)
{
	struct chain *chains;
	uint64_t seed = 1, i;
	char params[160];
	struct bench b;
	pthread_t t;
	int c;

	while ((c = getopt(argc, argv, "t:n:r:g:a:b:s:")) != -1) {
		switch (c) {
		case 't':
			nr_chains = bench_number(optarg);
			break;
		case 'n':
			nr_slots = bench_number(optarg);
			break;
		case 'r':
			nr_rounds = bench_number(optarg);
			break;
		case 'g':
			nr_generations = bench_number(optarg);
			break;
		case 'a':
			size_min = bench_number(optarg);
			break;
		case 'b':
			size_max = bench_number(optarg);
			break;
		case 's':
			seed = bench_number(optarg);
			break;
		default:
			bench_die("usage: larson [-t chains] [-n slots] [-r rounds] [-g generations] [-a min] [-b max] [-s seed]");
		}
	}
	if (!nr_chains || !nr_slots || nr_slots >> 31 || !nr_rounds ||
	    !nr_generations || !size_min || size_max < size_min)
		bench_die("need no zero count and 0 < min <= max");

	nr_rounds = bench_scaled(nr_rounds);
	chains = bench_map(nr_chains * sizeof(*chains));
	for (i = 0; i < nr_chains; i++) {
		chains[i].slots = bench_map(nr_slots * sizeof(void *));
		chains[i].rnd = bench_seed(seed, i + 1);
	}
	fill(chains, seed);

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 64 * 1024);
	pthread_barrier_init(&gate, NULL, nr_chains + 1);
	for (i = 0; i < nr_chains; i++)
		if (pthread_create(&t, &attr, serve, &chains[i]))
			bench_die("no thread");

	bench_start(&b);
	pthread_barrier_wait(&gate);
	pthread_mutex_lock(&lock);
	while (nr_ended < nr_chains)
		pthread_cond_wait(&all_ended, &lock);
	pthread_mutex_unlock(&lock);
	bench_stop(&b);
	bench_peak(&b);
	for (i = 0; i < nr_chains * nr_slots; i++)
		free(chains[i / nr_slots].slots[i % nr_slots]);

	snprintf(params, sizeof(params),
		 "threads=%llu,slots=%llu,rounds=%llu,generations=%llu,size=%u-%u",
		 (unsigned long long)nr_chains, (unsigned long long)nr_slots,
		 (unsigned long long)nr_rounds,
		 (unsigned long long)nr_generations, size_min, size_max);
	bench_report(&b, "larson", params,
		     nr_chains * nr_generations * nr_rounds, nr_chains);
	return 0;
}
