// SPDX-License-Identifier: MIT
/*
 * heap_arena: the index at the borders of arenas, page entries in both directions,
 * and spans found from any of their pages, against an array of pages.
 *
 *	arena  0          1          2
 *	      |---####---|###---####|#####---##|    # spans, some over a border
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "fixalloc.h"
#include "mspan.h"

#include "fake/heap.h"
#include "fake/unit.h"

#define WORLD_ARENAS	3
#define NR_PAGES	(WORLD_ARENAS * ARENA_PAGES)
#define MAX_SPANS	600

static uintptr_t reserve(size_t size, unsigned int nid)
{
	size_t got = size;
	uintptr_t base = heap_arena_reserve(&got, nid, VM_BIND_OFF);

	check(base && got == size && is_aligned(base, ARENA_SIZE));
	return base;
}

static void begin(void)
{
	vm_init();
	check(heap_arena_init() == 0);
}

START_TEST(borders)
{
	uintptr_t base[4];
	size_t n = 0;

	begin();
	check(!heap_arena_nth(0));
	for (unsigned int i = 0; i < ARRAY_SIZE(base); i++) {
		base[i] = reserve(ARENA_SIZE * (1 + i % 2), i);
		/* the next to the last, so that spans can go on */
		if (i && base[0] == VM_ARENA_HINT)
			check(base[i] == base[i - 1] + ARENA_SIZE * (1 + (i - 1) % 2));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(base); i++) {
		for (unsigned int k = 0; k < 1 + i % 2; k++, n++) {
			uintptr_t a = base[i] + k * ARENA_SIZE;
			struct heap_arena *ha = arena_lookup(a);

			check(ha && ha->base == a && ha->nid == i);
			check(ha->reserved == ARENA_SIZE && heap_arena_nth(n) == ha);
			check(arena_lookup(a + 1) == ha);
			check(arena_lookup(a + ARENA_SIZE - 1) == ha);
			check(arena_lookup(a - 1) != ha);
			check(arena_lookup(a + ARENA_SIZE) != ha);
			check(k == 0 || arena_lookup(a - 1) == heap_arena_nth(n - 1));
		}
	}
	check(!heap_arena_nth(n) && !heap_arena_nth(n + 1));
	if (base[0] == VM_ARENA_HINT) {
		check(!arena_lookup(base[0] - 1));
		check(!arena_lookup(base[3] + 2 * ARENA_SIZE));
	}
}
END_TEST

/* Addresses of no arena, from the first to those that no process has. */
START_TEST(foreign)
{
	static int here;
	int there;
	const uintptr_t addr[] = {
		0, 1, ARENA_SIZE, (uintptr_t)&here, (uintptr_t)&there,
		(uintptr_t)begin, (uintptr_t)&strlen, VM_ARENA_HINT - 1,
		(1UL << VM_ADDR_BITS) - 1, 1UL << VM_ADDR_BITS,
		(1UL << VM_ADDR_BITS) + VM_ARENA_HINT, 1UL << 63, ~0UL, ~0UL - 8191,
	};

	begin();
	for (int round = 0; round < 2; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(addr); i++) {
			check(!arena_lookup(addr[i]));
			check(!heap_arena_find_span(addr[i]));
		}
		reserve(ARENA_SIZE, 0);
	}
}
END_TEST

/* Descriptors with their states, as mheap makes them. */
static struct mspan *span_new(uintptr_t start, size_t nr_pages, unsigned int sc,
			      unsigned int nid)
{
	unsigned int n = class_nelems(sc);
	struct mspan *s = meta_alloc(mspan_bytes(n)), **states;

	states = meta_alloc_states(mspan_state_bytes(sc));
	check(s && states);
	states[0] = s;
	s->object_state = (uint8_t *)(states + 1);
	mspan_init(s, start, nr_pages, sc, nid);
	return s;
}

static bool entry_empty(uintptr_t addr)
{
	static const struct page_entry none;

	return !memcmp(arena_entry(addr), &none, sizeof(none));
}

/* _i is the node: each class, on each of its pages, there and back. */
START_TEST(page_entries)
{
	uintptr_t base;

	begin();
	base = reserve(2 * ARENA_SIZE, _i);
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		size_t nr = size_classes[sc].pages;
		/* over the border where it has more than one page */
		uintptr_t start = base + ARENA_SIZE - nr / 2 * HA_PAGE_SIZE;
		struct mspan *s = span_new(start, nr, sc, _i);

		heap_arena_set_span(start, nr, s->object_state, _i, sc);
		for (uintptr_t addr = start; addr < start + mspan_size(s); addr += 1024) {
			struct page_entry *e = arena_entry(addr);
			unsigned int route = page_entry_route(e);

			check(heap_arena_find_span(addr) == s);
			if ((addr - start) / HA_PAGE_SIZE >= span_entries(nr, sc)) {
				check(entry_empty(addr));
				continue;
			}

			check(route == route_make(_i, sc) && route < NR_ROUTES);
			check(route_nid(route) == (unsigned int)_i);
			check(route_class(route) == sc);
			check(e == arena_page(arena_lookup(addr), addr));
			check(e->states == s->object_state);
			check(e->magic == size_classes[sc].magic);
			check(page_entry_span(e) == s);
			check(place_offset(e->place, addr) == addr - start);
			check(place_offset(e->place, addr + 1023) == addr - start + 1023);
		}
		heap_arena_clear_span(start, nr, sc);
		for (uintptr_t addr = start; addr < start + mspan_size(s);
		     addr += HA_PAGE_SIZE) {
			check(entry_empty(addr));
			check(!heap_arena_find_span(addr));
		}
	}
}
END_TEST

/* The reference: which span each page belongs to. */
struct world {
	uintptr_t base;
	struct mspan *page[NR_PAGES];
	struct mspan *span[MAX_SPANS];
	unsigned int nr_spans;
};

static void world_add(struct world *w, struct unit_rand *r)
{
	unsigned int sc = rand_below(r, 4) ? 1 + rand_below(r, NR_SIZE_CLASSES - 1) : 0;
	size_t nr = sc ? size_classes[sc].pages : rand_log(r, 14);
	size_t at = rand_below(r, NR_PAGES), i;
	struct mspan *s;

	/* the borders are what matters */
	if (rand_below(r, 4) == 0)
		at = ARENA_PAGES * (1 + rand_below(r, WORLD_ARENAS - 1)) -
		     rand_below(r, min_size(nr, 40) + 1);
	if (w->nr_spans == MAX_SPANS || at + nr > NR_PAGES)
		return;
	for (i = at; i < at + nr; i++)
		if (w->page[i])
			return;
	s = span_new(w->base + at * HA_PAGE_SIZE, nr, sc, 2);
	heap_arena_set_span(s->start, nr, s->object_state, 2, sc);
	for (i = at; i < at + nr; i++)
		w->page[i] = s;
	w->span[w->nr_spans++] = s;
}

static void world_del(struct world *w, struct unit_rand *r)
{
	unsigned int i = rand_below(r, w->nr_spans);
	struct mspan *s = w->span[i];
	size_t at = (s->start - w->base) >> HA_PAGE_SHIFT;

	heap_arena_clear_span(s->start, s->nr_pages, s->sc);
	memset(&w->page[at], 0, s->nr_pages * sizeof(w->page[0]));
	w->span[i] = w->span[--w->nr_spans];
}

static void world_check_page(struct world *w, size_t i)
{
	uintptr_t addr = w->base + i * HA_PAGE_SIZE;
	struct mspan *s = heap_arena_find_span(addr + i % HA_PAGE_SIZE);
	bool empty = entry_empty(addr);

	if (w->page[i]) {
		check(s == w->page[i]);
		check(empty == ((addr - s->start) / HA_PAGE_SIZE >= span_entries(s->nr_pages, s->sc)));
	} else {
		/* the caller compares with the bounds */
		check(empty && (!s || !mspan_contains(s, addr)));
	}
}

START_TEST(random_spans)
{
	struct unit_rand r = unit_rand(1);
	static struct world w;

	begin();
	w.base = reserve(WORLD_ARENAS * ARENA_SIZE, 2);
	for (unsigned int step = 0; step < 6000; step++) {
		if (w.nr_spans && rand_below(&r, 100) < 40)
			world_del(&w, &r);
		else
			world_add(&w, &r);
		for (unsigned int i = 0; i < 20; i++)
			world_check_page(&w, rand_below(&r, NR_PAGES));
		for (unsigned int i = 0; i < 4; i++)
			world_check_page(&w, ARENA_PAGES * (1 + i / 2) - i % 2);
		if (step % 500 == 0)
			for (size_t i = 0; i < NR_PAGES; i++)
				world_check_page(&w, i);
	}
	while (w.nr_spans)
		world_del(&w, &r);
	for (size_t i = 0; i < NR_PAGES; i++)
		world_check_page(&w, i);
	check(!heap_arena_find_span(w.base + WORLD_ARENAS * ARENA_SIZE - 1));
}
END_TEST

/* Each call of a reservation fails once: nothing is left, the next one works. */
START_TEST(no_memory)
{
	size_t want = _i * ARENA_SIZE, size;
	uintptr_t base = 0;

	begin();
	for (long n = 1; n < 200 && !base; n++) {
		size_t reserved = vm_stat.reserved[VM_HEAP];

		size = want;
		vm_fail_nth(n, true);
		base = heap_arena_reserve(&size, 1, VM_BIND_ADVISORY);
		vm_fail_nth(0, false);
		check(vm_stat.reserved[VM_HEAP] == reserved + (base ? size : 0));
		if (base && size < want) {
			/* one that is shorter is one as well */
			check(arena_lookup(base)->reserved == size);
			base = 0;
		}
	}
	check(base && size == want);
	for (size_t off = 0; off < want; off += ARENA_SIZE) {
		struct heap_arena *ha = arena_lookup(base + off), *nth;
		unsigned int seen = 0;

		check(ha && ha->base == base + off && ha->nid == 1);
		check(ha->reserved == ARENA_SIZE);
		for (size_t i = 0; (nth = heap_arena_nth(i)); i++)
			seen += nth == ha;
		check(seen == 1);
	}
	check(vm_prepare((void *)base, want) == 0);
}
END_TEST

/* Somebody has been there before; a sanitizer, perhaps. */
static void occupy(uintptr_t addr)
{
	void *p = mmap((void *)addr, vm_page_size, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	check(p == (void *)addr || p == MAP_FAILED);
}

enum in_the_way {
	NOTHING,
	AT_THE_HINT,
	BEHIND_AN_ARENA,
	BEHIND_THE_ENTRIES,
	NR_IN_THE_WAY,
};

/* The window ends where somebody is; whatever is outside of it is found all the same. */
START_TEST(window)
{
	uintptr_t hint = VM_ARENA_HINT, next = hint + ARENA_SIZE, base[4];
	bool open = true;

	begin();
	check(!window_entry(hint) && !arena_entry(hint));
	if (_i == AT_THE_HINT)
		occupy(hint);
	if (_i == BEHIND_AN_ARENA)
		occupy(next + ARENA_SIZE - vm_page_size);
	if (_i == BEHIND_THE_ENTRIES)
		occupy(next >> WINDOW_SHIFT);
	for (unsigned int i = 0; i < ARRAY_SIZE(base); i++) {
		base[i] = reserve(ARENA_SIZE, 0);
		open = open && base[i] == hint + i * ARENA_SIZE &&
		       (_i != BEHIND_THE_ENTRIES || !i);
		check(_i != AT_THE_HINT || base[i] != hint);
		check(_i != BEHIND_AN_ARENA || base[i] != next);
		for (size_t off = 0; off < ARENA_SIZE; off += ARENA_SIZE - 1) {
			uintptr_t a = base[i] + off;

			check((window_entry(a) != NULL) == open);
			check(arena_entry(a) == arena_page(arena_lookup(a), a));
			check(entry_empty(a));
		}
	}
	check(!window_entry(hint - 1));
	check(!window_entry(hint + ARRAY_SIZE(base) * ARENA_SIZE));
	for (unsigned int i = 0; i < ARRAY_SIZE(base); i++) {
		struct mspan *s = span_new(base[i] + 3 * HA_PAGE_SIZE, 2, 20, 0);

		heap_arena_set_span(s->start, 2, s->object_state, 0, 20);
		check(heap_arena_find_span(s->start + HA_PAGE_SIZE + 1) == s);
		check(page_entry_span(arena_entry(s->start)) == s);
	}
}
END_TEST

/* Little address space: a shorter arena, then none; both said as they are. */
START_TEST(short_arena)
{
	size_t size = ARENA_SIZE, last = ARENA_SIZE;
	unsigned int nr = 0;
	uintptr_t base;

	begin();
	check(meta_alloc(64) && meta_alloc_states(64));
	heap_limit_as(45UL << 20);
	for (; (base = heap_arena_reserve(&size, 0, VM_BIND_OFF)); nr++) {
		check(size >= CHUNK_SIZE && size < ARENA_SIZE && size <= last);
		check(is_power_of_2(size) && is_aligned(base, ARENA_SIZE));
		check(arena_lookup(base)->reserved == size);
		check(vm_prepare((void *)base, size) == 0);
		last = size;
		size = ARENA_SIZE;
	}
	check(nr >= 1);
	/* one that needs more than an arena gets all or nothing */
	size = 2 * ARENA_SIZE;
	check(!heap_arena_reserve(&size, 0, VM_BIND_OFF) && size == 2 * ARENA_SIZE);
}
END_TEST

/*
 * Where the last reservation failed, the next fails by one system call, and works
 * again when there is room.
 */
START_TEST(full)
{
	size_t size = ARENA_SIZE, before = 0;
	struct rlimit old, low;

	begin();
	check(meta_alloc(64) && meta_alloc_states(64));
	reserve(ARENA_SIZE, 0);
	check(!getrlimit(RLIMIT_AS, &old));
	for (unsigned int round = 0; round < 2; round++) {
		low = (struct rlimit){ 1 << 20, old.rlim_max };
		check(!setrlimit(RLIMIT_AS, &low));
		before = vm_stat.nr_calls;
		check(!heap_arena_reserve(&size, 0, VM_BIND_ADVISORY));
		check(vm_stat.nr_calls - before > 3);
		for (unsigned int i = 0; i < 10; i++) {
			size = (1 + i % 3) * ARENA_SIZE;
			before = vm_stat.nr_calls;
			check(!heap_arena_reserve(&size, i % 2, VM_BIND_ADVISORY));
			check(vm_stat.nr_calls - before == 1);
		}
		check(!setrlimit(RLIMIT_AS, &old));
		reserve(ARENA_SIZE, 0);
		size = ARENA_SIZE;
	}
}
END_TEST

START_TEST(fork_lock)
{
	begin();
	check(!heap_arena_fork_held());
	heap_arena_fork_prepare(false);
	check(heap_arena_fork_held());
	heap_arena_fork_done();
	check(!heap_arena_fork_held());
	reserve(ARENA_SIZE, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("heap_arena");
	TCase *tc = tcase_create("index");
	const char *why = heap_no_short_arenas();

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_test(tc, borders);
	tcase_add_test(tc, foreign);
	tcase_add_loop_test(tc, page_entries, 0, MAX_NODES);
	tcase_add_test(tc, random_spans);
	tcase_add_loop_test(tc, no_memory, 1, 4);
	tcase_add_loop_test(tc, window, 0, NR_IN_THE_WAY);
	if (!why) {
		tcase_add_test(tc, short_arena);
		tcase_add_test(tc, full);
	} else {
		unit_skip("short_arena, full", why);
	}
	tcase_add_test(tc, fork_lock);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
