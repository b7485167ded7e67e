// SPDX-License-Identifier: MIT
/*
 * api: batches of every size, aligned and zeroed, resized in place, the hint for
 * those who move objects, figures by class and node.
 */
#include <errno.h>
#include <string.h>

#include "conf.h"
#include "mcentral.h"
#include "vm.h"

#include "fake/early.h"

#define MAX_BATCH_N	700

START_TEST(batches)
{
	static unsigned char *p[MAX_BATCH_N];
	struct unit_rand r = unit_rand(_i);
	struct heap_sum sum;

	heap_up(&heap_modes[_i]);
	for (unsigned int round = 0; round < 300; round++) {
		size_t size = round < 67 ? size_classes[round].size : rand_log(&r, 16);
		size_t n = rand_below(&r, size > 4096 ? 40 : MAX_BATCH_N);

		check(ha_alloc_batch(size, n, (void **)p) == n);
		for (size_t i = 0; i < n; i++) {
			check(ha_malloc_usable_size(p[i]) == ha_good_size(size));
			memset(p[i], i, size);
		}
		for (size_t i = 0; i < n; i++)
			check(!size || (p[i][0] == (unsigned char)i &&
					p[i][size - 1] == (unsigned char)i));
		/* some one by one, the rest with holes, in two batches */
		for (size_t i = 0; i < n; i += 1 + rand_below(&r, 9)) {
			ha_free(p[i]);
			p[i] = NULL;
		}
		errno = 77;
		ha_free_batch((void *const *)p, n / 2);
		ha_free_batch((void *const *)p + n / 2, n - n / 2);
		check(errno == 77);
		if (round % 50 == 0)
			heap_check(&sum);
	}
	ha_release();
	heap_check(&sum);
	check(sum.spans == 0);
}
END_TEST

/* Objects of all kinds in one batch. */
START_TEST(mixed_batch)
{
	struct unit_rand r = unit_rand(20 + _i);
	struct ha_heap *h;
	struct heap_sum sum;
	void *p[1000];

	heap_up(&heap_modes[_i]);
	h = ha_heap_create("mixed", 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
		size_t size = rand_log(&r, rand_below(&r, 30) ? 12 : 18);

		p[i] = i % 7 == 0 ? ha_heap_alloc(h, size, 0, 0) :
		       i % 11 == 0 ? NULL : ha_malloc(size);
	}
	ha_free_batch(p, ARRAY_SIZE(p));
	ha_heap_destroy(h);
	ha_release();
	heap_check(&sum);
	check(sum.spans == 0);
}
END_TEST

/* Short of memory: what there is, and ENOMEM. */
START_TEST(batch_fails)
{
	static void *p[10000];
	size_t n;

	heap_up(&heap_modes[_i]);
	check(ha_malloc(1));
	vm_fail_nth(1, true);
	errno = 0;
	n = ha_alloc_batch(20000, ARRAY_SIZE(p), p);
	check(n < ARRAY_SIZE(p) && errno == ENOMEM);
	for (size_t i = 0; i < n; i++)
		check(ha_malloc_usable_size(p[i]) == 20480);
	errno = 0;
	n += ha_alloc_batch(100000, ARRAY_SIZE(p) - n, p + n);
	check(n < ARRAY_SIZE(p) && errno == ENOMEM);
	vm_fail_nth(0, false);
	ha_free_batch(p, n);
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

START_TEST(aligned_zeroed)
{
	struct unit_rand r = unit_rand(40 + _i);
	unsigned char *p;

	heap_up(&heap_modes[_i]);
	for (unsigned int i = 0; i < 4000; i++) {
		size_t align = rand_below(&r, 4) ? 1UL << rand_below(&r, 18) : 0;
		size_t size = rand_log(&r, 17) - 1;
		unsigned int flags = rand_below(&r, 4);

		p = ha_alloc(size, align, flags);
		check(p && is_aligned((uintptr_t)p, align ? align : 8));
		check(ha_malloc_usable_size(p) >= size);
		for (size_t k = 0; flags & HA_ZERO && k < size; k++)
			check(p[k] == 0);
		memset(p, 0xff, size);
		if (i % 5)
			ha_free(p);
	}
	errno = 0;
	check(!ha_alloc(8, 3, 0) && errno == EINVAL);
	errno = 0;
	check(!ha_alloc(8, 0, 4) && errno == EINVAL);
	errno = 0;
	check(!ha_alloc(8, 1UL << 63, HA_ZERO) && errno == ENOMEM);
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

START_TEST(resize)
{
	char *p, *q;

	heap_up(&heap_modes[_i]);
	p = ha_malloc(1000);
	check(ha_resize(p, 1024) == 0 && ha_resize(p, 512) == 0);
	errno = 0;
	check(ha_resize(p, 1025) == -1 && errno == ENOMEM);
	check(ha_resize(p, 511) == -1 && ha_malloc_usable_size(p) == 1024);
	ha_free_sized(p, 512);
	p = ha_malloc(3 << 20);
	check(ha_resize(p, 40000) == 0 && ha_malloc_usable_size(p) == 40960);
	check(ha_resize(p, 3 << 20) == 0 && ha_malloc_usable_size(p) == 3 << 20);
	check(ha_resize(p, 100) == -1 && ha_resize(p, 1UL << 63) == -1);
	/* the pages behind it are taken */
	check(ha_resize(p, 40960) == 0);
	q = ha_malloc(40000);
	if (q == p + 40960)
		check(ha_resize(p, 50000) == -1 && ha_malloc_usable_size(p) == 40960);
	ha_free(p);
	ha_free(q);
}
END_TEST

#define SPARSE_N	(128 * 40)

/* Nine of ten die; those who follow the hint end in a tenth of the spans. */
START_TEST(sparse)
{
	static char *p[SPARSE_N];
	struct unit_rand r = unit_rand(60 + _i);
	struct mcentral *mc;
	size_t nr = 0, before, moved = 0;

	heap_up(&heap_modes[_i]);
	for (unsigned int i = 0; i < SPARSE_N; i++)
		p[i] = ha_malloc(64);
	check(!ha_sparse(p[0]));
	for (unsigned int i = 0; i < SPARSE_N; i++) {
		if (rand_below(&r, 10)) {
			ha_free(p[i]);
			p[i] = NULL;
		} else {
			memset(p[i], i, 64);
			nr++;
		}
	}
	ha_release();
	mc = &mcentrals[0][small_class(64)];
	before = mc->nr_spans;
	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int i = 0; i < SPARSE_N; i++) {
			char *q;

			if (!p[i] || !ha_sparse(p[i]))
				continue;
			q = ha_alloc(64, 0, HA_DENSE);
			memcpy(q, p[i], 64);
			ha_free(p[i]);
			p[i] = q;
			moved++;
		}
		ha_release();
	}
	if (topo.nr_nodes == 1)
		check(before >= 38 && mc->nr_spans <= nr / 128 + 3);
	check(moved > 0 && moved < 4 * nr);
	for (unsigned int i = 0; i < SPARSE_N; i++) {
		check(!p[i] || (p[i][0] == (char)i && p[i][63] == (char)i));
		ha_free(p[i]);
	}
	check(!ha_sparse(NULL) && !ha_sparse(&r) && !ha_sparse(ha_malloc(100000)));
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/* By class and by node, against the totals and what the test holds. */
START_TEST(figures)
{
	struct ha_class_stats c[NR_SIZE_CLASSES], few[2];
	struct ha_node_stats n[MAX_NODES];
	struct ha_stats st = { .size = sizeof(st) };
	size_t mapped = 0, live = 0, cached = 0, spans = 0;

	heap_up(&heap_modes[_i]);
	for (unsigned int i = 0; i < 1000; i++)
		check(ha_malloc(100));
	check(ha_malloc(5000000) && ha_malloc(6000000));
	check(ha_stats_classes(c, sizeof(c[0]), ARRAY_SIZE(c)) == NR_SIZE_CLASSES);
	check(ha_stats_nodes(n, sizeof(n[0]), ARRAY_SIZE(n)) == topo.nr_nodes);
	check(ha_stats_get(&st) == 0);
	check(c[small_class(100)].nr_live == 1000 && c[small_class(100)].object_size == 112);
	check(c[0].nr_live == 2 && c[0].nr_spans == 2 && st.nr_large_live == 2);
	for (unsigned int sc = 0; sc < NR_SIZE_CLASSES; sc++) {
		check(c[sc].nr_live + c[sc].nr_cached <= c[sc].nr_objects);
		live += c[sc].nr_live * c[sc].object_size;
		cached += c[sc].nr_cached * c[sc].object_size;
		spans += c[sc].nr_spans;
	}
	check(live + st.large == st.live && cached == st.cached && spans == st.nr_spans);
	for (unsigned int i = 0; i < topo.nr_nodes; i++)
		mapped += n[i].mapped;
	check(mapped == st.mapped);
	/* fewer elements, and elements of an older, shorter struct */
	memset(few, 0x5a, sizeof(few));
	check(ha_stats_classes(few, 8, 2) == NR_SIZE_CLASSES);
	check(few[0].object_size == 0 && few[0].span_size == 8);
	check(few[0].nr_spans == 0x5a5a5a5a5a5a5a5aULL);
}
END_TEST

Suite *unit_suite(void)
{
	Suite *s = suite_create("api");
	TCase *tc = tcase_create("calls");

	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, batches, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, mixed_batch, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, batch_fails, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, aligned_zeroed, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, resize, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, sparse, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, figures, 0, NR_HEAP_MODES);
	suite_add_tcase(s, tc);
	return s;
}
