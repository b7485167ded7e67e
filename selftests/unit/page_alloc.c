// SPDX-License-Identifier: MIT
/*
 * page_alloc against a flat array, over several shapes of address space: every
 * operation drawn at random, its result compared with the reference, the whole
 * tree recomputed after each step.  What random steps do not reach is in
 * page_alloc_cases.c.
 */
#include <string.h>

#include "page_alloc.h"

#include "fake/meta.h"
#include "fake/naive_pages.h"
#include "fake/unit.h"

#define GIB		(1UL << 30)
#define REGION		(1UL << PALLOC_REGION_SHIFT)
#define TOP		(1UL << VM_ADDR_BITS)
#define HINT		VM_ARENA_HINT
#define MAX_LIVE	4096
#define NR_CACHES	3

/*
 * Windows of address space, in chunks.  Each is grown piece by piece.
 *
 *	one		three arenas where the first hint puts them
 *	border		two arenas on each side of a 16 GiB border
 *	distant		the lowest chunk, the hint, 80 GiB further, the last arena
 *	levels		the borders of levels 3, 2 and 1 (32 MiB, 256 MiB, 2 GiB)
 */
static const struct shape {
	const char *name;
	struct {
		uintptr_t base;
		size_t chunks;
	} win[5];
} shapes[] = {
	{ "one", { { HINT, 48 } } },
	{ "border", { { HINT + REGION - 2 * ARENA_SIZE, 64 } } },
	{ "distant", { { CHUNK_SIZE, 3 }, { HINT, 16 }, { HINT + 80 * GIB, 5 },
		       { TOP - ARENA_SIZE, 16 } } },
	{ "levels", { { HINT + (32UL << 20) - 2 * CHUNK_SIZE, 4 },
		      { HINT + (256UL << 20) - CHUNK_SIZE, 3 },
		      { HINT + 2 * GIB - 2 * CHUNK_SIZE, 4 },
		      { HINT + REGION - CHUNK_SIZE, 2 },
		      { HINT + 2 * REGION - CHUNK_SIZE, 2 } } },
};

/* The allocator, its reference, and what the test holds. */
struct world {
	struct page_alloc pa;
	struct naive_pages np;
	struct fake_meta meta;
	struct unit_rand r;
	struct {
		uintptr_t base;
		size_t nr;
	} live[MAX_LIVE];
	unsigned int nr_live;
	struct page_cache cache[NR_CACHES];
};

static struct world *world_new(unsigned int test)
{
	struct world *w = calloc(1, sizeof(*w));

	check(w);
	w->r = unit_rand(test);
	check(page_alloc_init(&w->pa, fake_meta_alloc, &w->meta) == 0);
	return w;
}

static void world_free(struct world *w)
{
	naive_release(&w->np);
	fake_meta_release(&w->meta);
	free(w);
}

static struct world *world_shape(unsigned int test, const struct shape *shape)
{
	struct world *w = world_new(test);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(shape->win) && shape->win[i].chunks; i++)
		naive_add_window(&w->np, shape->win[i].base,
				 shape->win[i].chunks * CHUNK_PAGES);
	return w;
}

static void world_check(struct world *w)
{
	size_t scav = naive_total(&w->np, NAIVE_SCAV);

	check(page_alloc_validate(&w->pa));
	check(w->pa.nr_scav == scav);
	check(w->pa.nr_free == naive_total(&w->np, NAIVE_FREE) + scav);
	check(w->pa.nr_pages == w->pa.nr_free + naive_total(&w->np, NAIVE_USED));
}

static void grow(struct world *w, uintptr_t base, size_t chunks)
{
	check(page_alloc_grow(&w->pa, base, chunks * CHUNK_SIZE) == 0);
	check(naive_set(&w->np, base, chunks * CHUNK_PAGES, NAIVE_SCAV, NAIVE_HOLE) ==
	      chunks * CHUNK_PAGES);
}

static void hold(struct world *w, uintptr_t base, size_t nr)
{
	check(w->nr_live < MAX_LIVE);
	w->live[w->nr_live].base = base;
	w->live[w->nr_live++].nr = nr;
}

/* The pages are in the caller's hands now: all were free, @scav given back. */
static void taken(struct world *w, uintptr_t base, size_t nr, size_t scav)
{
	check(naive_count(&w->np, base, nr, NAIVE_FREE) == nr - scav);
	check(naive_set(&w->np, base, nr, NAIVE_USED, NAIVE_SCAV) == scav);
}

static void step_grow(struct world *w)
{
	struct naive_window *win = &w->np.win[rand_below(&w->r, w->np.nr_windows)];
	size_t chunks = win->nr / CHUNK_PAGES, at = rand_below(&w->r, chunks), n = 0;
	size_t want = 1 + rand_below(&w->r, ARENA_CHUNKS);

	while (n < want && at + n < chunks &&
	       win->page[(at + n) * CHUNK_PAGES] == NAIVE_HOLE)
		n++;
	if (n)
		grow(w, win->base + at * CHUNK_SIZE, n);
}

/* A size and alignment as the heap asks for: mostly small, some huge. */
static size_t draw_size(struct world *w)
{
	switch (rand_below(&w->r, 16)) {
	case 0:
		return rand_log(&w->r, 14);
	case 1:
		return CHUNK_PAGES * (1 + rand_below(&w->r, 20));
	case 2:
	case 3:
		return rand_log(&w->r, 10);
	default:
		return 1 + rand_below(&w->r, 16);
	}
}

static void step_alloc(struct world *w)
{
	size_t nr = draw_size(w), scav = ~0UL, align = 1;
	uintptr_t addr, lowest, roomy;

	if (w->nr_live == MAX_LIVE)
		return;
	if (rand_below(&w->r, 4) == 0)
		align = 1UL << rand_below(&w->r, rand_below(&w->r, 8) ? 7 : 18);
	lowest = naive_find(&w->np, nr, align);
	addr = page_alloc_alloc(&w->pa, nr, align, &scav);
	if (align == 1) {
		check(addr == lowest);
	} else if (addr != lowest) {
		/* Among many short holes a roomier place may be taken. */
		roomy = naive_find(&w->np, nr + align - 1, 1);
		check(addr > lowest && lowest && roomy);
		check(addr == align_up(roomy, align * HA_PAGE_SIZE));
	}
	if (!addr)
		return;
	check(is_aligned(addr, align * HA_PAGE_SIZE));
	taken(w, addr, nr, scav);
	hold(w, addr, nr);
}

/* All of a block, or a part of it from either end or out of its middle. */
static void step_free(struct world *w)
{
	unsigned int i;
	uintptr_t base;
	size_t nr, skip;
	bool scav = rand_below(&w->r, 2);

	if (!w->nr_live)
		return;
	i = rand_below(&w->r, w->nr_live);
	base = w->live[i].base;
	nr = w->live[i].nr;
	w->live[i] = w->live[--w->nr_live];
	if (nr > 1 && w->nr_live + 2 < MAX_LIVE && rand_below(&w->r, 4) == 0) {
		skip = rand_below(&w->r, nr);
		if (skip)
			hold(w, base, skip);
		base += skip * HA_PAGE_SIZE;
		nr -= skip;
		skip = rand_below(&w->r, nr);
		if (skip)
			hold(w, base + (nr - skip) * HA_PAGE_SIZE, skip);
		nr -= skip;
	}
	page_alloc_free(&w->pa, base, nr, scav);
	check(naive_set(&w->np, base, nr, scav ? NAIVE_SCAV : NAIVE_FREE,
			NAIVE_USED) == nr);
}

/* An address in or just outside of a window. */
static uintptr_t draw_addr(struct world *w)
{
	struct naive_window *win = &w->np.win[rand_below(&w->r, w->np.nr_windows)];
	uintptr_t at = rand_below(&w->r, win->nr + 64) * HA_PAGE_SIZE;

	return win->base + at - min_size(win->base, 32 * HA_PAGE_SIZE);
}

static void step_alloc_at(struct world *w)
{
	uintptr_t base = draw_addr(w);
	size_t nr = draw_size(w), scav = ~0UL, free;

	if (w->nr_live == MAX_LIVE)
		return;
	free = naive_count(&w->np, base, nr, NAIVE_FREE) +
	       naive_count(&w->np, base, nr, NAIVE_SCAV);
	check(page_alloc_count_free(&w->pa, base, nr) == free);
	if (!page_alloc_alloc_at(&w->pa, base, nr, &scav)) {
		check(free < nr);
		return;
	}
	check(free == nr);
	taken(w, base, nr, scav);
	hold(w, base, nr);
}

static void step_cache(struct world *w)
{
	struct page_cache *c = &w->cache[rand_below(&w->r, NR_CACHES)];
	uintptr_t first = naive_find(&w->np, 1, 1);
	uint64_t free, scav;

	/* Emptied by hand: page_cache.c has a test of its own. */
	if (c->base) {
		page_alloc_free_window(&w->pa, c->base, c->free, c->scav);
		for (unsigned int i = 0; i < PAGE_CACHE_PAGES; i++)
			if (c->free >> i & 1)
				naive_set(&w->np, c->base + i * HA_PAGE_SIZE, 1,
					  c->scav >> i & 1 ? NAIVE_SCAV : NAIVE_FREE,
					  NAIVE_USED);
		memset(c, 0, sizeof(*c));
		return;
	}
	if (!page_alloc_to_cache(&w->pa, c)) {
		check(!first);
		check(!c->base && !c->free);
		return;
	}
	check(c->base == align_down(first, PAGE_CACHE_PAGES * HA_PAGE_SIZE));
	naive_masks(&w->np, c->base, &free, &scav);
	check(c->free == free && c->scav == scav && free);
	for (unsigned int i = 0; i < PAGE_CACHE_PAGES; i++)
		if (free >> i & 1)
			naive_set(&w->np, c->base + i * HA_PAGE_SIZE, 1, NAIVE_USED,
				  NAIVE_FREE);
	/* Some of the window is handed out. */
	free = c->free & (rand_u64(&w->r) | rand_u64(&w->r));
	for (unsigned int i = 0; i < PAGE_CACHE_PAGES && w->nr_live < MAX_LIVE; i++) {
		if (~(c->free & ~free) >> i & 1)
			continue;
		c->free &= ~(1ULL << i);
		c->scav &= ~(1ULL << i);
		hold(w, c->base + i * HA_PAGE_SIZE, 1);
	}
}

static void step_unscav(struct world *w)
{
	size_t min = 1UL << rand_below(&w->r, rand_below(&w->r, 8) ? 5 : 10);
	size_t max = rand_below(&w->r, 3) ? min * rand_log(&w->r, 6) :
					    rand_below(&w->r, 600);
	uintptr_t limit = rand_below(&w->r, 3) ? ~0UL : draw_addr(w), want, addr;
	size_t nr = 0, want_nr = 0, scav;

	if (rand_below(&w->r, 4) == 0)
		limit += rand_below(&w->r, HA_PAGE_SIZE);
	/* Less than one group is nothing. */
	want = max < min ? 0 : naive_unscav(&w->np, limit, min, max, &want_nr);
	addr = page_alloc_take_unscav(&w->pa, limit, min, max, &nr);
	check(addr == want);
	if (!addr)
		return;
	check(nr == want_nr);
	scav = naive_count(&w->np, addr, nr, NAIVE_SCAV);
	check(!scav || min > 1);
	taken(w, addr, nr, scav);
	if (w->nr_live < MAX_LIVE && rand_below(&w->r, 2)) {
		hold(w, addr, nr);
		return;
	}
	page_alloc_free(&w->pa, addr, nr, true);
	naive_set(&w->np, addr, nr, NAIVE_SCAV, NAIVE_USED);
}

/* Ranges that were given back as a whole, holes included; and some that were not after all. */
static void step_resident(struct world *w)
{
	uintptr_t base = align_down(draw_addr(w), HA_PAGE_SIZE);
	size_t nr = rand_below(&w->r, 4) ? CHUNK_PAGES / 2 : draw_size(w), scav, gone = 0;

	if (rand_below(&w->r, 4))
		base = align_down(base, CHUNK_SIZE / 2);
	scav = naive_count(&w->np, base, nr, NAIVE_SCAV);
	for (size_t i = 0; i < nr; i++) {
		uintptr_t addr = base + i * HA_PAGE_SIZE;

		gone += naive_get(&w->np, addr) == NAIVE_SCAV ||
			naive_get(&w->np, addr) == NAIVE_HOLE;
	}
	check(page_alloc_all_returned(&w->pa, base, nr) == (gone == nr));
	if (rand_below(&w->r, 4))
		return;
	check(page_alloc_set_resident(&w->pa, base, nr) == scav);
	for (size_t i = 0; i < nr && scav; i++) {
		uintptr_t addr = base + i * HA_PAGE_SIZE;

		if (naive_get(&w->np, addr) == NAIVE_SCAV)
			naive_set(&w->np, addr, 1, NAIVE_FREE, NAIVE_SCAV);
	}
}

static void step(struct world *w, bool filling)
{
	unsigned int dice = rand_below(&w->r, 100);

	if (dice < 2)
		step_grow(w);
	else if (dice < (filling ? 55 : 30))
		step_alloc(w);
	else if (dice < 82)
		step_free(w);
	else if (dice < 88)
		step_alloc_at(w);
	else if (dice < 93)
		step_cache(w);
	else if (dice < 96)
		step_resident(w);
	else
		step_unscav(w);
}

static void run_shape(unsigned int test, const struct shape *shape,
		      unsigned int steps, unsigned int check_every)
{
	struct world *w = world_shape(test, shape);
	unsigned int i;

	world_check(w);
	for (i = 0; i < steps; i++) {
		step(w, i / 500 % 2 == 0);
		if (i % check_every == 0)
			world_check(w);
	}
	/* All back: one run a window where it was grown whole. */
	for (i = 0; i < NR_CACHES; i++)
		if (w->cache[i].base)
			page_alloc_free_window(&w->pa, w->cache[i].base,
					       w->cache[i].free, w->cache[i].scav);
	while (w->nr_live) {
		w->nr_live--;
		page_alloc_free(&w->pa, w->live[w->nr_live].base,
				w->live[w->nr_live].nr, false);
	}
	check(page_alloc_validate(&w->pa));
	check(w->pa.nr_free == w->pa.nr_pages);
	world_free(w);
}

START_TEST(random_steps)
{
	run_shape(10 + _i, &shapes[_i], 3000, 1);
}
END_TEST

START_TEST(random_long)
{
	run_shape(20 + _i, &shapes[_i], 20000, 200);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("page_alloc");
	TCase *tc = tcase_create("random");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, random_steps, 0, ARRAY_SIZE(shapes));
	tcase_add_loop_test(tc, random_long, 0, ARRAY_SIZE(shapes));
	suite_add_tcase(s, tc);
	return unit_run(s);
}
