// SPDX-License-Identifier: MIT
/*
 * sysmon: one thread that does what nobody calls for.
 *
 *	      the heap has grown               nothing left to do
 *	NONE --------------------> AWAKE ----------------------> ASLEEP
 *	  ^     (thread started)     ^                              |
 *	  |                          +------- mheap_notify ---------+
 *	  +--- fork: in the child
 *
 * The thread is started by the allocation that brings the heap to START_BYTES, or passes
 * half of a limit: a process that stays small has none.  Never by free: libc frees under
 * locks of its own that the start of a thread takes (the stacks of threads that have
 * ended, with their TLS).  A free without a thread, in a fork's child or where the start
 * failed, asks the next allocation that takes pages.
 *
 * It wakes every 100 ms while there is something to do, and at once when a limit is
 * passed or most of the heap has been freed, uses half a percent of a CPU in the mean,
 * and then sleeps without a timeout until it is notified: when NOTIFY_FREE bytes are
 * free and resident.  All signals are blocked in it; it is an ordinary thread where who
 * started it has a real-time policy.
 *
 * Growth is told to it by lib/limit.c: the size at which to look again is set after
 * each step.  Without a thread, the allocation that comes to that size reads the
 * control group's limits itself.
 *
 * Who forbids threads says background:off and calls ha_background_work() instead.
 *
 * A process whose main() has called pthread_exit() ends with its last thread, which runs
 * exit().  That must not be one whose files are closed, on a stack of 64 KiB: with the main
 * thread the first one ends, waited for in the destructor of a key, and leaves its place to
 * an heir, an ordinary thread that ends when the program has no other.
 *
 * Starting it allocates (the thread's TLS), with no lock held; the state goes to AWAKE
 * first, and the allocations see that.  Not while caches are drained: the thread is then
 * left to a later allocation.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <heaparena/heaparena.h>
#include "assist.h"
#include "collapse.h"
#include "conf.h"
#include "limit.h"
#include "mcache.h"
#include "mheap.h"
#include "pressure.h"
#include "profile.h"
#include "scavenge.h"
#include "sysmon.h"

#define STEP_MS		100
/*
 * 0.5 % of a CPU.  What is not used, at most 50 s' worth, may be spent later: at
 * 5 % of a CPU, so that a burst is over in seconds; at once while the soft limit is
 * passed.  A process that rests may have 8 s' worth before it is earned.  Any minute's mean
 * stays below 1 %: 0.5 + 0.5 * (50 + 8) / 60, and what a step took in advance.
 */
#define STEP_CPU_NS	(STEP_MS * 1000000LL / 1000 * 5)
#define SAVED_MAX_NS	(50 * 1000 / STEP_MS * STEP_CPU_NS)
#define STEP_MAX_NS	(STEP_MS * 1000000LL / 20)
#define ADVANCE_NS	(8 * 1000 / STEP_MS * STEP_CPU_NS)
#define START_BYTES	(16UL << 20)
/* With less than that, pauses are so many times as long, and every other step looks around. */
#define SAVE_PAUSE	4
#define SAVE_NS		(SAVE_PAUSE * STEP_CPU_NS)
/* Growth after which limits are looked at again, and an eighth of the heap. */
#define NEXT_LOOK	(4UL << 20)
#define STACK_BYTES	(64UL << 10)	/* and what libc takes of it for TLS */
/* A start that failed is tried again after 1, 2, 4 ... 64 s. */
#define RETRY_MS	1000
#define ALONE_MS	250	/* how often the heir looks whether it is alone */
#define RETRY_SHIFT_MAX	6

enum sysmon_state {
	SYSMON_NONE,
	SYSMON_AWAKE,
	SYSMON_ASLEEP,
};

static uint32_t state;			/* (a) enum sysmon_state; the futex */
static uint32_t failures;		/* (a) threads in a row that could not be started */
static uint64_t retry_at;		/* (a) ms, after that */
static size_t stack_bytes = STACK_BYTES;	/* (c) from sysmon_init() on */
static pthread_t thread;		/* whose start is said by started */
static uint32_t started;		/* (a) 1: thread can be waited for */
static uint32_t orphaned;		/* (a) 1: the main thread has ended */
static sigset_t start_mask;		/* of who started it, for the exit() of the heir */
static pthread_key_t main_key;		/* (c) set in the main thread */
static bool main_key_made;		/* (c) */
static uint32_t stepping;		/* (a) 1: somebody is in a step */
/* CPU time not used yet, or taken in advance: a call cannot be cut; stepping's. */
static int64_t saved_ns = SAVED_MAX_NS;
static uint32_t kicked;			/* (a) 1: no pause before the next; a futex */
static uint32_t saving;			/* (a) steps in a row with next to nothing to spend */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static int64_t step_have(void)
{
	return saved_ns + (scavenge_rests() ? ADVANCE_NS : 0);
}

/*
 * CPU time that this step may take: what the clock has earned and was not used,
 * at once when it is urgent.
 */
static uint64_t step_budget(uint64_t now, bool urgent)
{
	static uint64_t last;
	int64_t have;

	if (now > last)
		saved_ns += (now - last) * (STEP_CPU_NS / STEP_MS);
	if (!last || saved_ns > SAVED_MAX_NS)
		saved_ns = SAVED_MAX_NS;
	last = now;
	have = step_have();
	if (have < 0)
		return 0;
	return urgent || have < STEP_MAX_NS ? have : STEP_MAX_NS;
}

/*
 * Looking around costs, where system calls are slow, as much as a step earns: who has
 * spent all would never have anything for work again.  So the next steps save.
 */
static bool step_saves(void)
{
	bool poor = step_have() < SAVE_NS && !limit_close();

	atomic_store_relaxed(&saving, poor ? saving + 1 : 0);
	return saving % 2;
}

/* What may go to work that can wait: half of the savings are for giving back. */
static uint64_t step_spare(void)
{
	int64_t spare = saved_ns - SAVED_MAX_NS / 2;

	return spare <= 0 ? 0 : spare < STEP_MAX_NS ? spare : STEP_MAX_NS;
}

/* The size at which to look at limits again: soon, and when one is passed. */
static void set_wake(void)
{
	size_t total = limit_total(), soft = limit_soft(), at;

	if (soft != LIMIT_NONE || collapse_wanted(total))
		at = total + total / 8 + NEXT_LOOK;
	else if (conf.cgroup)
		at = max_size(total * 2, START_BYTES);
	else
		at = LIMIT_NONE;
	/* until there is a thread */
	if (conf.background && atomic_load_relaxed(&state) == SYSMON_NONE)
		at = min_size(at, max_size(total + NEXT_LOOK, START_BYTES));
	if (total < COLLAPSE_FROM && collapse_wanted(COLLAPSE_FROM))
		at = min_size(at, COLLAPSE_FROM);
	limit_wake_at(total <= soft ? min_size(at, soft) : at);
}

/*
 * True when there is nothing left to do.  *since: this thread's CPU time from which on it
 * is charged; moved on to now.
 */
static bool sysmon_step(uint64_t *since)
{
	uint64_t now, budget, cpu;
	bool done = false;

	if (!try_cmpxchg_acquire(&stepping, 0, 1))
		return false;
	now = now_ms();
	profile_poll();
	pressure_poll(now);
	if (pressure_fired(now)) {
		/* whatever it costs: a debt of that size would keep us from work for minutes */
		scavenge_pressed();
		*since = cpu_ns();
	}
	budget = step_budget(now, limit_passed() || scavenge_due(now));
	if (!step_saves())
		done = scavenge_step(now, budget, step_spare());
	set_wake();
	cpu = cpu_ns();
	saved_ns -= cpu - *since;
	*since = cpu;
	smp_store_release(&stepping, 0);
	return done;
}

/* The number of threads of this process, the main one as long as others live; 0: unknown. */
static unsigned long nr_threads(void)
{
	struct stat st;

	/* a folder's two links, and one for each thread */
	if (syscall(SYS_newfstatat, AT_FDCWD, "/proc/self/task", &st, 0) || st.st_nlink < 2)
		return 0;
	return st.st_nlink - 2;
}

/* May the thread end?  The heir, who sleeps with a timeout, may when it is alone. */
static bool is_over(const struct timespec *timeout)
{
	return timeout ? nr_threads() <= 2 : atomic_load_relaxed(&orphaned);
}

static void sysmon_sleep(uint64_t *since, const struct timespec *timeout)
{
	xchg(&state, SYSMON_ASLEEP);
	/* What was freed before the line above was written is looked at once more. */
	if (!sysmon_step(since))
		try_cmpxchg_acquire(&state, SYSMON_ASLEEP, SYSMON_AWAKE);
	while (atomic_load_relaxed(&state) == SYSMON_ASLEEP && !is_over(timeout))
		syscall(SYS_futex, &state, FUTEX_WAIT_PRIVATE, SYSMON_ASLEEP, timeout,
			NULL, 0);
	scavenge_ask();
}

/* Until the next step is due, or a limit is passed. */
static void sysmon_pause(void)
{
	const struct timespec step = {
		.tv_nsec = STEP_MS * 1000000 * (atomic_load_relaxed(&saving) ? SAVE_PAUSE : 1),
	};

	if (!xchg(&kicked, 0))
		syscall(SYS_futex, &kicked, FUTEX_WAIT_PRIVATE, 0, &step, NULL, 0);
	atomic_store_relaxed(&kicked, 0);
}

static void sysmon_kick(void)
{
	if (!xchg(&kicked, 1))
		syscall(SYS_futex, &kicked, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void sysmon_run(const struct timespec *timeout)
{
	/* all that this thread takes: waking up and going to sleep as well */
	uint64_t since = 0;

	prctl(PR_SET_NAME, "heaparena");
	while (!is_over(timeout)) {
		if (sysmon_step(&since))
			sysmon_sleep(&since, timeout);
		sysmon_pause();
	}
}

static void *sysmon_thread(void *arg)
{
	pressure_own_files();
	sysmon_run(NULL);
	return NULL;
}

/* In the place of sysmon_thread() once the main thread has ended. */
static void *heir_thread(void *arg)
{
	static const struct timespec look = { .tv_nsec = ALONE_MS * 1000000 };

	sysmon_run(&look);
	pthread_sigmask(SIG_SETMASK, &start_mask, NULL);
	return NULL;
}

/* Who started it may be of a real-time policy: that would pass on to the thread. */
static void take_ordinary_policy(pthread_attr_t *attr)
{
	static const struct sched_param param;
	int policy = sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;

	if (policy != SCHED_FIFO && policy != SCHED_RR)
		return;
	pthread_attr_setinheritsched(attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(attr, SCHED_OTHER);
	pthread_attr_setschedparam(attr, &param);
}

/* Run @run in a thread with all signals blocked. */
static bool start_thread(pthread_attr_t *attr, void *(*run)(void *))
{
	bool busy = profile_thread.busy;
	sigset_t all;
	int err;

	take_ordinary_policy(attr);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &start_mask);
	/* its TLS is nothing of the site whose allocation came here: not sampled */
	profile_thread.busy = true;
	err = pthread_create(&thread, attr, run, NULL);
	profile_thread.busy = busy;
	pthread_sigmask(SIG_SETMASK, &start_mask, NULL);
	pthread_attr_destroy(attr);
	return err == 0;
}

static bool sysmon_start(void)
{
	/* the heir runs exit() in the end: on a stack as other threads have it */
	bool heir = atomic_load_relaxed(&orphaned);
	size_t stack = max_size(stack_bytes, sysconf(_SC_THREAD_STACK_MIN));
	pthread_attr_t attr;

	if (pthread_attr_init(&attr))
		return false;
	if (heir)
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	else
		pthread_attr_setstacksize(&attr, align_up(stack, vm_page_size));
	return start_thread(&attr, heir ? heir_thread : sysmon_thread);
}

/*
 * Not while caches are drained, or room is made: their locks are held, and
 * starting a thread allocates.
 */
static bool may_start(void)
{
	return (!atomic_load_relaxed(&failures) ||
		now_ms() >= atomic_load_relaxed(&retry_at)) &&
	       !mcache_in_vfork() && !mcache_fork_held() && !assist_fork_held();
}

/* Wake the thread; false when there is none. */
static bool sysmon_rouse(void)
{
	uint32_t s = atomic_load_relaxed(&state);

	if (s == SYSMON_ASLEEP && try_cmpxchg_release(&state, SYSMON_ASLEEP, SYSMON_AWAKE))
		syscall(SYS_futex, &state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	return s != SYSMON_NONE;
}

static void sysmon_start_once(void)
{
	uint32_t n;

	if (!may_start() || !try_cmpxchg_acquire(&state, SYSMON_NONE, SYSMON_AWAKE))
		return;
	if (sysmon_start()) {
		atomic_store_relaxed(&failures, 0);
		/* pairs with the acquire in main_ends() */
		smp_store_release(&started, 1);
		return;
	}
	n = atomic_load_relaxed(&failures);
	atomic_store_relaxed(&retry_at,
			     now_ms() + (RETRY_MS << (n < RETRY_SHIFT_MAX ? n : RETRY_SHIFT_MAX)));
	atomic_store_relaxed(&failures, n + 1);
	smp_store_release(&state, SYSMON_NONE);
}

/* Is the heap large enough to have a thread? */
static bool is_grown(void)
{
	return atomic_load_relaxed(&vm_stat.prepared[VM_HEAP]) >= START_BYTES;
}

static void sysmon_notify(bool now)
{
	int saved;

	if (likely(atomic_load_relaxed(&state) == SYSMON_AWAKE && !now))
		return;
	saved = errno;
	if (now)
		sysmon_kick();
	if (!sysmon_rouse() && is_grown() && may_start())
		limit_wake_at(0);
	errno = saved;
}

/* The heap has come to the size that set_wake() said. */
static void sysmon_wake(void)
{
	if (mcache_in_vfork()) {
		set_wake();
		return;
	}
	if (atomic_load_relaxed(&state) == SYSMON_NONE &&
	    try_cmpxchg_acquire(&stepping, 0, 1)) {
		pressure_poll(now_ms());
		set_wake();
		smp_store_release(&stepping, 0);
	}
	if (!sysmon_rouse() && conf.background &&
	    (is_grown() || collapse_wanted(limit_total()) ||
	     (limit_soft() != LIMIT_NONE && limit_total() >= limit_soft() / 2)))
		sysmon_start_once();
	if (limit_passed())
		sysmon_kick();
}

static const struct limit_ops sysmon_limit_ops = {
	.wake = sysmon_wake,
	.assist = assist_soft,
	.make_room = assist_hard,
};

__export int ha_background_work(void)
{
	uint64_t since = cpu_ns();

	return !sysmon_step(&since);
}

/* What libc takes of each thread's stack: known once the program is loaded. */
static int add_tls(struct dl_phdr_info *info, size_t size, void *bytes)
{
	for (unsigned int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_TLS)
			*(size_t *)bytes += info->dlpi_phdr[i].p_memsz +
					    info->dlpi_phdr[i].p_align;
	return 0;
}

/*
 * The destructor of main_key: the main thread ends, others go on.  Waited for is the end of
 * the thread as libc counts threads: who is counted out last calls exit().
 */
static void main_ends(void *unused)
{
	const struct timespec nap = { .tv_nsec = 1000000 };

	while (!smp_load_acquire(&started)) {
		/* there is none: whoever starts one from now on starts the heir */
		if (try_cmpxchg_acquire(&state, SYSMON_NONE, SYSMON_AWAKE)) {
			atomic_store_relaxed(&orphaned, 1);
			smp_store_release(&state, SYSMON_NONE);
			return;
		}
		syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &nap, NULL);
	}
	/* pairs with the exchange in sysmon_sleep(): who sleeps there has not missed both */
	xchg(&orphaned, 1);
	sysmon_rouse();
	sysmon_kick();
	pthread_join(thread, NULL);
	atomic_store_relaxed(&started, 0);
	smp_store_release(&state, SYSMON_NONE);
	sysmon_start_once();
}

/* The constructor's thread is the main thread, unless the library was opened by another. */
static void watch_main(void)
{
	if (!main_key_made && pthread_key_create(&main_key, main_ends))
		return;
	main_key_made = true;
	if (syscall(SYS_gettid) == getpid())
		pthread_setspecific(main_key, &main_key);
}

void sysmon_init(void)
{
	dl_iterate_phdr(add_tls, &stack_bytes);
	pressure_init();
	limit_ops = &sysmon_limit_ops;
	set_wake();
	if (!conf.background)
		return;
	mheap_notify = sysmon_notify;
	watch_main();
}

void sysmon_fork_child(void)
{
	/* The thread stayed in the parent. */
	atomic_store_relaxed(&state, SYSMON_NONE);
	atomic_store_relaxed(&stepping, 0);
	atomic_store_relaxed(&kicked, 0);
	atomic_store_relaxed(&started, 0);
	atomic_store_relaxed(&orphaned, 0);
	if (main_key_made)
		pthread_setspecific(main_key, &main_key);
	pressure_fork_child();
	scavenge_fork_child();
	/* the parent may have been about to say */
	set_wake();
}
