// SPDX-License-Identifier: MIT
/*
 * scavenge: steps on a clock of the test's own.  What is free above the goal goes
 * back, and soon; what a swinging load will want again stays; what lives is not
 * touched.
 */
#include <string.h>

#include "batch.h"
#include "fixalloc.h"
#include "limit.h"
#include "mcache.h"
#include "mheap.h"
#include "numa.h"
#include "scavenge.h"

#include "fake/heap.h"
#include "fake/unit.h"

#define MIB		(1UL << 20)
#define TICK_MS		100
#define BUDGET_NS	1000000000ULL	/* never the reason to stop */
#define SLACK		(512UL << 10)	/* not worth a call */

static const struct heap_mode one = { .name = "one" };
static const struct heap_mode four = { .name = "four", .fake = 4 };

static uint64_t now = 5000000;

static bool tick(void)
{
	now += TICK_MS;
	return scavenge_step(now, BUDGET_NS, BUDGET_NS);
}

/* Free bytes that are resident, all nodes. */
static size_t resident_free(void)
{
	size_t sum = 0;

	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		struct mheap_stat st;

		mheap_stat(n, &st);
		sum += (st.free - st.returned) << HA_PAGE_SHIFT;
	}
	return sum;
}

static struct mspan *large(unsigned int nid, size_t bytes, unsigned char c)
{
	bool zeroed;
	struct mspan *s = mheap_alloc_large(nid, bytes >> HA_PAGE_SHIFT, 1, &zeroed);

	check(s && s->nid == nid);
	memset((void *)s->start, c, bytes);
	return s;
}

static bool all_bytes(const struct mspan *s, unsigned char c)
{
	const unsigned char *p = (const unsigned char *)s->start;

	return p[0] == c && memcmp(p, p + 1, mspan_size(s) - 1) == 0;
}

/* Steps until one says that nothing is left; the seconds that took. */
static unsigned int settle(unsigned int max_s)
{
	for (unsigned int i = 0; i < max_s * (1000 / TICK_MS); i++)
		if (tick())
			return 1 + i / (1000 / TICK_MS);
	ck_abort_msg("not settled after %u s", max_s);
}

START_TEST(gives_back)
{
	struct mspan *gone[4], *kept[4];

	heap_layers_init(_i ? &four : &one);
	for (unsigned int i = 0; i < 4; i++) {
		gone[i] = large(i % topo.nr_nodes, 16 * MIB, 1);
		kept[i] = large(i % topo.nr_nodes, 4 * MIB, 2 + i);
	}
	tick();
	for (unsigned int i = 0; i < 4; i++)
		mheap_free_span(gone[i]);
	check(resident_free() >= 64 * MIB);
	settle(20);
	/* a sixteenth of what is used may stay, and what is not worth a call */
	check(resident_free() <= MIB + topo.nr_nodes * SLACK);
	for (unsigned int i = 0; i < 4; i++)
		check(all_bytes(kept[i], 2 + i));
	heap_check(&(struct heap_sum){ 0 });
	/* settled means settled */
	check(tick() && tick());
}
END_TEST

/* Without a budget nothing is done, and that is not called done. */
START_TEST(no_budget)
{
	struct mspan *s;
	size_t before;

	heap_layers_init(&one);
	s = large(0, 64 * MIB, 1);
	tick();
	mheap_free_span(s);
	before = resident_free();
	for (unsigned int i = 0; i < 300; i++) {
		now += TICK_MS;
		check(!scavenge_step(now, 0, 0));
	}
	check(resident_free() == before);
	settle(20);
	check(resident_free() <= SLACK);
}
END_TEST

/* Steps that come all at once are no time: the peak stands. */
START_TEST(no_time)
{
	struct mspan *s;

	heap_layers_init(&one);
	tick();
	s = large(0, 64 * MIB, 1);
	tick();
	mheap_free_span(s);
	tick();
	tick();
	for (unsigned int i = 0; i < 1000; i++)
		scavenge_step(now, BUDGET_NS, BUDGET_NS);
	/* half of it, soon */
	check(resident_free() > 24 * MIB);
}
END_TEST

/* The end of a large job is followed soon, down to half; not so the next one. */
START_TEST(halves)
{
	struct mspan *kept, *s;

	heap_layers_init(&one);
	kept = large(0, 4 * MIB, 7);
	for (unsigned int turn = 0; turn < 8; turn++) {
		size_t before, after;

		s = large(0, 64 * MIB, 1);
		tick();
		mheap_free_span(s);
		before = resident_free();
		check(scavenge_due(now + TICK_MS) == (turn % 2 == 0));
		/* it might come back at once */
		tick();
		check(resident_free() > 50 * MIB);
		tick();
		after = resident_free();
		if (turn % 2 == 0) {
			check(before >= 64 * MIB && after <= 34 * MIB);
			continue;
		}
		check(after > 50 * MIB);
		/* as long as the wait is by now */
		now += 1000UL << (turn / 2);
	}
	check(all_bytes(kept, 7));
	mheap_free_span(kept);
}
END_TEST

/* What a free tells of at once, and once. */
static unsigned int told_now, told;

static void tell(bool now_)
{
	told_now += now_;
	told++;
}

START_TEST(notice)
{
	struct mspan *s[32];

	heap_layers_init(&one);
	mheap_notify = tell;
	for (unsigned int i = 0; i < 32; i++)
		s[i] = large(0, 2 * MIB, 1);
	tick();
	for (unsigned int i = 0; i < 32; i++) {
		mheap_free_span(s[i]);
		check(told_now == (i >= 16));
	}
	check(told > 20);
}
END_TEST

/* Up and down five times a second: the pages are kept for the next time. */
START_TEST(swings)
{
	unsigned int low = 0;

	heap_layers_init(&one);
	for (unsigned int i = 0; i < 40; i++) {
		struct mspan *s = large(0, 32 * MIB, 1);

		tick();
		mheap_free_span(s);
		tick();
		low += resident_free() < 24 * MIB;
	}
	/* the first time, and after 1, 2, 4 s */
	check(low <= 5);
	settle(20);
	check(resident_free() <= SLACK);
}
END_TEST

/* Pages that were given back and wanted again are kept for longer than the peak is. */
START_TEST(wanted_again)
{
	struct mspan *s[32], *more[4];
	size_t before;

	heap_layers_init(&one);
	for (unsigned int i = 0; i < 32; i++)
		s[i] = large(0, 2 * MIB, i);
	for (unsigned int i = 1; i < 32; i += 2)
		mheap_free_span(s[i]);
	settle(20);
	/* not a sixteenth of 32 MiB: the process rests */
	check(resident_free() <= SLACK && !mheap_again(0, false));
	for (unsigned int i = 0; i < 4; i++)
		more[i] = large(0, 2 * MIB, 1);
	check(mheap_again(0, false) >= (8 * MIB - SLACK) >> HA_PAGE_SHIFT);
	tick();
	check(!mheap_again(0, false));
	for (unsigned int i = 0; i < 4; i++)
		mheap_free_span(more[i]);
	before = resident_free();
	for (unsigned int i = 0; i < 6; i++)
		tick();
	check(resident_free() == before && before >= 8 * MIB);
	settle(20);
	check(resident_free() <= SLACK);
	for (unsigned int i = 0; i < 32; i += 2)
		check(all_bytes(s[i], i));
}
END_TEST

/* Objects of a class through the caches of this thread. */
static void through_caches(unsigned int sc, unsigned int n)
{
	static struct mag_slot slot[4000];
	struct mag_hdr *h;
	bool due;

	for (unsigned int i = 0; i < n; i++) {
		check(mcache_pop_twice(2 * sc, &slot[i], &h, &due) ||
		      mcache_alloc_slow(sc, &slot[i]));
		memset(slot[i].obj, 1, size_classes[sc].size);
	}
	while (n--) {
		uintptr_t addr = (uintptr_t)slot[n].obj;
		unsigned int route = page_entry_route(arena_entry(addr));

		if (!mcache_push(route, slot[n]))
			mcache_free_slow(route, slot[n]);
	}
}

/* What rests in magazines and depots goes home within seconds. */
START_TEST(idle_caches)
{
	struct heap_sum sum;
	size_t cached = 0;

	heap_layers_init(&heap_modes[_i]);
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc += 5)
		through_caches(sc, 1 + 4000 * 64 / size_classes[sc].size % 4000);
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
		cached += mcache_nr_cached(sc);
	check(cached > 0);
	settle(20);
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
		check(mcache_nr_cached(sc) == 0);
	heap_check(&sum);
	check(sum.spans == 0 && resident_free() <= topo.nr_nodes * SLACK);
	/* and all goes on as ever */
	through_caches(9, 1000);
	heap_check(&sum);
}
END_TEST

static size_t cached_bytes(void)
{
	size_t bytes = 0;

	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
		bytes += mcache_nr_cached(sc) * size_classes[sc].size;
	check(bytes == mcache_cached_bytes());
	return bytes;
}

/* Busy caches keep what they have, but for more than their share of a limit. */
START_TEST(cache_share)
{
	size_t share;

	heap_layers_init(&heap_modes[_i]);
	for (unsigned int i = 0; i < 30; i++) {
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
			through_caches(sc, 1 + i % 2 + 4000 * 64 / size_classes[sc].size % 4000);
		tick();
	}
	share = cached_bytes() / 2;
	check(share > 0);
	limit_set(share * 8, LIMIT_NONE);
	check(limit_cache_max() == share);
	for (unsigned int i = 0; i < 11; i++)
		tick();
	check(cached_bytes() <= share);
	limit_set(LIMIT_NONE, LIMIT_NONE);
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
		through_caches(sc, 3);
	limit_set_cache_max(0);
	for (unsigned int i = 0; i < 11; i++)
		tick();
	check(cached_bytes() == 0);
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

static void make_spans(unsigned int nr)
{
	static struct mspan *span[4000];

	for (unsigned int i = 0; i < nr; i++) {
		span[i] = mheap_alloc_span(0, 5 + i % 4, 0);
		check(span[i]);
		memset((void *)span[i]->start, 1, mspan_size(span[i]));
	}
	while (nr)
		mheap_free_span(span[--nr]);
}

/*
 * What is known of spans goes when they have been gone for a while: not in a load that
 * swings each second, and without a call into the heap.
 */
START_TEST(metadata)
{
	size_t before, full, calls;

	heap_layers_init(&one);
	make_spans(1);
	before = meta_bytes();
	for (unsigned int i = 0; i < 20; i++) {
		make_spans(4000);
		full = meta_bytes();
		check(full - before > 4000 * 100);
		for (unsigned int t = 0; t < 10; t++) {
			tick();
			check(meta_bytes() == full);
		}
	}
	settle(20);
	check(meta_bytes() - before < 64 << 10);
	/* and nothing more is asked of the kernel */
	calls = vm_stat.nr_calls;
	for (unsigned int t = 0; t < 30; t++)
		check(tick());
	check(vm_stat.nr_calls == calls);
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/* Batches that depots do without by now. */
START_TEST(batches)
{
	static struct mag_batch *b[1000];
	size_t before, full;

	heap_layers_init(&one);
	make_spans(1);
	before = meta_bytes();
	for (unsigned int i = 0; i < ARRAY_SIZE(b); i++) {
		b[i] = batch_get(0);
		check(b[i]);
	}
	full = meta_bytes();
	for (unsigned int i = 0; i < 30; i++)
		tick();
	check(meta_bytes() == full);
	for (unsigned int i = 0; i < ARRAY_SIZE(b); i++)
		batch_put(0, b[i]);
	for (unsigned int i = 0; i < 30; i++)
		tick();
	check(meta_bytes() - before < (full - before) / 10);
}
END_TEST

START_TEST(everything_at_once)
{
	struct mspan *s, *kept;
	struct heap_sum sum;
	size_t bytes;

	heap_layers_init(&one);
	s = large(0, 20 * MIB, 1);
	kept = large(0, MIB, 7);
	mheap_free_span(s);
	through_caches(20, 2000);
	bytes = scavenge_all();
	check(bytes >= 20 * MIB && resident_free() == 0 && scavenge_all() == 0);
	heap_check(&sum);
	check(sum.spans == 1 && all_bytes(kept, 7));
}
END_TEST

/* Near the soft limit a class rests sooner; an assist asks for it as well. */
START_TEST(close_to_limit)
{
	static struct mag_slot slots[4000];
	struct mcentral *mc = &mcentrals[0][20];
	size_t at_ms, got = 0;
	unsigned int nid = 0;

	heap_layers_init(&one);
	for (unsigned int n = 0; n < 4000; n += got) {
		got = mcentral_alloc(&nid, 20, 0, slots + n, min_size(64, 4000 - n));
		check(got);
	}
	for (unsigned int n = 0; n < 4000; n++)
		memset(slots[n].obj, 1, size_classes[20].size);
	/* but one in 64 */
	for (unsigned int n = 0; n + 64 <= 4000; n += 64)
		mcentral_free(0, 20, slots + n + 1, 63);
	check(!mc->dropped);
	if (_i == 0) {
		limit_set(limit_total() / 2, LIMIT_NONE);
		check(limit_close());
		for (at_ms = 0; at_ms < 600; at_ms += TICK_MS)
			tick();
		check(mc->dropped);
		return;
	}
	/* used since the last look, which there was none; then not */
	check(scavenge_rested(SIZE_MAX) == 0 && !mc->dropped);
	got = scavenge_rested(1);
	check(got > 0 && got == mc->dropped);
	check(scavenge_rested(SIZE_MAX) > 0 && scavenge_rested(SIZE_MAX) == 0);
}
END_TEST

/* The kernel says no: asked again later, and nothing is wrong meanwhile. */
START_TEST(refused)
{
	struct mspan *s;

	heap_layers_init(&one);
	s = large(0, 32 * MIB, 1);
	tick();
	mheap_free_span(s);
	through_caches(20, 2000);
	vm_fail_nth(1, true);
	for (unsigned int i = 0; i < 150; i++)
		tick();
	heap_check(&(struct heap_sum){ 0 });
	check(resident_free() >= 32 * MIB);
	vm_fail_nth(0, false);
	settle(20);
	check(resident_free() <= SLACK);
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/* The kernel says no for ever: settled all the same, until it is asked for. */
START_TEST(stuck)
{
	struct mspan *s;

	heap_layers_init(&one);
	s = large(0, 32 * MIB, 1);
	tick();
	mheap_free_span(s);
	vm_fail_nth(1, true);
	check(!tick());
	settle(60);
	check(tick() && resident_free() >= 32 * MIB);
	scavenge_ask();
	check(!tick());
	settle(60);
	vm_fail_nth(0, false);
	scavenge_ask();
	settle(20);
	check(resident_free() <= SLACK);
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/* Of hugetlb's pool nothing goes, and what is free of it is not known to be zero. */
START_TEST(pool)
{
	struct heap_arena *ha;
	struct mspan *s;
	bool zeroed;

	heap_layers_init(&one);
	s = large(0, 32 * MIB, 1);
	ha = arena_lookup(s->start);
	ha->pool = true;
	tick();
	mheap_free_span(s);
	settle(60);
	check(scavenge_all() == 0 && resident_free() >= 32 * MIB);
	s = mheap_alloc_large(0, 32 * MIB >> HA_PAGE_SHIFT, 1, &zeroed);
	check(s && !zeroed && all_bytes(s, 1));
	mheap_free_span(s);
	ha->pool = false;
	scavenge_ask();
	settle(20);
	check(resident_free() <= SLACK);
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

int main(void)
{
	Suite *s = suite_create("scavenge");
	TCase *tc = tcase_create("steps");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, gives_back, 0, 2);
	tcase_add_test(tc, no_budget);
	tcase_add_test(tc, no_time);
	tcase_add_test(tc, halves);
	tcase_add_test(tc, notice);
	tcase_add_test(tc, swings);
	tcase_add_test(tc, wanted_again);
	tcase_add_loop_test(tc, idle_caches, 0, NR_HEAP_MODES - 1);
	tcase_add_loop_test(tc, cache_share, 0, NR_HEAP_MODES - 1);
	tcase_add_test(tc, metadata);
	tcase_add_test(tc, batches);
	tcase_add_test(tc, everything_at_once);
	if (unit_small_pages("close_to_limit"))
		tcase_add_loop_test(tc, close_to_limit, 0, 2);
	tcase_add_test(tc, refused);
	tcase_add_test(tc, stuck);
	tcase_add_test(tc, pool);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
