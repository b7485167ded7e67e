// SPDX-License-Identifier: MIT
/*
 * mcache_drain: what the room of a magazine follows, and what of caches goes home while
 * their slot is at work: what rests, what is cold, what a class that has shrunk leaves.
 */
#include <string.h>
#include <unistd.h>

#include "keep.h"
#include "limit.h"

#include "fake/magazines.h"

/*
 * What nobody has used for two epochs goes home, whoever is busy with another class; not
 * what is used, and always put back.
 */
START_TEST(rested)
{
	static struct mag_slot s[3000];
	const unsigned int sc = small_class(64), other = small_class(256);
	const unsigned int used = small_class(128);
	struct mcentral *mc = &mcentrals[0][sc];
	struct mag_slot slot;

	heap_layers_init(&heap_modes[_i]);
	stay();
	for (unsigned int i = 0; i < ARRAY_SIZE(s); i++)
		check(get(sc, &s[i]));
	for (unsigned int i = ARRAY_SIZE(s); i-- > 0;)
		put(s[i]);
	check(mcache_nr_cached(sc) > 1000 && depot_count(&mc->depot));
	for (unsigned int epoch = 0; epoch < 3; epoch++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(s); i++)
			check(get(other, &s[i]));
		for (unsigned int i = ARRAY_SIZE(s); i-- > 0;)
			put(s[i]);
		check(get(used, &slot));
		put(slot);
		atomic_add_relaxed(&mheap_epoch, 1);
	}
	check(mcache_nr_cached(used) && mcentral_nr_refills(&mcentrals[0][used]) == 1);
	check(!mcache_nr_cached(sc) && mc->nr_out == 0 && mc->nr_spans == 0);
	check(mcache_nr_cached(other));
	check_goes_home();
}
END_TEST

/* Bytes of room beyond the first, as the limits say; the slot has it too. */
static size_t check_wide(unsigned int id)
{
	struct mag_hdr *hdrs = headers(id);
	size_t sum = 0;

	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		const struct mag_hdr *h = &hdrs[route_make(slot_node(id), sc)];
		unsigned int room = (h->limit - h->base) / MAG_SLOT_UNITS;

		sum += (room - mag_room(slot_node(id), slot_node(id), sc)) *
		       size_classes[sc].size;
	}
	check(sum == *slot_wide(hdrs) && sum <= WIDE_BYTES);
	return sum;
}

/* @nr objects out, and in again, in one order. */
static void burst(struct mag_slot *s, unsigned int sc, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		check(get(sc, &s[i]));
	for (unsigned int i = nr; i-- > 0;)
		put(s[i]);
}

/*
 * A magazine that is full and empty in turn gets room for what comes and goes, and loses
 * it when a look finds that it was not full again.  _i: by sequence, by a lock.
 */
START_TEST(widens)
{
	static struct mag_slot s[MAG_WIDE * MAX_BATCH];
	const unsigned int sc = small_class(64), batch = size_classes[sc].batch;
	unsigned int id, nr = MAG_WIDE * batch - 1;
	struct depot *d = &mcentrals[0][sc].depot;
	struct mag_hdr *h;
	uint64_t pops;

	heap_layers_init(&heap_modes[_i]);
	stay();
	for (unsigned int i = 0; i < 6; i++)
		burst(s, sc, nr);
	id = current_slot();
	h = &headers(id)[route_make(0, sc)];
	check(h->limit == h->base + MAG_WIDE * batch * MAG_SLOT_UNITS);
	check(check_wide(id) == (MAG_WIDE - MAG_BATCHES) * batch * size_classes[sc].size);
	pops = depot_nr_pops(d);
	for (unsigned int i = 0; i < 10; i++)
		burst(s, sc, nr);
	check(depot_nr_pops(d) == pops);
	/* full a while ago, and at the second look it was not again */
	mcache_drain_cold();
	check(check_wide(id));
	burst(s, sc, nr);
	mcache_drain_cold();
	check(!check_wide(id) && h->limit == h->base + MAG_BATCHES * batch * MAG_SLOT_UNITS);
	/* what is in it is more than that: nothing is lost by the next push */
	burst(s, sc, 1);
	burst(s, sc, nr);
	check_goes_home();
	check(!check_wide(id));
}
END_TEST

/* All classes at once: no more than the budget, and none close to a limit. */
START_TEST(widens_within)
{
	static struct mag_slot s[MAG_WIDE * MAX_BATCH];
	unsigned int id;

	heap_layers_init(&heap_modes[_i]);
	stay();
	for (unsigned int i = 0; i < 6; i++)
		for (unsigned int sc = 1; sc < FIRST_MEDIUM_CLASS; sc++)
			burst(s, sc, MAG_WIDE * size_classes[sc].batch - 1);
	id = current_slot();
	check(check_wide(id) > WIDE_BYTES / 2);
	check_goes_home();
	check(!check_wide(id));
	limit_set(limit_total() + limit_total() / 16, LIMIT_NONE);
	for (unsigned int i = 0; i < 6; i++)
		burst(s, small_class(64), MAG_WIDE * size_classes[small_class(64)].batch - 1);
	check(!check_wide(id));
	limit_set(LIMIT_NONE, LIMIT_NONE);
	check_goes_home();
}
END_TEST

/*
 * A slot is in use, but not what lies deep in its magazines: that goes home, and what is
 * used stays.  _i: by sequence, by a lock.
 */
START_TEST(cold)
{
	static struct mag_slot s[NR_SIZE_CLASSES][60];
	const unsigned int used = small_class(64), last = small_class(2048);
	struct mag_slot few[10];
	size_t cached = 0;
	uint64_t refills;

	heap_layers_init(&heap_modes[_i]);
	stay();
	for (unsigned int sc = used; sc <= last; sc++)
		for (unsigned int i = 0; i < size_classes[sc].batch && i < 60; i++)
			check(get(sc, &s[sc][i]));
	for (unsigned int sc = used; sc <= last; sc++)
		for (unsigned int i = 0; i < size_classes[sc].batch && i < 60; i++)
			put(s[sc][i]);
	refills = mcentral_nr_refills(&mcentrals[0][used]);
	for (unsigned int look = 0; look < 3; look++) {
		mcache_drain_cold();
		cached = 0;
		for (unsigned int sc = used; sc <= last; sc++)
			cached += mcache_nr_cached(sc);
		/* by sequence COLD_MAX at once */
		check(look == 0 ? cached > 1000 : look == 1 || cached < 200);
		for (unsigned int i = 0; i < ARRAY_SIZE(few); i++)
			check(get(used, &few[i]));
		for (unsigned int i = 0; i < ARRAY_SIZE(few); i++)
			put(few[i]);
	}
	check(mcache_nr_cached(used) >= ARRAY_SIZE(few));
	check(mcentral_nr_refills(&mcentrals[0][used]) == refills);
	check_goes_home();
}
END_TEST

/* Much is freed and as much allocated again: the spans are left out of it. */
START_TEST(swing)
{
	static struct mag_slot s[5000];
	const unsigned int sc = small_class(64);
	struct mcentral *mc = &mcentrals[0][sc];
	uint64_t flushes = 0;
	uint32_t max;

	heap_layers_init(&heap_modes[0]);
	max = mc->depot.max;
	for (unsigned int round = 0; round < 5; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(s); i++)
			check(get(sc, &s[i]));
		for (unsigned int i = ARRAY_SIZE(s); i-- > 0;)
			put(s[i]);
		check(round < 2 || mc->nr_flushes == flushes);
		flushes = mc->nr_flushes;
	}
	check(flushes && mc->depot.max > max && depot_count(&mc->depot) > max);
	/* what is in it now is needed by nobody any more */
	keep_trim(0, sc);
	keep_trim(0, sc);
	check(mc->depot.max == max && !depot_count(&mc->depot));
	check_goes_home();
}
END_TEST

/*
 * A class has shrunk: what caches hold of it is left behind for the fullest span, and
 * goes home, what depots hold a few batches with each refill.
 */
START_TEST(shrunk)
{
	static struct mag_slot s[40000], got[10 * MAX_BATCH], keep[1024];
	const unsigned int sc = small_class(64), batch = size_classes[sc].batch;
	struct mcentral *mc = &mcentrals[0][sc];
	struct mag_slot hole[2];
	unsigned int nr = 0, holes = 0;
	struct mspan *full;

	heap_layers_init(&heap_modes[0]);
	stay();
	for (unsigned int i = 0; i < ARRAY_SIZE(s); i++)
		check(get(sc, &s[i]));
	full = heap_arena_find_span((uintptr_t)s[ARRAY_SIZE(s) / 2].obj);
	/* in no order at all: by a step that has no factor in common with their number */
	for (unsigned int i = 0, k = 0; i < ARRAY_SIZE(s); i++) {
		k = (k + 7919) % ARRAY_SIZE(s);
		if (heap_arena_find_span((uintptr_t)s[k].obj) != full)
			put(s[k]);
		else if (holes < 2)
			hole[holes++] = s[k];
		else
			keep[nr++] = s[k];
	}
	put(hole[0]);
	put(hole[1]);
	check(mag_is_shut(&slot_hdrs[current_slot()][route_make(0, sc)]));
	check(depot_count(&mc->depot) == mc->depot.max);
	for (unsigned int i = 0; i < batch; i++)
		check(get(sc, &got[i]));
	check(mcache_nr_cached(sc) <= depot_objects(&mc->depot) + batch);
	for (unsigned int i = 0; i < batch; i++)
		holes -= got[i].obj == hole[0].obj || got[i].obj == hole[1].obj;
	check(!holes && mc->stale);
	for (unsigned int i = batch; i < ARRAY_SIZE(got); i++)
		check(get(sc, &got[i]));
	check(!depot_count(&mc->depot) && !mc->stale);
	for (unsigned int i = 0; i < ARRAY_SIZE(got); i++)
		put(got[i]);
	while (nr)
		put(keep[--nr]);
	check_goes_home();
}
END_TEST

/* An object of a page or more keeps nothing but itself: no order is better than another. */
START_TEST(shrunk_large)
{
	static struct mag_slot s[3000];
	const unsigned int sc = small_class(vm_page_size);

	heap_layers_init(&heap_modes[0]);
	stay();
	for (unsigned int i = 0; i < ARRAY_SIZE(s); i++)
		check(get(sc, &s[i]));
	for (unsigned int i = 0; i < ARRAY_SIZE(s); i++)
		put(s[i]);
	check(mcentrals[0][sc].depot.missed);
	check(!mag_is_shut(&slot_hdrs[current_slot()][route_make(0, sc)]));
	check_goes_home();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mcache_drain");
	TCase *tc = tcase_create("at work");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_test(tc, swing);
	tcase_add_loop_test(tc, rested, 0, 2);
	tcase_add_loop_test(tc, widens, 0, 2);
	tcase_add_loop_test(tc, widens_within, 0, 2);
	tcase_add_loop_test(tc, cold, 0, 2);
	if (heap_has_rseq()) {
		tcase_add_test(tc, shrunk);
		if (sysconf(_SC_PAGESIZE) <= MAX_SMALL_SIZE)
			tcase_add_test(tc, shrunk_large);
	} else {
		unit_skip("shrunk", "no thread is registered here");
	}
	suite_add_tcase(s, tc);
	return unit_run(s);
}
