// SPDX-License-Identifier: MIT
/*
 * xmalloc.c - threads that only allocate feed threads that only free
 *
 * Source of the workload: the producer and consumer test that C. Lever and
 * D. Boreham describe with "malloc() Performance in a Multithreaded Linux
 * Environment", USENIX Annual Technical Conference, FREENIX track, 2000.
 * Every object is freed on another thread than its own, and nothing ever
 * comes back by itself to the thread that allocates.
 *
 *	xmalloc [-p producers] [-c consumers] [-q crates] [-k objects]
 *		[-n ops] [-a min] [-b max] [-s seed]
 *
 *	crate: an array of -k pointers. There are -q of them, so the objects
 *	in flight are bounded whatever the allocator's speed:
 *
 *	   empty stack -> producer fills -> full stack -> consumer frees -> empty
 *
 * An operation is one malloc on one side and the free on the other, the
 * object's first and last byte written by the producer.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

struct crate {
	struct crate	*next;
	void		*objects[];
};

/* Stacks of crates, last in first out: the crate itself stays in cache. */
struct shelf {
	pthread_mutex_t	lock;
	pthread_cond_t	filled;
	struct crate	*top;		/* (l) */
	uint64_t	nr_to_come;	/* (l) pushes before the end */
} __attribute__((aligned(128)));

static struct shelf empty = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0 };
static struct shelf full = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0 };

static uint64_t nr_objects = 256;	/* of a crate */
static uint64_t nr_rounds;		/* crates that each producer fills */
static uint32_t size_min = 16, size_max = 1024;
static uint64_t seed = 1;
static pthread_barrier_t gate;

static void shelf_push(struct shelf *shelf, struct crate *crate)
{
	pthread_mutex_lock(&shelf->lock);
	crate->next = shelf->top;
	shelf->top = crate;
	/* The last push lets every waiter see the end. */
	if (shelf->nr_to_come && !--shelf->nr_to_come)
		pthread_cond_broadcast(&shelf->filled);
	else
		pthread_cond_signal(&shelf->filled);
	pthread_mutex_unlock(&shelf->lock);
}

/* NULL when the shelf is empty and nothing will come any more. */
static struct crate *shelf_pop(struct shelf *shelf)
{
	struct crate *crate;

	pthread_mutex_lock(&shelf->lock);
	while (!shelf->top && shelf->nr_to_come)
		pthread_cond_wait(&shelf->filled, &shelf->lock);
	crate = shelf->top;
	if (crate)
		shelf->top = crate->next;
	pthread_mutex_unlock(&shelf->lock);
	return crate;
}

static void *produce(void *arg)
{
	uint64_t i, j, rnd = bench_seed(seed, (uintptr_t)arg);

	pthread_barrier_wait(&gate);
	for (i = 0; i < nr_rounds; i++) {
		struct crate *crate = shelf_pop(&empty);

		for (j = 0; j < nr_objects; j++) {
			size_t size = bench_size(bench_random(&rnd), BENCH_POWER,
						 size_min, size_max);
			void *p = malloc(size);

			if (!p)
				bench_die("malloc(%zu) failed", size);
			bench_touch(p, size);
			crate->objects[j] = p;
		}
		shelf_push(&full, crate);
	}
	return NULL;
}

static void *consume(void *arg)
{
	struct crate *crate;
	uint64_t j;

	(void)arg;
	pthread_barrier_wait(&gate);
	while ((crate = shelf_pop(&full))) {
		for (j = 0; j < nr_objects; j++)
			free(crate->objects[j]);
		shelf_push(&empty, crate);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t nr_producers = 1, nr_consumers = 1, nr_crates = 64;
	uint64_t ops = 8 * 1000 * 1000, nr_threads, i;
	pthread_t *threads;
	char params[160];
	struct bench b;
	int c;

	while ((c = getopt(argc, argv, "p:c:q:k:n:a:b:s:")) != -1) {
		switch (c) {
		case 'p':
			nr_producers = bench_number(optarg);
			break;
		case 'c':
			nr_consumers = bench_number(optarg);
			break;
		case 'q':
			nr_crates = bench_number(optarg);
			break;
		case 'k':
			nr_objects = bench_number(optarg);
			break;
		case 'n':
			ops = bench_number(optarg);
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
			bench_die("usage: xmalloc [-p producers] [-c consumers] [-q crates] [-k objects] [-n ops] [-a min] [-b max] [-s seed]");
		}
	}
	if (!nr_producers || !nr_consumers || !nr_crates || !nr_objects ||
	    !ops || !size_min || size_max < size_min)
		bench_die("need no zero count and 0 < min <= max");

	ops = bench_scaled(ops);
	nr_rounds = (ops + nr_producers * nr_objects - 1) / (nr_producers * nr_objects);
	full.nr_to_come = nr_rounds * nr_producers;
	empty.nr_to_come = nr_crates + full.nr_to_come;
	for (i = 0; i < nr_crates; i++)
		shelf_push(&empty, bench_map(sizeof(struct crate) +
					     nr_objects * sizeof(void *)));

	nr_threads = nr_producers + nr_consumers;
	threads = bench_map(nr_threads * sizeof(*threads));
	pthread_barrier_init(&gate, NULL, nr_threads + 1);
	for (i = 0; i < nr_threads; i++)
		if (pthread_create(&threads[i], NULL,
				   i < nr_producers ? produce : consume,
				   (void *)(uintptr_t)i))
			bench_die("no thread");

	bench_start(&b);
	pthread_barrier_wait(&gate);
	for (i = 0; i < nr_threads; i++)
		pthread_join(threads[i], NULL);
	bench_stop(&b);
	bench_peak(&b);

	snprintf(params, sizeof(params),
		 "producers=%llu,consumers=%llu,in_flight=%llu,size=%u-%u",
		 (unsigned long long)nr_producers,
		 (unsigned long long)nr_consumers,
		 (unsigned long long)(nr_crates * nr_objects), size_min, size_max);
	bench_report(&b, "xmalloc", params, nr_rounds * nr_producers * nr_objects,
		     nr_threads);
	return 0;
}
