// SPDX-License-Identifier: MIT
/*
 * A signal aborts the critical section that it interrupts. Timers of
 * tens of microseconds hit every thread; the handler gives the CPU away, so
 * that another thread uses the cache in between, and on the way back the
 * section must start again.
 */
#include "storm.h"
#include <sys/syscall.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static unsigned long nr_signals;

static void handler(int sig)
{
	int keep = errno;

	(void)sig;
	__atomic_fetch_add(&nr_signals, 1, __ATOMIC_RELAXED);
	sched_yield();
	errno = keep;
}

static void own_timer(struct worker *w)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	struct itimerspec its = { { 0, 61000 + w->id * 3001 }, { 0, 61000 + w->id * 3001 } };
	timer_t t;

	ev.sigev_notify_thread_id = syscall(SYS_gettid);
	if (timer_create(CLOCK_MONOTONIC, &ev, &t) || timer_settime(t, 0, &its, NULL))
		diag("thread %u has no timer: %s", w->id, strerror(errno));
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART };
	char weather[64];
	struct worker *w;
	unsigned int n;

	tap_init(argc, argv);
	watchdog(60);
	sigaction(SIGUSR1, &sa, NULL);
	n = storm_threads();
	w = calloc(n, sizeof(*w));
	storm_prepare = own_timer;
	storm_start(w, n);
	stress_run(1);
	snprintf(weather, sizeof(weather), "%lu signals", nr_signals);
	if (!nr_signals)
		stress_fail("no signal arrived");
	/* Each timer goes on until its thread is gone, then hits nobody. */
	signal(SIGUSR1, SIG_IGN);
	storm_end(w, n, weather);
	free(w);
	return tap_done();
}
