// SPDX-License-Identifier: MIT
/*
 * keep: the room of depots follows swings within its budgets, the account of it is
 * exact, and what they keep of large objects comes back before the heap grows.
 *
 * Batches go round between here and depots, without magazines.
 */
#include <pthread.h>
#include <string.h>

#include "conf.h"
#include "keep.h"
#include "limit.h"
#include "mheap.h"
#include "numa.h"

#include "fake/heap.h"
#include "fake/unit.h"

#define NR_THREADS	6
#define MAX_BATCHES	300
#define LARGE_BUDGET	(8UL << 20)
#define SMALL_BUDGET	(1UL << 20)
#define FIRST_LARGE_SIZE	(HA_PAGE_SIZE / 2 + 1)

static const struct heap_mode one = { .name = "one" };
static const struct heap_mode four = { .name = "four", .fake = 4 };

static struct mcentral *central(unsigned int nid, unsigned int sc)
{
	return &mcentrals[nid][sc];
}

static struct mag_batch *take(unsigned int nid, unsigned int sc)
{
	struct mag_batch *b = depot_pop(&central(nid, sc)->depot, 0);
	unsigned int from = nid, got;

	if (b)
		return b;
	/* while another thread is at the pool of them it says no */
	while (!(b = batch_get(0)))
		;
	keep_note_empty(nid, sc);
	for (b->n = 0; b->n < size_classes[sc].batch; b->n += got) {
		got = mcentral_alloc(&from, sc, 0, b->slots + b->n,
				     size_classes[sc].batch - b->n);
		check(got && from == nid);
	}
	return b;
}

static void give(unsigned int nid, unsigned int sc, struct mag_batch *b)
{
	if (depot_push(&central(nid, sc)->depot, 0, b))
		return;
	mcentral_free(nid, sc, b->slots, b->n);
	batch_put(0, b);
}

/* @nr batches out, and in again. */
static void swing(unsigned int nid, unsigned int sc, unsigned int nr)
{
	static struct mag_batch *b[MAX_BATCHES];

	check(nr <= MAX_BATCHES);
	for (unsigned int i = 0; i < nr; i++)
		b[i] = take(nid, sc);
	for (unsigned int i = nr; i-- > 0;)
		give(nid, sc, b[i]);
}

static size_t bytes_of(unsigned int sc, uint32_t batches)
{
	return ((size_t)size_classes[sc].size * size_classes[sc].batch +
		sizeof(struct mag_batch)) * batches;
}

static unsigned int class_of(size_t size)
{
	unsigned int sc = 1;

	while (size_classes[sc].size < size)
		sc++;
	return sc;
}

/* Room beyond the floors, of classes [from, to), as the depots say. */
static size_t room(unsigned int from, unsigned int to)
{
	size_t sum = 0;

	for (unsigned int n = 0; n < topo.nr_nodes; n++)
		for (unsigned int sc = from; sc < to; sc++)
			sum += bytes_of(sc, depot_extra(&central(n, sc)->depot));
	return sum;
}

/* The account of room, when nobody else is at it. */
static void check_account(void)
{
	unsigned int first = class_of(FIRST_LARGE_SIZE);

	check(room(first, NR_SIZE_CLASSES) == mheap_kept);
	check(mheap_kept <= max_size(LARGE_BUDGET, limit_total() / 8));
	check(room(1, first) <= max_size(SMALL_BUDGET, limit_total() / 16));
}

static void check_all_home(void)
{
	struct heap_sum sum;

	for (unsigned int n = 0; n < topo.nr_nodes; n++)
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
			keep_drain(n, sc);
	check(!mheap_kept && !room(1, NR_SIZE_CLASSES));
	heap_check(&sum);
	check(!sum.spans && !sum.used_pages);
}

/* Pages that are free and have been touched. */
static void warm(unsigned int nid, size_t bytes)
{
	bool zeroed;
	struct mspan *s = mheap_alloc_large(nid, bytes / HA_PAGE_SIZE, 1, &zeroed);

	check(s && s->nid == nid);
	mheap_free_span(s);
}

/* Batches that a swing of @bytes has. */
static unsigned int batches_for(unsigned int sc, size_t bytes)
{
	return min_size(bytes / bytes_of(sc, 1), MAX_BATCHES);
}

/* What comes and goes stays out of the spans, and goes home when it does not any more. */
START_TEST(follows_swings)
{
	const unsigned int sc = _i;
	const unsigned int nr = batches_for(sc, size_classes[sc].size < FIRST_LARGE_SIZE ?
					    900 << 10 : 6 << 20);
	struct mcentral *mc = central(0, sc);
	uint64_t refills;

	check(nr);
	heap_layers_init(&one);
	for (unsigned int i = 0; i < 3; i++)
		swing(0, sc, nr);
	check_account();
	refills = mc->nr_refills;
	for (unsigned int i = 0; i < 3; i++)
		swing(0, sc, nr);
	check(mc->nr_refills == refills && depot_count(&mc->depot) >= nr - 1);
	keep_trim(0, sc);
	keep_trim(0, sc);
	check(!depot_count(&mc->depot) && mc->depot.max == mc->depot.floor);
	check_account();
	check_all_home();
}
END_TEST

/* A small class that only grows keeps no room, and none that it does not need. */
START_TEST(room_of_who_grows)
{
	const unsigned int grows = class_of(256), swings = class_of(128);
	const unsigned int nr = batches_for(grows, 900 << 10);
	struct depot *d = &central(0, grows)->depot;
	struct mag_batch *b[MAX_BATCHES];

	heap_layers_init(&one);
	for (unsigned int i = 0; i < 3; i++)
		swing(0, grows, nr);
	check(depot_extra(d) && depot_count(d) >= nr - 1);
	/* declined by a depot that is not empty: nothing is asked for */
	for (unsigned int i = 0; i < 10; i++)
		give(0, grows, take(0, grows));
	d->missed = 1000;
	keep_note_empty(0, grows);
	check(d->missed == 1000);
	d->missed = 0;
	for (unsigned int i = 0; i < nr; i++)
		b[i] = take(0, grows);
	check(!depot_count(d));
	keep_trim(0, grows);
	keep_trim(0, grows);
	check(!depot_extra(d));
	for (unsigned int i = 0; i < 3; i++)
		swing(0, swings, batches_for(swings, 800 << 10));
	check(bytes_of(swings, depot_extra(&central(0, swings)->depot)) > 600 << 10);
	for (unsigned int i = 0; i < nr; i++)
		give(0, grows, b[i]);
	check_account();
	check_all_home();
}
END_TEST

/* Whatever a thread of the parent was about to account for. */
START_TEST(account_in_child)
{
	const unsigned int large = class_of(64 << 10), small = class_of(64);
	size_t kept;

	heap_layers_init(&four);
	for (unsigned int i = 0; i < 3; i++) {
		swing(1, large, 20);
		swing(2, small, 60);
	}
	check_account();
	kept = mheap_kept;
	check(kept);
	mheap_kept -= 3 * kept;
	keep_fork_child(topo.nr_nodes);
	check(mheap_kept == kept);
	check_account();
	check_all_home();
}
END_TEST

/* One large object more or less than fits is no swing; four are. */
START_TEST(no_swing)
{
	const unsigned int sc = class_of(256 << 10);
	struct depot *d = &central(0, sc)->depot;

	heap_layers_init(&one);
	check(size_classes[sc].batch == 1 && d->floor == 0);
	for (unsigned int i = 0; i < 100; i++)
		swing(0, sc, 3);
	check(d->max == 0 && !mheap_kept);
	swing(0, sc, 4);
	swing(0, sc, 4);
	check(d->max == 4 && mheap_kept == bytes_of(sc, 4));
	check_account();
	check_all_home();
}
END_TEST

/* Room that nobody uses goes to who needs it, and none that is in use. */
START_TEST(room_moves)
{
	const unsigned int a = class_of(64 << 10), b = class_of(128 << 10);
	const unsigned int nr = batches_for(a, LARGE_BUDGET) + 10;
	struct depot *d = &central(0, a)->depot;
	size_t had;

	heap_layers_init(&one);
	warm(0, 2 * LARGE_BUDGET);
	swing(0, a, nr);
	swing(0, a, nr);
	had = depot_extra(d);
	check(bytes_of(a, had + 1) > LARGE_BUDGET && depot_surplus(d) == had);
	for (unsigned int i = 0; i < 50; i++) {
		give(0, a, take(0, a));
		swing(0, b, 8);
		check_account();
		check(depot_extra(d) == had && depot_surplus(d) == had);
	}
	/* once round to see that it was used, once more to see that it was not */
	for (unsigned int i = 0; i < NR_SIZE_CLASSES && depot_extra(d); i++) {
		swing(0, b, 8);
		check_account();
	}
	check(!depot_extra(d) && depot_count(d) == d->floor);
	swing(0, b, 8);
	check(depot_extra(&central(0, b)->depot) == 8);
	check_all_home();
}
END_TEST

static size_t surplus(unsigned int nid)
{
	size_t sum = 0;

	for (unsigned int sc = class_of(FIRST_LARGE_SIZE); sc < NR_SIZE_CLASSES; sc++)
		sum += bytes_of(sc, depot_surplus(&central(nid, sc)->depot));
	return sum;
}

/* Depots of several classes hold all that they may. */
static void fill_depots(unsigned int nid)
{
	static const size_t sizes[] = { 8 << 10, 20 << 10, 64 << 10, 256 << 10 };

	warm(nid, 2 * LARGE_BUDGET);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned int sc = class_of(sizes[i]);

		swing(nid, sc, batches_for(sc, LARGE_BUDGET / 4));
		swing(nid, sc, batches_for(sc, LARGE_BUDGET / 4));
	}
	check(surplus(nid) > LARGE_BUDGET / 4 * 3);
	check_account();
}

/* Small spans (_i & 1) or large ones: when the heap grows there is nothing left in depots. */
START_TEST(before_growth)
{
	const unsigned int small = class_of(48), nr_pages = 40;
	struct mheap_stat st, before;
	size_t taken = 0;
	struct mspan *s;
	bool zeroed;

	heap_layers_init(_i & 2 ? &four : &one);
	fill_depots(0);
	mheap_stat(0, &before);
	do {
		s = _i & 1 ? mheap_alloc_span(0, small, 0) :
		    mheap_alloc_large(0, nr_pages, 1, &zeroed);
		check(s && s->nid == 0);
		taken += mspan_size(s);
		mheap_stat(0, &st);
		check_account();
	} while (st.pages == before.pages);
	check(!surplus(0) && taken > LARGE_BUDGET / 2);
}
END_TEST

/* Nor does it take what the kernel has, as long as its own pages are too few. */
START_TEST(before_faults)
{
	const unsigned int nr_pages = 40;
	size_t held, at_hand, times = 0;
	bool zeroed;

	heap_layers_init(&one);
	fill_depots(0);
	mheap_release(0, SIZE_MAX);
	for (held = surplus(0); held; held = surplus(0)) {
		at_hand = mheap_resident_free(0);
		check(mheap_alloc_large(0, nr_pages, 1, &zeroed));
		check(at_hand >= nr_pages * HA_PAGE_SIZE || surplus(0) < held);
		times += surplus(0) < held;
		check_account();
	}
	check(times > 5);
}
END_TEST

/* What no amount of depots could give is not asked of them. */
START_TEST(not_in_vain)
{
	struct mspan *s;
	size_t held;
	bool zeroed;

	heap_layers_init(&one);
	fill_depots(0);
	held = surplus(0);
	s = mheap_alloc_large(0, (64UL << 20) / HA_PAGE_SIZE, 1, &zeroed);
	check(s && surplus(0) == held);
	mheap_free_span(s);
	check_all_home();
}
END_TEST

/* Close to a limit there is no room, and caches that are bounded share their bound. */
START_TEST(near_a_limit)
{
	const unsigned int large = class_of(64 << 10), small = class_of(64);

	heap_layers_init(&one);
	swing(0, large, 32);
	limit_set(limit_total() + limit_total() / 16, LIMIT_NONE);
	swing(0, large, 32);
	swing(0, small, batches_for(small, SMALL_BUDGET / 2));
	swing(0, small, batches_for(small, SMALL_BUDGET / 2));
	check(!mheap_kept && !room(1, NR_SIZE_CLASSES));
	limit_set(LIMIT_NONE, LIMIT_NONE);
	limit_set_cache_max(700 << 10);
	for (unsigned int i = 0; i < 3; i++) {
		swing(0, large, 32);
		swing(0, small, batches_for(small, SMALL_BUDGET / 2));
		check(room(1, NR_SIZE_CLASSES) <= 700 << 10);
	}
	check(room(1, NR_SIZE_CLASSES) > 500 << 10);
	check_account();
	check_all_home();
}
END_TEST

/* Random traffic over all that changes room; the account holds after each step. */
START_TEST(account)
{
	struct unit_rand r = unit_rand(_i);
	static struct mspan *s[16];
	bool zeroed;

	heap_layers_init(&four);
	for (unsigned int step = 0; step < 3000; step++) {
		unsigned int nid = rand_below(&r, topo.nr_nodes), i = rand_below(&r, 16);
		unsigned int sc = 1 + rand_below(&r, NR_SIZE_CLASSES - 1);

		switch (rand_below(&r, 8)) {
		case 0:
			keep_trim(nid, sc);
			break;
		case 1:
			keep_drain_one(nid, sc);
			break;
		case 2:
			keep_shrunk(nid, sc);
			while (keep_shed(nid, sc))
				;
			break;
		case 3:
			if (s[i])
				mheap_free_span(s[i]);
			s[i] = mheap_alloc_large(nid, 1 + rand_below(&r, 300), 1, &zeroed);
			check(s[i]);
			break;
		default:
			swing(nid, sc, rand_below(&r, 40));
		}
		check_account();
	}
	for (unsigned int i = 0; i < 16; i++)
		if (s[i])
			mheap_free_span(s[i]);
	check_all_home();
}
END_TEST

static void *storm_thread(void *arg)
{
	struct unit_rand r = unit_rand(100 + (uintptr_t)arg);
	struct mag_batch *held[24];
	bool zeroed;

	for (unsigned int round = 0; round < 300; round++) {
		unsigned int sc = class_of(1UL << (9 + rand_below(&r, 10)));
		unsigned int nr = rand_below(&r, ARRAY_SIZE(held));
		struct mspan *s;

		for (unsigned int i = 0; i < nr; i++) {
			held[i] = take(0, sc);
			memset(held[i]->slots[0].obj, (int)(uintptr_t)arg, 8);
		}
		if (round % 4 == 0) {
			s = mheap_alloc_large(0, 1 + rand_below(&r, 200), 1, &zeroed);
			check(s);
			mheap_free_span(s);
		}
		for (unsigned int i = 0; i < nr; i++) {
			/* nobody else has it */
			check(*(uint8_t *)held[i]->slots[0].obj == (uint8_t)(uintptr_t)arg);
			give(0, sc, held[i]);
		}
		if (round % 16 == 0)
			keep_trim(0, sc);
	}
	return NULL;
}

START_TEST(storm)
{
	pthread_t t[NR_THREADS];

	heap_layers_init(&one);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		check(!pthread_create(&t[i], NULL, storm_thread, (void *)(i + 1)));
	for (unsigned int i = 0; i < NR_THREADS; i++)
		check(!pthread_join(t[i], NULL));
	check(room(class_of(FIRST_LARGE_SIZE), NR_SIZE_CLASSES) == mheap_kept);
	check_all_home();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("keep");
	TCase *tc = tcase_create("keep");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, follows_swings, 1, NR_SIZE_CLASSES);
	tcase_add_test(tc, room_of_who_grows);
	tcase_add_test(tc, account_in_child);
	tcase_add_test(tc, no_swing);
	tcase_add_test(tc, room_moves);
	tcase_add_loop_test(tc, before_growth, 0, 4);
	tcase_add_test(tc, before_faults);
	tcase_add_test(tc, not_in_vain);
	tcase_add_test(tc, near_a_limit);
	tcase_add_loop_test(tc, account, 0, 4);
	tcase_add_test(tc, storm);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
