// SPDX-License-Identifier: MIT
/*
 * thp, collapse: what the kernel's files mean; where a growing heap is advised; what
 * moves onto huge pages, when, and what never does; what is returned from there.
 *
 * The kernel may have no huge pages, or none free: what is asked of it is checked by
 * what the library takes for true, which is no more than a hint.
 */
#include <errno.h>
#include <string.h>

#include "collapse.h"
#include "conf.h"
#include "mheap.h"
#include "numa.h"
#include "scavenge.h"
#include "span_drop.h"
#include "thp.h"

#include "fake/heap.h"
#include "fake/root.h"

#define MIB		(1UL << 20)
#define THP		"/sys/kernel/mm/transparent_hugepage/"

static const struct heap_mode one = { .name = "one" };
static uint64_t now = 7000000;

/* A clock by calls: a huge page takes one tick, small ones one together, or not. */
static uint64_t ticks, huge_ticks;

static uint64_t fake_clock(void)
{
	static unsigned int calls;

	ticks += calls++ % 4 == 1 ? huge_ticks : 1000;
	return ticks;
}

/* A kernel that has huge pages of @size when asked, in files. */
static void fake_kernel(const char *enabled, size_t size)
{
	fake_root();
	thp_root = root;
	put(THP "enabled", enabled);
	put_number(THP, "hpage_pmd_size", size);
	thp_init();
	drop_root();
}

START_TEST(files)
{
	static const struct {
		const char *enabled;
		enum conf_thp thp;
		size_t size, want;
	} row[] = {
		{ "always [madvise] never\n", THP_AUTO, 2 * MIB, 2 * MIB },
		{ "[always] madvise never\n", THP_AUTO, 32 * MIB, 32 * MIB },
		{ "always madvise [never]\n", THP_AUTO, 2 * MIB, 0 },
		{ "always [madvise] never\n", THP_OFF, 2 * MIB, 0 },
		{ "always [madvise] never\n", THP_ALWAYS, 2 * MIB, 0 },
		{ "always [madvise] never\n", THP_AUTO, 3 * MIB, 0 },
		{ "always [madvise] never\n", THP_AUTO, 0, 0 },
		{ "", THP_AUTO, 2 * MIB, 0 },
	};

	vm_init();
	thp_root = "/nowhere";
	thp_init();
	check(thp_size() == 0);
	conf.thp = row[_i].thp;
	fake_kernel(row[_i].enabled, row[_i].size);
	check(thp_size() == row[_i].want);
}
END_TEST

/* The chunks of a span. */
static unsigned int nr_huge(const struct mspan *s)
{
	unsigned int nr = 0;

	for (uintptr_t a = align_up(s->start, CHUNK_SIZE); a < s->start + mspan_size(s);
	     a += CHUNK_SIZE)
		nr += thp_is_huge(a);
	return nr;
}

static struct mspan *large(size_t bytes, unsigned char c)
{
	bool zeroed;
	struct mspan *s = mheap_alloc_large(0, bytes >> HA_PAGE_SHIFT,
					    CHUNK_SIZE >> HA_PAGE_SHIFT, &zeroed);

	check(s);
	if (c)
		memset((void *)s->start, c, bytes);
	return s;
}

static bool all_bytes(const struct mspan *s, unsigned char c)
{
	const unsigned char *p = (const unsigned char *)s->start;

	return p[0] == c && memcmp(p, p + 1, mspan_size(s) - 1) == 0;
}

static bool look(void)
{
	now += 1000;
	return collapse_step(now, ~0ULL);
}

/* Can this kernel do it at all? */
static bool can_collapse(void)
{
	void *p = vm_reserve(0, 4 * MIB, CHUNK_SIZE);

	check(p && !vm_prepare(p, 4 * MIB));
	memset(p, 1, 4 * MIB);
	return vm_page_size == 4096 && !vm_collapse(p, 4 * MIB) &&
	       vm_count_resident(p, 4 * MIB) == 1024;
}

/* What is full and resident at some looks moves; the rest never. */
START_TEST(moves)
{
	struct mspan *full, *untouched, *kept;
	bool can;

	heap_layers_init(&one);
	fake_kernel("always [madvise] never", 2 * MIB);
	thp_root = "/nowhere";
	can = can_collapse();
	full = large(48 * MIB, 5);
	untouched = large(32 * MIB, 0);
	kept = large(2 * MIB, 6);
	for (unsigned int i = 0; i < 9; i++)
		check(!look() && nr_huge(full) == 0);
	/* without time nothing is done, and that is not called done */
	now += 1000;
	check(!collapse_step(now, 0) && nr_huge(full) == 0);
	for (unsigned int i = 0; i < 30 && !look(); i++)
		;
	check(look());
	if (can)
		check(nr_huge(full) == 12);
	check(nr_huge(untouched) == 0 && vm_count_resident((void *)untouched->start, 32 * MIB) == 0);
	check(all_bytes(full, 5) && all_bytes(kept, 6));
	/* returned: nothing of it counts as huge */
	mheap_free_span(full);
	check(mheap_release(0, SIZE_MAX) >= 48 * MIB);
	full = large(48 * MIB, 0);
	check(nr_huge(full) == 0);
}
END_TEST

/* The kernel says no: nothing happens, whatever it said. */
START_TEST(refused)
{
	struct mspan *full;

	heap_layers_init(&one);
	fake_kernel("always [madvise] never", 2 * MIB);
	thp_root = "/nowhere";
	full = large(68 * MIB, 5);
	vm_fail_nth(1, true);
	for (unsigned int i = 0; i < 15; i++)
		look();
	check(look() && nr_huge(full) == 0 && all_bytes(full, 5));
	vm_fail_nth(0, false);
}
END_TEST

/* Not now, says the kernel: after as many looks it is asked once more. */
START_TEST(again)
{
	struct mspan *full;
	bool can;

	heap_layers_init(&one);
	fake_kernel("always [madvise] never", 2 * MIB);
	thp_root = "/nowhere";
	can = can_collapse();
	full = large(68 * MIB, 5);
	vm_collapse_fault = _i ? -EAGAIN : -EBUSY;
	vm_fail_nth(1, true);
	for (unsigned int i = 0; i < 25; i++)
		check(!look() && nr_huge(full) == 0);
	vm_fail_nth(0, false);
	for (unsigned int i = 0; i < 40 && !look(); i++)
		;
	check(look() && all_bytes(full, 5));
	if (can)
		check(nr_huge(full) == 17);
}
END_TEST

/* Never, says it: the thread that asks goes to sleep in the end. */
START_TEST(never)
{
	unsigned int looks = 0;
	struct mspan *full;

	heap_layers_init(&one);
	fake_kernel("always [madvise] never", 2 * MIB);
	thp_root = "/nowhere";
	full = large(68 * MIB, 5);
	vm_collapse_fault = -EAGAIN;
	vm_fail_nth(1, true);
	while (!look())
		check(++looks < 200);
	check(looks > 40 && nr_huge(full) == 0);
	check(look() && look());
	vm_fail_nth(0, false);
}
END_TEST

/* Not this one, says it of each: some are an accident, many mean that it cannot. */
START_TEST(impossible)
{
	struct mspan *first, *second;
	bool can;

	heap_layers_init(&one);
	fake_kernel("always [madvise] never", 2 * MIB);
	thp_root = "/nowhere";
	can = can_collapse();
	large(64 * MIB, 0);
	first = large(_i ? 48 * MIB : 16 * MIB, 5);
	vm_collapse_fault = -EINVAL;
	vm_fail_nth(1, true);
	for (unsigned int i = 0; i < 15; i++)
		look();
	vm_fail_nth(0, false);
	check(nr_huge(first) == 0 && collapse_wanted(COLLAPSE_FROM) == !_i);
	second = large(16 * MIB, 6);
	for (unsigned int i = 0; i < 15; i++)
		look();
	check(look() && all_bytes(first, 5) && all_bytes(second, 6));
	if (can)
		check(nr_huge(second) == (_i ? 0 : 4));
}
END_TEST

/* A heap that grows by small spans is advised ahead, and not for long. */
START_TEST(front)
{
	static struct mspan *span[24 * 512];
	struct mheap *h = &mheaps[0];
	unsigned int n = 0;
	size_t kept = 0;
	uintptr_t addr;
	bool zeroed;

	heap_layers_init(&one);
	check(size_classes[9].pages == 1);
	fake_kernel("always [madvise] never", 2 * MIB);
	thp_clock = fake_clock;
	huge_ticks = 1000;
	for (; n < 14 * 512; n++)
		span[n] = mheap_alloc_span(0, 9, 0);
	check(h->front.base == h->front.end);
	for (; n < 24 * 512; n++)
		span[n] = mheap_alloc_span(0, 9, 0);
	check(h->front.end == h->grow_base && h->front.base < h->front.end);
	check(h->front.end - h->front.base <= 64 * MIB);
	check(thp_is_huge(h->grow_base - 1) && !thp_is_huge(span[0]->start));
	/* not for large ones */
	check(mheap_alloc_large(0, 4096, 1, &zeroed));
	check(!thp_is_huge(h->grow_base - 1));
	/* a page that is free in a dense chunk stays; most of a chunk does not */
	addr = span[n - 2048]->start;
	mheap_flush_caches(0);
	mheap_release(0, SIZE_MAX);
	thp_set_huge(align_down(addr, CHUNK_SIZE), CHUNK_SIZE, true);
	mheap_free_span(span[n - 2048]);
	check(mheap_release_sparse(0, SIZE_MAX, &kept) == 0);
	check(kept == HA_PAGE_SIZE && thp_is_huge(addr));
	check(h->front.base == h->front.end);
	for (unsigned int i = n - 2047; i < n - 1536; i++)
		mheap_free_span(span[i]);
	check(mheap_release_sparse(0, SIZE_MAX, &kept) >= 450 * HA_PAGE_SIZE);
	check(!thp_is_huge(addr));
}
END_TEST

/* No page that counts as given back, or as never touched, is resident. */
static void check_returned(void)
{
	struct mheap *h = &mheaps[0];

	mheap_flush_caches(0);
	for (uintptr_t a = h->pages.min_addr; a < h->grow_base; a += HA_PAGE_SIZE)
		if (page_alloc_all_returned(&h->pages, a, 1))
			check(!vm_count_resident((void *)a, HA_PAGE_SIZE));
}

/*
 * A huge page brings what is beside the page that was touched: a heap that has touched
 * the first page of each chunk knows that all of them are there, and gives them back.
 */
START_TEST(front_counts)
{
	static struct mspan *span[30 * 512];
	struct mheap *h = &mheaps[0];
	unsigned int n = 0;

	heap_layers_init(&one);
	fake_kernel("always [madvise] never", 2 * MIB);
	thp_clock = fake_clock;
	huge_ticks = 1000;
	while (h->pages.nr_pages < 24 * CHUNK_PAGES) {
		span[n] = mheap_alloc_span(0, 9, 0);
		check(span[n]);
		*(char *)span[n++]->start = 1;
	}
	check(thp_is_huge(h->grow_base - 1) && h->pages.nr_free > CHUNK_PAGES / 2);
	check(h->pages.nr_scav == 0);
	check_returned();
	/* what becomes huge later likewise */
	check(mheap_release(0, SIZE_MAX) > CHUNK_SIZE / 2);
	check_returned();
	mheap_set_resident(0, h->grow_base - CHUNK_SIZE, CHUNK_SIZE);
	check(h->pages.nr_scav == 0 && mheap_release(0, SIZE_MAX) > CHUNK_SIZE / 2);
	while (n)
		mheap_free_span(span[--n]);
	mheap_flush_caches(0);
	mheap_release(0, SIZE_MAX);
	check_returned();
	check(!vm_count_resident((void *)h->pages.min_addr, h->grow_base - h->pages.min_addr));
}
END_TEST

/* Grow by a chunk of small spans; was it advised? */
static bool grow_chunk(void)
{
	struct mheap *h = &mheaps[0];
	size_t from = h->pages.nr_pages;
	bool huge;

	while (h->pages.nr_pages == from)
		check(mheap_alloc_span(0, 9, 0));
	huge = thp_is_huge(h->grow_base - 1);
	check(huge == (h->front.end == h->grow_base));
	return huge;
}

/*
 * What a huge page costs is tried out, again some chunks later, and seldom where it
 * costs much; pages that a trial touched are zero.
 */
START_TEST(trials)
{
	static const unsigned int dear[] = { 8, 16, 32, 64, 128, 256, 256 };
	struct mheap *h = &mheaps[0];
	unsigned int n = 0;

	heap_layers_init(&one);
	fake_kernel("always [madvise] never", 2 * MIB);
	thp_clock = fake_clock;
	/* 512 small ones are 32000; one that does not come may take an eighth of it */
	huge_ticks = 3000;
	while (h->pages.nr_pages < 64 * MIB >> HA_PAGE_SHIFT)
		check(!grow_chunk());
	check(ticks == 0 && !grow_chunk() && ticks > 0);
	check(vm_count_resident((void *)(h->grow_base - CHUNK_SIZE), CHUNK_SIZE) >= 17);
	for (const char *p = (char *)h->grow_base - CHUNK_SIZE; p < (char *)h->grow_base; p++)
		check(*p == 0);
	while (grow_chunk())
		n++;
	check(n == 32);
	/* that was the next trial; from the one behind it on they are dear */
	huge_ticks = 50 * 1000;
	for (n = 0; grow_chunk(); n++)
		;
	check(n == 32 && h->front.base == h->front.end);
	for (unsigned int i = 0; i < ARRAY_SIZE(dear); i++) {
		uint64_t from = ticks;

		for (n = 0; n < dear[i]; n++)
			check(!grow_chunk() && ticks == from);
		if (i == ARRAY_SIZE(dear) - 1)
			huge_ticks = 1000;
		check(!grow_chunk() && ticks > from);
	}
	check(grow_chunk());
}
END_TEST

/* Small spans of a chunk: sparse is when most of their objects are gone. */
START_TEST(sparse)
{
	static struct mspan *span[2048];
	static struct mag_slot slots[2048][64];
	struct span_drop d;

	heap_layers_init(&one);
	for (unsigned int i = 0; i < ARRAY_SIZE(span); i++) {
		span[i] = mheap_alloc_span(0, 20, 0);
		mspan_alloc(span[i], slots[i], span[i]->nelems);
		memset((void *)span[i]->start, 3, mspan_size(span[i]));
	}
	check(!thp_is_sparse(span[1024]->start));
	thp_set_huge(align_down(span[1024]->start, CHUNK_SIZE), CHUNK_SIZE, true);
	/* one is nearly empty, and stays as it is, unless all is wanted */
	mspan_free(span[1024], 0, bits_mask(1, span[1024]->nelems - 1));
	span_drop_init(&d, false);
	span_drop_add(&d, span[1024]);
	span_drop_flush(&d);
	check(d.bytes == 0 && thp_is_huge(span[1024]->start));
	for (unsigned int i = 0; i < ARRAY_SIZE(span); i++)
		if (i != 1024)
			mspan_free(span[i], 0, bits_mask(1, span[i]->nelems - 1));
	check(thp_is_sparse(span[1024]->start));
	span_drop_add(&d, span[1024]);
	span_drop_flush(&d);
	check(d.bytes > 0 && !thp_is_huge(span[1024]->start));
	thp_set_huge(align_down(span[1024]->start, CHUNK_SIZE), CHUNK_SIZE, true);
	span_drop_init(&d, true);
	span_drop_add(&d, span[1025]);
	span_drop_flush(&d);
	check(d.bytes > 0 && !thp_is_huge(span[1024]->start));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("thp");
	TCase *tc = tcase_create("thp");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, files, 0, 8);
	tcase_add_test(tc, moves);
	tcase_add_test(tc, refused);
	tcase_add_loop_test(tc, again, 0, 2);
	tcase_add_test(tc, never);
	tcase_add_loop_test(tc, impossible, 0, 2);
	tcase_add_test(tc, front);
	if (unit_small_pages("front_counts"))
		tcase_add_test(tc, front_counts);
	tcase_add_test(tc, trials);
	if (unit_small_pages("sparse"))
		tcase_add_test(tc, sparse);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
