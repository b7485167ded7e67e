/* SPDX-License-Identifier: MIT */
/*
 * Heap profiles: which stacks allocate, by samples.  See lib/profile.c.
 *
 * An observer: the layers meet it in the functions here, where malloc and free have
 * left their fast paths already.
 */
#ifndef _LIB_PROFILE_H
#define _LIB_PROFILE_H

#include <asm/atomic.h>
#include <util/compiler.h>

/* Counts the sessions; 0: nothing is profiled. */
extern uint32_t profile_session __hidden;	/* (a) */

struct profile_thread {
	int64_t left;			/* bytes to the next point of the process */
	uint64_t rng;
	uint32_t session;		/* that these are of */
	bool busy;			/* in here already: the unwinder allocates */
};

extern __tls struct profile_thread profile_thread __hidden;

/* Behind profile_due(): a point of the process lies in these bytes. */
bool profile_hit(size_t size) __noinline;

static __always_inline bool profile_on(void)
{
	return unlikely(atomic_load_relaxed(&profile_session) != 0);
}

/* @size bytes are being allocated: if true, profile_hit() has to be asked. */
static __always_inline bool profile_due(size_t size)
{
	struct profile_thread *t = &profile_thread;

	t->left -= size;
	return unlikely(t->left < 0 || t->session != atomic_load_relaxed(&profile_session));
}

/* Is that an object to sample? */
static __always_inline bool profile_count(size_t size)
{
	return profile_due(size) && profile_hit(size);
}

/*
 * It is, at @ptr, and nobody else has it yet.  True: its state is OBJECT_SAMPLED from
 * here on, and profile_end() is called before its address can be handed out again.
 */
bool profile_take(void *ptr, size_t size) __noinline;
void profile_end(const void *ptr) __noinline;
/*
 * A live object changed its size in place; @sampled: its state says so.  True: it is
 * sampled now.
 */
bool profile_resize(void *ptr, size_t old, size_t size, bool sampled) __noinline;

/* Asked for by a signal, to be done by an allocation that is in a slow path anyway. */
extern uint32_t profile_todo __hidden;		/* (a) */
void profile_do(void) __noinline;

static inline void profile_poll(void)
{
	if (unlikely(atomic_load_relaxed(&profile_todo)))
		profile_do();
}

bool profile_fork_held(void);
/* Two, because other locks are between them: see lib/lock_rank.h. */
void profile_fork_prepare_session(bool nested);
void profile_fork_prepare(bool nested);
void profile_fork_done(bool child);
void profile_fork_done_session(void);

#endif /* _LIB_PROFILE_H */
