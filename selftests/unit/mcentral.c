// SPDX-License-Identifier: MIT
/*
 * mcentral: objects in and out by batches.  An object's state byte is the map of
 * owners: set when one is handed out, it must have been clear.
 */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "conf.h"
#include "keep.h"
#include "mcentral.h"
#include "mheap.h"
#include "numa.h"

#include "fake/heap.h"
#include "fake/unit.h"

#define MAX_LIVE	3000
#define NR_THREADS	4

static const struct heap_mode one = { .name = "one" };
static const struct heap_mode four = { .name = "four", .fake = 4 };
static const struct heap_mode strict = { .name = "strict", .fake = 4, .strict = true };

static void take(const struct mag_slot *slots, unsigned int n, unsigned int nid,
		 unsigned int sc)
{
	for (unsigned int i = 0; i < n; i++) {
		uintptr_t addr = (uintptr_t)slots[i].obj;
		struct page_entry *e = arena_entry(addr);
		struct mspan *s = page_entry_span(e);
		unsigned int idx = mspan_index(s, addr);

		check(page_entry_route(e) == route_make(nid, sc));
		check(mspan_object(s, idx) == slots[i].obj && idx < s->nelems);
		check(slots[i].state == &s->object_state[idx]);
		check(__atomic_exchange_n(slots[i].state, OBJECT_LIVE,
					  __ATOMIC_RELAXED) == OBJECT_FREE);
		*(void **)slots[i].obj = slots[i].obj;
	}
}

static void give(const struct mag_slot *slots, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		check(*(void **)slots[i].obj == slots[i].obj);
		check(__atomic_exchange_n(slots[i].state, OBJECT_FREE,
					  __ATOMIC_RELAXED) == OBJECT_LIVE);
	}
}

/* What one class of one node has handed out. */
struct held {
	struct mag_slot slot[MAX_LIVE];
	unsigned int nr;
};

/* A batch comes lowest last, so that the caller, who pops, goes upwards. */
static void check_order(const struct mag_slot *slots, unsigned int n)
{
	for (unsigned int i = 1; i < n; i++) {
		struct mspan *a = heap_arena_find_span((uintptr_t)slots[i - 1].obj);
		struct mspan *b = heap_arena_find_span((uintptr_t)slots[i].obj);

		check(a != b || slots[i - 1].obj > slots[i].obj);
	}
}

static void step(struct held *h, unsigned int nid, unsigned int sc,
		 unsigned int slot, struct unit_rand *r)
{
	struct mag_slot buf[MAX_BATCH];
	unsigned int n = 1 + rand_below(r, MAX_BATCH), got = nid, k;

	if (h->nr + n <= MAX_LIVE && rand_below(r, 100) < 52) {
		k = mcentral_alloc(&got, sc, slot, h->slot + h->nr, n);
		check(k >= 1 && k <= n && got == nid);
		take(h->slot + h->nr, k, nid, sc);
		check_order(h->slot + h->nr, k);
		h->nr += k;
		return;
	}
	n = n < h->nr ? n : h->nr;
	if (!n)
		return;
	for (k = 0; k < n; k++) {
		unsigned int i = rand_below(r, h->nr);

		buf[k] = h->slot[i];
		h->slot[i] = h->slot[--h->nr];
	}
	give(buf, n);
	mcentral_free(nid, sc, buf, n);
}

/* All but every sixteenth of those in the lower half of a page. */
static void give_most(struct held *h, unsigned int nid, unsigned int sc)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < h->nr; i++) {
		uintptr_t at = (uintptr_t)h->slot[i].obj % HA_PAGE_SIZE;

		if (i % 16 == 0 && at + size_classes[sc].size <= HA_PAGE_SIZE / 2) {
			h->slot[kept++] = h->slot[i];
			continue;
		}
		give(&h->slot[i], 1);
		mcentral_free(nid, sc, &h->slot[i], 1);
	}
	h->nr = kept;
}

static void give_all(struct held *h, unsigned int nid, unsigned int sc)
{
	while (h->nr) {
		unsigned int n = h->nr < MAX_BATCH ? h->nr : MAX_BATCH;

		h->nr -= n;
		give(h->slot + h->nr, n);
		mcentral_free(nid, sc, h->slot + h->nr, n);
	}
	check(mcentrals[nid][sc].nr_out == 0);
	check(mcentrals[nid][sc].partial.nr_spans == 0);
}

static void check_empty(void)
{
	struct heap_sum sum;

	heap_check(&sum);
	check(sum.spans == 0 && sum.used_pages == 0);
}

/* Each class by itself: partial spans, full ones, empty ones. */
START_TEST(one_class)
{
	struct unit_rand r = unit_rand(_i);
	static struct held h;
	struct heap_sum sum;
	uint64_t refill = 0;

	heap_layers_init(&one);
	for (unsigned int k = 0; k < 600; k++) {
		unsigned int before = h.nr;

		step(&h, 0, _i, k, &r);
		refill += h.nr > before ? h.nr - before : 0;
		check(mcentrals[0][_i].nr_out == h.nr);
		if (k % 32 == 0) {
			heap_check(&sum);
			check(sum.out[_i] == h.nr && sum.live[_i] == h.nr);
		}
	}
	check(mcentral_nr_refill(&mcentrals[0][_i]) == refill);
	check(mcentral_nr_refills(&mcentrals[0][_i]) && mcentrals[0][_i].nr_flushes);
	give_all(&h, 0, _i);
	check_empty();
}
END_TEST

START_TEST(all_together)
{
	static struct held h[4][NR_SIZE_CLASSES];
	struct unit_rand r = unit_rand(100 + _i);
	struct heap_sum sum;

	heap_layers_init(_i ? &four : &one);
	for (unsigned int k = 0; k < 6000; k++) {
		unsigned int nid = rand_below(&r, topo.nr_nodes);
		unsigned int sc = 1 + rand_below(&r, NR_SIZE_CLASSES - 1);

		step(&h[nid][sc], nid, sc, rand_below(&r, 64), &r);
		if (k % 128 == 0)
			heap_check(&sum);
	}
	for (unsigned int nid = 0; nid < topo.nr_nodes; nid++)
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
			give_all(&h[nid][sc], nid, sc);
	check_empty();
}
END_TEST

/* New objects come from the fullest spans: the sparse ones empty. */
/*
 * Two slots that refill in turn write states of different cache lines, for each
 * class and as often as they please.
 */
START_TEST(lines_apart)
{
	uintptr_t line[2][8 * MAX_BATCH];
	struct mag_slot got[2][8 * MAX_BATCH];
	unsigned int nr[2] = { 0 }, nid = 0, turns = 4;

	heap_layers_init(&one);
	mcentral_add_slot();
	mcentral_add_slot();
	/* as many as fit before halves of lines have to be used */
	if (class_nelems(_i) >= 64)
		turns = class_nelems(_i) / 64 < 8 ? class_nelems(_i) / 64 : 8;
	for (unsigned int t = 0; t < turns; t++) {
		unsigned int k = t % 2, n;

		n = mcentral_alloc(&nid, _i, k, got[k] + nr[k], size_classes[_i].batch);
		check(n && nid == 0);
		for (unsigned int i = 0; i < n; i++)
			line[k][nr[k] + i] = (uintptr_t)got[k][nr[k] + i].state / 64;
		nr[k] += n;
	}
	for (unsigned int i = 0; i < nr[0]; i++)
		for (unsigned int j = 0; j < nr[1]; j++)
			check(line[0][i] != line[1][j]);
	for (unsigned int k = 0; k < 2; k++)
		for (unsigned int i = 0; i < nr[k]; i++)
			mcentral_free(0, _i, &got[k][i], 1);
	check_empty();
}
END_TEST

START_TEST(packs)
{
	static struct mag_slot slots[64 * 512];
	unsigned int nr = 0, nid = 0, sc = 10, kept = 0, spans;
	unsigned int per = size_classes[sc].nelems;
	struct mag_slot again[MAX_BATCH];
	struct heap_sum sum;

	heap_layers_init(&one);
	while (nr < 16 * per)
		nr += mcentral_alloc(&nid, sc, 0, slots + nr, 8);
	take(slots, nr, 0, sc);
	/* one object in ten stays, in the lower half three of four */
	for (unsigned int i = 0; i < nr; i++) {
		if (i < nr / 2 ? i % 4 : i % 10 == 0) {
			slots[kept++] = slots[i];
		} else {
			give(&slots[i], 1);
			mcentral_free(0, sc, &slots[i], 1);
		}
	}
	heap_check(&sum);
	spans = sum.spans;
	/* as many as the fuller half has room for: no sparse span gets one */
	for (unsigned int i = 0; i < nr / 8 / MAX_BATCH; i++) {
		unsigned int n = mcentral_alloc(&nid, sc, 0, again, MAX_BATCH);

		take(again, n, 0, sc);
		for (unsigned int k = 0; k < n; k++) {
			struct mspan *s =
				heap_arena_find_span((uintptr_t)again[k].obj);

			check(s->nr_alloc > s->nelems / 2);
		}
	}
	heap_check(&sum);
	check(sum.spans == spans);
}
END_TEST

START_TEST(depot_drains)
{
	unsigned int nid = 0, sc = 7, nr = 0;
	struct mcentral *mc = &mcentrals[0][sc];
	struct heap_sum sum;

	heap_layers_init(&one);
	for (;; nr++) {
		struct mag_batch *b = batch_get(0);

		check(b);
		b->n = mcentral_alloc(&nid, sc, 0, b->slots, 1 + nr % MAX_BATCH);
		check(b->n);
		if (!depot_push(&mc->depot, 0, b)) {
			mcentral_free(0, sc, b->slots, b->n);
			batch_put(0, b);
			break;
		}
	}
	check(nr == mc->depot.max && mc->nr_out > 0);
	heap_check(&sum);
	keep_drain(0, sc);
	check(mc->nr_out == 0 && depot_count(&mc->depot) == 0 && !depot_pop(&mc->depot, 0));
	check_empty();
	keep_drain(0, sc);
}
END_TEST

/* The bound of each depot, in bytes and in batches. */
START_TEST(depot_bounds)
{
	size_t most = _i ? 128UL << 10 : 64UL << 10;

	heap_layers_init(_i ? &four : &one);
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		uint32_t max = mcentrals[0][sc].depot.max;
		size_t bytes = (size_t)max * size_classes[sc].batch * size_classes[sc].size;

		check(max <= 32 && (max >= 2 || size_classes[sc].size > 64UL << 10));
		check(bytes <= most || max == 2);
	}
}
END_TEST

/* No memory here: one object of the nearest node that has some, and its name. */
START_TEST(other_node)
{
	struct mag_slot slots[MAX_BATCH];
	unsigned int nid = 2, sc = 12, n;

	heap_layers_init(_i ? &strict : &four);
	n = mcentral_alloc(&nid, sc, 0, slots, 1);
	check(n == 1 && nid == 2);
	take(slots, 1, 2, sc);
	give(slots, 1);
	mcentral_free(2, sc, slots, 1);
	nid = 1;
	vm_fail_nth(1, true);
	n = mcentral_alloc(&nid, sc, 0, slots, MAX_BATCH);
	vm_fail_nth(0, false);
	if (_i) {
		check(n == 0 && nid == 1);
	} else {
		check(n == 1 && nid == 2);
		take(slots, 1, 2, sc);
		check(mcentrals[2][sc].nr_out == 1 && mcentrals[1][sc].nr_out == 0);
		give(slots, 1);
		mcentral_free(2, sc, slots, 1);
	}
	n = mcentral_alloc(&nid, sc, 0, slots, MAX_BATCH);
	check(n > 0);
	mcentral_free(nid, sc, slots, n);
	check_empty();
}
END_TEST

START_TEST(no_memory)
{
	struct mag_slot slots[MAX_BATCH];
	unsigned int failed = 0;

	heap_layers_init(&one);
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		for (long n = 1; n < 6; n++) {
			unsigned int nid = 0, got;

			vm_fail_nth(n, n % 2);
			got = mcentral_alloc(&nid, sc, 0, slots, MAX_BATCH);
			vm_fail_nth(0, false);
			failed += !got;
			take(slots, got, 0, sc);
			heap_check(&(struct heap_sum){ 0 });
			give(slots, got);
			if (got)
				mcentral_free(0, sc, slots, got);
		}
	}
	check(failed);
	check_empty();
}
END_TEST

/* Resident kernel pages of a span. */
static size_t resident(const struct mspan *s)
{
	size_t nr = mspan_size(s) / vm_page_size, sum = 0;
	unsigned char in[128];

	if (!is_aligned(s->start, vm_page_size) || nr > sizeof(in) ||
	    mincore((void *)s->start, mspan_size(s), in))
		return 0;
	while (nr)
		sum += in[--nr] & 1;
	return sum * vm_page_size;
}

static void scavenge_all_of(unsigned int sc, uint32_t round, size_t *bytes)
{
	while (mcentral_scavenge(0, sc, round, 3, true, bytes))
		;
}

/*
 * Whole free kernel pages inside spans go back, with what lives beside them left
 * alone; once a round; and all of it counted, with calls that fail in between.
 */
START_TEST(scavenges)
{
	struct unit_rand r = unit_rand(400 + _i);
	static struct held h;
	struct heap_sum sum;
	uint32_t round = 1;
	size_t all = 0;

	heap_layers_init(&one);
	for (unsigned int k = 0; k < 400; k++) {
		size_t bytes = 0, again = 0, before;

		step(&h, 0, _i, k, &r);
		before = mcentrals[0][_i].dropped;
		if (rand_below(&r, 8))
			continue;
		round++;
		if (rand_below(&r, 4) == 0)
			vm_fail_nth(1 + rand_below(&r, 3), rand_below(&r, 2));
		scavenge_all_of(_i, round, &bytes);
		vm_fail_nth(0, false);
		check(bytes % vm_page_size == 0);
		check(mcentrals[0][_i].dropped == before + bytes);
		scavenge_all_of(_i, round, &again);
		check(again == 0);
		all += bytes;
		heap_check(&sum);
	}
	for (unsigned int got = 0, k; h.nr <= MAX_LIVE - MAX_BATCH; h.nr += k) {
		k = mcentral_alloc(&got, _i, 0, h.slot + h.nr, MAX_BATCH);
		check(k);
		take(h.slot + h.nr, k, 0, _i);
	}
	give_most(&h, 0, _i);
	/* no span has a page more resident than it may */
	scavenge_all_of(_i, ++round, &all);
	for (unsigned int i = 0; i < h.nr; i++) {
		struct mspan *s = heap_arena_find_span((uintptr_t)h.slot[i].obj);

		check(resident(s) <= mspan_size(s) -
		      popcount64(s->dropped) * vm_page_size);
	}
	heap_check(&sum);
	give_all(&h, 0, _i);
	check(mcentrals[0][_i].dropped == 0);
	check_empty();
	if (vm_page_size == 4096 && size_classes[_i].size <= 512)
		check(all > 0);
}
END_TEST

static struct mspan *span_of(const struct mag_slot *slot)
{
	return heap_arena_find_span((uintptr_t)slot->obj);
}

/* The first object of its span, the last, or none of both. */
static int at_end(const struct mag_slot *slot)
{
	const struct mspan *s = span_of(slot);
	unsigned int idx = s ? mspan_index(s, (uintptr_t)slot->obj) : 0;

	return idx == 0 ? 1 : idx == s->nelems - 1U ? 2 : 0;
}

/*
 * Spans that objects come back to are visited again, in a round that had seen them; the
 * others are not.
 */
START_TEST(visited_again)
{
	struct unit_rand r = unit_rand(500);
	static struct mag_slot slot[24000];
	static bool third[ARRAY_SIZE(slot)];
	const unsigned int sc = 20, nr = ARRAY_SIZE(slot);
	struct mcentral *mc = &mcentrals[0][sc];
	unsigned int nid = 0, got, n;
	size_t bytes = 0, again = 0;
	struct heap_sum sum;

	heap_layers_init(&one);
	for (n = 0; n < nr; n += got) {
		got = mcentral_alloc(&nid, sc, 0, slot + n, min_size(MAX_BATCH, nr - n));
		check(got);
	}
	for (n = 0; n < nr; n++)
		memset(slot[n].obj, 1, size_classes[sc].size);
	/* a third comes back, here and there: hardly a page is empty */
	for (n = 0; n < nr; n++) {
		third[n] = rand_below(&r, 3) == 0;
		if (third[n])
			mcentral_free(0, sc, slot + n, 1);
	}
	scavenge_all_of(sc, 5, &bytes);
	/* but for those at both ends of a span, the rest of the first half */
	for (n = 0; n < nr / 2; n++)
		if (!third[n] && !at_end(&slot[n]))
			mcentral_free(0, sc, slot + n, 1);
	scavenge_all_of(sc, 5, &again);
	if (vm_page_size == 4096)
		check(again > nr / 8 * size_classes[sc].size && mc->dropped == bytes + again);
	bytes += again;
	/* the last ones of every third span: as full as before, by eighths */
	for (n = 0, got = 0, again = 0; n < nr / 2; n++) {
		struct mspan *s = span_of(&slot[n]);

		if (third[n] || at_end(&slot[n]) != 2 || s->nr_alloc == 1 ||
		    (s->start >> HA_PAGE_SHIFT) / size_classes[sc].pages % 3)
			continue;
		mcentral_free(0, sc, slot + n, 1);
		got++;
	}
	check(got > 5);
	scavenge_all_of(sc, 5, &again);
	if (vm_page_size == 4096)
		check(again >= got * vm_page_size && mc->dropped == bytes + again);
	again = 0;
	scavenge_all_of(sc, 5, &again);
	check(again == 0);
	heap_check(&sum);
}
END_TEST

/* A bit that is clear already: the free that raced past the state. */
START_TEST(double_free)
{
	struct mag_slot slots[MAX_BATCH];
	unsigned int nid = 0, n;

	heap_layers_init(&one);
	n = mcentral_alloc(&nid, 9, 0, slots, MAX_BATCH);
	check(n > 4);
	mcentral_free(0, 9, slots, 1);
	mcentral_free(0, 9, slots, 1);
}
END_TEST

/* Objects change hands between the threads, batch by batch. */
static struct {
	pthread_mutex_t lock;
	struct held held[3];
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *storm_thread(void *arg)
{
	static const unsigned int classes[] = { 3, 40, 66 };
	struct unit_rand r = unit_rand(200 + (uintptr_t)arg);
	struct held *mine = calloc(3, sizeof(*mine));

	check(mine);
	for (unsigned int k = 0; k < 3000; k++) {
		unsigned int i = rand_below(&r, 3);

		if (k % 16 == 0) {
			struct held t;

			pthread_mutex_lock(&shared.lock);
			t = shared.held[i];
			shared.held[i] = mine[i];
			mine[i] = t;
			pthread_mutex_unlock(&shared.lock);
		}
		step(&mine[i], 0, classes[i], (uintptr_t)arg, &r);
	}
	for (unsigned int i = 0; i < 3; i++) {
		while (mine[i].nr) {
			mine[i].nr--;
			give(&mine[i].slot[mine[i].nr], 1);
			mcentral_free(0, classes[i], &mine[i].slot[mine[i].nr], 1);
		}
	}
	free(mine);
	return NULL;
}

START_TEST(threads)
{
	pthread_t t[NR_THREADS];

	heap_layers_init(&one);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		check(!pthread_create(&t[i], NULL, storm_thread, (void *)i));
	for (unsigned int i = 0; i < NR_THREADS; i++)
		check(!pthread_join(t[i], NULL));
	heap_check(&(struct heap_sum){ 0 });
	give_all(&shared.held[0], 0, 3);
	give_all(&shared.held[1], 0, 40);
	give_all(&shared.held[2], 0, 66);
	check_empty();
}
END_TEST

START_TEST(fork_locks)
{
	heap_layers_init(&four);
	check(!mcentral_fork_held(4));
	mcentral_fork_prepare(4, false);
	check(mcentral_fork_held(4));
	for (unsigned int n = 0; n < 4; n++)
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
			check(lock_is_held(&mcentrals[n][sc].lock));
	mcentrals[2][5].depot.used = true;
	depot_stacks[2][5][0].full.popper = 1;
	mcentral_fork_done(4, false);
	check(!mcentral_fork_held(4) && depot_stacks[2][5][0].full.popper == 1);
	mcentral_fork_prepare(4, false);
	mcentral_fork_done(4, true);
	check(!mcentral_fork_held(4) && depot_stacks[2][5][0].full.popper == 0);
	check_empty();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mcentral");
	TCase *tc = tcase_create("central");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, one_class, 1, NR_SIZE_CLASSES);
	tcase_add_loop_test(tc, all_together, 0, 2);
	tcase_add_loop_test(tc, lines_apart, 1, NR_SIZE_CLASSES);
	tcase_add_test(tc, packs);
	tcase_add_test(tc, depot_drains);
	tcase_add_loop_test(tc, depot_bounds, 0, 2);
	tcase_add_loop_test(tc, other_node, 0, 2);
	tcase_add_test(tc, no_memory);
	tcase_add_loop_test(tc, scavenges, 1, NR_SIZE_CLASSES);
	tcase_add_test(tc, visited_again);
	tcase_add_test_raise_signal(tc, double_free, SIGABRT);
	tcase_add_test(tc, threads);
	tcase_add_test(tc, fork_locks);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
