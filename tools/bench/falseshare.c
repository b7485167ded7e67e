// SPDX-License-Identifier: MIT
/*
 * falseshare.c - do objects of different threads lie in one cache line?
 *
 * Source of the workload: the two tests of E. Berger, K. McKinley, R. Blumofe
 * and P. Wilson, "Hoard: A Scalable Memory Allocator for Multithreaded
 * Applications" (ASPLOS 2000), section 5. Active: the allocator itself gives
 * parts of one line to different threads. Passive: the program did (one thread
 * allocated, the others free), and the allocator spreads those parts further.
 *
 *	falseshare [-m active|passive] [-t threads] [-s size] [-w writes] [-o ops]
 *
 *	active	each thread: malloc, write every byte -w times, free
 *	passive	the same, after each thread has freed one of -t neighbours that
 *		the first thread allocated
 *
 * An operation is one malloc, the writes, and the free: the allocator's part of
 * the time is small, the line's is not.
 */
#include "bench.h"

#define MAX_THREADS	512

static uint64_t mode, nr_threads = 2, size = 8, nr_writes = 1000, nr_ops = 200 * 1000;
static void *neighbours[MAX_THREADS];

static void work(struct bench_worker *w)
{
	uint64_t i, j, k;

	free(neighbours[w->idx]);
	for (i = 0; i < w->nr_ops; i++) {
		volatile char *p = malloc(size);

		if (!p)
			bench_die("malloc failed");
		for (j = 0; j < nr_writes; j++)
			for (k = 0; k < size; k++)
				p[k]++;
		free((void *)p);
	}
}

int main(int argc, char **argv)
{
	static const char *const modes[] = { "active", "passive", NULL };
	const struct bench_option options[] = {
		{ 'm', "mode", &mode, modes },
		{ 't', "threads", &nr_threads, NULL },
		{ 's', "size", &size, NULL },
		{ 'w', "writes", &nr_writes, NULL },
		{ 'o', "ops", &nr_ops, NULL },
		{ 0 },
	};
	const struct bench_load load = { .name = "falseshare", .work = work };
	const char *params = bench_options(argc, argv, options);
	uint64_t i;

	if (nr_threads > MAX_THREADS)
		bench_die("at most %d threads", MAX_THREADS);
	for (i = 0; mode && i < nr_threads; i++)
		neighbours[i] = bench_object(size);
	bench_run(&load, params, nr_threads, 0, nr_ops);
	return 0;
}
