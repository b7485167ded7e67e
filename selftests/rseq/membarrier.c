// SPDX-License-Identifier: MIT
/*
 * MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ aborts the critical section that a
 * CPU is in, on demand: a thread issues it without end, for all CPUs and for
 * one at a time, and so reaches every instruction of every section, far
 * oftener than preemption does.
 */
#include "storm.h"
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>

#ifndef MEMBARRIER_CMD_FLAG_CPU
#define MEMBARRIER_CMD_FLAG_CPU (1 << 0)
#endif

int main(int argc, char **argv)
{
	unsigned long barriers = 0, failures = 0;
	unsigned int n, nr_cpus;
	char weather[64];
	struct worker *w;
	double end;

	tap_init(argc, argv);
	watchdog(60);
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0))
		tap_skip_all("the kernel has no membarrier for rseq");
	n = storm_threads();
	nr_cpus = sysconf(_SC_NPROCESSORS_CONF);
	w = calloc(n, sizeof(*w));
	storm_start(w, n);
	end = now_seconds() + tap_opts.seconds;
	while (!stress_stop() && now_seconds() < end) {
		for (unsigned int i = 0; i < 64; i++, barriers++) {
			unsigned int flag = i % 2 ? MEMBARRIER_CMD_FLAG_CPU : 0;

			if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ,
				    flag, i / 2 % nr_cpus))
				failures++;
		}
		sched_yield();
	}
	__atomic_store_n(&stress_stopped, 1, __ATOMIC_RELAXED);
	snprintf(weather, sizeof(weather), "%lu membarriers, %lu refused", barriers, failures);
	if (failures == barriers)
		stress_fail("no membarrier was accepted");
	storm_end(w, n, weather);
	free(w);
	return tap_done();
}
