// SPDX-License-Identifier: MIT
/*
 * Signals at any instruction: a timer a thread, an interval timer of the
 * process, and threads that send to each other. The handlers do not
 * allocate, but they yield, so that another thread works on the same CPU
 * while this one stands in the middle of malloc or free.
 */
#include "stress.h"
#include <sys/syscall.h>
#include <sys/time.h>

#define SLOTS 64

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static unsigned long nr_signals, nr_timer_failures;

static void handler(int sig)
{
	int keep = errno;
	unsigned long n = __atomic_fetch_add(&nr_signals, 1, __ATOMIC_RELAXED);

	(void)sig;
	if (n % 4 == 0)
		sched_yield();
	else if (n % 64 == 1)
		nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
	errno = keep;
}

static bool own_timer(timer_t *t, long ns)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2 };
	struct itimerspec its = { { 0, ns }, { 0, ns } };

	ev.sigev_notify_thread_id = syscall(SYS_gettid);
	return !timer_create(CLOCK_MONOTONIC, &ev, t) && !timer_settime(*t, 0, &its, NULL);
}

static void *run(struct worker *w)
{
	struct obj slot[SLOTS] = { { NULL, 0 } };
	timer_t timer;
	bool timed = own_timer(&timer, 100000 + w->id * 7919);

	if (!timed)
		__atomic_fetch_add(&nr_timer_failures, 1, __ATOMIC_RELAXED);
	for (; !stress_stop(); w->ops++) {
		struct obj *o = &slot[rnd_below(&w->rng, SLOTS)];

		obj_end(o, "signals");
		obj_new(o, rnd_size(&w->rng, rnd_below(&w->rng, 64) ? 9 : 16),
			rnd(&w->rng));
	}
	if (timed)
		timer_delete(timer);
	for (unsigned int i = 0; i < SLOTS; i++)
		obj_end(&slot[i], "at the end");
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART };
	struct itimerval every = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };
	unsigned long ops, sent = 0;
	struct worker *w;
	double end;
	uint64_t rng;

	tap_init(argc, argv);
	watchdog(60);
	rng = tap_opts.seed;
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	sigaction(SIGPROF, &sa, NULL);
	sigaction(SIGVTALRM, &sa, NULL);
	w = calloc(tap_opts.threads, sizeof(*w));
	workers_start(w, tap_opts.threads, run);
	setitimer(ITIMER_PROF, &every, NULL);
	setitimer(ITIMER_VIRTUAL, &every, NULL);
	end = now_seconds() + tap_opts.seconds;
	while (!stress_stop() && now_seconds() < end) {
		pthread_kill(w[rnd_below(&rng, tap_opts.threads)].thread, SIGUSR1);
		if (++sent % 16 == 0)
			sched_yield();
		if (sent % 1024 == 0)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	setitimer(ITIMER_PROF, &never, NULL);
	setitimer(ITIMER_VIRTUAL, &never, NULL);
	__atomic_store_n(&stress_stopped, 1, __ATOMIC_RELAXED);
	ops = workers_join(w, tap_opts.threads);
	free(w);
	if (!nr_signals)
		stress_fail("no signal arrived");
	if (nr_timer_failures)
		diag("%lu threads could not create a timer", nr_timer_failures);
	stress_end("%lu operations under %lu signals", ops, nr_signals);
	return tap_done();
}
