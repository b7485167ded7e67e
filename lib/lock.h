/* SPDX-License-Identifier: MIT */
/*
 * A small futex lock with a rank and an owner.
 *
 *	word   0 free, 1 held, 2 held and somebody may sleep
 *	owner  the holding thread (address of a TLS word), for fork: a signal
 *	       handler that interrupted the holder may fork
 *
 * Spins briefly (a holder runs tens of instructions), then sleeps: with more
 * threads than CPUs the holder may be preempted.  Never held across a call to
 * the user, never while allocating user memory.
 */
#ifndef _LIB_LOCK_H
#define _LIB_LOCK_H

#include <asm/atomic.h>
#include <util/bug.h>
#include "lock_rank.h"

struct lock {
	uint32_t word;		/* (a) */
	uint32_t rank;		/* (c) enum lock_rank */
	void *owner;		/* (l) */
};

#define LOCK_INIT(r)	{ .word = 0, .rank = (r), .owner = NULL }

extern __tls char lock_self_tls;

static inline void *lock_self(void)
{
	return &lock_self_tls;
}

void lock_init(struct lock *l, enum lock_rank rank);
void lock_acquire_slow(struct lock *l) __noinline;
void lock_release_slow(struct lock *l) __noinline;

/* CONFIG_DEBUG: the ranks a thread holds. */
void lock_debug_acquire(const struct lock *l);
void lock_debug_release(const struct lock *l);

/* acquire pairs with the release in lock_release(). */
static inline void lock_acquire(struct lock *l)
{
	if (IS_ENABLED(CONFIG_DEBUG))
		lock_debug_acquire(l);
	if (unlikely(!try_cmpxchg_acquire(&l->word, 0, 1)))
		lock_acquire_slow(l);
	atomic_store_relaxed(&l->owner, lock_self());
}

static inline bool lock_try_acquire(struct lock *l)
{
	if (!try_cmpxchg_acquire(&l->word, 0, 1))
		return false;
	if (IS_ENABLED(CONFIG_DEBUG))
		lock_debug_acquire(l);
	atomic_store_relaxed(&l->owner, lock_self());
	return true;
}

static inline void lock_release(struct lock *l)
{
	atomic_store_relaxed(&l->owner, (void *)NULL);
	if (unlikely(xchg_release(&l->word, 0) == 2))
		lock_release_slow(l);
	if (IS_ENABLED(CONFIG_DEBUG))
		lock_debug_release(l);
}

static inline bool lock_is_held(const struct lock *l)
{
	return atomic_load_relaxed(&l->owner) == lock_self();
}

#define lock_assert_held(l)	VM_BUG_ON(!lock_is_held(l))

/*
 * Fork.  lock_fork_prepare() takes the lock unless this very thread already has
 * it (a signal handler forks in the middle of malloc) and says which; parent and
 * child give that answer to lock_fork_done().
 */
bool lock_fork_prepare(struct lock *l);
void lock_fork_done(struct lock *l, bool taken);

#endif /* _LIB_LOCK_H */
