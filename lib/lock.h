/* SPDX-License-Identifier: MIT */
/*
 * A small futex lock with a rank, whose word names its owner.
 *
 *	word   0 free, else the owner's number << 1, bit 0: somebody may sleep
 *
 * One word, so that there is no moment at which a lock is held and its owner
 * unknown: a signal handler that interrupted the holder anywhere may fork, and
 * must know that the lock is this very thread's.
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
#include "watch.h"

struct lock {
	uint32_t word;		/* (a) */
	uint16_t rank;		/* (c) enum lock_rank */
	uint16_t forking;	/* (l) taken by lock_fork_prepare() */
};

#define LOCK_INIT(r)	{ .word = 0, .rank = (r) }

/* This thread's number, 0 until its first lock; kept by a fork child. */
extern __tls uint32_t lock_self_id __hidden;

uint32_t lock_self_new(void) __noinline;

static inline uint32_t lock_self(void)
{
	uint32_t id = lock_self_id;

	return likely(id) ? id : lock_self_new();
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
	watch_touch(l, l->rank);
	if (unlikely(!try_cmpxchg_acquire(&l->word, 0, lock_self() << 1)))
		lock_acquire_slow(l);
}

static inline bool lock_try_acquire(struct lock *l)
{
	watch_touch(l, l->rank);
	if (!try_cmpxchg_acquire(&l->word, 0, lock_self() << 1))
		return false;
	if (IS_ENABLED(CONFIG_DEBUG))
		lock_debug_acquire(l);
	return true;
}

static inline void lock_release(struct lock *l)
{
	if (IS_ENABLED(CONFIG_DEBUG))
		lock_debug_release(l);
	if (unlikely(xchg_release(&l->word, 0) & 1))
		lock_release_slow(l);
}

static inline bool lock_is_held(const struct lock *l)
{
	return atomic_load_relaxed(&l->word) >> 1 == lock_self();
}

#define lock_assert_held(l)	VM_BUG_ON(!lock_is_held(l))

/*
 * Fork: prepare takes the lock, done (in parent and child) releases what prepare
 * took.  Left alone is a lock that this very thread has already, as when a signal
 * handler forks in the middle of malloc.  @nested says that the thread has some
 * lock, so that waiting for another could be out of order: then a lock that stays
 * taken for long is left alone too.
 */
void lock_fork_prepare(struct lock *l, bool nested);
void lock_fork_done(struct lock *l);

#endif /* _LIB_LOCK_H */
