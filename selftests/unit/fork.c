// SPDX-License-Identifier: MIT
/*
 * fork: children of processes at work.  A child holds nothing but what was live,
 * finds no lock taken, walks its whole heap, and allocates at once.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "conf.h"
#include "fixalloc.h"
#include "mcache.h"
#include "mheap.h"

#include "fake/early.h"

#define NR_THREADS	6
#define NR_KEPT		500

static bool stop;
/* While a child is at work, which has the CPUs for itself so: what counts is the fork. */
static bool still;
static unsigned int running;

static void *work_thread(void *arg)
{
	struct unit_rand r = unit_rand(10 + (uintptr_t)arg);
	void *p[100] = { NULL };

	atomic_add_relaxed(&running, 1);
	while (!READ_ONCE(stop)) {
		unsigned int i = rand_below(&r, ARRAY_SIZE(p));

		ha_free(p[i]);
		p[i] = ha_malloc(rand_log(&r, rand_below(&r, 64) ? 12 : 18));
		check(p[i]);
		*(void **)p[i] = p[i];
		if (rand_below(&r, 4096) == 0)
			ha_release();
		while (READ_ONCE(still))
			usleep(200);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
		ha_free(p[i]);
	return NULL;
}

static void start(pthread_t *t, unsigned int n)
{
	for (uintptr_t i = 0; i < n; i++)
		check(!pthread_create(&t[i], NULL, work_thread, (void *)i));
	/*
	 * A sanitizer's own allocator, which serves a thread's start, does not
	 * survive a fork in the middle of it.
	 */
	while (atomic_load_relaxed(&running) < n)
		usleep(100);
}

static void join(pthread_t *t, unsigned int n)
{
	WRITE_ONCE(stop, true);
	for (unsigned int i = 0; i < n; i++)
		check(!pthread_join(t[i], NULL));
}

static void *kept[NR_KEPT];

static void keep(struct unit_rand *r)
{
	for (unsigned int i = 0; i < NR_KEPT; i++) {
		size_t size = 8 + rand_log(r, 15);

		kept[i] = ha_malloc(size);
		check(kept[i]);
		memset(kept[i], i, size);
	}
}

/* What the parent had is there, and can be freed; new objects of every size. */
static void use(struct unit_rand *r)
{
	void *p[300];

	for (unsigned int i = 0; i < NR_KEPT; i++) {
		check(*(unsigned char *)kept[i] == (unsigned char)i);
		if (i % 2)
			ha_free(kept[i]);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = ha_malloc(rand_log(r, 16));
		check(p[i]);
		*(void **)p[i] = p[i];
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
		check(*(void **)p[i] == p[i]);
		ha_free(p[i]);
	}
}

/*
 * What the dead threads held is live in the child for ever.  What they had between
 * two places is cached nowhere: after a drain it is all that is out, not live.
 */
static void child(struct unit_rand *r)
{
	struct heap_sum sum;
	size_t lost = 0;

	heap_check_child(&sum);
	use(r);
	heap_check_child(&sum);
	ha_release();
	heap_check_child(&sum);
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		check(mcache_nr_cached(sc) == 0);
		check(sum.out[sc] >= sum.live[sc]);
		lost += sum.out[sc] - sum.live[sc];
	}
	/* a batch and the object at hand for each thread that was in a slow path */
	check(lost <= NR_THREADS * 2 * (MAX_BATCH + 1));
}

static void check_child(pid_t pid)
{
	int status;

	check(pid > 0 && waitpid(pid, &status, 0) == pid);
	if (status)
		ck_abort_msg("child: status %#x", status);
}

/* Without other threads nothing at all is missing. */
START_TEST(quiet)
{
	struct unit_rand r = unit_rand(_i);
	struct heap_sum sum;
	pid_t pid;

	heap_up(&heap_modes[_i]);
	keep(&r);
	pid = fork();
	if (!pid) {
		heap_check(&sum);
		use(&r);
		for (unsigned int i = 0; i < NR_KEPT; i += 2)
			ha_free(kept[i]);
		ha_release();
		heap_check(&sum);
		check(sum.spans == 0);
		/* and one more generation */
		pid = fork();
		if (!pid) {
			ha_free(ha_malloc(100));
			_exit(0);
		}
		check_child(pid);
		_exit(0);
	}
	check_child(pid);
	use(&r);
	heap_check(&sum);
}
END_TEST

START_TEST(under_load)
{
	struct unit_rand r = unit_rand(100 + _i);
	pthread_t t[NR_THREADS];

	/* check:off: states say nothing of what is live */
	check(heap_modes[_i].unchecked == 0);
	heap_up(&heap_modes[_i]);
	keep(&r);
	start(t, NR_THREADS);
	for (unsigned int i = 0; i < unit_storm(60); i++) {
		pid_t pid;

		/* all of them are back at work */
		usleep(1000 + rand_below(&r, 500));
		pid = fork();
		if (!pid) {
			child(&r);
			_exit(0);
		}
		WRITE_ONCE(still, true);
		check_child(pid);
		WRITE_ONCE(still, false);
	}
	join(t, NR_THREADS);
	use(&r);
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/* Every lock there is, from the state that fork leaves in parent and child. */
static void check_no_lock(void)
{
	check(!mcache_fork_held() && !mcentral_fork_held(topo.nr_nodes));
	check(!mheap_fork_held(topo.nr_nodes));
	check(!heap_arena_fork_held() && !meta_fork_held());
}

START_TEST(locks_free)
{
	pid_t pid;

	heap_up(&heap_modes[_i]);
	ha_free(ha_malloc(1));
	check_no_lock();
	pid = fork();
	check_no_lock();
	if (!pid) {
		heap_check(&(struct heap_sum){ 0 });
		_exit(0);
	}
	check_child(pid);
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/*
 * As from a signal handler in the middle of malloc: this thread has a lock, fork
 * leaves it alone, and both sides go on where they were.
 */
static struct lock *held_lock(unsigned int i)
{
	switch (i) {
	case 0:
		return &mcentrals[0][5].lock;
	case 1:
		return &mheaps[0].cache[2].lock;
	default:
		return &mheaps[0].lock;
	}
}

#define NR_HELD		3

START_TEST(own_lock)
{
	struct lock *l;
	pid_t pid;

	heap_up(&heap_modes[0]);
	ha_free(ha_malloc(1));
	l = held_lock(_i);
	lock_acquire(l);
	pid = fork();
	check(lock_is_held(l));
	lock_release(l);
	check_no_lock();
	ha_free(ha_malloc(100));
	ha_free(ha_malloc(100000));
	heap_check(&(struct heap_sum){ 0 });
	if (!pid)
		_exit(0);
	check_child(pid);
}
END_TEST

/* The same while other threads want every lock: nobody waits for ever. */
START_TEST(own_lock_under_load)
{
	pthread_t t[NR_THREADS];

	heap_up(&heap_modes[0]);
	start(t, NR_THREADS);
	for (unsigned int i = 0; i < 30; i++) {
		struct lock *l = held_lock(_i);
		pid_t pid;

		lock_acquire(l);
		pid = fork();
		check(lock_is_held(l));
		/* what such a child can do, whatever it met: end */
		if (!pid)
			_exit(0);
		lock_release(l);
		check_child(pid);
	}
	join(t, NR_THREADS);
	check_no_lock();
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/* fork from several threads at once. */
static void *fork_thread(void *arg)
{
	for (unsigned int i = 0; i < unit_storm(15); i++) {
		pid_t pid = fork();

		if (!pid) {
			void *p = ha_malloc(100), *q = ha_malloc(50000);

			_exit(!p || !q);
		}
		check_child(pid);
	}
	return NULL;
}

START_TEST(from_threads)
{
	pthread_t t[NR_THREADS], f[3];

	heap_up(&heap_modes[_i]);
	start(t, NR_THREADS);
	for (unsigned int i = 0; i < ARRAY_SIZE(f); i++)
		check(!pthread_create(&f[i], NULL, fork_thread, NULL));
	for (unsigned int i = 0; i < ARRAY_SIZE(f); i++)
		check(!pthread_join(f[i], NULL));
	join(t, NR_THREADS);
	check_no_lock();
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/* A child that makes threads of its own: slots, registration, numbers of locks. */
START_TEST(child_threads)
{
	struct unit_rand r = unit_rand(300 + _i);
	pthread_t t[NR_THREADS];
	pid_t pid;

	heap_up(&heap_modes[_i]);
	start(t, NR_THREADS);
	usleep(2000);
	pid = fork();
	if (!pid) {
		start(t, NR_THREADS);
		usleep(20000);
		join(t, NR_THREADS);
		heap_check_child(&(struct heap_sum){ 0 });
		keep(&r);
		use(&r);
		_exit(0);
	}
	check_child(pid);
	join(t, NR_THREADS);
}
END_TEST

/*
 * What other CPUs had cached comes into reach of the child: it takes all that is free,
 * for which it needs no more spans than there were.
 */
#define NR_CACHED	200

static void *cache_thread(void *arg)
{
	void *p[NR_CACHED];

	for (unsigned int i = 0; i < NR_CACHED; i++)
		p[i] = ha_malloc(64);
	for (unsigned int i = 0; i < NR_CACHED; i++)
		ha_free(p[i]);
	return NULL;
}

/* Objects of its spans that nobody has, cached or not. */
static size_t free_of(unsigned int sc)
{
	const struct mcentral *mc = &mcentrals[0][sc];

	return mc->nr_spans * size_classes[sc].nelems - mc->nr_out + mcache_nr_cached(sc);
}

START_TEST(caches_in_reach)
{
	pthread_t t[8];
	pid_t pid;

	heap_up(&heap_modes[0]);
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		check(!pthread_create(&t[i], NULL, cache_thread, NULL));
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		check(!pthread_join(t[i], NULL));
	pid = fork();
	if (!pid) {
		const unsigned int sc = small_class(64);
		struct ha_stats a = { .size = sizeof(a) }, b = a;
		size_t nr = free_of(sc), nr_spans = mcentrals[0][sc].nr_spans;

		check(ha_stats_get(&a) == 0 && a.live == 0);
		check(nr >= mcache_nr_cached(sc) && mcache_nr_cached(sc) >= NR_CACHED);
		for (size_t i = 0; i < nr; i++)
			check(ha_malloc(64));
		check(ha_stats_get(&b) == 0 && b.live == nr * 64);
		check(mcentrals[0][sc].nr_spans == nr_spans && !free_of(sc));
		_exit(0);
	}
	check_child(pid);
}
END_TEST

Suite *unit_suite(void)
{
	Suite *s = suite_create("fork");
	TCase *tc = tcase_create("modes");
	/* the last mode differs in what free looks at only */
	unsigned int modes = NR_HEAP_MODES - 1;

	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, quiet, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, under_load, 0, modes);
	tcase_add_loop_test(tc, locks_free, 0, modes);
	tcase_add_loop_test(tc, own_lock, 0, NR_HELD);
	tcase_add_loop_test(tc, own_lock_under_load, 0, NR_HELD);
	tcase_add_loop_test(tc, from_threads, 0, modes);
	tcase_add_loop_test(tc, child_threads, 0, modes);
	suite_add_tcase(s, tc);
	tc = tcase_create("caches");
	tcase_add_test(tc, caches_in_reach);
	suite_add_tcase(s, tc);
	return s;
}
