// SPDX-License-Identifier: MIT
/*
 * page_cache: windows filled from page_alloc, emptied by allocation and by
 * flush, against masks and the flat reference.
 */
#include <string.h>

#include "page_cache.h"

#include "fake/meta.h"
#include "fake/naive_bits.h"
#include "fake/naive_pages.h"
#include "fake/unit.h"

#define HINT		VM_ARENA_HINT
#define NR_CPUS		4
#define MAX_LIVE	2048

/* First fit in the window's free mask, bit by bit. */
static unsigned int first_fit(uint64_t free, size_t nr)
{
	uint64_t used = ~free;

	return nr <= 64 ? naive_find_run(&used, 64, nr, 0) : 64;
}

START_TEST(alloc_masks)
{
	struct unit_rand r = unit_rand(1);
	unsigned int round, i;

	for (round = 0; round < 20000; round++) {
		struct page_cache c = { .base = HINT }, before;

		c.free = rand_below(&r, 8) ? rand_u64(&r) | rand_u64(&r) : ~0ULL;
		c.scav = c.free & rand_u64(&r);
		for (i = 0; i < 12; i++) {
			size_t nr = rand_below(&r, 4) ? 1 + rand_below(&r, 16) :
							rand_below(&r, 67);
			size_t scav = ~0UL, want_scav = 0;
			unsigned int bit, b;
			uintptr_t addr;

			before = c;
			bit = nr ? first_fit(c.free, nr) : 64;
			addr = page_cache_alloc(&c, nr, &scav);
			if (bit == 64) {
				check(!addr && !memcmp(&c, &before, sizeof(c)));
				continue;
			}
			check(addr == HINT + bit * HA_PAGE_SIZE);
			for (b = bit; b < bit + nr; b++) {
				want_scav += before.scav >> b & 1;
				before.free &= ~(1ULL << b);
				before.scav &= ~(1ULL << b);
			}
			check(scav == want_scav);
			check(!memcmp(&c, &before, sizeof(c)));
		}
		check(page_cache_empty(&c) == (c.free == 0));
	}
}
END_TEST

START_TEST(whole_window)
{
	struct page_cache c = { .base = HINT, .free = ~0ULL, .scav = ~0ULL << 60 };
	size_t scav;

	check(!page_cache_alloc(&c, 0, &scav));
	check(!page_cache_alloc(&c, 65, &scav));
	check(!page_cache_alloc(&c, ~0UL, &scav));
	check(page_cache_alloc(&c, 64, &scav) == HINT && scav == 4);
	check(page_cache_empty(&c) && !c.scav);
	check(!page_cache_alloc(&c, 1, &scav));
}
END_TEST

/*
 * CPU slots and the heap together: spans come out of windows, go back to the
 * heap; what no slot and no span holds is free in the reference.
 */
START_TEST(with_page_alloc)
{
	static struct { uintptr_t base; size_t nr; } live[MAX_LIVE];
	struct page_cache c[NR_CPUS] = { 0 };
	struct unit_rand r = unit_rand(2);
	unsigned int nr_live = 0, i, k, step;
	struct fake_meta meta = { 0 };
	struct naive_pages np = { 0 };
	struct page_alloc pa;

	check(page_alloc_init(&pa, fake_meta_alloc, &meta) == 0);
	check(page_alloc_grow(&pa, HINT, ARENA_SIZE / 4) == 0);
	naive_add_window(&np, HINT, ARENA_PAGES / 4);
	naive_set(&np, HINT, ARENA_PAGES / 4, NAIVE_SCAV, NAIVE_HOLE);

	for (step = 0; step < 100000; step++) {
		unsigned int dice = rand_below(&r, 100);

		k = rand_below(&r, NR_CPUS);
		if (dice < 50) {
			size_t nr = 1 + rand_below(&r, 16), scav = 0;
			uintptr_t a;

			if (nr_live == MAX_LIVE)
				continue;
			a = page_cache_alloc(&c[k], nr, &scav);
			if (!a) {
				page_cache_flush(&c[k], &pa);
				check(!c[k].base && !c[k].free && !c[k].scav);
				if (!page_alloc_to_cache(&pa, &c[k]))
					continue;
				check(!(c[k].scav & ~c[k].free));
				a = page_cache_alloc(&c[k], nr, &scav);
			}
			if (!a)
				continue;
			check(naive_count(&np, a, nr, NAIVE_SCAV) == scav);
			check(naive_set(&np, a, nr, NAIVE_USED, NAIVE_FREE) == nr - scav);
			live[nr_live].base = a;
			live[nr_live++].nr = nr;
		} else if (dice < 97) {
			bool scav = rand_below(&r, 3) == 0;

			if (!nr_live)
				continue;
			i = rand_below(&r, nr_live);
			page_alloc_free(&pa, live[i].base, live[i].nr, scav);
			naive_set(&np, live[i].base, live[i].nr,
				  scav ? NAIVE_SCAV : NAIVE_FREE, NAIVE_USED);
			live[i] = live[--nr_live];
		} else {
			page_cache_flush(&c[k], &pa);
		}
		if (step % 16)
			continue;
		{
			size_t free = pa.nr_free, scav = pa.nr_scav;

			for (i = 0; i < NR_CPUS; i++) {
				free += popcount64(c[i].free);
				scav += popcount64(c[i].scav);
			}
			check(scav == naive_total(&np, NAIVE_SCAV));
			check(free == scav + naive_total(&np, NAIVE_FREE));
			check(page_alloc_validate(&pa));
		}
	}
	for (i = 0; i < NR_CPUS; i++) {
		page_cache_flush(&c[i], &pa);
		page_cache_flush(&c[i], &pa);
	}
	check(pa.nr_free == naive_total(&np, NAIVE_FREE) + naive_total(&np, NAIVE_SCAV));
	check(pa.nr_scav == naive_total(&np, NAIVE_SCAV));
	check(page_alloc_validate(&pa));
	naive_release(&np);
	fake_meta_release(&meta);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("page_cache");
	TCase *tc = tcase_create("window");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_test(tc, alloc_masks);
	tcase_add_test(tc, whole_window);
	tcase_add_test(tc, with_page_alloc);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
