// SPDX-License-Identifier: MIT
/*
 * The tables of a heap profile.
 *
 *	samples    hash of the address --> sample --> sample      64 stripes of locks
 *	                                      |
 *	stacks     hash of the frames  --> stack  --> stack       one lock to add,
 *	pcs        hash of an address  --> pc     --> pc          none to read
 *
 * A sample is a live object; it is 64 bytes, recycled.  Stacks and pcs stay for
 * ever: readers (the dump, possibly in a signal handler) need no lock, and a stack's
 * counters are words that each sample's coming and going adds to.
 *
 * Invariants:
 *  1. A sample is in the table from before its object is handed out until before
 *     its address can be handed out again: one address, one sample.
 *  2. A stack's live counts are the sum over its samples; the global live_bytes is
 *     the sum over all stacks.
 *  3. A sample's weight changes with its object's size only, so that what it took
 *     from the counts is what it added.
 *
 * The peak.  Whenever the live bytes have risen a twentieth above the last peak, or
 * start to fall from a hundredth above it, every stack's live counts are copied.
 * Each copy needs growth, so that there are few of them; the peak is right to 5 %,
 * and to 1 % where it is followed by a fall.
 *
 * From outside (ha prof), stacks are read as by the dump, and samples without their
 * locks: one that is being recycled meanwhile leads into another chain, or is told by an
 * address whose state is not OBJECT_SAMPLED.
 *
 * Bounds: MAX_SAMPLES, MAX_STACKS.  An object beyond the first is counted as
 * allocated and dropped; stacks beyond the second are one, without frames.
 *
 * Locks: RANK_PROFILE, under which only metadata is taken.  Never two at once but by
 * fork.
 */
#include <errno.h>
#include <time.h>

#include <util/align.h>
#include "fixalloc.h"
#include "inspect.h"
#include "lock.h"
#include "poisson.h"
#include "profile_table.h"

#define NR_STRIPES		64
#define SAMPLE_BUCKETS		(1U << 14)
#define SAMPLE_BUCKETS_EXACT	(1U << 20)
#define STACK_BUCKETS		(1U << 13)
#define MAX_SAMPLES		(4UL << 20)
#define MAX_STACKS		(64UL << 10)

struct sample {
	struct sample *next;		/* (l) */
	uintptr_t addr;			/* (l) */
	struct profile_stack *stack;	/* (l) */
	size_t size;			/* (l) */
	uint64_t weight;		/* (l) */
	uint64_t born_ms;		/* (l) */
};

struct stripe {
	struct lock lock;
	struct fixalloc samples;	/* (l) */
} __aligned(64);

static struct {
	struct sample **buckets;	/* (c) */
	size_t nr_buckets;		/* (c) */
	size_t nr;			/* (a) */
	size_t max;
	size_t dropped;			/* (a) */
	struct stripe stripe[NR_STRIPES];
} samples = { .max = MAX_SAMPLES };

static struct {
	struct lock lock;
	struct profile_stack **buckets;	/* (c) array; heads (a) */
	struct profile_pc **pc_buckets;
	struct profile_stack *newest;	/* (a) */
	struct profile_pc *newest_pc;	/* (a) */
	size_t nr;			/* (l) */
	size_t max;
	size_t lost;			/* (a) */
	int64_t live;			/* (a) bytes */
	int64_t peak;			/* (a) bytes when last copied */
	uint32_t copying;		/* (a) 1: somebody does */
	struct profile_stack none;	/* stands for those without room */
} stacks = { .lock = LOCK_INIT(RANK_PROFILE), .max = MAX_STACKS };

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93ULL;
	return x ^ x >> 32;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

int profile_table_init(bool exact)
{
	size_t nr = exact ? SAMPLE_BUCKETS_EXACT : SAMPLE_BUCKETS;

	stacks.buckets = meta_alloc(STACK_BUCKETS * sizeof(*stacks.buckets));
	stacks.pc_buckets = meta_alloc(STACK_BUCKETS * sizeof(*stacks.pc_buckets));
	samples.buckets = meta_alloc(nr * sizeof(*samples.buckets));
	if (!stacks.buckets || !stacks.pc_buckets || !samples.buckets)
		return -ENOMEM;
	samples.nr_buckets = nr;
	for (unsigned int i = 0; i < NR_STRIPES; i++) {
		lock_init(&samples.stripe[i].lock, RANK_PROFILE);
		fixalloc_init(&samples.stripe[i].samples, sizeof(struct sample));
	}
	/* pairs with the acquire in profile_table_stacks() */
	smp_store_release(&stacks.newest, &stacks.none);
	return 0;
}

/*
 * Stacks.
 */

static struct profile_stack *stack_find(uint64_t hash, const uintptr_t *pc, unsigned int nr)
{
	/* pairs with the release in stack_new() */
	struct profile_stack *s = smp_load_acquire(&stacks.buckets[hash % STACK_BUCKETS]);

	for (; s; s = s->next)
		if (s->hash == hash && s->nr == nr &&
		    !__builtin_memcmp(s->pc, pc, nr * sizeof(*pc)))
			break;
	return s;
}

static bool pc_enter(uintptr_t pc)
{
	struct profile_pc **head = &stacks.pc_buckets[mix(pc) % STACK_BUCKETS], *p;

	for (p = *head; p; p = p->next)
		if (p->pc == pc)
			return true;
	p = meta_alloc(sizeof(*p));
	if (!p)
		return false;
	p->pc = pc;
	p->next = *head;
	*head = p;
	p->older = stacks.newest_pc;
	/* pairs with the acquire in profile_table_pcs() */
	smp_store_release(&stacks.newest_pc, p);
	return true;
}

/* Under the lock. */
static struct profile_stack *stack_new(uint64_t hash, const uintptr_t *pc, unsigned int nr)
{
	struct profile_stack **head = &stacks.buckets[hash % STACK_BUCKETS], *s;

	if (stacks.nr >= stacks.max)
		return NULL;
	for (unsigned int i = 0; i < nr; i++)
		if (!pc_enter(pc[i]))
			return NULL;
	s = meta_alloc(sizeof(*s) + nr * sizeof(*pc));
	if (!s)
		return NULL;
	s->hash = hash;
	s->nr = nr;
	__builtin_memcpy(s->pc, pc, nr * sizeof(*pc));
	s->next = *head;
	smp_store_release(head, s);
	s->older = stacks.newest;
	smp_store_release(&stacks.newest, s);
	stacks.nr++;
	return s;
}

static struct profile_stack *stack_get(const uintptr_t *pc, unsigned int nr)
{
	struct profile_stack *s;
	uint64_t hash = nr;

	for (unsigned int i = 0; i < nr; i++)
		hash = mix(hash + pc[i]);
	s = stack_find(hash, pc, nr);
	if (likely(s))
		return s;
	lock_acquire(&stacks.lock);
	s = stack_find(hash, pc, nr);
	if (!s)
		s = stack_new(hash, pc, nr);
	lock_release(&stacks.lock);
	if (s)
		return s;
	atomic_add_relaxed(&stacks.lost, 1);
	return &stacks.none;
}

struct profile_stack *profile_table_stacks(void)
{
	return smp_load_acquire(&stacks.newest);
}

struct profile_pc *profile_table_pcs(void)
{
	return smp_load_acquire(&stacks.newest_pc);
}

/*
 * Counts.
 */

static void peak_copy(int64_t live)
{
	if (!try_cmpxchg_acquire(&stacks.copying, 0, 1))
		return;
	atomic_store_relaxed(&stacks.peak, live);
	for (struct profile_stack *s = profile_table_stacks(); s; s = s->older) {
		for (unsigned int i = 0; i < 2; i++)
			atomic_store_relaxed(&s->count[PROFILE_PEAK_OBJECTS + i],
				atomic_load_relaxed(&s->count[PROFILE_LIVE_OBJECTS + i]));
	}
	smp_store_release(&stacks.copying, 0);
}

/* Before the live bytes change by @by. */
static void peak_look(int64_t by)
{
	int64_t live = atomic_load_relaxed(&stacks.live);
	int64_t peak = atomic_load_relaxed(&stacks.peak);

	/* a fall is told from a pause by what it takes away */
	if (live > peak + (by < 0 ? peak / 100 : peak / 20))
		peak_copy(live);
}

static void count(struct profile_stack *s, enum profile_count what, int64_t objects,
		  int64_t bytes)
{
	atomic_add_relaxed(&s->count[what], objects);
	atomic_add_relaxed(&s->count[what + 1], bytes);
}

static int64_t weighted(size_t size, uint64_t weight)
{
	return (unsigned __int128)size * weight >> POISSON_UNIT_SHIFT;
}

static void count_live(struct profile_stack *s, int64_t objects, int64_t bytes)
{
	peak_look(bytes);
	count(s, PROFILE_LIVE_OBJECTS, objects, bytes);
	atomic_add_relaxed(&stacks.live, bytes);
}

static void count_life(struct profile_stack *s, uint64_t weight, uint64_t ms)
{
	enum profile_count what = PROFILE_LONG_OBJECTS;

	if (ms <= PROFILE_SHORT_MS)
		what = PROFILE_SHORT_OBJECTS;
	else if (ms <= PROFILE_MIDDLE_MS)
		what = PROFILE_MIDDLE_OBJECTS;
	atomic_add_relaxed(&s->count[what], weight);
}

void profile_table_reset(void)
{
	atomic_store_relaxed(&stacks.peak, (int64_t)0);
	for (struct profile_stack *s = profile_table_stacks(); s; s = s->older)
		for (unsigned int i = 0; i < NR_PROFILE_COUNTS; i++)
			if (i != PROFILE_LIVE_OBJECTS && i != PROFILE_LIVE_BYTES)
				atomic_store_relaxed(&s->count[i], (int64_t)0);
}

/*
 * Samples.
 */

static struct sample **sample_head(uintptr_t addr, struct stripe **stripe)
{
	size_t i = mix(addr) & (samples.nr_buckets - 1);

	*stripe = &samples.stripe[i % NR_STRIPES];
	return &samples.buckets[i];
}

/* Where the link to @addr's sample is, locked; NULL, and no lock. */
static struct sample **sample_lock(uintptr_t addr, struct stripe **stripe)
{
	struct sample **link;

	if (unlikely(!samples.nr_buckets))
		return NULL;
	link = sample_head(addr, stripe);
	lock_acquire(&(*stripe)->lock);
	for (; *link; link = &(*link)->next)
		if ((*link)->addr == addr)
			return link;
	lock_release(&(*stripe)->lock);
	return NULL;
}

/* Under the stripe's lock. */
static struct sample *sample_new(struct stripe *stripe, const struct profile_event *ev,
				 struct profile_stack *stack)
{
	struct sample *s;

	if (atomic_fetch_add_relaxed(&samples.nr, 1) >= samples.max)
		goto full;
	s = fixalloc_alloc(&stripe->samples);
	if (!s)
		goto full;
	*s = (struct sample){
		.addr = ev->addr,
		.stack = stack,
		.size = ev->size,
		.weight = ev->weight,
		.born_ms = now_ms(),
	};
	return s;
full:
	atomic_sub_relaxed(&samples.nr, 1);
	atomic_add_relaxed(&samples.dropped, 1);
	return NULL;
}

bool profile_table_add(const struct profile_event *ev, const uintptr_t *pc, unsigned int nr)
{
	struct profile_stack *stack = stack_get(pc, nr);
	struct sample **head, *s;
	struct stripe *stripe;

	count(stack, PROFILE_ALLOC_OBJECTS, ev->grown == ev->size ? ev->weight : 0,
	      weighted(ev->grown, ev->grown_weight));
	head = sample_head(ev->addr, &stripe);
	lock_acquire(&stripe->lock);
	s = sample_new(stripe, ev, stack);
	if (s) {
		s->next = *head;
		*head = s;
	}
	lock_release(&stripe->lock);
	if (s)
		count_live(stack, ev->weight, weighted(ev->size, ev->weight));
	return s != NULL;
}

void profile_table_del(uintptr_t addr)
{
	struct stripe *stripe;
	struct sample **link = sample_lock(addr, &stripe), *s, was;

	if (unlikely(!link))
		return;
	s = *link;
	was = *s;
	*link = s->next;
	fixalloc_free(&stripe->samples, s);
	lock_release(&stripe->lock);
	atomic_sub_relaxed(&samples.nr, 1);
	count_live(was.stack, -(int64_t)was.weight, -weighted(was.size, was.weight));
	count_life(was.stack, was.weight, now_ms() - was.born_ms);
}

void profile_table_resize(uintptr_t addr, size_t size, uint64_t weight)
{
	struct stripe *stripe;
	struct sample **link = sample_lock(addr, &stripe), *s, was;

	if (!link)
		return;
	s = *link;
	was = *s;
	s->size = size;
	/* the more bytes had a chance, the likelier it was, and the less it stands for */
	if (weight && weight < s->weight)
		s->weight = weight;
	weight = s->weight;
	lock_release(&stripe->lock);
	count_live(was.stack, (int64_t)(weight - was.weight),
		   weighted(size, weight) - weighted(was.size, was.weight));
}

void profile_table_settle(void)
{
	int64_t live = atomic_load_relaxed(&stacks.live);

	if (live > atomic_load_relaxed(&stacks.peak))
		peak_copy(live);
}

void profile_table_totals(struct profile_totals *t)
{
	t->nr_samples = atomic_load_relaxed(&samples.nr);
	t->nr_dropped = atomic_load_relaxed(&samples.dropped);
	t->nr_lost_stacks = atomic_load_relaxed(&stacks.lost);
	t->live_bytes = atomic_load_relaxed(&stacks.live);
	t->peak_bytes = atomic_load_relaxed(&stacks.peak);
}

/*
 * Fork.
 */
bool profile_table_fork_held(void)
{
	for (unsigned int i = 0; i < NR_STRIPES; i++)
		if (lock_is_held(&samples.stripe[i].lock))
			return true;
	return lock_is_held(&stacks.lock);
}

void profile_table_fork_prepare(bool nested)
{
	if (!samples.nr_buckets)
		return;
	lock_fork_prepare(&stacks.lock, nested);
	for (unsigned int i = 0; i < NR_STRIPES; i++)
		lock_fork_prepare(&samples.stripe[i].lock, nested);
}

void profile_table_fork_done(bool child)
{
	if (!samples.nr_buckets)
		return;
	for (unsigned int i = NR_STRIPES; i-- > 0;)
		lock_fork_done(&samples.stripe[i].lock);
	lock_fork_done(&stacks.lock);
	/* who was copying stayed in the parent */
	if (child)
		atomic_store_relaxed(&stacks.copying, 0);
}

#ifdef CONFIG_FAULT_INJECTION
void profile_table_limit(size_t nr_samples, size_t nr_stacks)
{
	samples.max = nr_samples;
	stacks.max = nr_stacks;
}
#endif

INSPECT_TABLE(profile_table) = {
	INSPECT_NUMBER(profile_unit_shift, POISSON_UNIT_SHIFT),
	INSPECT_NUMBER(sizeof_profile_stack, sizeof(struct profile_stack)),
	INSPECT_NUMBER(sizeof_profile_sample, sizeof(struct sample)),
	INSPECT_OBJECT(stacks_newest, stacks.newest),
	INSPECT_OBJECT(stacks_lost, stacks.lost),
	INSPECT_OBJECT(stacks_live, stacks.live),
	INSPECT_OBJECT(stacks_peak, stacks.peak),
	INSPECT_MEMBER(profile_stack, older),
	INSPECT_MEMBER(profile_stack, nr),
	/* by enum profile_count */
	INSPECT_MEMBERS(profile_stack, count),
	/* as many as the stack has frames */
	{ .name = "profile_stack.pc", .kind = HA_INSPECT_MEMBER, .size = sizeof(uintptr_t),
	  .count = PROFILE_MAX_FRAMES, .value = offsetof(struct profile_stack, pc) },
	INSPECT_OBJECT(samples_buckets, samples.buckets),
	INSPECT_OBJECT(samples_nr_buckets, samples.nr_buckets),
	INSPECT_OBJECT(samples_nr, samples.nr),
	INSPECT_OBJECT(samples_dropped, samples.dropped),
	INSPECT_MEMBER_AS(profile_sample, next, struct sample, next),
	INSPECT_MEMBER_AS(profile_sample, addr, struct sample, addr),
	INSPECT_MEMBER_AS(profile_sample, stack, struct sample, stack),
	INSPECT_MEMBER_AS(profile_sample, size, struct sample, size),
	INSPECT_MEMBER_AS(profile_sample, weight, struct sample, weight),
	INSPECT_END
};
