// SPDX-License-Identifier: MIT
/*
 * Threads are moved to another CPU at any instruction, by a mover that
 * changes their affinity all the time: each move aborts the critical section
 * it meets, and whatever was read of the old CPU's cache is stale.
 */
#include "storm.h"
#include <sched.h>
#include <sys/syscall.h>

static int cpus[CPU_SETSIZE];
static unsigned int nr_cpus;
static pid_t *tids;

static void tell_tid(struct worker *w)
{
	__atomic_store_n(&tids[w->id], syscall(SYS_gettid), __ATOMIC_RELAXED);
}

int main(int argc, char **argv)
{
	unsigned long moves = 0;
	char weather[64];
	struct worker *w;
	unsigned int n;
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
	n = storm_threads();
	w = calloc(n, sizeof(*w));
	tids = calloc(n, sizeof(*tids));
	storm_prepare = tell_tid;
	storm_start(w, n);
	end = now_seconds() + tap_opts.seconds;
	while (!stress_stop() && now_seconds() < end) {
		pid_t tid = __atomic_load_n(&tids[rnd_below(&rng, n)], __ATOMIC_RELAXED);
		cpu_set_t one;

		CPU_ZERO(&one);
		CPU_SET(cpus[rnd_below(&rng, nr_cpus)], &one);
		if (tid)
			sched_setaffinity(tid, sizeof(one), &one);
		moves++;
		if (moves % 64 == 0)
			nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	}
	__atomic_store_n(&stress_stopped, 1, __ATOMIC_RELAXED);
	snprintf(weather, sizeof(weather), "moved %lu times over %u CPUs", moves, nr_cpus);
	storm_end(w, n, weather);
	free(w);
	free(tids);
	return tap_done();
}
