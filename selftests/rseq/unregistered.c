// SPDX-License-Identifier: MIT
/*
 * Threads that have no rseq area registered, beside threads that have: a
 * program may unregister the C library's, and a thread of a program's own
 * clone() never had one. Their cpu_id is below zero, nothing aborts their
 * sections, so they need the other path, thread by thread.
 */
#include "storm.h"
#include <sys/rseq.h>
#include <sys/syscall.h>

static unsigned int nr_unregistered;

static void unregister(struct worker *w)
{
	struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);

	/* The C library registers 32 bytes, also where it says 20. */
	if (w->id % 2 && !syscall(SYS_rseq, area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG))
		__atomic_fetch_add(&nr_unregistered, 1, __ATOMIC_RELAXED);
}

int main(int argc, char **argv)
{
	char weather[64];
	struct worker *w;
	unsigned int n;

	tap_init(argc, argv);
	watchdog(60);
	if (!__rseq_size)
		tap_skip_all("the C library has registered no rseq area");
	n = storm_threads();
	w = calloc(n, sizeof(*w));
	storm_prepare = unregister;
	storm_start(w, n);
	stress_run(1);
	snprintf(weather, sizeof(weather), "%u of them unregistered", nr_unregistered);
	storm_end(w, n, weather);
	free(w);
	if (!nr_unregistered)
		tap_skip("threads without rseq", "the kernel did not unregister any");
	return tap_done();
}
