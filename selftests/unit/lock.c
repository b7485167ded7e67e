// SPDX-License-Identifier: MIT
/*
 * lock: nobody is inside with the owner, those who sleep are woken, fork leaves
 * alone what its own thread holds, and the rank checker (CONFIG_DEBUG) stops a
 * wrong order.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "lock.h"

#include "fake/unit.h"

#define NR_THREADS	4
#define ROUNDS		20000

/* What a thread of the exclusion test works on. */
static struct {
	struct lock lock;
	uint32_t inside;	/* (a) threads between acquire and release */
	unsigned long count;	/* (l) */
	unsigned long missed;	/* (a) tries declined */
} shared;

static bool enter(struct unit_rand *r, bool by_try)
{
	if (!by_try)
		lock_acquire(&shared.lock);
	else if (!lock_try_acquire(&shared.lock))
		return false;
	check(atomic_fetch_add_relaxed(&shared.inside, 1) == 0);
	check(lock_is_held(&shared.lock));
	shared.count++;
	/* Now and then the holder is away long enough for others to sleep. */
	if (rand_below(r, 64) == 0)
		sched_yield();
	atomic_sub_relaxed(&shared.inside, 1);
	lock_release(&shared.lock);
	return true;
}

static void *exclusion_thread(void *arg)
{
	struct unit_rand r = unit_rand((uintptr_t)arg);

	for (int i = 0; i < ROUNDS; i++) {
		errno = 77;
		if (!enter(&r, rand_below(&r, 4) == 0)) {
			atomic_add_relaxed(&shared.missed, 1);
			check(!lock_is_held(&shared.lock));
		}
		check(errno == 77);
	}
	return NULL;
}

START_TEST(exclusion)
{
	pthread_t t[NR_THREADS];

	lock_init(&shared.lock, RANK_MHEAP);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		check(!pthread_create(&t[i], NULL, exclusion_thread, (void *)(i + 1)));
	for (int i = 0; i < NR_THREADS; i++)
		check(!pthread_join(t[i], NULL));
	check(shared.count + shared.missed == NR_THREADS * ROUNDS);
	check(shared.lock.word == 0);
}
END_TEST

/* Ends with the lock, if it gets it. */
static void *try_thread(void *arg)
{
	struct lock *l = arg;

	check(!lock_is_held(l));
	return (void *)(uintptr_t)lock_try_acquire(l);
}

/* The answer of another thread that tries. */
static bool try_elsewhere(struct lock *l)
{
	void *got;
	pthread_t t;

	check(!pthread_create(&t, NULL, try_thread, l));
	check(!pthread_join(t, &got));
	return got != NULL;
}

START_TEST(try_declines)
{
	struct lock l = LOCK_INIT(RANK_ARENA);

	check(!lock_is_held(&l));
	check(lock_try_acquire(&l) && lock_is_held(&l) && !(l.word & 1));
	check(!try_elsewhere(&l));
	check(lock_is_held(&l));
	lock_release(&l);
	check(!lock_is_held(&l) && l.word == 0);
	lock_acquire(&l);
	check(!try_elsewhere(&l));
	lock_release(&l);
	/* that thread ends as the owner: the lock is not ours all the same */
	check(try_elsewhere(&l));
	check(l.word && !lock_is_held(&l) && !lock_try_acquire(&l));
}
END_TEST

START_TEST(fork_leaves_own)
{
	struct lock a = LOCK_INIT(RANK_MHEAP), b = LOCK_INIT(RANK_MHEAP);

	lock_acquire(&a);
	for (int i = 0; i < 2; i++) {
		lock_fork_prepare(&a, true);
		lock_fork_prepare(&b, true);
		check(lock_is_held(&a) && lock_is_held(&b));
		lock_fork_done(&b);
		lock_fork_done(&a);
		check(lock_is_held(&a) && !b.word && !lock_is_held(&b));
	}
	lock_release(&a);
	check(!a.word);
	/* and as if nothing had been */
	lock_acquire(&a);
	lock_release(&a);
	lock_fork_prepare(&a, false);
	lock_fork_done(&a);
	check(!a.word);
}
END_TEST

/* Ends with the lock. */
static void *hold_thread(void *arg)
{
	lock_acquire(arg);
	return NULL;
}

/* From a handler that interrupted a holder: another's lock is left, not waited for. */
START_TEST(fork_nested_gives_up)
{
	struct lock l = LOCK_INIT(RANK_MHEAP);
	pthread_t t;
	uint32_t word;

	check(!pthread_create(&t, NULL, hold_thread, &l));
	check(!pthread_join(t, NULL));
	word = l.word;
	check(word && !lock_is_held(&l));
	lock_fork_prepare(&l, true);
	check(l.word == word && !lock_is_held(&l));
	lock_fork_done(&l);
	check(l.word == word);
}
END_TEST

/* A child is its parent's thread: what was held is held, by the same number. */
START_TEST(fork_child_owns)
{
	struct lock a = LOCK_INIT(RANK_MCENTRAL), b = LOCK_INIT(RANK_MHEAP);
	int status;
	pid_t pid;

	lock_acquire(&a);
	lock_fork_prepare(&b, true);
	pid = fork();
	lock_fork_done(&b);
	if (!pid) {
		if (!lock_is_held(&a) || b.word)
			_exit(1);
		lock_release(&a);
		lock_acquire(&a);
		_exit(try_elsewhere(&a) || !try_elsewhere(&b));
	}
	check(waitpid(pid, &status, 0) == pid && status == 0);
	check(lock_is_held(&a) && !b.word);
	lock_release(&a);
}
END_TEST

/* Numbers of threads: none is 0, no two are alike. */
static void *number_thread(void *arg)
{
	return (void *)(uintptr_t)lock_self();
}

START_TEST(numbers)
{
	pthread_t t[8];
	void *id[8];

	for (int i = 0; i < 8; i++)
		check(!pthread_create(&t[i], NULL, number_thread, NULL));
	for (int i = 0; i < 8; i++)
		check(!pthread_join(t[i], &id[i]));
	for (int i = 0; i < 8; i++) {
		check(id[i] && id[i] != (void *)(uintptr_t)lock_self());
		for (int j = 0; j < i; j++)
			check(id[i] != id[j]);
	}
	check(lock_self() == lock_self());
}
END_TEST

static void *sleeper_thread(void *arg)
{
	struct lock *l = arg;

	lock_acquire(l);
	lock_release(l);
	return NULL;
}

/* What fork holds wakes those who slept meanwhile, as a release does. */
START_TEST(fork_wakes)
{
	struct lock l = LOCK_INIT(RANK_MHEAP);
	pthread_t t[2];

	lock_fork_prepare(&l, false);
	check(lock_is_held(&l));
	for (int i = 0; i < 2; i++)
		check(!pthread_create(&t[i], NULL, sleeper_thread, &l));
	while (!(READ_ONCE(l.word) & 1))
		sched_yield();
	usleep(2000);
	lock_fork_done(&l);
	for (int i = 0; i < 2; i++)
		check(!pthread_join(t[i], NULL));
	check(l.word == 0);
}
END_TEST

static void *fork_thread(void *arg)
{
	lock_fork_prepare(arg, false);
	lock_fork_done(arg);
	return NULL;
}

START_TEST(fork_waits)
{
	struct lock l = LOCK_INIT(RANK_MHEAP);
	pthread_t t;

	lock_acquire(&l);
	check(!pthread_create(&t, NULL, fork_thread, &l));
	while (!(READ_ONCE(l.word) & 1))
		sched_yield();
	check(lock_is_held(&l));
	lock_release(&l);
	check(!pthread_join(t, NULL));
	check(l.word == 0);
}
END_TEST

START_TEST(right_order)
{
	struct lock l[NR_LOCK_RANKS];
	unsigned int r;

	for (r = 1; r < NR_LOCK_RANKS; r++)
		lock_init(&l[r], r);
	for (r = 1; r < NR_LOCK_RANKS; r++)
		if (r % 2)
			lock_acquire(&l[r]);
		else
			check(lock_try_acquire(&l[r]));
	/* released in any order, and taken again from the innermost on */
	for (r = 1; r < NR_LOCK_RANKS; r++)
		lock_release(&l[r]);
	lock_acquire(&l[RANK_META]);
	lock_release(&l[RANK_META]);
	lock_acquire(&l[RANK_INIT]);
	lock_release(&l[RANK_INIT]);
}
END_TEST

/* Orders that the checker stops: the second lock of each row. */
static const struct {
	enum lock_rank first, second;
	bool by_try;
} wrong[] = {
	{ RANK_MHEAP, RANK_MCENTRAL, false },
	{ RANK_META, RANK_INIT, false },
	{ RANK_ARENA, RANK_ARENA, false },
	{ RANK_MHEAP, RANK_PAGE_CACHE, true },
	{ RANK_MCENTRAL, RANK_MCENTRAL, true },
};

START_TEST(wrong_order)
{
	struct lock a = LOCK_INIT(wrong[_i].first);
	struct lock b = LOCK_INIT(wrong[_i].second);

	lock_acquire(&a);
	if (wrong[_i].by_try)
		lock_try_acquire(&b);
	else
		lock_acquire(&b);
}
END_TEST

START_TEST(wrong_release)
{
	struct lock l = LOCK_INIT(RANK_MHEAP);

	lock_release(&l);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lock");
	TCase *tc = tcase_create("lock");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_test(tc, exclusion);
	tcase_add_test(tc, try_declines);
	tcase_add_test(tc, fork_leaves_own);
	tcase_add_test(tc, fork_nested_gives_up);
	tcase_add_test(tc, fork_child_owns);
	tcase_add_test(tc, numbers);
	tcase_add_test(tc, fork_wakes);
	tcase_add_test(tc, fork_waits);
	tcase_add_test(tc, right_order);
	if (IS_ENABLED(CONFIG_DEBUG)) {
		tcase_add_loop_test_raise_signal(tc, wrong_order, SIGABRT, 0,
						 ARRAY_SIZE(wrong));
		tcase_add_test_raise_signal(tc, wrong_release, SIGABRT);
	} else {
		unit_skip("wrong_order, wrong_release",
			  "ranks are checked in CONFIG_DEBUG builds");
		(void)wrong_order_fn;
		(void)wrong_release_fn;
	}
	suite_add_tcase(s, tc);
	return unit_run(s);
}
