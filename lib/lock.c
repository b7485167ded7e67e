// SPDX-License-Identifier: MIT
/*
 * Futex lock: the slow halves, the rank checker, and the last words.
 *
 * The lock is the mutex of Drepper, "Futexes are tricky" (2011), with the owner
 * in the word and a bounded spin before the first sleep.
 */
#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <asm/cpu.h>
#include <util/line.h>
#include "debug.h"
#include "lock.h"

#define LOCK_SPINS	64
#define SLEEP_NS	5000000
/* Before a lock that may wait for us is given up, in a handler that forks. */
#define FORK_SPINS	1000

/* Numbers are 31 bits and not recycled: two of two billion threads may share. */
__tls uint32_t lock_self_id;
static uint32_t lock_last_id;
void (*watch_shared)(const void *what, unsigned int rank);

uint32_t lock_self_new(void)
{
	uint32_t id;

	do {
		id = __atomic_add_fetch(&lock_last_id, 1, __ATOMIC_RELAXED) & INT32_MAX;
	} while (!id);
	lock_self_id = id;
	return id;
}

void lock_init(struct lock *l, enum lock_rank rank)
{
	l->word = 0;
	l->rank = rank;
	l->forking = false;
}

void lock_acquire_slow(struct lock *l)
{
	/*
	 * Never without a timeout: a thread that is woken may first run a signal
	 * handler that waits for another sleeper, and one wake-up is all there was.
	 */
	const struct timespec timeout = { .tv_nsec = SLEEP_NS };
	uint32_t self = lock_self() << 1, word;
	int saved = errno;

	for (int i = 0; i < LOCK_SPINS; i++) {
		cpu_relax();
		if (atomic_load_relaxed(&l->word) == 0 &&
		    try_cmpxchg_acquire(&l->word, 0, self))
			return;
	}
	for (;;) {
		word = atomic_load_relaxed(&l->word);
		/* Others may sleep still: the one who wakes keeps the bit. */
		if (!word) {
			if (try_cmpxchg_acquire(&l->word, 0, self | 1))
				break;
			continue;
		}
		if (!(word & 1) && !try_cmpxchg_acquire(&l->word, word, word | 1))
			continue;
		syscall(SYS_futex, &l->word, FUTEX_WAIT_PRIVATE, word | 1, &timeout,
			NULL, 0);
	}
	errno = saved;
}

void lock_release_slow(struct lock *l)
{
	int saved = errno;

	syscall(SYS_futex, &l->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	errno = saved;
}

void lock_fork_prepare(struct lock *l, bool nested)
{
	uint32_t self = lock_self() << 1;
	int spins = nested ? FORK_SPINS : 1;

	if (lock_is_held(l))
		return;
	/* Several of one rank at once, so the rank checker stays out of it. */
	while (!try_cmpxchg_acquire(&l->word, 0, self)) {
		cpu_relax();
		if (--spins)
			continue;
		if (nested)
			return;
		lock_acquire_slow(l);
		break;
	}
	l->forking = true;
}

void lock_fork_done(struct lock *l)
{
	if (!lock_is_held(l) || !l->forking)
		return;
	l->forking = false;
	if (xchg_release(&l->word, 0) & 1)
		lock_release_slow(l);
}

/* Held ranks as a stack of counters: taking a rank needs all higher ones free. */
static __tls uint8_t lock_held[NR_LOCK_RANKS];

void lock_debug_acquire(const struct lock *l)
{
	for (uint32_t r = l->rank; r < NR_LOCK_RANKS; r++)
		BUG_ON(lock_held[r]);
	lock_held[l->rank]++;
}

void lock_debug_release(const struct lock *l)
{
	BUG_ON(lock_held[l->rank] == 0);
	lock_held[l->rank]--;
}

void heap_bug(const char *file, int line, const char *what)
{
	const char *base = strrchr(file, '/');
	struct line l;

	line_start(&l);
	line_str(&l, "heaparena: BUG at ");
	line_str(&l, base ? base + 1 : file);
	line_char(&l, ':');
	line_dec(&l, line);
	line_str(&l, ": ");
	line_str(&l, what);
	line_write(&l, debug_stderr());
	abort();
}
