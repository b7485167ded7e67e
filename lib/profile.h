/* SPDX-License-Identifier: MIT */
/*
 * Heap profiles: which stacks allocate, by samples.  See lib/profile.c.
 *
 * An observer: the layers meet it in the functions here, where malloc and free have
 * left their fast paths already, or know that they have more to do.
 */
#ifndef _LIB_PROFILE_H
#define _LIB_PROFILE_H

#include <asm/atomic.h>
#include <util/compiler.h>
#include "sizeclasses.h"

struct mag_hdr;

/* Counts the sessions; 0: nothing is profiled. */
extern uint32_t profile_session __hidden;	/* (a) */

/*
 * Distances on the way to the next point: bytes, in units of which PROFILE_MEAN_UNITS
 * are the session's mean.  What is left of one is as good in the next session, whatever
 * that one's mean.  No distance is as far as PROFILE_SURELY.
 */
#define PROFILE_MEAN_UNITS	(1LL << 55)
#define PROFILE_SURELY		(1LL << 62)

extern double profile_rate __hidden;			/* (a) a byte's */

struct profile_thread {
	int64_t left;			/* to the next point of the process */
	uint64_t rng;			/* 0: nothing has been drawn */
	bool busy;			/* in here already: the unwinder allocates */
};

extern __tls struct profile_thread profile_thread __hidden;

static __always_inline bool profile_on(void)
{
	return unlikely(atomic_load_relaxed(&profile_session) != 0);
}

/* The count of a magazine that is to be set: far from any that a pop can lead to. */
#define PROFILE_ASKS		(-(1LL << 40))

/*
 * An object of @size bytes was popped from @h and its count says to call: sets it anew.
 * True: it is one to sample.
 */
bool profile_called(struct mag_hdr *h, size_t size) __noinline;

/*
 * Behind profile_count(): a point of the process lies in these bytes.  @step: what has
 * been subtracted.
 */
bool profile_hit(size_t size, int64_t step) __noinline;

/* Another object, not by a pop: is it one to sample? */
static inline bool profile_count(size_t size)
{
	double rate, step;

	__atomic_load(&profile_rate, &rate, __ATOMIC_RELAXED);
	step = size * rate;
	if (step < PROFILE_SURELY && (profile_thread.left -= (int64_t)step) >= 0)
		return false;
	return profile_hit(size, step < PROFILE_SURELY ? (int64_t)step : 0);
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

/*
 * Asked for by a signal or from outside, to be done by an allocation that is in a slow
 * path anyway, or by the background thread.
 */
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
