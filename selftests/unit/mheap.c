// SPDX-License-Identifier: MIT
/*
 * mheap: spans against a list of what is held, each page of which carries the
 * number of its span; the whole heap walked between the steps.  Then what is
 * asked for by name: nodes in order, memory that reads zero, and no memory.
 */
#include <pthread.h>
#include <string.h>

#include "conf.h"
#include "mheap.h"
#include "mheap_meta.h"
#include "numa.h"
#include "vm.h"

#include "fake/heap.h"
#include "fake/unit.h"

#define MAX_LIVE	400
#define MAX_PAGES	6000	/* held at once */

static const struct heap_mode one = { .name = "one" };
static const struct heap_mode four = { .name = "four", .fake = 4 };
static const struct heap_mode strict = { .name = "strict", .fake = 4, .strict = true };

struct held {
	struct mspan *s;
	uintptr_t start;
	size_t nr_pages;
	unsigned int sc;
	unsigned int nid;
	uint64_t tag;
};

struct world {
	struct unit_rand r;
	struct held live[MAX_LIVE];
	unsigned int nr_live;
	size_t nr_pages;
	uint64_t tags;
	bool blind;		/* nobody looks at entries of pages that are free */
};

static uint64_t *page_at(uintptr_t start, size_t i)
{
	return (uint64_t *)(start + i * HA_PAGE_SIZE);
}

static void held_write(struct held *h, size_t from)
{
	for (size_t i = from; i < h->nr_pages; i++)
		*page_at(h->start, i) = h->tag;
}

static void held_check(const struct held *h)
{
	check(h->s->start == h->start && h->s->nr_pages == h->nr_pages);
	check(h->s->sc == h->sc && h->s->nid == h->nid);
	check(heap_arena_find_span(h->start + mspan_size(h->s) - 1) == h->s);
	for (size_t i = 0; i < h->nr_pages; i++)
		check(*page_at(h->start, i) == h->tag);
}

static bool reads_zero(uintptr_t start, size_t nr_pages)
{
	const char *p = (const char *)start;

	return p[0] == 0 && memcmp(p, p + 1, nr_pages * HA_PAGE_SIZE - 1) == 0;
}

static void world_check(struct world *w)
{
	struct heap_sum sum;
	size_t large = 0;

	heap_check(&sum);
	check(sum.spans == w->nr_live && sum.used_pages == w->nr_pages);
	for (unsigned int i = 0; i < w->nr_live; i++)
		large += w->live[i].sc == 0;
	check(sum.large == large);
}

/*
 * The object bits are mcentral's: spans are held full of nothing here, and off
 * its sets, so the walk must find them on none.
 */
static struct mspan *full_span(struct mspan *s)
{
	if (!s || !s->sc)
		return s;
	for (unsigned int i = 0; i < s->nelems; i++)
		bitmap_set(s->bits, i);
	s->nr_alloc = s->nelems;
	mcentrals[s->nid][s->sc].nr_out += s->nelems;
	return s;
}

static void empty_span(struct mspan *s)
{
	if (!s->sc)
		return;
	mcentrals[s->nid][s->sc].nr_out -= s->nelems;
	memset(s->bits, 0, bitmap_words(s->nelems) * sizeof(s->bits[0]));
	s->nr_alloc = 0;
}

static void hold(struct world *w, struct mspan *s)
{
	struct held *h = &w->live[w->nr_live++];

	*h = (struct held){ s, s->start, s->nr_pages, s->sc, s->nid, ++w->tags };
	w->nr_pages += s->nr_pages;
	held_write(h, 0);
}

static void step_span(struct world *w)
{
	unsigned int nid = rand_below(&w->r, topo.nr_nodes);
	unsigned int sc = 1 + rand_below(&w->r, NR_SIZE_CLASSES - 1);
	struct mspan *s;

	if (w->nr_live == MAX_LIVE)
		return;
	s = full_span(mheap_alloc_span(nid, sc, rand_below(&w->r, 40)));
	check(s && s->nid == nid && s->sc == sc && s->state == MSPAN_SMALL);
	check(s->nr_pages == size_classes[sc].pages && list_empty(&s->link));
	hold(w, s);
}

static void step_large(struct world *w)
{
	size_t nr = rand_log(&w->r, 11), align = 1UL << rand_below(&w->r, 9);
	unsigned int nid = rand_below(&w->r, topo.nr_nodes);
	bool zeroed = false;
	struct mspan *s;

	if (w->nr_live == MAX_LIVE || w->nr_pages + nr > MAX_PAGES)
		return;
	s = mheap_alloc_large(nid, nr, align, &zeroed);
	check(s && s->nid == nid && s->sc == 0 && s->state == MSPAN_LARGE);
	check(s->nr_pages == nr && is_aligned(s->start, align * HA_PAGE_SIZE));
	check(s->nelems == 1 && s->object_state[0] == OBJECT_FREE);
	if (zeroed)
		check(reads_zero(s->start, nr));
	hold(w, s);
}

static void step_free(struct world *w)
{
	unsigned int i = rand_below(&w->r, w->nr_live);
	struct held h = w->live[i];

	held_check(&h);
	empty_span(h.s);
	mheap_free_span(h.s);
	check(h.s->state == MSPAN_DEAD);
	w->nr_pages -= h.nr_pages;
	w->live[i] = w->live[--w->nr_live];
}

static void step_resize(struct world *w)
{
	struct held *h = &w->live[rand_below(&w->r, w->nr_live)];
	size_t old = h->nr_pages, nr = rand_log(&w->r, 11);
	struct page_alloc *pa = &mheaps[h->nid].pages;
	size_t room;
	bool fits;

	if (h->sc || w->nr_pages + nr > MAX_PAGES)
		return;
	room = nr > old ? page_alloc_count_free(pa, h->start + old * HA_PAGE_SIZE,
						nr - old) : 0;
	fits = nr <= old || room == nr - old;
	check(mheap_resize_span(h->s, nr) == fits);
	if (fits) {
		h->nr_pages = nr;
		w->nr_pages += nr - old;
		held_write(h, min_size(old, nr));
	}
	held_check(h);
}

static void run(struct world *w, unsigned int steps)
{
	for (unsigned int step = 0; step < steps; step++) {
		unsigned int dice = rand_below(&w->r, 100);
		unsigned int nid = rand_below(&w->r, topo.nr_nodes);

		if (dice < 30)
			step_span(w);
		else if (dice < 45)
			step_large(w);
		else if (dice < 47)
			mheap_flush_caches(nid);
		else if (dice < 49)
			check(mheap_release(nid, rand_below(&w->r, 2) ? SIZE_MAX :
					    rand_log(&w->r, 22)) % HA_PAGE_SIZE == 0);
		else if (w->nr_live && dice < 90)
			step_free(w);
		else if (w->nr_live)
			step_resize(w);
		if (step % 16 == 0 && !w->blind)
			world_check(w);
	}
}

static void check_all_free(void)
{
	struct heap_sum sum;

	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		struct mheap_stat st;

		mheap_stat(n, &st);
		check(st.free + st.donated == st.pages);
		check(st.spans == 0 && st.large_bytes == 0 && st.returned <= st.free);
		mheap_flush_caches(n);
		mheap_release(n, SIZE_MAX);
		mheap_stat(n, &st);
		check(st.free + st.donated == st.pages && st.returned == st.free);
		check(mheap_release(n, SIZE_MAX) == 0);
	}
	heap_check(&sum);
	check(sum.spans == 0);
}

static struct world *world_new(unsigned int test, const struct heap_mode *mode)
{
	static struct world w;

	heap_layers_init(mode);
	w.r = unit_rand(test);
	return &w;
}

START_TEST(random_steps)
{
	struct world *w = world_new(_i, _i ? &four : &one);

	run(w, 6000);
	while (w->nr_live)
		step_free(w);
	world_check(w);
	check_all_free();
	world_check(w);
}
END_TEST

/* A busy page cache is passed by: the span comes from the heap itself. */
START_TEST(busy_cache)
{
	struct world *w = world_new(2, &one);
	unsigned int busy = heap_cache_of(3);
	struct page_cache pages;

	step_span(w);
	lock_acquire(&mheaps[0].cache[busy].lock);
	pages = mheaps[0].cache[busy].pages;
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		struct mspan *s = full_span(mheap_alloc_span(0, sc, 3));

		check(s && s->sc == sc);
		hold(w, s);
	}
	check(!memcmp(&pages, &mheaps[0].cache[busy].pages, sizeof(pages)));
	lock_release(&mheaps[0].cache[busy].lock);
	world_check(w);
}
END_TEST

/* Dirty memory of every origin, given back: it reads zero, and is said to. */
START_TEST(release_zeroes)
{
	struct world *w = world_new(3, &one);
	bool zeroed = false;
	size_t free_bytes, done;
	struct mheap_stat st;
	struct mspan *s;

	run(w, 2000);
	while (w->nr_live)
		step_free(w);
	mheap_flush_caches(0);
	mheap_stat(0, &st);
	free_bytes = (st.free - st.returned) << HA_PAGE_SHIFT;
	done = mheap_release(0, SIZE_MAX);
	/* a larger kernel page goes whole, with parts of it that were never touched */
	check(free_bytes && (vm_page_size > HA_PAGE_SIZE ? done >= free_bytes :
							   done == free_bytes));
	mheap_stat(0, &st);
	check(st.free == st.pages && st.returned == st.pages);
	for (size_t left = st.pages; left; left -= s->nr_pages) {
		size_t nr = min_size(left, 300);

		s = mheap_alloc_large(0, nr, 1, &zeroed);
		check(s && zeroed && reads_zero(s->start, nr));
		memset((void *)s->start, 0xff, nr * HA_PAGE_SIZE);
	}
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/* A limit is kept to the unit of one call, and a refusal of the kernel is lived with. */
START_TEST(release_parts)
{
	struct world *w = world_new(4, &one);
	size_t nr = 1000, bytes = nr * HA_PAGE_SIZE, done, sum = 0;
	bool zeroed;
	struct mspan *s = mheap_alloc_large(0, nr, 1, &zeroed);

	check(s);
	memset((void *)s->start, 1, bytes);
	mheap_free_span(s);
	check(mheap_release(0, 0) == 0);
	vm_fail_nth(1, true);
	check(mheap_release(0, SIZE_MAX) == 0);
	vm_fail_nth(0, false);
	world_check(w);
	s = mheap_alloc_large(0, nr, 1, &zeroed);
	check(s && !zeroed && *(char *)s->start == 1);
	mheap_free_span(s);
	while ((done = mheap_release(0, 1)))
		sum += done;
	check(sum == bytes);
	world_check(w);
}
END_TEST

static void *give_back(void *stop)
{
	while (!atomic_load_relaxed((uint32_t *)stop))
		mheap_release(0, SIZE_MAX);
	return NULL;
}

/* Pages that another thread is giving back at the moment are in use by nobody. */
START_TEST(going)
{
	struct mheap_stat st;
	uint32_t stop = 0;
	struct mspan *s;
	bool zeroed;
	pthread_t t;

	heap_layers_init(&one);
	check(!pthread_create(&t, NULL, give_back, &stop));
	for (unsigned int round = 0; round < unit_storm(3000); round++) {
		s = mheap_alloc_large(0, 300, 1, &zeroed);
		check(s);
		for (size_t i = 0; i < 300; i++)
			*page_at(s->start, i) = 1;
		mheap_free_span(s);
		for (unsigned int i = 0; i < 20; i++) {
			mheap_stat(0, &st);
			check(st.pages && st.free == st.pages && st.returned <= st.free);
		}
	}
	atomic_store_relaxed(&stop, 1);
	check(!pthread_join(t, NULL));
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/*
 * Metadata.
 */

#define NR_SPANS	6000

/* Kernel pages of page entries that are resident, or were read: a walk reads all. */
static size_t entry_pages(void)
{
	struct heap_arena *ha;
	size_t nr = 0;

	for (size_t n = 0; (ha = heap_arena_nth(n)); n++)
		nr += vm_count_resident(ha->page, ARENA_PAGES * sizeof(struct page_entry));
	return nr;
}

static struct mspan *spans[NR_SPANS];

/* Spans of all kinds, of which all but one in @keep are freed; those that are not. */
static unsigned int make_spans(struct world *w, unsigned int keep)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < NR_SPANS; i++) {
		unsigned int sc = 1 + rand_below(&w->r, i % 16 ? 40 : NR_SIZE_CLASSES - 1);

		spans[i] = full_span(mheap_alloc_span(rand_below(&w->r, topo.nr_nodes), sc, i));
		check(spans[i]);
	}
	for (unsigned int i = 0; i < NR_SPANS; i++) {
		if (keep && i % keep == 0) {
			spans[kept++] = spans[i];
		} else {
			empty_span(spans[i]);
			mheap_free_span(spans[i]);
		}
	}
	return kept;
}

static size_t meta_all(bool all)
{
	size_t bytes = 0, done;

	for (unsigned int n = 0; n < topo.nr_nodes; n++)
		while ((done = mheap_meta_release(n, all)))
			bytes += done;
	return bytes;
}

static bool meta_rests(void)
{
	for (unsigned int n = 0; n < topo.nr_nodes; n++)
		if (mheap_meta_rests(n))
			return true;
	return false;
}

static void flush_and_release(void)
{
	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		mheap_flush_caches(n);
		mheap_release(n, SIZE_MAX);
	}
}

/* All spans gone: their descriptors, states and entries go, and come again. */
START_TEST(meta_goes)
{
	struct world *w = world_new(30 + _i, _i ? &four : &one);
	size_t before, full, entries;

	for (unsigned int n = 0; n < topo.nr_nodes; n++)
		mheap_free_span(mheap_alloc_span(n, 5, 0));
	before = meta_bytes();
	for (unsigned int round = 0; round < 3; round++) {
		check(make_spans(w, 0) == 0);
		full = meta_bytes();
		entries = entry_pages();
		check(full - before > NR_SPANS * 100 && entries > 16);
		flush_and_release();
		check(meta_rests());
		check(meta_all(true) > (full - before) / 2);
		/* the first few of each kind stay */
		check(meta_bytes() - before < topo.nr_nodes * NR_SPAN_KINDS * POOL_LOOSE * 400);
		check(entry_pages() == 0);
		check(!meta_rests() && meta_all(true) == 0);
	}
	world_check(w);
}
END_TEST

/* Some live on: what is known of them stays as it is. */
START_TEST(meta_parts)
{
	struct world *w = world_new(40 + _i, _i ? &four : &one);
	unsigned int kept = make_spans(w, _i ? 50 : 700);

	for (unsigned int i = 0; i < kept; i++)
		hold(w, spans[i]);
	w->blind = true;
	for (unsigned int round = 0; round < 20; round++) {
		flush_and_release();
		meta_all(true);
		check(!meta_rests());
		run(w, 300);
		meta_all(true);
	}
	while (w->nr_live)
		step_free(w);
	flush_and_release();
	meta_all(true);
	check(entry_pages() == 0 && !meta_rests());
	world_check(w);
}
END_TEST

/* Not at once what was used a moment ago; entries have rested with their pages. */
START_TEST(meta_rests_first)
{
	struct world *w = world_new(50, &one);
	size_t full;

	make_spans(w, 0);
	flush_and_release();
	meta_all(false);
	check(entry_pages() == 0 && meta_rests());
	full = meta_bytes();
	for (unsigned int look = 0; look < 3; look++) {
		check(meta_all(false) == 0 && meta_bytes() == full);
		mheap_meta_look(0);
	}
	check(meta_all(false) > full / 2 && !meta_rests());
	world_check(w);
}
END_TEST

/* The kernel says no, to each call in turn: nothing is lost, and it goes later. */
START_TEST(meta_refused)
{
	struct world *w = world_new(60, &one);

	for (long n = 1; n < 30; n++) {
		size_t went;

		make_spans(w, 0);
		flush_and_release();
		vm_fail_nth(1 + n / 2, n % 2);
		went = meta_all(true);
		vm_fail_nth(0, false);
		check(n > 2 || went == 0 || n == 2);
		world_check(w);
		/* used again as it is, every other time */
		if (n % 4 < 2) {
			meta_all(true);
			check(!meta_rests());
		}
	}
}
END_TEST

/* A window that was never touched keeps entries only as long as it is out. */
START_TEST(meta_window)
{
	struct world *w = world_new(70, &one);
	struct mspan *s[2];

	make_spans(w, 0);
	flush_and_release();
	s[0] = mheap_alloc_span(0, 9, 0);
	check(s[0]);
	mheap_free_span(s[0]);
	check(mheap_release(0, SIZE_MAX) == HA_PAGE_SIZE);
	meta_all(true);
	check(entry_pages() == 1);
	flush_and_release();
	meta_all(true);
	check(entry_pages() == 0 && !meta_rests());
	world_check(w);
}
END_TEST

static void row(unsigned int nid, unsigned int a, unsigned int b, unsigned int c)
{
	topo.order[nid][0] = nid;
	topo.order[nid][1] = a;
	topo.order[nid][2] = b;
	topo.order[nid][3] = c;
}

/* Give @nid free pages and descriptors; nothing more can be had later. */
static void stock(unsigned int nid)
{
	struct mspan *s[20], *large;
	bool zeroed;

	for (unsigned int i = 0; i < ARRAY_SIZE(s); i++) {
		s[i] = mheap_alloc_span(nid, 5, 0);
		check(s[i] && s[i]->nid == nid);
	}
	large = mheap_alloc_large(nid, 10, 1, &zeroed);
	check(large && large->nid == nid);
	mheap_free_span(large);
	for (unsigned int i = 0; i < ARRAY_SIZE(s); i++)
		mheap_free_span(s[i]);
}

/* Nodes from place _i on have memory: it comes from the first of them. */
START_TEST(fallback_order)
{
	unsigned int want;
	struct mspan *s;
	bool zeroed;

	heap_layers_init(&four);
	row(0, 2, 3, 1);
	row(1, 3, 0, 2);
	want = topo.order[1][_i];
	for (unsigned int i = _i; i < 4; i++) {
		unsigned int nid = topo.order[1][i];

		stock(nid);
	}
	vm_fail_nth(1, true);
	s = full_span(mheap_alloc_span(1, 5, 0));
	check(s && s->nid == want && arena_lookup(s->start)->nid == want);
	s = mheap_alloc_large(1, 10, 1, &zeroed);
	check(s && s->nid == want);
	heap_check(&(struct heap_sum){ 0 });
	/* back to the nearest as soon as it can */
	vm_fail_nth(0, false);
	s = full_span(mheap_alloc_span(1, 5, 0));
	check(s && s->nid == 1);
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/*
 * A node that cannot grow, over and over, is not asked each time as long as others have
 * pages; and it is before the answer is no.
 */
START_TEST(grows_again)
{
	unsigned int nr = 0;
	size_t failed;

	heap_layers_init(&four);
	stock(1);
	vm_fail_nth(1, true);
	failed = vm_failed();
	while (nr < 400 && full_span(mheap_alloc_span(0, 5, 0)))
		nr++;
	check(nr == 400 && vm_failed() - failed <= 40);
	while (full_span(mheap_alloc_span(0, 5, 0)))
		;
	failed = vm_failed();
	check(!mheap_alloc_span(0, 5, 0) && vm_failed() - failed >= 4);
	vm_fail_nth(0, false);
	for (nr = 0; nr < 1000; nr++) {
		struct mspan *s = full_span(mheap_alloc_span(0, 5, 0));

		check(s);
		if (s->nid == 0)
			break;
	}
	check(nr < 1000);
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

START_TEST(strict_stays)
{
	struct mspan *s;
	bool zeroed;

	heap_layers_init(&strict);
	for (unsigned int nid = 1; nid < 4; nid++)
		stock(nid);
	vm_fail_nth(1, true);
	check(!mheap_alloc_span(0, 5, 0));
	check(!mheap_alloc_large(0, 10, 1, &zeroed));
	s = full_span(mheap_alloc_span(2, 5, 0));
	check(s && s->nid == 2);
	vm_fail_nth(0, false);
	s = full_span(mheap_alloc_span(0, 5, 0));
	check(s && s->nid == 0);
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/* Nobody has memory: all nodes are asked, and everything is as it was. */
START_TEST(no_memory)
{
	struct world *w = world_new(20 + _i, _i ? &four : &one);
	bool zeroed;

	run(w, 500);
	for (long n = 1; n < 60; n++) {
		unsigned int nid = rand_below(&w->r, topo.nr_nodes);
		struct mspan *s;

		vm_fail_nth(1 + n / 4, n % 2);
		if (rand_below(&w->r, 2))
			s = mheap_alloc_large(nid, 600 * n, 1 + 511 * (n & 1), &zeroed);
		else
			s = full_span(mheap_alloc_span(nid, 1 + rand_below(&w->r, 66), n));
		vm_fail_nth(0, false);
		if (s) {
			empty_span(s);
			mheap_free_span(s);
		}
		world_check(w);
	}
	vm_fail_nth(1, true);
	check(!mheap_alloc_large(0, 1UL << 18, 1, &zeroed));
	vm_fail_nth(0, false);
	check(!mheap_alloc_large(0, 1UL << 34, 1, &zeroed));
	check(!mheap_alloc_large(0, PTRDIFF_MAX >> HA_PAGE_SHIFT, 1, &zeroed));
	check(!mheap_alloc_large(0, 1, 1UL << 49, &zeroed));
	run(w, 500);
	while (w->nr_live)
		step_free(w);
	check_all_free();
	world_check(w);
}
END_TEST

START_TEST(fork_locks)
{
	heap_layers_init(&four);
	check(!mheap_fork_held(4));
	mheap_fork_prepare(4, false);
	check(mheap_fork_held(4));
	for (unsigned int n = 0; n < 4; n++) {
		check(lock_is_held(&mheaps[n].lock));
		for (unsigned int i = 0; i < NR_HEAP_CACHES; i++)
			check(lock_is_held(&mheaps[n].cache[i].lock));
	}
	mheap_fork_done(4, false);
	check(!mheap_fork_held(4));
	check(mheap_alloc_span(3, 1, 1));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mheap");
	TCase *tc = tcase_create("heap");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, random_steps, 0, 2);
	tcase_add_test(tc, busy_cache);
	tcase_add_test(tc, release_zeroes);
	tcase_add_test(tc, release_parts);
	tcase_add_test(tc, going);
	tcase_add_loop_test(tc, meta_goes, 0, 2);
	tcase_add_loop_test(tc, meta_parts, 0, 2);
	tcase_add_test(tc, meta_rests_first);
	tcase_add_test(tc, meta_refused);
	tcase_add_test(tc, meta_window);
	tcase_add_loop_test(tc, fallback_order, 0, 4);
	tcase_add_test(tc, grows_again);
	tcase_add_test(tc, strict_stays);
	tcase_add_loop_test(tc, no_memory, 0, 2);
	tcase_add_test(tc, fork_locks);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
