// SPDX-License-Identifier: MIT
/*
 * page_alloc where random steps do not reach: runs of more than 16 GiB, numbers
 * at their limits, metadata that cannot be had, what is resident, what a search
 * costs in a huge heap, and misuse, which must end the process.
 */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "page_alloc.h"

#include "fake/meta.h"
#include "fake/unit.h"

#define GIB		(1UL << 30)
#define REGION		(1UL << PALLOC_REGION_SHIFT)
#define TOP		(1UL << VM_ADDR_BITS)
#define HINT		VM_ARENA_HINT

/* page_alloc's own limit on short holes before it takes a roomier run. */
#define ALIGN_TRIES	32

struct world {
	struct page_alloc pa;
	struct fake_meta meta;
};

static struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));

	check(w);
	check(page_alloc_init(&w->pa, fake_meta_alloc, &w->meta) == 0);
	return w;
}

static void world_free(struct world *w)
{
	fake_meta_release(&w->meta);
	free(w);
}

/*
 * Runs longer than a chunk, an arena and a region (the last: the longest that
 * one summary can say, and more).  Regions 0 to 2 whole, a hole, then region 3
 * from its second arena on:
 *
 *	|======== 0 ========|======== 1 ========|======== 2 ========| |=== 3
 */
START_TEST(long_runs)
{
	static const size_t sizes[] = {
		CHUNK_PAGES + 1, ARENA_PAGES + 3, 3 * ARENA_PAGES, PALLOC_MAX_PAGES - 1,
		PALLOC_MAX_PAGES, PALLOC_MAX_PAGES + 1, 2 * PALLOC_MAX_PAGES + 77,
	};
	struct world *w = world_new();
	size_t scav, pages = 3 * PALLOC_MAX_PAGES, i;
	uintptr_t tail = HINT + 3 * REGION + ARENA_SIZE, a, b;

	check(page_alloc_grow(&w->pa, HINT, 3 * REGION) == 0);
	check(page_alloc_grow(&w->pa, tail, ARENA_SIZE) == 0);
	check(page_alloc_validate(&w->pa));
	/* The hole ends the run. */
	check(!page_alloc_alloc(&w->pa, pages + 1, 1, &scav));
	check(page_alloc_count_free(&w->pa, HINT, pages + 3 * ARENA_PAGES) ==
	      pages + ARENA_PAGES);

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t nr = sizes[i];

		/* At the bottom, then behind a page in use that is not. */
		a = page_alloc_alloc(&w->pa, nr, 1, &scav);
		check(a == HINT && scav == nr);
		page_alloc_free(&w->pa, a, nr, true);
		a = page_alloc_alloc(&w->pa, 5, 1, &scav);
		b = page_alloc_alloc(&w->pa, nr, 1, &scav);
		check(a == HINT && b == a + 5 * HA_PAGE_SIZE && scav == nr);
		check(page_alloc_validate(&w->pa));
		check(page_alloc_count_free(&w->pa, b, nr) == 0);
		page_alloc_free(&w->pa, a, 5, true);
		page_alloc_free(&w->pa, b, nr, true);
		check(w->pa.nr_free == w->pa.nr_pages);

		/* Across the first border of two regions and nowhere else. */
		b = HINT + REGION - 3 * HA_PAGE_SIZE;
		check(page_alloc_alloc_at(&w->pa, HINT, PALLOC_MAX_PAGES - 3, &scav));
		a = page_alloc_alloc(&w->pa, nr, 1, &scav);
		check(a == (nr <= 2 * PALLOC_MAX_PAGES + 3 ? b : 0));
		page_alloc_free(&w->pa, a, a ? nr : 0, true);
		/* An aligned one begins at the border. */
		a = page_alloc_alloc(&w->pa, min_size(nr, 2 * PALLOC_MAX_PAGES),
				     PALLOC_MAX_PAGES, &scav);
		check(a == HINT + REGION);
		page_alloc_free(&w->pa, a, min_size(nr, 2 * PALLOC_MAX_PAGES), true);
		page_alloc_free(&w->pa, HINT, PALLOC_MAX_PAGES - 3, true);
	}
	a = page_alloc_alloc(&w->pa, pages, 1, &scav);
	check(a == HINT && scav == pages);
	check(page_alloc_validate(&w->pa));
	a = page_alloc_alloc(&w->pa, 1, 1, &scav);
	check(a == tail);
	check(!page_alloc_alloc(&w->pa, ARENA_PAGES, 1, &scav));
	check(page_alloc_validate(&w->pa));
	world_free(w);
}
END_TEST

/*
 * Free to the end of one region and free from the start of another make a run
 * only where nothing lies between, be it a region never grown or one in use.
 *
 *	|      0     ===|     1     |===     2      |
 */
START_TEST(gap_of_a_region)
{
	struct world *w = world_new();
	uintptr_t low = HINT + REGION - CHUNK_SIZE, high = HINT + 2 * REGION;
	size_t scav;

	check(page_alloc_grow(&w->pa, low, CHUNK_SIZE) == 0);
	check(page_alloc_grow(&w->pa, high, CHUNK_SIZE) == 0);
	check(!page_alloc_alloc(&w->pa, CHUNK_PAGES + 1, 1, &scav));
	check(!page_alloc_alloc_at(&w->pa, low, 2 * CHUNK_PAGES, &scav));

	check(page_alloc_grow(&w->pa, HINT + REGION, REGION) == 0);
	check(page_alloc_alloc_at(&w->pa, HINT + REGION, PALLOC_MAX_PAGES, &scav));
	check(!page_alloc_alloc(&w->pa, CHUNK_PAGES + 1, 1, &scav));
	page_alloc_free(&w->pa, HINT + REGION, PALLOC_MAX_PAGES, false);
	check(page_alloc_alloc(&w->pa, PALLOC_MAX_PAGES + 2 * CHUNK_PAGES, 1, &scav) ==
	      low);
	check(page_alloc_validate(&w->pa));
	world_free(w);
}
END_TEST

/* What cannot be had is refused, whatever the numbers. */
START_TEST(limits)
{
	struct world *w = world_new();
	struct page_cache c = { 0 };
	size_t scav, nr;

	check(!page_alloc_alloc(&w->pa, 1, 1, &scav));
	check(!page_alloc_to_cache(&w->pa, &c) && !c.base);
	check(!page_alloc_alloc_at(&w->pa, HINT, 1, &scav));
	check(page_alloc_count_free(&w->pa, HINT, 1000) == 0);
	check(!page_alloc_take_unscav(&w->pa, ~0UL, 1, 512, &nr));
	check(page_alloc_validate(&w->pa));

	check(page_alloc_grow(&w->pa, TOP - CHUNK_SIZE, CHUNK_SIZE) == 0);
	check(!page_alloc_alloc(&w->pa, 0, 1, &scav));
	check(!page_alloc_alloc(&w->pa, ~0UL, 1, &scav));
	check(!page_alloc_alloc(&w->pa, ~0UL / HA_PAGE_SIZE, 1, &scav));
	check(!page_alloc_alloc(&w->pa, CHUNK_PAGES + 1, 1, &scav));
	check(!page_alloc_alloc(&w->pa, 1, 1UL << 63, &scav));
	check(!page_alloc_alloc(&w->pa, 1, 1UL << (VM_ADDR_BITS - HA_PAGE_SHIFT), &scav));
	check(!page_alloc_alloc_at(&w->pa, TOP - HA_PAGE_SIZE, 2, &scav));
	check(!page_alloc_alloc_at(&w->pa, TOP - CHUNK_SIZE - HA_PAGE_SIZE, 2, &scav));
	check(!page_alloc_alloc_at(&w->pa, TOP - CHUNK_SIZE + 1, 1, &scav));
	check(!page_alloc_alloc_at(&w->pa, ~0UL << HA_PAGE_SHIFT, 2, &scav));
	check(!page_alloc_take_unscav(&w->pa, ~0UL, 1, 512, &nr));
	check(!page_alloc_take_unscav(&w->pa, ~0UL, 1, 0, &nr));
	check(page_alloc_alloc(&w->pa, CHUNK_PAGES, CHUNK_PAGES, &scav) ==
	      TOP - CHUNK_SIZE);
	page_alloc_free(&w->pa, TOP - CHUNK_SIZE, CHUNK_PAGES, false);
	/* A limit in the first page, or below everything. */
	check(!page_alloc_take_unscav(&w->pa, 0, 1, 512, &nr));
	check(!page_alloc_take_unscav(&w->pa, 100, 1, 512, &nr));
	check(!page_alloc_take_unscav(&w->pa, TOP - CHUNK_SIZE, 1, 512, &nr));
	check(page_alloc_take_unscav(&w->pa, TOP - CHUNK_SIZE + HA_PAGE_SIZE, 1, 512,
				     &nr) == TOP - CHUNK_SIZE && nr == 1);
	check(page_alloc_validate(&w->pa));
	world_free(w);
}
END_TEST

/*
 * A kernel page of 64 KiB is resident whole as soon as one of its eight pages is
 * touched, and goes back whole, although seven of them never left the allocator.
 */
START_TEST(part_of_kernel_page)
{
	struct world *w = world_new();
	size_t scav, nr;
	uintptr_t p;

	check(page_alloc_grow(&w->pa, HINT, CHUNK_SIZE) == 0);
	p = page_alloc_alloc(&w->pa, 1, 1, &scav);
	check(p == HINT && scav == 1);
	/* not while a page of it is in use */
	check(page_alloc_alloc(&w->pa, 1, 1, &scav) == HINT + HA_PAGE_SIZE && scav == 1);
	page_alloc_free(&w->pa, p, 1, false);
	check(!page_alloc_take_unscav(&w->pa, ~0UL, 8, 512, &nr));
	page_alloc_free(&w->pa, HINT + HA_PAGE_SIZE, 1, false);
	check(page_alloc_take_unscav(&w->pa, ~0UL, 8, 512, &nr) == HINT && nr == 8);
	check(w->pa.nr_scav == CHUNK_PAGES - 8 && page_alloc_validate(&w->pa));
	page_alloc_free(&w->pa, HINT, 8, true);
	check(w->pa.nr_scav == CHUNK_PAGES && w->pa.nr_free == CHUNK_PAGES);
	check(!page_alloc_take_unscav(&w->pa, ~0UL, 8, 512, &nr));
	check(page_alloc_validate(&w->pa));
	world_free(w);
}
END_TEST

/*
 * Holes that are long enough and never aligned: an aligned allocation must
 * neither take one nor look at each of them, and must still find the single
 * aligned one when nothing roomier is left.
 */
START_TEST(aligned_among_holes)
{
	const size_t nr_chunks = 8 * ARENA_CHUNKS, group = 16;
	struct world *w = world_new();
	uintptr_t last = HINT + (nr_chunks - 1) * CHUNK_SIZE + 128 * HA_PAGE_SIZE, a;
	size_t scav, before, i;

	check(page_alloc_grow(&w->pa, HINT, nr_chunks * CHUNK_SIZE) == 0);
	check(page_alloc_alloc(&w->pa, nr_chunks * CHUNK_PAGES, 1, &scav) == HINT);
	for (i = 0; i < nr_chunks * CHUNK_PAGES / 32; i++)
		page_alloc_free(&w->pa, HINT + (32 * i + 8) * HA_PAGE_SIZE, 16, false);
	check(page_alloc_validate(&w->pa));
	check(!page_alloc_alloc(&w->pa, group, group, &scav));

	/* One page more makes one hole fit exactly; still no roomier run. */
	page_alloc_free(&w->pa, last, 8, false);
	a = page_alloc_alloc(&w->pa, group, group, &scav);
	check(a == last);
	page_alloc_free(&w->pa, a, group, false);

	/* With a roomy run beyond all of them the walk is cut short. */
	a = HINT + nr_chunks * CHUNK_SIZE;
	check(page_alloc_grow(&w->pa, a, CHUNK_SIZE) == 0);
	before = w->pa.nr_steps;
	check(page_alloc_alloc(&w->pa, group, group, &scav) > HINT);
	check(w->pa.nr_steps - before < (ALIGN_TRIES + 4) * 40);
	check(page_alloc_validate(&w->pa));
	world_free(w);
}
END_TEST

/*
 * Metadata fails at the Nth request, for every N: nothing changes, what worked
 * goes on working, and the next try succeeds.
 */
START_TEST(meta_failure)
{
	struct fake_meta meta = { .fail_nth = 1 };
	struct page_alloc pa;
	uintptr_t base = HINT + REGION / 2, a;
	size_t scav;
	long nth;

	check(page_alloc_init(&pa, fake_meta_alloc, &meta) == -ENOMEM);
	fake_meta_release(&meta);

	/* From a region that exists into three that do not. */
	for (nth = 1; nth <= 4; nth++) {
		check(page_alloc_init(&pa, fake_meta_alloc, &meta) == 0);
		check(page_alloc_grow(&pa, HINT, ARENA_SIZE) == 0);
		a = page_alloc_alloc(&pa, 100, 1, &scav);

		meta.fail_nth = nth;
		meta.fail_all = nth % 2;
		if (nth < 4) {
			check(page_alloc_grow(&pa, base, 3 * REGION) == -ENOMEM);
			check(pa.nr_pages == ARENA_PAGES);
			check(pa.nr_free == ARENA_PAGES - 100);
			check(pa.max_addr == HINT + ARENA_SIZE);
			check(page_alloc_validate(&pa));
			check(!page_alloc_alloc(&pa, ARENA_PAGES, 1, &scav));
			check(page_alloc_alloc(&pa, 7, 1, &scav) == a + 100 * HA_PAGE_SIZE);
			page_alloc_free(&pa, a + 100 * HA_PAGE_SIZE, 7, false);
		}
		meta.fail_nth = 0;
		check(page_alloc_grow(&pa, base, 3 * REGION) == 0);
		/* What an attempt that failed had got is used, not lost. */
		check(meta.nr_blocks == 1 + 4);
		check(page_alloc_validate(&pa));
		check(page_alloc_alloc(&pa, 2 * PALLOC_MAX_PAGES, 1, &scav) == base);
		page_alloc_free(&pa, a, 100, false);
		check(page_alloc_validate(&pa));
		fake_meta_release(&meta);
	}
}
END_TEST

/* One arena costs little memory, wherever it is; regions cost address space. */
START_TEST(residency)
{
	static const uintptr_t bases[] = { HINT, HINT + REGION - ARENA_SIZE,
					   TOP - ARENA_SIZE };
	size_t page = sysconf(_SC_PAGESIZE), resident, scav, i;
	struct page_alloc pa;

	for (i = 0; i < ARRAY_SIZE(bases); i++) {
		struct fake_meta meta = { 0 };
		uintptr_t a;

		check(page_alloc_init(&pa, fake_meta_alloc, &meta) == 0);
		check(page_alloc_grow(&pa, bases[i], ARENA_SIZE) == 0);
		a = page_alloc_alloc(&pa, 3, 1, &scav);
		check(a == bases[i]);
		page_alloc_free(&pa, a, 3, false);
		resident = fake_meta_resident(&meta);
		printf("# arena at %#lx: %zu pages of %zu resident, %zu KiB mapped\n",
		       bases[i], resident, page, meta.bytes >> 10);
		fflush(stdout);
		check(resident <= 6);
		check(meta.bytes <= (1UL << 20));
		fake_meta_release(&meta);
	}
}
END_TEST

/*
 * A heap of @size with one free page in each chunk: the search for two pages
 * must not read them all.  Returns the summaries read for a find that succeeds
 * at the very end, starting at the very bottom.
 */
static size_t search_cost(size_t size)
{
	struct world *w = world_new();
	size_t nr = size >> HA_PAGE_SHIFT, scav, before, cost;
	uintptr_t last = HINT + size - 2 * HA_PAGE_SIZE, addr;

	check(page_alloc_grow(&w->pa, HINT, size) == 0);
	check(page_alloc_alloc(&w->pa, nr, 1, &scav) == HINT);
	for (addr = HINT; addr < HINT + size; addr += CHUNK_SIZE)
		page_alloc_free(&w->pa, addr, 1, false);
	page_alloc_free(&w->pa, last, 2, false);

	before = w->pa.nr_steps;
	check(page_alloc_alloc(&w->pa, 2, 1, &scav) == last);
	cost = w->pa.nr_steps - before;
	before = w->pa.nr_steps;
	check(!page_alloc_alloc(&w->pa, 2, 1, &scav));
	cost = max_size(cost, w->pa.nr_steps - before);
	world_free(w);
	return cost;
}

START_TEST(search_scales)
{
	size_t gib1 = search_cost(GIB), gib64 = search_cost(64 * GIB);
	size_t tib1 = search_cost(1024 * GIB);

	printf("# summaries read: %zu in 1 GiB, %zu in 64 GiB, %zu in 1 TiB\n",
	       gib1, gib64, tib1);
	fflush(stdout);
	/* Eight a level up and down, and the root's own entries. */
	check(gib1 <= 64);
	check(gib64 <= 64 + 4);
	check(tib1 <= 64 + 64);
}
END_TEST

/* Far apart costs no more than side by side. */
START_TEST(search_sparse)
{
	struct world *w = world_new();
	size_t scav, before;

	check(page_alloc_grow(&w->pa, CHUNK_SIZE, CHUNK_SIZE) == 0);
	check(page_alloc_grow(&w->pa, TOP - ARENA_SIZE, ARENA_SIZE) == 0);
	before = w->pa.nr_steps;
	check(page_alloc_alloc(&w->pa, CHUNK_PAGES + 1, 1, &scav) == TOP - ARENA_SIZE);
	check(w->pa.nr_steps - before <= 64);
	check(page_alloc_validate(&w->pa));
	world_free(w);
}
END_TEST

/*
 * The search address keeps a run of small allocations cheap: filling a heap page
 * by page reads about one summary each, and a freed page is the next one taken.
 */
START_TEST(search_address)
{
	struct world *w = world_new();
	size_t nr = 2 * ARENA_PAGES, scav, before, i;
	uintptr_t hole = HINT + 4321 * HA_PAGE_SIZE;

	check(page_alloc_grow(&w->pa, HINT, 2 * ARENA_SIZE) == 0);
	before = w->pa.nr_steps;
	for (i = 0; i < nr; i++)
		check(page_alloc_alloc(&w->pa, 1, 1, &scav) == HINT + i * HA_PAGE_SIZE);
	check(w->pa.nr_steps - before <= 2 * nr);
	check(!page_alloc_alloc(&w->pa, 1, 1, &scav));
	page_alloc_free(&w->pa, hole + 100 * HA_PAGE_SIZE, 1, false);
	page_alloc_free(&w->pa, hole, 1, false);
	check(page_alloc_alloc(&w->pa, 1, 1, &scav) == hole);
	/* Found through the upper levels, and yet exact to the page. */
	check(page_alloc_alloc(&w->pa, 1, 1, &scav) == hole + 100 * HA_PAGE_SIZE);
	page_alloc_free(&w->pa, hole, 1, false);
	page_alloc_free(&w->pa, HINT + (nr - 3) * HA_PAGE_SIZE, 2, false);
	check(page_alloc_alloc(&w->pa, 1, 1, &scav) == hole);
	check(page_alloc_alloc(&w->pa, 2, 1, &scav));
	check(w->pa.search_addr == HINT + (nr - 1) * HA_PAGE_SIZE);
	check(page_alloc_validate(&w->pa));
	world_free(w);
}
END_TEST

/* Misuse of the layer ends the process rather than the heap. */
static struct world *world_one_arena(void)
{
	struct world *w = world_new();
	size_t scav;

	check(page_alloc_grow(&w->pa, HINT, ARENA_SIZE) == 0);
	check(page_alloc_alloc(&w->pa, 10, 1, &scav) == HINT);
	return w;
}

START_TEST(death_double_free)
{
	struct world *w = world_one_arena();

	page_alloc_free(&w->pa, HINT, 10, false);
	page_alloc_free(&w->pa, HINT + 9 * HA_PAGE_SIZE, 1, false);
}
END_TEST

START_TEST(death_free_too_much)
{
	page_alloc_free(&world_one_arena()->pa, HINT, 11, false);
}
END_TEST

START_TEST(death_free_hole)
{
	struct world *w = world_one_arena();

	check(page_alloc_grow(&w->pa, HINT + 2 * ARENA_SIZE, ARENA_SIZE) == 0);
	page_alloc_free(&w->pa, HINT + ARENA_SIZE, 1, false);
}
END_TEST

START_TEST(death_free_outside)
{
	page_alloc_free(&world_one_arena()->pa, HINT + REGION, 1, false);
}
END_TEST

START_TEST(death_free_unaligned)
{
	page_alloc_free(&world_one_arena()->pa, HINT + 1, 1, false);
}
END_TEST

START_TEST(death_grow_twice)
{
	page_alloc_grow(&world_one_arena()->pa, HINT + ARENA_SIZE - CHUNK_SIZE,
			CHUNK_SIZE);
}
END_TEST

START_TEST(death_grow_used)
{
	struct world *w = world_one_arena();
	size_t scav;

	check(page_alloc_alloc(&w->pa, ARENA_PAGES - 10, 1, &scav));
	page_alloc_grow(&w->pa, HINT, CHUNK_SIZE);
}
END_TEST

START_TEST(death_grow_unaligned)
{
	page_alloc_grow(&world_one_arena()->pa, HINT + ARENA_SIZE + HA_PAGE_SIZE,
			CHUNK_SIZE);
}
END_TEST

START_TEST(death_window_free_twice)
{
	struct world *w = world_one_arena();

	page_alloc_free_window(&w->pa, HINT, 1, 0);
	page_alloc_free_window(&w->pa, HINT, 1, 0);
}
END_TEST

/* page_alloc_validate() sees each kind of damage. */
START_TEST(validate_sees_damage)
{
	struct world *w = world_one_arena();
	struct page_alloc *pa = &w->pa;
	unsigned int ri = HINT >> PALLOC_REGION_SHIFT;
	palloc_sum sum = pa->root[ri];

	check(page_alloc_validate(pa));
	pa->root[ri] = palloc_sum_pack(0, 5, 0);
	check(!page_alloc_validate(pa));
	pa->root[ri] = (palloc_sum){ 0 };
	check(!page_alloc_validate(pa));
	pa->root[ri] = sum;
	bitmap_clear(pa->root_map, ri);
	check(!page_alloc_validate(pa));
	bitmap_set(pa->root_map, ri);
	bitmap_set(pa->root_map, ri + 1);
	check(!page_alloc_validate(pa));
	bitmap_clear(pa->root_map, ri + 1);
	pa->nr_free++;
	check(!page_alloc_validate(pa));
	pa->nr_free--;
	pa->nr_scav--;
	check(!page_alloc_validate(pa));
	pa->nr_scav++;
	pa->nr_pages -= CHUNK_PAGES;
	check(!page_alloc_validate(pa));
	pa->nr_pages += CHUNK_PAGES;
	pa->search_addr += HA_PAGE_SIZE;
	check(!page_alloc_validate(pa));
	pa->search_addr -= HA_PAGE_SIZE;
	check(page_alloc_validate(pa));
	world_free(w);
}
END_TEST

static TCase *tcase(Suite *s, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, UNIT_TIMEOUT);
	suite_add_tcase(s, tc);
	return tc;
}

int main(void)
{
	Suite *s = suite_create("page_alloc_cases");
	TCase *tc;

	tc = tcase(s, "cases");
	tcase_add_test(tc, long_runs);
	tcase_add_test(tc, gap_of_a_region);
	tcase_add_test(tc, part_of_kernel_page);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, aligned_among_holes);
	tcase_add_test(tc, meta_failure);
	tcase_add_test(tc, residency);
	tcase_add_test(tc, search_scales);
	tcase_add_test(tc, search_sparse);
	tcase_add_test(tc, search_address);
	tcase_add_test(tc, validate_sees_damage);

	tc = tcase(s, "death");
	tcase_add_test_raise_signal(tc, death_double_free, SIGABRT);
	tcase_add_test_raise_signal(tc, death_free_too_much, SIGABRT);
	tcase_add_test_raise_signal(tc, death_free_hole, SIGABRT);
	tcase_add_test_raise_signal(tc, death_free_outside, SIGABRT);
	tcase_add_test_raise_signal(tc, death_free_unaligned, SIGABRT);
	tcase_add_test_raise_signal(tc, death_grow_twice, SIGABRT);
	tcase_add_test_raise_signal(tc, death_grow_used, SIGABRT);
	tcase_add_test_raise_signal(tc, death_grow_unaligned, SIGABRT);
	tcase_add_test_raise_signal(tc, death_window_free_twice, SIGABRT);
	return unit_run(s);
}
