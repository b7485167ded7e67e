// SPDX-License-Identifier: MIT
/*
 * Heap profiles: sessions, and what malloc and free tell of.
 *
 *	malloc  pop, by which the magazine counts
 *	          count >= 0:  done
 *	                < 0:   unwind, enter in the table, state OBJECT_SAMPLED; the
 *	                       magazine is told a new count
 *
 *	off     counts are such that no pop gets there
 *
 *	free    the state of a sampled object is no slot's tag, so that the push of its
 *	        fast path declines as for any object of another slot; there the sample
 *	        ends.  Other objects are freed as ever, profile or not.
 *
 * Sampling.  The bytes that are allocated are streams with a point in @mean of
 * them, at random (lib/poisson.h); an object is sampled when a point lies in it.  Its
 * bytes are those that it takes, its size class or pages, so that the estimate of
 * what is live means the same as in the statistics.  What an object grows by in place
 * is more of the stream: it may be sampled then, and its weight is that of all its
 * bytes.
 *
 * Each magazine is a stream, in which the distance to the next point is one of objects;
 * what does not come out of a magazine is the stream of its thread.  Points have no
 * memory: a magazine may be told anew at any time, and by any thread.
 *
 * A thread's distances are counted in units of the mean, not in bytes, so that they have
 * the same distribution in every session, and what is left of one says nothing but that
 * its end has not come: a thread goes on with it in the next session, and need not look
 * which one it is in.
 *
 * The memory of a sample is the allocator's own; a sample calls the unwinder with no
 * lock held.  Where the unwinder allocates all the same (objects registered at run
 * time), that is not sampled: profile_thread.busy.
 *
 * Context: as malloc.  Starting and stopping from a signal handler is a wish that
 * the next allocation in a slow path fulfils (profile_todo): a refill, or a large
 * object; or the background thread where it is awake.
 *
 * From outside, ha prof PID start writes that word, in a process that nobody has told of
 * a profile.  What it writes is one byte that is not zero, so that there is no half of
 * it; who takes it does so by an exchange, so that it is done once; of two writers the
 * last one has his way.  A value that is none of enum profile_todo is dropped.  To write
 * there takes the rights of a debugger.  All else that it wants it reads: see
 * lib/profile_table.c.
 *
 * Fork: a child has the tables as they were, and the session goes on in it.
 *
 * Without misuse detection states are not kept, and a free would not be seen:
 * check:off and a profile exclude each other.
 */
#include <errno.h>
#include <time.h>

#include <util/probe.h>
#include "conf.h"
#include "inspect.h"
#include "lock.h"
#include "mcache.h"
#include "poisson.h"
#include "pprof.h"
#include "profile.h"
#include "profile_session.h"
#include "profile_table.h"
#include "unwind.h"

uint32_t profile_session;
uint32_t profile_todo;
double profile_rate;
__tls struct profile_thread profile_thread;

static struct {
	struct lock lock;
	uint64_t mean;			/* (a) of the last session */
	uint32_t nr;			/* (l) sessions so far */
	bool ready;			/* (l) there are tables */
	uint64_t started_ns;		/* (a) */
	uint64_t duration_ns;		/* (a) of the last one, when it has ended */
} session = { .lock = LOCK_INIT(RANK_PROFILE_SESSION) };

static uint64_t real_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/*
 * Sampling.
 */

static double rate_of(uint64_t mean)
{
	/* a mean of 1 samples everything */
	return mean <= 1 ? PROFILE_SURELY : (double)PROFILE_MEAN_UNITS / mean;
}

static int64_t step_of(size_t size, uint64_t mean)
{
	double step = size * rate_of(mean);

	return step < PROFILE_SURELY ? (int64_t)step : PROFILE_SURELY;
}

static void set_mean(uint64_t mean)
{
	double rate = rate_of(mean);

	atomic_store_relaxed(&session.mean, mean);
	__atomic_store(&profile_rate, &rate, __ATOMIC_RELAXED);
}

static int64_t next_point(struct profile_thread *t)
{
	return poisson_draw(&t->rng, PROFILE_MEAN_UNITS);
}

static void seed(struct profile_thread *t)
{
	if (likely(t->rng))
		return;
	/* addresses differ by thread, and the clock by process */
	t->rng = real_ns() ^ (uint64_t)(uintptr_t)t << 20;
	t->left = next_point(t);
}

/* How many objects of @size bytes lie between two that are sampled, before the first. */
static int64_t objects_between(struct profile_thread *t, size_t size)
{
	return poisson_draw(&t->rng, atomic_load_relaxed(&session.mean)) / size;
}

/*
 * @count: how far the magazine had counted.  Either it was told how many objects to let
 * pass, or it asks for the first time, and this one may be among those that pass.
 */
static bool next_count(struct profile_thread *t, size_t size, int64_t count, int64_t *next)
{
	bool hit = true;

	*next = objects_between(t, size);
	if (count < PROFILE_ASKS / 2) {
		hit = !*next;
		*next = hit ? objects_between(t, size) : *next - 1;
	}
	return hit;
}

bool profile_called(struct mag_hdr *h, size_t size)
{
	struct profile_thread *t = &profile_thread;
	/* pairs with the release in profile_start(): the mean is of it, or later */
	uint32_t now = smp_load_acquire(&profile_session);
	int64_t count, next = MAG_COUNT_MAX;
	bool hit = false;
	uint64_t word;

	seed(t);
	do {
		word = atomic_load_relaxed(&h->word);
		count = mag_count(word);
		/* somebody else has popped since, and has answered */
		if (count >= 0)
			return false;
		if (now)
			hit = next_count(t, size, count, &next);
	} while (!mag_set_count(h, word, next));
	return hit && !t->busy;
}

bool profile_hit(size_t size, int64_t step)
{
	struct profile_thread *t = &profile_thread;
	/* pairs with the release in profile_start(): the mean is of it, or later */
	uint32_t now = smp_load_acquire(&profile_session);

	t->left += step;
	if (!now || t->busy)
		return false;
	seed(t);
	/* the caller may have taken that of another session, or of none */
	t->left -= step_of(size, atomic_load_relaxed(&session.mean));
	if (t->left >= 0)
		return false;
	/* the process has no memory: it goes on behind the object as from any point */
	t->left = next_point(t);
	return true;
}

static bool profile_add(const struct profile_event *ev)
{
	struct profile_thread *t = &profile_thread;
	uintptr_t pc[PROFILE_MAX_FRAMES];
	int saved = errno;
	bool ok;

	t->busy = true;
	ok = profile_table_add(ev, pc, unwind_stack(pc, ARRAY_SIZE(pc)));
	t->busy = false;
	errno = saved;
	return ok;
}

bool profile_take(void *ptr, size_t size)
{
	uint64_t weight = poisson_weight(size, atomic_load_relaxed(&session.mean));
	struct profile_event ev = {
		.addr = (uintptr_t)ptr,
		.size = size,
		.weight = weight,
		.grown = size,
		.grown_weight = weight,
	};

	PROBE(sample_alloc, ptr, size);
	return profile_add(&ev);
}

void profile_end(const void *ptr)
{
	PROBE(sample_free, ptr);
	profile_table_del((uintptr_t)ptr);
}

bool profile_resize(void *ptr, size_t old, size_t size, bool sampled)
{
	uint64_t mean = atomic_load_relaxed(&session.mean);
	bool counted = profile_on() && size > old;
	struct profile_event ev = { .addr = (uintptr_t)ptr, .size = size };

	if (sampled) {
		profile_table_resize(ev.addr, size, counted ? poisson_weight(size, mean) : 0);
		return true;
	}
	if (!counted || !profile_count(size - old))
		return false;
	ev.weight = poisson_weight(size, mean);
	ev.grown = size - old;
	ev.grown_weight = poisson_weight(ev.grown, mean);
	return profile_add(&ev);
}

/*
 * Sessions.
 */

int profile_prepare(void)
{
	int err = 0;

	unwind_prime();
	lock_acquire(&session.lock);
	if (!session.ready) {
		err = profile_table_init(conf.prof_mean == 1);
		session.ready = !err;
	}
	lock_release(&session.lock);
	return err ? err : pprof_prepare();
}

int profile_start(uint64_t mean)
{
	int err = 0;

	lock_acquire(&session.lock);
	if (!session.ready) {
		err = -EINVAL;
	} else if (profile_session) {
		err = -EBUSY;
	} else {
		profile_table_reset();
		set_mean(mean);
		atomic_store_relaxed(&session.started_ns, real_ns());
		atomic_store_relaxed(&session.duration_ns, (uint64_t)0);
		if (!++session.nr)
			session.nr = 1;
		smp_store_release(&profile_session, session.nr);
		mcache_profile();
	}
	lock_release(&session.lock);
	return err;
}

void profile_stop(void)
{
	lock_acquire(&session.lock);
	if (profile_session) {
		mcache_profile_over();
		atomic_store_relaxed(&session.duration_ns,
				     real_ns() - atomic_load_relaxed(&session.started_ns));
		atomic_store_relaxed(&profile_session, 0);
	}
	lock_release(&session.lock);
}

void profile_facts(struct profile_facts *f)
{
	f->on = atomic_load_relaxed(&profile_session) != 0;
	f->mean = atomic_load_relaxed(&session.mean);
	f->started_ns = atomic_load_relaxed(&session.started_ns);
	f->duration_ns = f->on ? real_ns() - f->started_ns :
				 atomic_load_relaxed(&session.duration_ns);
}

static void start_as_told(void)
{
	profile_start(conf.prof_mean ? conf.prof_mean : PROFILE_MEAN);
}

void profile_do(void)
{
	int saved = errno;

	switch (xchg(&profile_todo, PROFILE_NOTHING)) {
	case PROFILE_START:
		start_as_told();
		break;
	case PROFILE_STOP:
		profile_stop();
		break;
	case PROFILE_ORDER_START:
		/* nobody has said before that there will be one */
		if (conf.orders && conf.check && !profile_prepare())
			start_as_told();
		break;
	case PROFILE_ORDER_STOP:
		if (conf.orders)
			profile_stop();
		break;
	}
	errno = saved;
}

/*
 * Fork.
 */
bool profile_fork_held(void)
{
	return lock_is_held(&session.lock) || profile_table_fork_held();
}

void profile_fork_prepare_session(bool nested)
{
	lock_fork_prepare(&session.lock, nested);
}

void profile_fork_prepare(bool nested)
{
	profile_table_fork_prepare(nested);
}

void profile_fork_done(bool child)
{
	profile_table_fork_done(child);
}

void profile_fork_done_session(void)
{
	lock_fork_done(&session.lock);
}

INSPECT_TABLE(profile) = {
	INSPECT_NUMBER(order_start, PROFILE_ORDER_START),
	INSPECT_NUMBER(order_stop, PROFILE_ORDER_STOP),
	INSPECT_OBJECT(profile_order, profile_todo),
	INSPECT_OBJECT(profile_session, profile_session),
	INSPECT_OBJECT(profile_mean, session.mean),
	INSPECT_OBJECT(profile_started, session.started_ns),
	INSPECT_OBJECT(profile_duration, session.duration_ns),
	INSPECT_END
};
