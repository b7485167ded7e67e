// SPDX-License-Identifier: MIT
/*
 * palloc_bits against the bit-by-bit reference: structured bitmaps (every place
 * where a run can meet a word's border), random ones of every density, and the
 * arithmetic of summaries at its limits.
 */
#include <string.h>

#include "palloc_bits.h"

#include "fake/naive_bits.h"
#include "fake/unit.h"

#define ROUNDS		8000

/* Runs of random length, used and free in turn: words alone hardly make any. */
static void fill_runs(uint64_t *map, unsigned int nr_bits, struct unit_rand *r)
{
	unsigned int at = 0, n, log = 1 + rand_below(r, 10);
	bool used = rand_below(r, 2);

	for (; at < nr_bits; at += n, used = !used) {
		n = min_size(rand_log(r, log), nr_bits - at);
		naive_assign(map, at, n, used);
	}
}

static void fill_random(uint64_t *map, unsigned int nr_bits, struct unit_rand *r)
{
	unsigned int kind = rand_below(r, 10), i;

	if (kind < 5) {
		fill_runs(map, nr_bits, r);
		return;
	}
	for (i = 0; i < nr_bits / 64; i++) {
		uint64_t a = rand_u64(r), b = rand_u64(r), c = rand_u64(r);

		switch (kind) {
		case 5:
			map[i] = a;
			break;
		case 6:
			map[i] = a & b & c;
			break;
		case 7:
			map[i] = a | b | c;
			break;
		case 8:
			map[i] = a & 1 ? 0 : ~0ULL;
			break;
		default:
			map[i] = a & 3 ? b & c & rand_u64(r) & rand_u64(r) : 0;
		}
	}
}

static bool same_sum(palloc_sum s, struct naive_sum n)
{
	return palloc_sum_start(s) == n.start && palloc_sum_max(s) == n.max &&
	       palloc_sum_end(s) == n.end;
}

static void check_finds(const uint64_t *map, struct unit_rand *r, unsigned int tries)
{
	unsigned int first, nr, from;

	while (tries--) {
		nr = rand_below(r, 4) ? rand_log(r, 9) : 1 + rand_below(r, CHUNK_PAGES);
		from = rand_below(r, 3) ? rand_below(r, CHUNK_PAGES + 1) : 0;
		check(palloc_bits_find(map, nr, from, &first) ==
		      naive_find_run(map, CHUNK_PAGES, nr, from));
		check(first == naive_find_run(map, CHUNK_PAGES, 1, from));
	}
}

START_TEST(pack_limits)
{
	static const unsigned int v[] = { 0, 1, 2, 511, 512, 513, 1 << 20,
					  PALLOC_MAX_PAGES - 1 };
	unsigned int i, j, k;
	palloc_sum s;

	for (i = 0; i < ARRAY_SIZE(v); i++) {
		for (j = 0; j < ARRAY_SIZE(v); j++) {
			for (k = 0; k < ARRAY_SIZE(v); k++) {
				s = palloc_sum_pack(v[i], v[j], v[k]);
				check(palloc_sum_start(s) == v[i]);
				check(palloc_sum_max(s) == v[j]);
				check(palloc_sum_end(s) == v[k]);
			}
		}
	}
	s = palloc_sum_pack(PALLOC_MAX_PAGES, PALLOC_MAX_PAGES, PALLOC_MAX_PAGES);
	check(palloc_sum_start(s) == PALLOC_MAX_PAGES);
	check(palloc_sum_max(s) == PALLOC_MAX_PAGES);
	check(palloc_sum_end(s) == PALLOC_MAX_PAGES);
	/* Memory that was never written says: no free page. */
	check(palloc_sum_pack(0, 0, 0).v == 0);
}
END_TEST

/* One free run [from, from + nr) at every length and place around the borders. */
START_TEST(single_run)
{
	uint64_t map[PALLOC_WORDS];
	unsigned int nr, from, first;

	for (nr = 1; nr <= CHUNK_PAGES; nr = nr < 130 ? nr + 1 : nr * 2 - 129) {
		for (from = 0; from + nr <= CHUNK_PAGES; from++) {
			memset(map, 0xff, sizeof(map));
			palloc_bits_clear(map, from, nr);
			check(same_sum(palloc_bits_summarize(map),
				       naive_summarize(map, CHUNK_PAGES)));
			check(palloc_bits_find(map, nr, 0, &first) == from);
			check(first == from);
			check(palloc_bits_find(map, nr + 1, 0, &first) == CHUNK_PAGES);
			check(palloc_bits_find(map, nr, from + 1, &first) == CHUNK_PAGES);
			check(first == (nr > 1 ? from + 1 : CHUNK_PAGES));
			if (from > 200 && from + nr < CHUNK_PAGES - 70)
				from += 13;
		}
	}
}
END_TEST

/* One page in use, everywhere; and everything or nothing. */
START_TEST(single_page)
{
	uint64_t map[PALLOC_WORDS] = { 0 };
	unsigned int at, first;

	check(same_sum(palloc_bits_summarize(map), naive_summarize(map, CHUNK_PAGES)));
	check(palloc_bits_find(map, CHUNK_PAGES, 0, &first) == 0 && first == 0);
	for (at = 0; at < CHUNK_PAGES; at++) {
		memset(map, 0, sizeof(map));
		palloc_bits_set(map, at, 1);
		check(same_sum(palloc_bits_summarize(map),
			       naive_summarize(map, CHUNK_PAGES)));
		check(palloc_bits_find(map, at + 1, 0, &first) ==
		      naive_find_run(map, CHUNK_PAGES, at + 1, 0));
	}
	memset(map, 0xff, sizeof(map));
	check(palloc_bits_summarize(map).v == 0);
	check(palloc_bits_find(map, 1, 0, &first) == CHUNK_PAGES);
	check(first == CHUNK_PAGES);
	check(palloc_bits_find(map, 1, CHUNK_PAGES, &first) == CHUNK_PAGES);
}
END_TEST

START_TEST(random_maps)
{
	struct unit_rand r = unit_rand(1);
	uint64_t map[PALLOC_WORDS];
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		fill_random(map, CHUNK_PAGES, &r);
		check(same_sum(palloc_bits_summarize(map),
			       naive_summarize(map, CHUNK_PAGES)));
		check_finds(map, &r, 16);
	}
}
END_TEST

START_TEST(random_ranges)
{
	struct unit_rand r = unit_rand(2);
	uint64_t map[PALLOC_WORDS], want[PALLOC_WORDS];
	unsigned int i;

	for (i = 0; i < ROUNDS * 4; i++) {
		unsigned int from = rand_below(&r, CHUNK_PAGES + 1);
		unsigned int nr = rand_below(&r, CHUNK_PAGES - from + 1);
		unsigned int count;

		fill_random(map, CHUNK_PAGES, &r);
		count = naive_popcount(map, from, nr);
		check(palloc_bits_popcount(map, from, nr) == count);
		check(palloc_bits_all_set(map, from, nr) == (count == nr));
		check(palloc_bits_all_clear(map, from, nr) == (count == 0));

		memcpy(want, map, sizeof(map));
		palloc_bits_set(map, from, nr);
		naive_assign(want, from, nr, true);
		check(!memcmp(map, want, sizeof(map)));
		check(palloc_bits_all_set(map, from, nr));

		palloc_bits_clear(map, from, nr);
		naive_assign(want, from, nr, false);
		check(!memcmp(map, want, sizeof(map)));
		check(palloc_bits_all_clear(map, from, nr));
	}
}
END_TEST

START_TEST(word_runs)
{
	struct unit_rand r = unit_rand(3);
	unsigned int nr, bit, i;

	for (i = 0; i < ROUNDS; i++) {
		uint64_t x;

		fill_random(&x, 64, &r);
		for (nr = 1; nr <= 64; nr++) {
			uint64_t runs = palloc_word_runs(x, nr), want = 0, used = ~x;

			for (bit = 0; bit + nr <= 64; bit++)
				if (naive_find_run(&used, 64, nr, bit) == bit &&
				    naive_popcount(&used, bit, nr) == 0)
					want |= 1ULL << bit;
			check(runs == want);
			if (!want)
				break;
		}
	}
}
END_TEST

/* Eight chunks, then eight times eight, against one long bitmap. */
START_TEST(merge)
{
	static uint64_t map[64 * PALLOC_WORDS];
	struct unit_rand r = unit_rand(4);
	palloc_sum leaf[64], mid[8];
	unsigned int i, c;

	for (i = 0; i < ROUNDS / 4; i++) {
		/* Long runs, so that whole chunks come out free or used. */
		if (i % 2) {
			memset(map, 0, sizeof(map));
			fill_runs(map, 64 * CHUNK_PAGES, &r);
			for (c = 0; c < 64; c++)
				if (rand_below(&r, 3) == 0)
					naive_assign(map, c * CHUNK_PAGES, CHUNK_PAGES,
						     rand_below(&r, 4) == 0);
		} else {
			for (c = 0; c < 64; c++)
				fill_random(map + c * PALLOC_WORDS, CHUNK_PAGES, &r);
		}
		for (c = 0; c < 64; c++)
			leaf[c] = palloc_bits_summarize(map + c * PALLOC_WORDS);
		for (c = 0; c < 8; c++) {
			mid[c] = palloc_sum_merge(leaf + 8 * c, 8, CHUNK_PAGES_SHIFT);
			check(same_sum(mid[c],
				       naive_summarize(map + 8 * c * PALLOC_WORDS,
						       8 * CHUNK_PAGES)));
		}
		check(same_sum(palloc_sum_merge(mid, 8, CHUNK_PAGES_SHIFT + 3),
			       naive_summarize(map, 64 * CHUNK_PAGES)));
		c = 1 + rand_below(&r, 64);
		check(same_sum(palloc_sum_merge(leaf, c, CHUNK_PAGES_SHIFT),
			       naive_summarize(map, c * CHUNK_PAGES)));
	}
}
END_TEST

/* The root: eight summaries of 2^18 pages, up to the value with its own bit. */
START_TEST(merge_root)
{
	const unsigned int each = 1 << 18;
	palloc_sum all = palloc_sum_pack(each, each, each), sums[8], s;
	palloc_sum hole = palloc_sum_pack(0, each - 2, each - 2);
	unsigned int i;

	for (i = 0; i < 8; i++)
		sums[i] = all;
	s = palloc_sum_merge(sums, 8, 18);
	check(s.v == PALLOC_SUM_ALL);
	for (i = 0; i < 8; i++) {
		unsigned int before = i * each, after = (8 - i) * each - 2;

		sums[i] = hole;
		s = palloc_sum_merge(sums, 8, 18);
		check(palloc_sum_start(s) == before);
		check(palloc_sum_max(s) == max_size(before, after));
		check(palloc_sum_end(s) == after);
		sums[i] = all;
	}
	memset(sums, 0, sizeof(sums));
	check(palloc_sum_merge(sums, 8, 18).v == 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("palloc_bits");
	TCase *tc = tcase_create("bits");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_test(tc, pack_limits);
	tcase_add_test(tc, single_run);
	tcase_add_test(tc, single_page);
	tcase_add_test(tc, random_maps);
	tcase_add_test(tc, random_ranges);
	tcase_add_test(tc, word_runs);
	tcase_add_test(tc, merge);
	tcase_add_test(tc, merge_root);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
