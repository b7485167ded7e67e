// SPDX-License-Identifier: MIT
/*
 * mspan: each class against an array of bools: which objects are handed out, in
 * which order, and that nothing but the descriptor and the states is written.
 */
#include <string.h>

#include "mspan.h"

#include "fake/unit.h"

#define BASE		VM_ARENA_HINT
#define GUARD		64

/* A span, what surrounds it in memory, and the reference. */
struct world {
	struct mspan *s;
	uint8_t *mem, *states;
	bool out[MAX_SPAN_OBJECTS];
	unsigned int nr_out;
};

static void world_init(struct world *w, unsigned int sc)
{
	unsigned int n = class_nelems(sc);

	memset(w, 0, sizeof(*w));
	w->mem = malloc(mspan_bytes(n) + GUARD);
	w->states = malloc(mspan_state_bytes(sc) + GUARD);
	check(w->mem && w->states);
	memset(w->mem, 0xa5, mspan_bytes(n) + GUARD);
	memset(w->states, 0xa5, mspan_state_bytes(sc) + GUARD);
	w->s = (struct mspan *)w->mem;
	w->s->seq = 41;
	*(struct mspan **)w->states = w->s;
	w->s->object_state = w->states + sizeof(struct mspan *);
	mspan_init(w->s, BASE, sc ? size_classes[sc].pages : 5, sc, 3);
}

static void world_check(struct world *w)
{
	unsigned int n = w->s->nelems, i;

	check(mspan_validate(w->s));
	check(w->s->nr_alloc == w->nr_out);
	check(mspan_full(w->s) == (w->nr_out == n));
	for (i = 0; i < n; i++)
		check(bitmap_test(w->s->bits, i) == w->out[i]);
	check(w->s->object_state[n] == OBJECT_FREE);
	for (i = 0; i < GUARD; i++) {
		check(w->mem[mspan_bytes(n) + i] == 0xa5);
		check(w->states[mspan_state_bytes(w->s->sc) + i] == 0xa5);
	}
	check(*(struct mspan **)w->states == w->s);
}

static void world_free(struct world *w)
{
	free(w->mem);
	free(w->states);
}

/* The lowest free objects in order, and the users' marks on some of them. */
static void step_alloc(struct world *w, unsigned int n, struct unit_rand *r)
{
	struct mag_slot slots[MAX_SPAN_OBJECTS + 1];
	unsigned int got, idx = 0, i;

	memset(slots, 0x5a, sizeof(slots));
	got = mspan_alloc(w->s, slots, n);
	check(got == (n < w->s->nelems - w->nr_out ? n : w->s->nelems - w->nr_out));
	for (i = 0; i < got; i++, idx++) {
		while (w->out[idx])
			idx++;
		check(slots[i].obj == mspan_object(w->s, idx));
		check(slots[i].state == &w->s->object_state[idx]);
		check(*slots[i].state == OBJECT_FREE);
		if (rand_below(r, 2))
			*slots[i].state = OBJECT_LIVE;
		w->out[idx] = true;
	}
	w->nr_out += got;
	check(slots[got].obj == (void *)0x5a5a5a5a5a5a5a5aUL);
}

/* @idx, and with @r some of the others that share its word, if they are out. */
static void step_free_with(struct world *w, unsigned int idx, struct unit_rand *r)
{
	unsigned int word = idx / 64;
	uint64_t mask = 0;

	for (unsigned int i = word * 64; i < w->s->nelems && i < word * 64 + 64; i++) {
		if (!w->out[i] || (i != idx && (!r || rand_below(r, 8))))
			continue;
		w->s->object_state[i] = OBJECT_FREE;
		mask |= 1ULL << (i % 64);
		w->out[i] = false;
		w->nr_out--;
	}
	mspan_free(w->s, word, mask);
}

static void step_free(struct world *w, unsigned int idx)
{
	step_free_with(w, idx, NULL);
}

START_TEST(random_steps)
{
	struct unit_rand r = unit_rand(_i);
	static struct world w;
	unsigned int bias = 50;

	world_init(&w, _i);
	for (unsigned int step = 0; step < 1500; step++) {
		/* long ways up and down, so that it runs full and empty */
		if (step % 100 == 0)
			bias = 20 + 15 * rand_below(&r, 5);
		if (rand_below(&r, 100) < bias)
			step_alloc(&w, rand_below(&r, 34), &r);
		else
			for (unsigned int k = rand_below(&r, 34); k; k--)
				step_free_with(&w, rand_below(&r, w.s->nelems), &r);
		world_check(&w);
	}
	world_free(&w);
}
END_TEST

/* One by one to the end and back, and the same in one go. */
START_TEST(whole)
{
	struct unit_rand r = unit_rand(1000 + _i);
	static struct world w;
	unsigned int i;

	world_init(&w, _i);
	for (i = 0; i < w.s->nelems; i++) {
		step_alloc(&w, 1, &r);
		check(w.out[i]);
	}
	world_check(&w);
	check(mspan_full(w.s));
	step_alloc(&w, 1, &r);
	for (i = 0; i < w.s->nelems; i++) {
		step_free(&w, i);
		step_free(&w, i);
		world_check(&w);
	}
	for (i = w.s->nelems; i-- > 0;) {
		/* only the highest is free each time: the hint must not hide it */
		step_alloc(&w, w.s->nelems, &r);
		step_free(&w, i);
		step_alloc(&w, 1, &r);
		check(w.out[i]);
	}
	step_alloc(&w, 0, &r);
	world_check(&w);
	world_free(&w);
}
END_TEST

START_TEST(header)
{
	static struct world w;
	struct mspan *s;
	unsigned int n;

	world_init(&w, _i);
	s = w.s;
	n = class_nelems(_i);
	check(s->start == BASE && s->sc == _i && s->nid == 3 && s->seq == 42);
	check(s->nelems == n && s->nr_alloc == 0 && s->hint == 0 && s->user_size == 0);
	check(s->state == (_i ? MSPAN_SMALL : MSPAN_LARGE) && list_empty(&s->link));
	check(s->size == (_i ? size_classes[_i].size : 0));
	check(mspan_size(s) == s->nr_pages * HA_PAGE_SIZE);
	check(!mspan_contains(s, BASE - 1) && mspan_contains(s, BASE));
	check(mspan_contains(s, BASE + mspan_size(s) - 1));
	check(!mspan_contains(s, BASE + mspan_size(s)));
	for (size_t off = 0; off < mspan_size(s); off++)
		check(mspan_index(s, BASE + off) == (_i ? off / s->size : 0));
	for (unsigned int i = 0; i <= n; i++)
		check(s->object_state[i] == OBJECT_FREE);
	check((char *)mspan_object(s, n - 1) + s->size <=
	      (char *)BASE + mspan_size(s));
	/* the next life: another place, everything free again */
	s->object_state[n - 1] = OBJECT_LIVE;
	bitmap_set(s->bits, n - 1);
	s->hint = s->nr_alloc = 1;
	mspan_init(s, BASE + ARENA_SIZE, s->nr_pages, _i, 5);
	check(s->seq == 43 && s->nid == 5 && s->start == BASE + ARENA_SIZE);
	check(mspan_validate(s) && s->nr_alloc == 0 && !bitmap_test(s->bits, n - 1));
	check(s->object_state[n - 1] == OBJECT_FREE);
	world_free(&w);
}
END_TEST

/* A kernel page of the span that no object out of it touches. */
static bool page_free(const struct world *w, size_t page, size_t page_size)
{
	for (unsigned int i = 0; i < w->s->nelems; i++) {
		size_t from = (size_t)i * w->s->size, to = from + w->s->size;

		if (w->out[i] && from < (page + 1) * page_size && to > page * page_size)
			return false;
	}
	return true;
}

/* What can be given back, page by page; what has been is not named again. */
static void check_drops(struct world *w, unsigned int shift)
{
	size_t page_size = 1UL << shift, nr = mspan_size(w->s) >> shift, size, i;
	bool dropped[80] = { false };
	uintptr_t addr, last = 0;

	for (i = 0; i < nr; i++)
		dropped[i] = w->s->dropped >> i & 1;
	while ((addr = mspan_drop(w->s, shift, &size))) {
		check(size && size % page_size == 0 && is_aligned(addr, page_size));
		check(addr > last && mspan_contains(w->s, addr + size - 1));
		last = addr;
		for (i = (addr - w->s->start) >> shift; size; i++, size -= page_size) {
			check(!dropped[i] && page_free(w, i, page_size));
			dropped[i] = true;
		}
	}
	for (i = 0; i < nr; i++) {
		check(dropped[i] == page_free(w, i, page_size));
		check(dropped[i] == (w->s->dropped >> i & 1));
	}
	check(mspan_drop(w->s, shift, &size) == 0);
}

START_TEST(drops)
{
	struct unit_rand r = unit_rand(3000 + _i);
	static struct world w;
	size_t size;

	for (unsigned int shift = 12; shift <= 16; shift += 2) {
		world_init(&w, _i);
		if (!w.s->nr_pages || mspan_size(w.s) >> shift == 0) {
			check(mspan_drop(w.s, shift, &size) == 0);
			world_free(&w);
			continue;
		}
		check_drops(&w, shift);
		for (unsigned int step = 0; step < 200; step++) {
			if (rand_below(&r, 2)) {
				w.s->dropped = 0;
				step_alloc(&w, rand_below(&r, 40), &r);
			} else {
				for (unsigned int k = rand_below(&r, 90); k; k--)
					step_free(&w, rand_below(&r, w.s->nelems));
			}
			if (rand_below(&r, 3) == 0)
				check_drops(&w, shift);
		}
		world_check(&w);
		/* a span that begins in the middle of a kernel page */
		mspan_init(w.s, BASE + (1UL << shift) / 2, w.s->nr_pages, _i, 0);
		check(mspan_drop(w.s, shift, &size) == 0);
		world_free(&w);
	}
}
END_TEST

/* The judge is judged: each lie is found. */
START_TEST(validate_finds)
{
	struct unit_rand r = unit_rand(2000);
	static struct world w;
	struct mspan *s;

	world_init(&w, _i);
	s = w.s;
	step_alloc(&w, (s->nelems + 1) / 2, &r);
	check(mspan_validate(s));
	s->nr_alloc++;
	check(!mspan_validate(s));
	s->nr_alloc--;
	s->object_state[s->nelems] = OBJECT_LIVE;
	check(!mspan_validate(s));
	s->object_state[s->nelems] = OBJECT_FREE;
	if (!mspan_full(s)) {
		s->object_state[s->nelems - 1] = OBJECT_LIVE;
		check(!mspan_validate(s));
		s->object_state[s->nelems - 1] = OBJECT_FREE;
		s->hint = bitmap_words(s->nelems);
		check(!mspan_validate(s));
		s->hint = 0;
	}
	bitmap_clear(s->bits, 0);
	check(!mspan_validate(s));
	bitmap_set(s->bits, 0);
	check(mspan_validate(s));
	world_free(&w);
}
END_TEST

/* A line of 64 objects is had whole or not at all, the lowest first. */
START_TEST(lines)
{
	unsigned int nr_lines = class_nelems(_i) / 64, got, i;
	struct unit_rand r = unit_rand(_i);
	struct mag_slot slots[MAX_SPAN_OBJECTS];
	static struct world w;

	world_init(&w, _i);
	for (i = 0; i < nr_lines; i++) {
		unsigned int n = 1 + rand_below(&r, 64);

		got = mspan_alloc_line(w.s, slots, n);
		check(got == n);
		check(slots[0].obj == mspan_object(w.s, i * 64));
		check(slots[n - 1].state == &w.s->object_state[i * 64 + n - 1]);
		for (unsigned int k = 0; k < n; k++)
			w.out[i * 64 + k] = true;
		w.nr_out += n;
		world_check(&w);
	}
	check(mspan_alloc_line(w.s, slots, 1) == 0);
	/* the rest is there for who takes any */
	step_alloc(&w, MAX_SPAN_OBJECTS, &r);
	world_check(&w);
	if (nr_lines) {
		for (i = 0; i < 64; i++)
			step_free(&w, (nr_lines - 1) * 64 + i);
		check(mspan_alloc_line(w.s, slots, 1) == 1);
		check(slots[0].obj == mspan_object(w.s, (nr_lines - 1) * 64));
	}
	world_free(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mspan");
	TCase *tc = tcase_create("classes");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, random_steps, 1, NR_SIZE_CLASSES);
	tcase_add_loop_test(tc, whole, 1, NR_SIZE_CLASSES);
	tcase_add_loop_test(tc, lines, 1, NR_SIZE_CLASSES);
	tcase_add_loop_test(tc, header, 0, NR_SIZE_CLASSES);
	tcase_add_loop_test(tc, drops, 1, FIRST_MEDIUM_CLASS);
	tcase_add_loop_test(tc, validate_finds, 1, NR_SIZE_CLASSES);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
