// SPDX-License-Identifier: MIT
/*
 * shallow.c - hundreds of threads that hold next to nothing each
 *
 * Source of the workload: the observation behind the per-CPU caches of A. Hunter
 * and others, "Beyond malloc efficiency to fleet efficiency" (OSDI 2021), and
 * before it J. Bonwick and J. Adams, "Magazines and Vmem" (USENIX ATC 2001): what
 * a cache holds for each thread is lost while that thread waits, and daemons
 * have far more threads than CPUs.
 *
 *	shallow [-t threads] [-n objects] [-o ops]
 *
 *	Each thread holds -n objects of 16 to 2048 bytes and replaces some of them
 *	in bursts of 50 operations; after each it lets the others run.
 *
 * An operation is one free and one malloc. Resident memory is what to look at:
 * peak, and after all objects have been freed with all threads still there.
 */
#include <sched.h>

#include "bench.h"

#define BURST	50

static uint64_t nr_threads = 300, nr_objects = 20, nr_ops = 3 * 1000 * 1000;

static void *new_object(uint64_t *rnd)
{
	return bench_object(bench_size(bench_random(rnd), BENCH_POWER, 16, 2048));
}

static void fill(struct bench_worker *w)
{
	uint64_t i;

	for (i = 0; i < w->nr_slots; i++)
		w->slots[i] = new_object(&w->rnd);
}

static void work(struct bench_worker *w)
{
	uint64_t i;

	for (i = 1; i <= w->nr_ops; i++) {
		void **slot = &w->slots[bench_below(bench_random(&w->rnd), w->nr_slots)];

		free(*slot);
		*slot = new_object(&w->rnd);
		if (i % BURST == 0)
			sched_yield();
	}
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = {
		{ 't', "threads", &nr_threads, NULL },
		{ 'n', "objects", &nr_objects, NULL },
		{ 'o', "ops", &nr_ops, NULL },
		{ 0 },
	};
	const struct bench_load load = { .name = "shallow", .fill = fill, .work = work };
	const char *params = bench_options(argc, argv, options);

	bench_run(&load, params, nr_threads, nr_threads * nr_objects, nr_ops);
	return 0;
}
