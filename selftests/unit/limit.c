// SPDX-License-Identifier: MIT
/*
 * limit: the arithmetic and the bucket against naive references; then heaps under
 * limits, held against a list of what is allocated.
 */
#include <string.h>

#include "assist.h"
#include "conf.h"
#include "fixalloc.h"
#include "limit.h"
#include "mheap.h"
#include "numa.h"

#include "fake/heap.h"
#include "fake/unit.h"

#define MIB		(1UL << 20)
#define MAX_LIVE	300

static const struct heap_mode one = { .name = "one" };
static const struct heap_mode four = { .name = "four", .fake = 4 };

static unsigned int nr_wakes;

static void count_wake(void)
{
	nr_wakes++;
}

static const struct limit_ops ops = {
	.wake = count_wake,
	.assist = assist_soft,
	.make_room = assist_hard,
};

START_TEST(percentages)
{
	struct unit_rand r = unit_rand(1);

	check(limit_percent(0, 50) == 0 && limit_percent(99, 1) == 0);
	check(limit_percent(SIZE_MAX, 100) == SIZE_MAX);
	for (unsigned int i = 0; i < 100000; i++) {
		size_t bytes = rand_log(&r, 63);
		unsigned int percent = rand_below(&r, 101);

		check(limit_percent(bytes, percent) ==
		      (size_t)((unsigned __int128)bytes * percent / 100));
	}
}
END_TEST

START_TEST(rooms)
{
	struct unit_rand r = unit_rand(2);

	check(limit_of_room(5, INT64_MIN) == 0 && limit_of_room(0, 0) == 0);
	check(limit_of_room(SIZE_MAX - 3, INT64_MAX) != LIMIT_NONE);
	for (unsigned int i = 0; i < 100000; i++) {
		size_t total = rand_log(&r, 40);
		int64_t room = rand_log(&r, 40);

		if (rand_below(&r, 2))
			room = -room;
		check(limit_of_room(total, room) ==
		      (size_t)((int64_t)total + room < 0 ? 0 : (int64_t)total + room));
	}
}
END_TEST

/* Time in ticks of 2 us, each of which lets 1 us of CPU out. */
START_TEST(bucket)
{
	struct unit_rand r = unit_rand(3 + _i);
	struct limit_bucket b = { 0 };
	uint64_t now = 1000000000, fill = 0, spent = 0, wall = 0;
	unsigned int closed = 0;

	limit_bucket_open(&b, now);
	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t ticks = rand_below(&r, _i ? 2000 : 20000);
		bool open;

		for (uint64_t t = 0; t < ticks; t++)
			fill -= fill < 1000 ? fill : 1000;
		now += ticks * 2000;
		wall += ticks * 2000;
		open = limit_bucket_open(&b, now);
		check(open == (fill < LIMIT_BUCKET_NS) && b.fill_ns == fill);
		closed += !open;
		if (open) {
			uint64_t cpu = rand_below(&r, 8000000);

			limit_bucket_add(&b, cpu);
			fill += cpu;
			spent += cpu;
		}
		/* half of a CPU, and what the bucket holds */
		check(spent <= wall / 2 + LIMIT_BUCKET_NS + 8000000);
	}
	check((closed > 0) == (_i == 1));
}
END_TEST

/* A clock that stands or goes back lets nothing out. */
START_TEST(bucket_clock)
{
	struct limit_bucket b = { 0 };

	check(limit_bucket_open(&b, 5000));
	limit_bucket_add(&b, LIMIT_BUCKET_NS);
	check(!limit_bucket_open(&b, 5000) && !limit_bucket_open(&b, 100));
	check(b.fill_ns == LIMIT_BUCKET_NS);
	check(limit_bucket_open(&b, 5002));
}
END_TEST

START_TEST(account)
{
	struct unit_rand r = unit_rand(9);
	size_t hard = 50 * MIB, ready = 0, charged = 0, meta;

	/* no limit: nothing is set aside */
	check(limit_charge(MIB, &charged) && charged == 0);
	meta = meta_bytes();
	limit_set(LIMIT_NONE, hard);
	for (unsigned int i = 0; i < 100000; i++) {
		size_t want = rand_below(&r, 4 * MIB), got;
		bool fits = ready + meta + want <= hard;

		check(limit_fits(want) == fits);
		charged = 0;
		check(limit_charge(want, &charged) == fits);
		check(charged == (fits ? want : 0));
		/* of what was set aside some, none or all was needed */
		got = fits ? rand_below(&r, want + 1) : 0;
		got -= rand_below(&r, 3) ? 0 : rand_below(&r, ready + 1);
		limit_settle(got, charged);
		ready += got;
		check(limit_total() == ready + meta);
	}
	limit_dropped(1000);
	check(limit_total() == ready + meta - 1000);
	limit_dropped(-1000UL);
	check(limit_total() == ready + meta);
}
END_TEST

START_TEST(which_soft)
{
	size_t charged = 0;

	check(limit_soft() == LIMIT_NONE && !limit_passed() && !limit_excess());
	limit_settle(100 * MIB, charged);
	limit_set(90 * MIB, LIMIT_NONE);
	check(limit_soft() == 90 * MIB && limit_passed());
	check(limit_excess() == limit_total() - 90 * MIB + 90 * MIB / 20);
	limit_set_outer(80 * MIB, LIMIT_NONE);
	check(limit_soft() == 80 * MIB);
	limit_set(90 * MIB, 70 * MIB);
	check(limit_soft() == 70 * MIB);
	limit_set(LIMIT_NONE, LIMIT_NONE);
	limit_set_outer(105 * MIB, LIMIT_NONE);
	/* between 95 % and the limit */
	check(!limit_passed() && limit_excess() > 0);
	limit_set_outer(200 * MIB, LIMIT_NONE);
	check(!limit_passed() && !limit_excess());
}
END_TEST

START_TEST(wakes)
{
	limit_ops = &ops;
	limit_check(MIB);
	check(nr_wakes == 0);
	limit_wake_at(10 * MIB);
	limit_check(9 * MIB);
	check(nr_wakes == 0);
	limit_check(11 * MIB);
	limit_check(11 * MIB);
	/* once, until said again */
	check(nr_wakes == 1);
	limit_wake_at(10 * MIB);
	limit_check(11 * MIB);
	check(nr_wakes == 2);
}
END_TEST

static struct mspan *live[MAX_LIVE];

/* A small span as if all its objects were out. */
static struct mspan *take_class(unsigned int nid, unsigned int sc, unsigned int slot)
{
	struct mspan *s = mheap_alloc_span(nid, sc, slot);

	if (!s)
		return NULL;
	s->nr_alloc = s->nelems;
	for (unsigned int i = 0; i < s->nelems; i++)
		bitmap_set(s->bits, i);
	mcentrals[s->nid][s->sc].nr_out += s->nelems;
	return s;
}

/* A span of either kind. */
static struct mspan *take(struct unit_rand *r, unsigned int nid)
{
	bool zeroed;

	if (!rand_below(r, 3))
		return mheap_alloc_large(nid, rand_log(r, 10), 1, &zeroed);
	return take_class(nid, 1 + rand_below(r, NR_SIZE_CLASSES - 1), rand_below(r, 8));
}

static void give(struct mspan *s)
{
	if (s->sc) {
		memset(s->bits, 0, bitmap_words(s->nelems) * sizeof(s->bits[0]));
		mcentrals[s->nid][s->sc].nr_out -= s->nelems;
		s->nr_alloc = 0;
	}
	mheap_free_span(s);
}

static size_t in_use(void)
{
	size_t sum = 0;

	for (unsigned int i = 0; i < MAX_LIVE; i++)
		sum += live[i] ? live[i]->nr_pages << HA_PAGE_SHIFT : 0;
	return sum;
}

/* The limit holds at each step, and only what does not fit is refused. */
START_TEST(hard)
{
	struct unit_rand r = unit_rand(20 + _i);
	size_t limit = 24 * MIB;
	unsigned int refused = 0;

	heap_layers_init(_i ? &four : &one);
	limit_ops = &ops;
	limit_set(LIMIT_NONE, limit);
	for (unsigned int step = 0; step < 8000; step++) {
		unsigned int i = rand_below(&r, MAX_LIVE), nid = i % topo.nr_nodes;

		if (live[i]) {
			give(live[i]);
			live[i] = NULL;
		} else {
			live[i] = take(&r, nid);
			if (!live[i]) {
				/* the largest request, and a page of descriptors */
				check(in_use() + meta_bytes() + 9 * MIB > limit);
				refused++;
			}
		}
		check(limit_total() <= limit + MIB / 2);
		if (step % 500 == 0)
			heap_check(&(struct heap_sum){ 0 });
	}
	check(refused > 0);
	for (unsigned int i = 0; i < MAX_LIVE; i++)
		if (live[i])
			give(live[i]);
	memset(live, 0, sizeof(live));
	/* what is free is given back for what is wanted */
	live[0] = mheap_alloc_large(0, (16 * MIB) >> HA_PAGE_SHIFT, 1, &(bool){ 0 });
	check(live[0]);
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/* Free memory goes back before the limit is passed; what is in use may pass it. */
START_TEST(soft)
{
	struct mspan *s, *kept;
	bool zeroed;

	heap_layers_init(_i ? &four : &one);
	limit_ops = &ops;
	limit_set(40 * MIB, LIMIT_NONE);
	for (unsigned int i = 0; i < 50; i++) {
		/* never the same place twice in a row: the free pages would do */
		s = mheap_alloc_large(0, (20 * MIB + i * MIB / 4) >> HA_PAGE_SHIFT, 1, &zeroed);
		kept = mheap_alloc_large(0, 4, 1, &zeroed);
		check(s && kept && limit_total() <= 41 * MIB);
		mheap_free_span(s);
	}
	check(assist_stat.nr > 0 && assist_stat.bytes > 0);
	s = mheap_alloc_large(0, (60 * MIB) >> HA_PAGE_SHIFT, 1, &zeroed);
	check(s && limit_total() > 60 * MIB);
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/*
 * The CPU time for assists is used up: the limit is passed, but not the size from
 * which on the process is in danger.
 */
START_TEST(danger)
{
	struct mspan *s, *kept;
	bool zeroed;
	size_t nr;

	heap_layers_init(_i ? &four : &one);
	limit_ops = &ops;
	limit_set_outer(40 * MIB, 48 * MIB);
	limit_bucket_add(&assist_bucket, 1ULL << 62);
	for (size_t mib = 30; mib < 38; mib += 2) {
		bool spared = mib % 4;

		limit_set_outer(40 * MIB, spared ? 48 * MIB : LIMIT_NONE);
		nr = assist_stat.nr;
		/* larger than what is free together */
		s = mheap_alloc_large(0, (mib * MIB) >> HA_PAGE_SHIFT, 1, &zeroed);
		kept = mheap_alloc_large(0, 4, 1, &zeroed);
		check(s && kept);
		if (spared)
			check(!limit_in_danger(0));
		else
			check(assist_stat.nr == nr);
		mheap_free_span(s);
	}
	check(assist_stat.nr > 0);
	/* in use: it may pass that as well */
	limit_set_outer(40 * MIB, 48 * MIB);
	s = mheap_alloc_large(0, (60 * MIB) >> HA_PAGE_SHIFT, 1, &zeroed);
	check(s && limit_in_danger(0));
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/* Growth in place is refused as any other; the span is as it was. */
START_TEST(resize)
{
	struct mspan *s;
	bool zeroed;

	heap_layers_init(&one);
	limit_ops = &ops;
	limit_set(LIMIT_NONE, 28 * MIB);
	s = mheap_alloc_large(0, (20 * MIB) >> HA_PAGE_SHIFT, 1, &zeroed);
	check(s && !mheap_resize_span(s, (40 * MIB) >> HA_PAGE_SHIFT));
	check(mspan_size(s) == 20 * MIB);
	check(mheap_resize_span(s, (8 * MIB) >> HA_PAGE_SHIFT));
	check(mheap_resize_span(s, (19 * MIB) >> HA_PAGE_SHIFT));
	check(!mheap_alloc_large(0, (11 * MIB) >> HA_PAGE_SHIFT, 1, &zeroed));
	mheap_free_span(s);
	s = mheap_alloc_large(0, (10 * MIB) >> HA_PAGE_SHIFT, 1, &zeroed);
	check(s);
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/* madvise refuses: what cannot be given back is not counted as given. */
START_TEST(refused)
{
	struct mspan *s;
	bool zeroed;

	heap_layers_init(&one);
	limit_ops = &ops;
	limit_set(LIMIT_NONE, 30 * MIB);
	s = mheap_alloc_large(0, (20 * MIB) >> HA_PAGE_SHIFT, 1, &zeroed);
	mheap_free_span(s);
	vm_fail_nth(1, true);
	check(!mheap_alloc_large(0, (24 * MIB) >> HA_PAGE_SHIFT, 1, &zeroed));
	heap_check(&(struct heap_sum){ 0 });
	vm_fail_nth(0, false);
	check(mheap_alloc_large(0, (24 * MIB) >> HA_PAGE_SHIFT, 1, &zeroed));
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/* Nothing can go back: what is free and resident is given out all the same. */
START_TEST(locked)
{
	struct mspan *s[9];
	size_t total;
	bool zeroed;

	heap_layers_init(_i ? &four : &one);
	limit_ops = &ops;
	for (unsigned int i = 0; i < ARRAY_SIZE(s); i++)
		s[i] = mheap_alloc_large(0, (3 * MIB) >> HA_PAGE_SHIFT, 1, &zeroed);
	for (unsigned int i = 0; i < ARRAY_SIZE(s); i++)
		mheap_free_span(s[i]);
	limit_set(LIMIT_NONE, limit_total() + MIB);
	total = limit_total();
	vm_fail_nth(1, true);
	for (unsigned int i = 0; i < 6; i++)
		check((s[i] = mheap_alloc_large(0, (3 * MIB) >> HA_PAGE_SHIFT, 1, &zeroed)) &&
		      !zeroed);
	/* a boundary of chunks is no end of them */
	check(mheap_alloc_large(0, 300, 256, &zeroed) && !zeroed);
	for (unsigned int sc = 1; sc < 40; sc++)
		check(take_class(0, sc, 0));
	check(limit_total() <= total + MIB);
	heap_check(&(struct heap_sum){ 0 });
	/* and what is not resident is not */
	check(!mheap_alloc_large(0, (6 * MIB) >> HA_PAGE_SHIFT, 1, &zeroed));
	mheap_free_span(s[0]);
	check(mheap_alloc_large(0, (3 * MIB) >> HA_PAGE_SHIFT, 1, &zeroed));
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

int main(void)
{
	Suite *s = suite_create("limit");
	TCase *tc = tcase_create("limit");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_test(tc, percentages);
	tcase_add_test(tc, rooms);
	tcase_add_loop_test(tc, bucket, 0, 2);
	tcase_add_test(tc, bucket_clock);
	tcase_add_test(tc, account);
	tcase_add_test(tc, which_soft);
	tcase_add_test(tc, wakes);
	tcase_add_loop_test(tc, hard, 0, 2);
	tcase_add_loop_test(tc, soft, 0, 2);
	tcase_add_loop_test(tc, danger, 0, 2);
	tcase_add_test(tc, resize);
	tcase_add_test(tc, refused);
	tcase_add_loop_test(tc, locked, 0, 2);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
