// SPDX-License-Identifier: MIT
/*
 * span_set: spans that come, go, fill and drain, against a plain array that says
 * which are in the set.
 */
#include "span_set.h"

#include "fake/unit.h"

#define NR_SPANS	40
#define BASE		VM_ARENA_HINT

struct world {
	struct span_set set;
	struct mspan *s[NR_SPANS];
	bool in[NR_SPANS];
};

static struct mspan *span_new(unsigned int sc, unsigned int i)
{
	unsigned int n = class_nelems(sc);
	uint8_t *states = calloc(1, mspan_state_bytes(sc));
	struct mspan *s = calloc(1, mspan_bytes(n));

	check(s && states);
	s->object_state = states + sizeof(struct mspan *);
	mspan_init(s, BASE + i * ARENA_SIZE, size_classes[sc].pages, sc, 0);
	return s;
}

static void world_init(struct world *w, unsigned int sc)
{
	span_set_init(&w->set);
	for (unsigned int i = 0; i < NR_SPANS; i++) {
		w->s[i] = span_new(sc, i);
		w->in[i] = false;
	}
}

static void world_free(struct world *w)
{
	for (unsigned int i = 0; i < NR_SPANS; i++) {
		free(w->s[i]->object_state - sizeof(struct mspan *));
		free(w->s[i]);
	}
}

static unsigned int eighth(const struct mspan *s)
{
	return s->nr_alloc * SPAN_SET_LISTS / s->nelems;
}

static unsigned int idx_of(struct world *w, const struct mspan *s)
{
	unsigned int i;

	for (i = 0; i < NR_SPANS; i++)
		if (w->s[i] == s)
			return i;
	ck_abort_msg("a span that is not ours");
}

static void world_check(struct world *w)
{
	unsigned int nr = 0, best = 0, seen = 0, i;
	struct mspan *pick = span_set_pick(&w->set);
	struct list_head *pos;

	for (i = 0; i < NR_SPANS; i++) {
		check(list_empty(&w->s[i]->link) == !w->in[i]);
		if (!w->in[i])
			continue;
		nr++;
		if (eighth(w->s[i]) > best)
			best = eighth(w->s[i]);
	}
	check(w->set.nr_spans == nr && !pick == !nr);
	for (i = 0; i < SPAN_SET_LISTS; i++) {
		check(list_empty(&w->set.lists[i]) == !(w->set.nonempty >> i & 1));
		list_for_each(pos, &w->set.lists[i]) {
			struct mspan *s = list_entry(pos, struct mspan, link);

			check(w->in[idx_of(w, s)] && eighth(s) == i);
			check(pos->next->prev == pos && pos->prev->next == pos);
			seen++;
		}
	}
	check(seen == nr && w->set.nonempty >> SPAN_SET_LISTS == 0);
	if (pick) {
		check(w->in[idx_of(w, pick)]);
		check(eighth(pick) == best && !mspan_full(pick));
	}
}

static void fill(struct mspan *s, unsigned int n)
{
	struct mag_slot slots[MAX_SPAN_OBJECTS];

	mspan_alloc(s, slots, n);
}

static void drain(struct mspan *s, unsigned int n, struct unit_rand *r)
{
	while (n-- && s->nr_alloc) {
		unsigned int i = rand_below(r, s->nelems);

		while (!bitmap_test(s->bits, i))
			i = (i + 1) % s->nelems;
		mspan_free(s, i / 64, 1ULL << (i % 64));
	}
}

/* As mcentral does: full spans leave, those that get room come in. */
static void change(struct world *w, unsigned int i, struct unit_rand *r)
{
	struct mspan *s = w->s[i];
	unsigned int n = 1 + rand_below(r, s->nelems);

	if (rand_below(r, 2))
		fill(s, n);
	else
		drain(s, n, r);
	if (w->in[i] && mspan_full(s)) {
		span_set_del(&w->set, s);
		w->in[i] = false;
	} else if (w->in[i] && rand_below(r, 2)) {
		span_set_renew(&w->set, s);
		check(w->set.lists[s->set_idx].next == &s->link);
	} else if (w->in[i]) {
		span_set_update(&w->set, s);
	}
}

START_TEST(random_steps)
{
	struct unit_rand r = unit_rand(_i);
	struct world w;

	world_init(&w, _i);
	world_check(&w);
	for (unsigned int step = 0; step < 4000; step++) {
		unsigned int i = rand_below(&r, NR_SPANS);

		if (rand_below(&r, 3)) {
			change(&w, i, &r);
		} else if (w.in[i]) {
			span_set_del(&w.set, w.s[i]);
			w.in[i] = false;
		} else if (!mspan_full(w.s[i])) {
			span_set_add(&w.set, w.s[i]);
			w.in[i] = true;
		}
		world_check(&w);
	}
	world_free(&w);
}
END_TEST

/* Allocation by pick alone: one span is filled before the next is begun. */
START_TEST(one_after_the_other)
{
	struct world w;
	unsigned int i;

	world_init(&w, _i);
	for (i = 0; i < NR_SPANS; i++) {
		span_set_add(&w.set, w.s[i]);
		w.in[i] = true;
	}
	for (i = 0; i < NR_SPANS; i++) {
		struct mspan *s = span_set_pick(&w.set);

		check(s);
		while (!mspan_full(s)) {
			unsigned int sparse = 0, k;

			fill(s, 1);
			if (!mspan_full(s)) {
				span_set_update(&w.set, s);
				if (eighth(s))
					check(span_set_pick(&w.set) == s);
			}
			for (k = 0; k < NR_SPANS; k++)
				sparse += eighth(w.s[k]) && !mspan_full(w.s[k]);
			check(sparse <= 1);
		}
		span_set_del(&w.set, s);
		w.in[idx_of(&w, s)] = false;
		world_check(&w);
	}
	check(!span_set_pick(&w.set) && w.set.nonempty == 0);
	/* the last becomes the only one with room */
	drain(w.s[7], 1, &(struct unit_rand){ 1 });
	span_set_add(&w.set, w.s[7]);
	w.in[7] = true;
	world_check(&w);
	check(span_set_pick(&w.set) == w.s[7]);
	world_free(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("span_set");
	TCase *tc = tcase_create("set");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	/* 1024 objects a span down to one */
	tcase_add_loop_test(tc, random_steps, 1, NR_SIZE_CLASSES);
	tcase_add_loop_test(tc, one_after_the_other, 1, NR_SIZE_CLASSES);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
