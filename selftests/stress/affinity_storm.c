// SPDX-License-Identifier: MIT
/*
 * Threads that change their CPU all the time: each moves itself between
 * operations, and another thread moves all of them at any instruction. A
 * slow path that began on one CPU ends on another.
 */
#include "stress.h"
#include <sched.h>
#include <sys/syscall.h>

#define SLOTS 128

static int cpus[CPU_SETSIZE];
static unsigned int nr_cpus;
static pid_t *tids;

static void move(pid_t tid, unsigned int to)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpus[to], &one);
	sched_setaffinity(tid, sizeof(one), &one);
}

static void *run(struct worker *w)
{
	struct obj slot[SLOTS] = { { NULL, 0 } };

	__atomic_store_n(&tids[w->id], syscall(SYS_gettid), __ATOMIC_RELAXED);
	for (; !stress_stop(); w->ops++) {
		struct obj *o = &slot[rnd_below(&w->rng, SLOTS)];

		if (!rnd_below(&w->rng, 50))
			move(0, rnd_below(&w->rng, nr_cpus));
		if (o->p && !rnd_below(&w->rng, 16)) {
			obj_resize(o, rnd_size(&w->rng, 12), "moving");
			continue;
		}
		obj_end(o, "moving");
		obj_new(o, rnd_size(&w->rng, rnd_below(&w->rng, 32) ? 10 : 16),
			rnd(&w->rng));
	}
	for (unsigned int i = 0; i < SLOTS; i++)
		obj_end(&slot[i], "at the end");
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned long ops, moves = 0;
	struct worker *w;
	cpu_set_t set;
	double end;
	uint64_t rng;

	tap_init(argc, argv);
	watchdog(60);
	rng = tap_opts.seed;
	if (sched_getaffinity(0, sizeof(set), &set))
		tap_skip_all("sched_getaffinity fails");
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[nr_cpus++] = cpu;
	if (nr_cpus < 2)
		tap_skip_all("one CPU: nowhere to migrate");
	w = calloc(tap_opts.threads, sizeof(*w));
	tids = calloc(tap_opts.threads, sizeof(*tids));
	workers_start(w, tap_opts.threads, run);
	end = now_seconds() + tap_opts.seconds;
	while (!stress_stop() && now_seconds() < end) {
		pid_t tid = __atomic_load_n(&tids[rnd_below(&rng, tap_opts.threads)],
					    __ATOMIC_RELAXED);

		if (tid)
			move(tid, rnd_below(&rng, nr_cpus));
		if (++moves % 8 == 0)
			sched_yield();
		if (moves % 256 == 0)
			nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
	}
	__atomic_store_n(&stress_stopped, 1, __ATOMIC_RELAXED);
	ops = workers_join(w, tap_opts.threads);
	free(w);
	free(tids);
	stress_end("%lu operations through %lu moves over %u CPUs", ops, moves, nr_cpus);
	return tap_done();
}
