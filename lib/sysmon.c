// SPDX-License-Identifier: MIT
/*
 * sysmon: one thread that does what nobody calls for.
 *
 *	        enough free memory             nothing left to do
 *	NONE --------------------> AWAKE ----------------------> ASLEEP
 *	  ^     (thread started)     ^                              |
 *	  |                          +------- mheap_notify ---------+
 *	  +--- fork: in the child
 *
 * The thread is started by the free that leaves the heap with NOTIFY_FREE bytes
 * free and resident, in a process whose heap has reached START_BYTES: a process
 * that stays small, or never frees, has none.  It wakes every 100 ms while there
 * is something to do, uses 1 % of a CPU in the mean, and then sleeps without a
 * timeout until it is notified.  All signals are blocked in it.
 *
 * Who forbids threads says background:off and calls ha_background_work() instead.
 *
 * Starting it allocates (the thread's TLS), so that mheap_notify is called with no
 * lock held; the state goes to AWAKE first, and the allocations see that.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <heaparena/heaparena.h>
#include "conf.h"
#include "mcache.h"
#include "mheap.h"
#include "scavenge.h"
#include "sysmon.h"

#define STEP_MS		100
#define STEP_CPU_NS	(STEP_MS * 1000000ULL / 100)	/* 1 % */
/* What is saved while there is nothing to do, at most 30 s worth, may be spent at
 * 5 % when there is: a burst is over in seconds, and the mean stays at 1 %. */
#define SAVED_MAX_NS	(300 * STEP_CPU_NS)
#define STEP_MAX_NS	(5 * STEP_CPU_NS)
#define START_BYTES	(16UL << 20)
#define STACK_BYTES	(64UL << 10)
#define MAX_FAILURES	3

enum sysmon_state {
	SYSMON_NONE,
	SYSMON_AWAKE,
	SYSMON_ASLEEP,
};

static uint32_t state;			/* (a) enum sysmon_state; the futex */
static uint32_t failures;		/* (a) threads that could not be started */
static uint32_t stepping;		/* (a) 1: somebody is in scavenge_step() */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

/* CPU time this step may take, after what the clock has earned since the last. */
static uint64_t step_budget(uint64_t now)
{
	static uint64_t saved = SAVED_MAX_NS, last;
	uint64_t budget;

	saved += (now - last) * (STEP_CPU_NS / STEP_MS);
	if (!last || saved > SAVED_MAX_NS)
		saved = SAVED_MAX_NS;
	last = now;
	budget = saved < STEP_MAX_NS ? saved : STEP_MAX_NS;
	saved -= budget;
	return budget;
}

/* True when there is nothing left to do. */
static bool sysmon_step(void)
{
	uint64_t now;
	bool done;

	if (!try_cmpxchg_acquire(&stepping, 0, 1))
		return false;
	now = now_ms();
	done = scavenge_step(now, step_budget(now));
	smp_store_release(&stepping, 0);
	return done;
}

static void sysmon_sleep(void)
{
	xchg(&state, SYSMON_ASLEEP);
	/* What was freed before the line above was written is looked at once more. */
	if (!sysmon_step())
		try_cmpxchg_acquire(&state, SYSMON_ASLEEP, SYSMON_AWAKE);
	while (atomic_load_relaxed(&state) == SYSMON_ASLEEP)
		syscall(SYS_futex, &state, FUTEX_WAIT_PRIVATE, SYSMON_ASLEEP, NULL,
			NULL, 0);
}

static void *sysmon_thread(void *arg)
{
	const struct timespec step = { .tv_nsec = STEP_MS * 1000000 };

	prctl(PR_SET_NAME, "heaparena");
	for (;;) {
		if (sysmon_step())
			sysmon_sleep();
		nanosleep(&step, NULL);
	}
	return NULL;
}

static bool sysmon_start(void)
{
	size_t stack = STACK_BYTES;
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int err;

	if (stack < (size_t)sysconf(_SC_THREAD_STACK_MIN))
		stack = sysconf(_SC_THREAD_STACK_MIN);
	if (pthread_attr_init(&attr))
		return false;
	pthread_attr_setstacksize(&attr, align_up(stack, vm_page_size));
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&thread, &attr, sysmon_thread, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return err == 0;
}

static void sysmon_notify(void)
{
	uint32_t s = atomic_load_relaxed(&state);
	int saved;

	if (likely(s == SYSMON_AWAKE))
		return;
	saved = errno;
	if (s == SYSMON_ASLEEP) {
		if (try_cmpxchg_release(&state, SYSMON_ASLEEP, SYSMON_AWAKE))
			syscall(SYS_futex, &state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	} else if (atomic_load_relaxed(&vm_stat.prepared[VM_HEAP]) >= START_BYTES &&
		   atomic_load_relaxed(&failures) < MAX_FAILURES &&
		   !mcache_in_vfork() &&
		   /* a drain frees spans under locks that a start would wait for */
		   !mcache_fork_held() &&
		   try_cmpxchg_acquire(&state, SYSMON_NONE, SYSMON_AWAKE)) {
		if (!sysmon_start()) {
			atomic_add_relaxed(&failures, 1);
			smp_store_release(&state, SYSMON_NONE);
		}
	}
	errno = saved;
}

__export int ha_background_work(void)
{
	return !sysmon_step();
}

void sysmon_init(void)
{
	if (conf.background)
		mheap_notify = sysmon_notify;
}

void sysmon_fork_child(void)
{
	/* The thread stayed in the parent. */
	atomic_store_relaxed(&state, SYSMON_NONE);
	atomic_store_relaxed(&stepping, 0);
	scavenge_fork_child();
}
