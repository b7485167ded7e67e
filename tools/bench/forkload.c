// SPDX-License-Identifier: MIT
/*
 * forkload.c - fork while other threads allocate
 *
 * Source of the workload: the fork of L. McVoy and C. Staelin, "lmbench: Portable
 * Tools for Performance Analysis" (USENIX ATC 1996), in the place where servers
 * have it: a snapshot is written by a child while threads of the parent go on.
 * An allocator stops for the fork, the child has to put its state right, and
 * every page that it then touches is copied.
 *
 *	forkload [-t threads] [-n objects] [-c child's objects] [-o ops]
 *
 *	-t threads replace objects of 16 to 1024 bytes, -n altogether, without
 *	an end. Meanwhile one more thread forks; the child allocates and frees -c
 *	objects and ends.
 *
 * An operation is one fork, from before fork() to after waitpid(). The figure
 * worker_ops says how many replacements each fork left the threads time for.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static uint64_t nr_threads = 2, nr_objects = 100 * 1000, nr_child = 1000, nr_ops = 400;
static int stop;
static uint64_t nr_replaced;

static void *new_object(uint64_t *rnd)
{
	return bench_object(bench_size(bench_random(rnd), BENCH_POWER, 16, 1024));
}

static void fill(struct bench_worker *w)
{
	uint64_t i;

	for (i = 0; i < w->nr_slots; i++)
		w->slots[i] = new_object(&w->rnd);
}

static void *work(void *arg)
{
	struct bench_worker *w = arg;
	uint64_t i;

	for (i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
		void **slot = &w->slots[bench_below(bench_random(&w->rnd), w->nr_slots)];

		free(*slot);
		*slot = new_object(&w->rnd);
	}
	__atomic_fetch_add(&nr_replaced, i, __ATOMIC_RELAXED);
	return NULL;
}

/* Half of its objects are its own, half are the parent's. */
static void child(struct bench_worker *w)
{
	uint64_t i;

	for (i = 0; i < nr_child && i < w->nr_slots; i++) {
		free(w->slots[i]);
		w->slots[i] = new_object(&w->rnd);
	}
	for (i = 0; i < nr_child && i < w->nr_slots; i++)
		free(w->slots[i]);
	_exit(0);
}

static void fork_once(struct bench_worker *own)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		child(own);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		bench_die("a child failed");
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = {
		{ 't', "threads", &nr_threads, NULL },
		{ 'n', "objects", &nr_objects, NULL },
		{ 'c', "child", &nr_child, NULL },
		{ 'o', "ops", &nr_ops, NULL },
		{ 0 },
	};
	const char *params = bench_options(argc, argv, options);
	struct bench_worker *workers = bench_map((nr_threads + 1) * sizeof(*workers));
	struct bench b;
	uint64_t i, j;

	/* The last one is main's own: the child may free those. */
	for (i = 0; i <= nr_threads; i++) {
		workers[i].rnd = bench_seed(1, i);
		workers[i].nr_slots = nr_objects / (nr_threads + 1) + 1;
		workers[i].slots = bench_map(workers[i].nr_slots * sizeof(void *));
		fill(&workers[i]);
	}
	for (i = 0; i < nr_threads; i++)
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			bench_die("no thread");

	bench_start(&b);
	for (i = 0; i < nr_ops; i++)
		fork_once(&workers[nr_threads]);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (i = 0; i < nr_threads; i++)
		pthread_join(workers[i].thread, NULL);
	bench_stop(&b);
	bench_peak(&b);
	for (i = 0; i <= nr_threads; i++)
		for (j = 0; j < workers[i].nr_slots; j++)
			free(workers[i].slots[j]);
	bench_note("worker_ops", (double)nr_replaced / nr_ops);
	bench_report(&b, "forkload", params, nr_ops, 1);
	return 0;
}
