// SPDX-License-Identifier: MIT
/*
 * Futex lock: the slow halves, the rank checker, and the last words.
 *
 * The lock is the three-state mutex of Drepper, "Futexes are tricky" (2011),
 * with a bounded spin before the first sleep.  Signals, fork: see lock.h.
 */
#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <asm/cpu.h>
#include <util/line.h>
#include "lock.h"

#define LOCK_SPINS	64

__tls char lock_self_tls;

void lock_init(struct lock *l, enum lock_rank rank)
{
	l->word = 0;
	l->rank = rank;
	l->owner = NULL;
}

void lock_acquire_slow(struct lock *l)
{
	int saved = errno;

	for (int i = 0; i < LOCK_SPINS; i++) {
		cpu_relax();
		if (atomic_load_relaxed(&l->word) == 0 &&
		    try_cmpxchg_acquire(&l->word, 0, 1))
			return;
	}
	while (xchg_acquire(&l->word, 2) != 0)
		syscall(SYS_futex, &l->word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
	errno = saved;
}

void lock_release_slow(struct lock *l)
{
	int saved = errno;

	syscall(SYS_futex, &l->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	errno = saved;
}

bool lock_fork_prepare(struct lock *l)
{
	if (lock_is_held(l))
		return false;
	/* Several of one rank at once, so the rank checker stays out of it. */
	if (!try_cmpxchg_acquire(&l->word, 0, 1))
		lock_acquire_slow(l);
	atomic_store_relaxed(&l->owner, lock_self());
	return true;
}

void lock_fork_done(struct lock *l, bool taken)
{
	if (!taken)
		return;
	atomic_store_relaxed(&l->owner, (void *)NULL);
	if (xchg_release(&l->word, 0) == 2)
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
	line_write(&l, STDERR_FILENO);
	abort();
}
