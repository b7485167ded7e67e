// SPDX-License-Identifier: MIT
/*
 * threadlife.c - threads that are born, allocate a little, and die
 *
 * Source of the workload: the thread-per-request server of C. Lever and
 * D. Boreham, "malloc() Performance in a Multithreaded Linux Environment" (USENIX
 * ATC, FREENIX track, 2000), reduced to its births and deaths: what an allocator
 * sets up for a thread and what it tears down again, and whether what a dead
 * thread's cache held comes back.
 *
 *	threadlife [-t threads] [-n objects] [-o ops]
 *
 *	-t threads exist at a time. Each allocates -n objects of 16 to 1024 bytes,
 *	frees nine tenths of them, leaves the rest to the thread that comes after
 *	it in the same place, and ends.
 *
 * An operation is one thread, from before pthread_create() to after
 * pthread_join().
 */
#include "bench.h"

#define MAX_OBJECTS	4096

static uint64_t nr_threads = 8, nr_objects = 100, nr_ops = 20 * 1000;

static void *live(void *arg)
{
	struct bench_worker *w = arg;
	void *objects[MAX_OBJECTS];
	uint64_t i;

	for (i = 0; i < nr_objects; i++)
		objects[i] = bench_object(bench_size(bench_random(&w->rnd), BENCH_POWER,
						     16, 1024));
	for (i = 0; i < w->nr_slots; i++) {	/* of the thread before */
		free(w->slots[i]);
		w->slots[i] = objects[i];
	}
	for (; i < nr_objects; i++)
		free(objects[i]);
	return NULL;
}

static void create(pthread_t *thread, struct bench_worker *w)
{
	static pthread_attr_t attr;
	static int ready;

	if (!ready++) {
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, 256 * 1024);
	}
	if (pthread_create(thread, &attr, live, w))
		bench_die("no thread");
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = {
		{ 't', "threads", &nr_threads, NULL },
		{ 'n', "objects", &nr_objects, NULL },
		{ 'o', "ops", &nr_ops, NULL },
		{ 0 },
	};
	const char *params = bench_options(argc, argv, options);
	struct bench_worker *places;
	pthread_t *threads;
	uint64_t i, j, nr_left;
	struct bench b;

	if (nr_objects > MAX_OBJECTS)
		bench_die("at most %d objects", MAX_OBJECTS);
	nr_left = (nr_objects + 9) / 10;
	places = bench_map(nr_threads * sizeof(*places));
	threads = bench_map(nr_threads * sizeof(*threads));
	for (i = 0; i < nr_threads; i++) {
		places[i].rnd = bench_seed(1, i);
		places[i].nr_slots = nr_left;
		places[i].slots = bench_map(nr_left * sizeof(void *));
	}

	bench_start(&b);
	for (i = 0; i < nr_ops + nr_threads; i++) {
		j = i % nr_threads;
		if (i >= nr_threads && pthread_join(threads[j], NULL))
			bench_die("no join");
		if (i < nr_ops)
			create(&threads[j], &places[j]);
		else if (i < nr_threads)
			bench_die("need threads <= ops");
	}
	bench_stop(&b);
	bench_peak(&b);
	for (i = 0; i < nr_threads; i++)
		for (j = 0; j < nr_left; j++)
			free(places[i].slots[j]);
	bench_report(&b, "threadlife", params, nr_ops, nr_threads);
	return 0;
}
