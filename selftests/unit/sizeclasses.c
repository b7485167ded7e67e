// SPDX-License-Identifier: MIT
/*
 * sizeclasses.c - the size class rule and the tables that the library uses
 *
 * Two things are tested. The rule of tools/mksizeclasses, run here on the
 * project's first parameters, must give the list below number for number. And
 * each table of lib/sizeclasses.c must say what division, remainder and linear
 * search say, for every size, offset and alignment there is.
 */
#include <check.h>
#include <stdint.h>
#include <stdlib.h>

#include "sizeclasses.h"
#include "tools/mksizeclasses/rule.h"

#define PAGE_BYTES 8192

static const unsigned int seed_sizes[] = {
	0, 8, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224,
	240, 256, 288, 320, 352, 384, 416, 448, 480, 512, 576, 640, 704, 768,
	896, 1024, 1152, 1280, 1408, 1536, 1792, 2048, 2304, 2688, 3072, 3200,
	3456, 4096, 4864, 5376, 6144, 6528, 6784, 6912, 8192, 9472, 9728,
	10240, 10880, 12288, 13568, 14336, 16384, 18432, 19072, 20480, 21760,
	24576, 27264, 28672, 32768,
};

/* Of class 1 on. */
static const unsigned int seed_pages[] = {
	1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
	1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 2, 1, 2, 1, 3, 2, 3, 1, 3, 2, 3, 4, 5,
	6, 1, 7, 6, 5, 4, 3, 5, 7, 2, 9, 7, 5, 8, 3, 10, 7, 4,
};

#define NR_SEED (sizeof(seed_sizes) / sizeof(seed_sizes[0]))

START_TEST(test_seed_table)
{
	struct rule_class tab[RULE_MAX_CLASSES];
	unsigned int sc;

	ck_assert_uint_eq(sizeof(seed_pages) / sizeof(seed_pages[0]),
			  NR_SEED - 1);
	ck_assert_uint_eq(rule_make_table(&rule_seed, tab), NR_SEED);
	ck_assert_uint_eq(tab[0].size, 0);
	ck_assert_uint_eq(tab[0].nr_pages, 0);
	for (sc = 1; sc < NR_SEED; sc++) {
		ck_assert_uint_eq(tab[sc].size, seed_sizes[sc]);
		ck_assert_uint_eq(tab[sc].nr_pages, seed_pages[sc - 1]);
	}
}
END_TEST

START_TEST(test_project_table)
{
	struct rule_class tab[RULE_MAX_CLASSES];
	unsigned int sc;

	ck_assert_uint_eq(rule_make_table(&rule_project, tab), NR_SIZE_CLASSES);
	for (sc = 0; sc < NR_SIZE_CLASSES; sc++) {
		ck_assert_uint_eq(size_classes[sc].size, tab[sc].size);
		ck_assert_uint_eq(size_classes[sc].pages, tab[sc].nr_pages);
	}
	ck_assert_uint_eq(size_classes[FIRST_MEDIUM_CLASS - 1].size,
			  MAX_SMALL_SIZE);
	ck_assert_uint_eq(size_classes[NR_SIZE_CLASSES - 1].size,
			  MAX_MEDIUM_SIZE);
	/* the small ones are the seed's */
	ck_assert_uint_eq(FIRST_MEDIUM_CLASS, NR_SEED);
}
END_TEST

/* _i is the class. */
START_TEST(test_class)
{
	const struct size_class *c = &size_classes[_i];
	uint32_t off, span = c->pages * PAGE_BYTES;

	ck_assert_uint_gt(c->size, c[-1].size);
	ck_assert(c->size == 8 || c->size % 16 == 0);
	ck_assert(_i >= FIRST_MEDIUM_CLASS || c->pages <= MAX_SPAN_PAGES);
	ck_assert(_i < FIRST_MEDIUM_CLASS || c->nelems == 1);
	ck_assert_uint_le(c->nelems, MAX_SPAN_OBJECTS);
	ck_assert_uint_eq(c->nelems, span / c->size);
	ck_assert_uint_le(span % c->size, span / 8);
	ck_assert_uint_ge(c->batch, 1);
	ck_assert_uint_le(c->batch, 64);
	ck_assert(c->batch <= 32 || c->batch * c->size <= 16384);
	ck_assert(c->batch == 1 ||
		  c->batch * c->size <= (c->size < PAGE_BYTES ? 32768 : 65536));
	for (off = 0; off < span; off++) {
		uint64_t product = (uint64_t)off * c->magic;

		if (product >> 32 != off / c->size ||
		    ((uint32_t)product < c->magic) != (off % c->size == 0))
			ck_abort_msg("class %d, offset %u", _i, off);
	}
}
END_TEST

START_TEST(test_class_of_size)
{
	unsigned int size, sc = 1;

	for (size = 0; size <= MAX_SMALL_SIZE; size++) {
		if (size > size_classes[sc].size)
			sc++;
		if (small_class(size) != sc)
			ck_abort_msg("size %u: class %u, expected %u", size,
				     small_class(size), sc);
	}
	for (; size <= MAX_MEDIUM_SIZE; size++) {
		if (size > size_classes[sc].size)
			sc++;
		if (medium_class(size) != sc)
			ck_abort_msg("size %u: class %u, expected %u", size,
				     medium_class(size), sc);
	}
}
END_TEST

/* _i is the row: alignment 16 << _i. */
START_TEST(test_aligned_class)
{
	unsigned int align = 16u << _i, sc, want;

	ck_assert_uint_eq(aligned_class[_i][0], 0);
	for (sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		for (want = sc; want < NR_SIZE_CLASSES; want++)
			if (size_classes[want].size % align == 0)
				break;
		if (want == NR_SIZE_CLASSES)
			want = 0;
		ck_assert_uint_eq(aligned_class[_i][sc], want);
	}
	/* The last class is a multiple of the page, so no row runs dry. */
	ck_assert_uint_ne(aligned_class[_i][NR_SIZE_CLASSES - 1], 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sizeclasses");
	TCase *tc = tcase_create("tables");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, test_seed_table);
	tcase_add_test(tc, test_project_table);
	tcase_add_loop_test(tc, test_class, 1, NR_SIZE_CLASSES);
	tcase_add_test(tc, test_class_of_size);
	tcase_add_loop_test(tc, test_aligned_class, 0, NR_ALIGNED_CLASSES);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_set_tap(sr, "-");
	srunner_run_all(sr, CK_SILENT);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
