// SPDX-License-Identifier: MIT
/*
 * mspan_pool against a list of what is held and a table of every descriptor ever met:
 * random gets, puts and slabs given back, in whole, in part or not at all.
 *
 *	a descriptor is in one hand, and its states are nobody else's
 *	a slab that goes has nobody in it, and has rested for as long as was asked
 *	what went reads as zero; what comes again is free, and of a later life
 *
 * Then no memory, at each call in turn; and readers beside all that, who hold on to
 * descriptors and states that come and go.
 */
#include <pthread.h>
#include <string.h>

#include <asm/atomic.h>
#include "conf.h"
#include "mspan_pool.h"
#include "vm.h"

#include "fake/unit.h"

#define MAX_MET		4096
#define MAX_HELD	1500
#define PAGE_AT		0x7000000000UL	/* no memory is there, and none is touched */

/* One of each shape: many objects, some, few, one; and large. */
static const unsigned int kinds[] = { 1, 3, 6, 12, 30, 45, 66, 0 };

/* A descriptor that was met. */
struct met {
	struct mspan *s;
	uint8_t *states;
	uint16_t seq;		/* of its last life */
	uint32_t put_at;	/* the look at which it was last put */
	bool held;
	unsigned char tag;	/* what its states are full of while it is held */
};

struct world {
	struct unit_rand r;
	struct mspan_pool p;
	unsigned int sc;
	uint32_t now;
	struct met met[MAX_MET];
	unsigned int nr_met;
	unsigned int held[MAX_HELD];
	unsigned int nr_held;
	size_t bytes;		/* of metadata before */
	unsigned int nr_gone;	/* slabs */
	unsigned int nr_loose;	/* met, of no slab */
};

static struct world *world_new(unsigned int test, unsigned int sc)
{
	static struct world w;

	vm_init();
	memset(&w, 0, sizeof(w));
	w.r = unit_rand(test);
	w.sc = sc;
	mspan_pool_init(&w.p, sc);
	w.bytes = meta_bytes();
	return &w;
}

static bool all_bytes(const void *p, size_t n, unsigned char c)
{
	const unsigned char *b = p;

	return n == 0 || (b[0] == c && memcmp(b, b + 1, n - 1) == 0);
}

/* States without the word in front of the next ones. */
static size_t states_len(const struct world *w)
{
	return class_nelems(w->sc) + 1;
}

static bool overlap(uintptr_t a, size_t a_len, uintptr_t b, size_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

static struct met *met_find(struct world *w, const struct mspan *s)
{
	for (unsigned int i = 0; i < w->nr_met; i++)
		if (w->met[i].s == s)
			return &w->met[i];
	return NULL;
}

static struct met *met_new(struct world *w, struct mspan *s)
{
	struct met *m = &w->met[w->nr_met++];
	size_t size = mspan_bytes(class_nelems(w->sc)), states = states_len(w);

	check(w->nr_met < MAX_MET);
	w->nr_loose += !s->in_slab;
	*m = (struct met){ .s = s, .states = s->object_state };
	check(is_aligned((uintptr_t)s, 16));
	check(is_aligned((uintptr_t)m->states, min_size(w->p.state_size & -w->p.state_size, 64)));
	for (struct met *o = w->met; o < m; o++) {
		check(!overlap((uintptr_t)o->s, size, (uintptr_t)s, size));
		check(!overlap((uintptr_t)o->states - 8, states + 8,
			       (uintptr_t)m->states - 8, states + 8));
		check(!overlap((uintptr_t)o->states - 8, states + 8, (uintptr_t)s, size));
		check(!overlap((uintptr_t)o->s, size, (uintptr_t)m->states - 8, states + 8));
	}
	return m;
}

static bool seq_after(uint16_t a, uint16_t b)
{
	return (int16_t)(a - b) > 0;
}

/* It is as it has to be, and begins a life. */
static void take(struct world *w, struct mspan *s)
{
	struct met *m = met_find(w, s);
	size_t nr_pages = w->sc ? size_classes[w->sc].pages : 3;

	if (!m)
		m = met_new(w, s);
	check(!m->held && s->state == MSPAN_DEAD);
	check(s->object_state == m->states && ((struct mspan **)m->states)[-1] == s);
	check(s->seq == m->seq || seq_after(s->seq, m->seq));
	mspan_init(s, PAGE_AT, nr_pages, w->sc, 0);
	check(seq_after(s->seq, m->seq) && s->seq);
	check(all_bytes(m->states, states_len(w), OBJECT_FREE));
	m->seq = s->seq;
	m->held = true;
	m->tag = 1 + rand_below(&w->r, 255);
	memset(m->states, m->tag, states_len(w));
	w->held[w->nr_held++] = m - w->met;
}

static bool step_get(struct world *w)
{
	struct mspan *s = w->nr_held < MAX_HELD ? mspan_pool_get(&w->p) : NULL;

	if (s)
		take(w, s);
	return s != NULL;
}

static void step_put(struct world *w)
{
	unsigned int i = rand_below(&w->r, w->nr_held);
	struct met *m = &w->met[w->held[i]];

	check(m->s->seq == m->seq && m->s->object_state == m->states);
	check(all_bytes(m->states, states_len(w), m->tag));
	memset(m->states, OBJECT_FREE, states_len(w));
	m->held = false;
	m->put_at = w->now;
	m->s->state = MSPAN_DEAD;
	mspan_pool_put(&w->p, m->s, w->now);
	w->held[i] = w->held[--w->nr_held];
}

static bool within(const void *p, const struct iovec *range)
{
	return (uintptr_t)p - (uintptr_t)range->iov_base < range->iov_len;
}

/* Nobody is in it, and nobody was of late. */
static void check_empty(const struct world *w, const struct iovec *ranges, uint32_t age)
{
	for (unsigned int i = 0; i < w->nr_met; i++) {
		const struct met *m = &w->met[i];
		bool in = within(m->s, &ranges[0]);

		check(in == within(m->states, &ranges[1]));
		check(in == within(m->states + states_len(w) - 1, &ranges[1]));
		check(!in || (!m->held && w->now - m->put_at >= age));
	}
}

/* @parts of its ranges go: all, some, none. */
static bool step_return(struct world *w, uint32_t age, unsigned int parts)
{
	struct iovec ranges[SLAB_RANGES];
	struct mspan_slab *slab = mspan_pool_take_empty(&w->p, w->now, age, ranges);
	size_t before = meta_bytes(), went;

	if (!slab)
		return false;
	check(mspan_pool_validate(&w->p, w->nr_held));
	check_empty(w, ranges, age);
	for (unsigned int i = 0; i < SLAB_RANGES; i++)
		check(is_aligned((uintptr_t)ranges[i].iov_base | ranges[i].iov_len,
				 vm_page_size));
	mspan_slab_prepare(slab);
	check(vm_return_many(ranges, parts) == parts);
	for (unsigned int i = 0; i < parts; i++)
		check(all_bytes(ranges[i].iov_base, ranges[i].iov_len, 0));
	went = mspan_pool_went(&w->p, slab, parts == SLAB_RANGES, w->now);
	check((went != 0) == (parts == SLAB_RANGES) && meta_bytes() == before - went);
	w->nr_gone += went != 0;
	return true;
}

static void run(struct world *w, unsigned int steps)
{
	for (unsigned int i = 0; i < steps; i++) {
		unsigned int dice = rand_below(&w->r, 1000);
		bool filling = i / 700 % 2 == 0;

		if (dice < (filling ? 700 : 200))
			check(step_get(w) || w->nr_held == MAX_HELD);
		else if (dice < 960 && w->nr_held)
			step_put(w);
		else if (dice < 980)
			w->now++;
		else
			step_return(w, rand_below(&w->r, 4),
				    dice < 990 ? SLAB_RANGES : rand_below(&w->r, 3));
		if (i % 8 == 0)
			check(mspan_pool_validate(&w->p, w->nr_held));
	}
}

static void put_all(struct world *w)
{
	while (w->nr_held)
		step_put(w);
}

/* Everything is put and returned: the first few stay, as many as ever. */
static void return_all(struct world *w)
{
	put_all(w);
	while (step_return(w, 0, SLAB_RANGES))
		;
	check(!mspan_pool_has_empty(&w->p) && mspan_pool_validate(&w->p, 0));
	check(meta_bytes() - w->bytes <=
	      align_up(w->nr_loose, FIXALLOC_BATCH) * w->p.loose.size +
	      (w->nr_loose + 1) * w->p.state_size +
	      (w->nr_met / w->p.nr_slab + 2) * sizeof(struct mspan_slab));
}

START_TEST(random_steps)
{
	struct world *w = world_new(_i, kinds[_i]);

	run(w, 12000);
	return_all(w);
	run(w, 3000);
	return_all(w);
	/* they were used, and not only once */
	check(w->p.nr_slab > 400 || w->nr_gone > 3);
	check(w->nr_loose == POOL_LOOSE);
}
END_TEST

/* Few of a kind have no slab; and each slab is filled before the next is begun. */
START_TEST(dense)
{
	struct world *w = world_new(100 + _i, kinds[_i]);
	unsigned int nr = w->p.nr_slab;

	for (unsigned int i = 0; i < POOL_LOOSE; i++)
		check(step_get(w));
	check(list_empty(&w->p.partial) && list_empty(&w->p.gone));
	put_all(w);
	check(!step_return(w, 0, SLAB_RANGES));
	for (unsigned int i = 0; i < POOL_LOOSE + nr; i++)
		check(step_get(w));
	check(list_empty(&w->p.partial) && list_empty(&w->p.empty));
	check(step_get(w) && !list_empty(&w->p.partial));
	/* the one that is fuller */
	for (unsigned int i = 0; i < 3; i++) {
		unsigned int at = POOL_LOOSE + i;
		struct met *m = &w->met[at];

		m->held = false;
		m->s->state = MSPAN_DEAD;
		memset(m->states, OBJECT_FREE, states_len(w));
		mspan_pool_put(&w->p, m->s, w->now);
	}
	for (unsigned int i = 0; i < 3; i++) {
		struct mspan *s = mspan_pool_get(&w->p);

		check(s >= w->met[POOL_LOOSE].s && s <= w->met[POOL_LOOSE + nr - 1].s);
	}
	check(w->nr_met == POOL_LOOSE + nr + 1);
}
END_TEST

/* A slab that is empty stays for as many looks as it is asked to. */
START_TEST(rests)
{
	struct world *w = world_new(200, 12);

	for (unsigned int i = 0; i < POOL_LOOSE + 3 * w->p.nr_slab; i++)
		check(step_get(w));
	put_all(w);
	for (unsigned int age = 0; age < 3; age++, w->now++)
		check(!step_return(w, 3, SLAB_RANGES) && mspan_pool_has_empty(&w->p));
	/* one of them is used in between: the latest, and begins anew */
	for (unsigned int i = 0; i < POOL_LOOSE + 1; i++)
		check(step_get(w));
	put_all(w);
	check(step_return(w, 3, SLAB_RANGES) && step_return(w, 3, SLAB_RANGES));
	check(!step_return(w, 3, SLAB_RANGES) && mspan_pool_has_empty(&w->p));
	w->now += 3;
	check(step_return(w, 3, SLAB_RANGES) && !mspan_pool_has_empty(&w->p));
}
END_TEST

/* The numbers of lives go round, past 0, and on over each return. */
START_TEST(many_lives)
{
	struct world *w = world_new(300, 45);
	struct mspan *s;
	uint16_t last = 0;
	unsigned int lives = 0;

	for (unsigned int i = 0; i < POOL_LOOSE; i++)
		check(step_get(w));
	for (unsigned int round = 0; round < 300; round++) {
		for (unsigned int i = 0; i < 500; i++, lives++) {
			s = mspan_pool_get(&w->p);
			mspan_init(s, PAGE_AT, size_classes[45].pages, 45, 0);
			check(s->seq && seq_after(s->seq, last));
			last = s->seq;
			s->state = MSPAN_DEAD;
			mspan_pool_put(&w->p, s, 0);
		}
		while (step_return(w, 0, SLAB_RANGES))
			;
		check(s->seq == 0 && !s->object_state);
	}
	check(lives > 2 * UINT16_MAX);
}
END_TEST

/* Each call in turn fails, once or for good: there is one less, and all goes on. */
START_TEST(no_memory)
{
	struct world *w = world_new(400 + _i, kinds[_i]);

	for (long n = 1; n < 40; n++) {
		unsigned int before;

		vm_fail_nth(1 + n / 4, n % 2);
		for (unsigned int i = 0; i < 300; i++)
			step_get(w);
		vm_fail_nth(0, false);
		check(mspan_pool_validate(&w->p, w->nr_held));
		before = w->nr_held;
		check(before == MAX_HELD || step_get(w));
		if (n % 3 == 0)
			put_all(w);
		if (n % 6 == 0)
			while (step_return(w, 0, SLAB_RANGES))
				;
	}
	return_all(w);
}
END_TEST

/* Who had slabs to give back is not in the child: they are empty again. */
START_TEST(fork_child)
{
	struct world *w = world_new(500, 9);
	struct iovec ranges[SLAB_RANGES];
	unsigned int nr = 0;

	for (unsigned int i = 0; i < POOL_LOOSE + 4 * w->p.nr_slab; i++)
		check(step_get(w));
	put_all(w);
	while (nr < 3 && mspan_pool_take_empty(&w->p, w->now, 0, ranges)) {
		/* one of them has gone, one in part */
		check(vm_return_many(ranges, SLAB_RANGES - nr) == SLAB_RANGES - nr);
		nr++;
	}
	check(nr == 3 && !list_empty(&w->p.going));
	mspan_pool_fork_child(&w->p, w->now);
	check(list_empty(&w->p.going) && mspan_pool_validate(&w->p, 0));
	nr = w->nr_met;
	while (w->nr_held < POOL_LOOSE + 4 * w->p.nr_slab)
		check(step_get(w));
	check(w->nr_met == nr);
	return_all(w);
}
END_TEST

/*
 * Readers: by states that stood in a page entry once.
 */

#define SHOWN	512

static struct {
	uint8_t *states[SHOWN];		/* (a) */
	struct mspan *span[SHOWN];	/* (a) whose they are, for ever */
	uint32_t nr;			/* (a) */
	bool stop;			/* (a) */
	uint64_t zero, lives;		/* (a) what was met */
} shown;

/* What lib/lookup.c does, and what it relies on. */
static __no_tsan void *reader(void *arg)
{
	struct unit_rand r = unit_rand(600 + (uintptr_t)arg);
	static uint16_t last[2][SHOWN];
	uint64_t zero = 0, lives = 0;

	while (!atomic_load_relaxed(&shown.stop)) {
		uint32_t nr = smp_load_acquire(&shown.nr), i;
		struct mspan *s;
		uint16_t seq;

		if (!nr)
			continue;
		i = rand_below(&r, nr);
		s = smp_load_acquire((struct mspan *const *)shown.states[i] - 1);
		zero += !s;
		if (!s)
			continue;
		check(s == shown.span[i]);
		seq = smp_load_acquire(&s->seq);
		zero += !seq;
		if (!seq)
			continue;
		check(seq == last[(uintptr_t)arg][i] ||
		      seq_after(seq, last[(uintptr_t)arg][i]));
		lives += seq != last[(uintptr_t)arg][i];
		last[(uintptr_t)arg][i] = seq;
		/* a byte an object, whatever it says */
		(void)smp_load_acquire(&shown.states[i][rand_below(&r, class_nelems(6))]);
	}
	atomic_add_relaxed(&shown.zero, zero);
	atomic_add_relaxed(&shown.lives, lives);
	return NULL;
}

START_TEST(readers)
{
	struct world *w = world_new(700, 6);
	pthread_t t[2];

	/* they look at descriptors, not at what the test makes of them */
	for (uintptr_t i = 0; i < 2; i++)
		check(!pthread_create(&t[i], NULL, reader, (void *)i));
	for (unsigned int round = 0; round < 200; round++) {
		while (w->nr_held < SHOWN)
			check(step_get(w));
		if (!shown.nr) {
			for (unsigned int i = 0; i < SHOWN; i++) {
				shown.states[i] = w->met[i].states;
				shown.span[i] = w->met[i].s;
			}
			smp_store_release(&shown.nr, SHOWN);
		}
		while (w->nr_held > round % 3 * 20)
			step_put(w);
		while (step_return(w, 0, rand_below(&w->r, 4) ? SLAB_RANGES : 1))
			if (rand_below(&w->r, 8) == 0)
				break;
	}
	atomic_store_relaxed(&shown.stop, true);
	for (unsigned int i = 0; i < 2; i++)
		check(!pthread_join(t[i], NULL));
	return_all(w);
	check(shown.lives && w->nr_gone > 100);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mspan_pool");
	TCase *tc = tcase_create("pool");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, random_steps, 0, ARRAY_SIZE(kinds));
	tcase_add_loop_test(tc, dense, 0, ARRAY_SIZE(kinds));
	tcase_add_test(tc, rests);
	tcase_add_test(tc, many_lives);
	tcase_add_loop_test(tc, no_memory, 0, ARRAY_SIZE(kinds));
	tcase_add_test(tc, fork_child);
	tcase_add_test(tc, readers);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
