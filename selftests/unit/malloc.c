// SPDX-License-Identifier: MIT
/*
 * malloc: the entry points in each mode of the heap.  Every object carries a
 * pattern over all that may be used of it, so that two objects in one place, or
 * a byte too few, show at once.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "conf.h"
#include "mcache.h"
#include "vm.h"

#include "fake/early.h"

#define MAX_LIVE	300
#define HUGE_SIZE	((size_t)PTRDIFF_MAX)

/* The compiler knows what malloc is: what is wrong on purpose goes by here. */
static volatile size_t opaque;
#define HIDE(x)		((x) + opaque)

struct object {
	unsigned char *p;
	size_t size;
	unsigned char tag;
};

static void fill(struct object *o, void *p, size_t size, unsigned char tag)
{
	*o = (struct object){ p, size, tag };
	memset(p, tag, size);
}

static void verify(const struct object *o)
{
	check(o->size == 0 || (o->p[0] == o->tag &&
			       memcmp(o->p, o->p + 1, o->size - 1) == 0));
}

static bool is_zero(const unsigned char *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* What every result is. */
static void check_result(void *p, size_t size, size_t align)
{
	size_t usable = ha_malloc_usable_size(p);

	check(p && is_aligned((uintptr_t)p, align));
	check(usable >= size);
}

/* After each test: nothing is held, so nothing must be in use. */
static void check_all_free(void)
{
	struct heap_sum sum;

	heap_check(&sum);
	ha_release();
	heap_check(&sum);
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
		check(sum.out[sc] == 0);
	check(sum.large == 0 && sum.spans == 0);
}

/* Each size, a window of them live at once. */
START_TEST(every_size)
{
	static struct object o[64];

	heap_up(&heap_modes[_i]);
	errno = 77;
	for (size_t size = 0; size <= 40000 + ARRAY_SIZE(o); size++) {
		struct object *w = &o[size % ARRAY_SIZE(o)];
		void *p;

		if (w->p) {
			verify(w);
			ha_free(w->p);
			w->p = NULL;
		}
		if (size > 40000)
			continue;
		p = ha_malloc(size);
		check_result(p, size, size <= 8 ? 8 : 16);
		check(ha_malloc_usable_size(p) == ha_good_size(size));
		check(ha_good_size(ha_good_size(size)) == ha_good_size(size));
		check(ha_good_size(size) <= size + size / 4 + 16);
		fill(w, p, ha_malloc_usable_size(p), 1 + size % 255);
	}
	check(errno == 77);
	check_all_free();
}
END_TEST

/* Objects of all magnitudes come and go in any order. */
START_TEST(random_sizes)
{
	struct unit_rand r = unit_rand(_i);
	static struct object o[MAX_LIVE];

	heap_up(&heap_modes[_i]);
	for (unsigned int step = 0; step < 20000; step++) {
		struct object *w = &o[rand_below(&r, MAX_LIVE)];
		size_t size = rand_log(&r, step % 64 ? 14 : 21);

		if (w->p) {
			verify(w);
			if (rand_below(&r, 2))
				ha_free(w->p);
			else
				ha_free_sized(w->p, w->size);
			w->p = NULL;
			continue;
		}
		if (rand_below(&r, 2)) {
			w->p = ha_malloc(size);
		} else {
			w->p = ha_calloc(1 + size % 3, size / (1 + size % 3));
			size = (1 + size % 3) * (size / (1 + size % 3));
			check(w->p && is_zero(w->p, size));
		}
		check_result(w->p, size, size <= 8 ? 8 : 16);
		fill(w, w->p, size, 1 + step % 255);
	}
	for (unsigned int i = 0; i < MAX_LIVE; i++) {
		if (o[i].p)
			verify(&o[i]);
		ha_free(o[i].p);
	}
	check_all_free();
}
END_TEST

START_TEST(large)
{
	static const size_t sizes[] = {
		32769, 40960, 40961, 65536, 1 << 20, (1 << 20) + 1, 4 << 20,
		(4 << 20) + 1, 63 << 20, 64 << 20, (64 << 20) + 1, 200 << 20,
	};
	unsigned char *p[ARRAY_SIZE(sizes)];

	heap_up(&heap_modes[_i]);
	for (unsigned int round = 0; round < 2; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
			p[i] = ha_calloc(1, sizes[i]);
			check_result(p[i], sizes[i], 8192);
			check(ha_malloc_usable_size(p[i]) == ha_good_size(sizes[i]));
			check(ha_malloc_usable_size(p[i]) < sizes[i] + 8192);
			check(is_zero(p[i], sizes[i] < 8 << 20 ? sizes[i] : 8192));
			/* the ends, so that a later calloc has something to clear */
			memset(p[i], 1 + i, 8192);
			memset(p[i] + sizes[i] - 8192, 1 + i, 8192);
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
			check(p[i][0] == 1 + i && p[i][8191] == 1 + i);
			check(p[i][sizes[i] - 8192] == 1 + i && p[i][sizes[i] - 1] == 1 + i);
			ha_free(p[i]);
		}
	}
	check_all_free();
}
END_TEST

/* Dirty memory of every class, then zeroed objects of it. */
START_TEST(calloc_zeroes)
{
	static unsigned char *p[200];
	struct unit_rand r = unit_rand(300 + _i);

	heap_up(&heap_modes[_i]);
	for (unsigned int round = 0; round < 60; round++) {
		size_t size = rand_log(&r, 17);

		for (unsigned int i = 0; i < 50; i++) {
			p[i] = ha_malloc(size);
			check(p[i]);
			memset(p[i], 0xff, size);
		}
		for (unsigned int i = 0; i < 50; i++)
			ha_free(p[i]);
		for (unsigned int i = 0; i < 50; i++) {
			p[i] = ha_calloc(size, 1);
			check(p[i] && is_zero(p[i], size));
		}
		for (unsigned int i = 0; i < 50; i++)
			ha_free(p[i]);
		if (round % 16 == 0)
			ha_release();
	}
	check_all_free();
}
END_TEST

/* Sizes a random walk leads an object through. */
START_TEST(realloc_walk)
{
	struct unit_rand r = unit_rand(400 + _i);
	static struct object o[40];

	heap_up(&heap_modes[_i]);
	for (unsigned int step = 0; step < 8000; step++) {
		struct object *w = &o[rand_below(&r, ARRAY_SIZE(o))];
		size_t size = rand_below(&r, 8) ? rand_log(&r, 17) : w->size + rand_below(&r, 99);
		unsigned char *p = ha_realloc(w->p, size), tag = w->tag;
		size_t keep = min_size(size, w->size);

		if (w->p && !size) {
			check(!p);
			w->p = NULL;
			w->size = 0;
			continue;
		}
		check_result(p, size, size <= 8 ? 8 : 16);
		if (w->p && keep)
			check(p[0] == tag && memcmp(p, p + 1, keep - 1) == 0);
		fill(w, p, size, 1 + step % 255);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(o); i++)
		ha_free(o[i].p);
	check_all_free();
}
END_TEST

/* When an object stays where it is. */
/* One of each medium class, then by a page at a time as far as there is room. */
START_TEST(realloc_medium)
{
	unsigned char *p, *q;
	struct heap_sum sum;

	heap_up(&heap_modes[_i]);
	for (unsigned int sc = FIRST_MEDIUM_CLASS; sc < NR_SIZE_CLASSES; sc++) {
		size_t size = size_classes[sc].size, max = 2 * size;
		unsigned int moved = 0;

		p = ha_malloc(size - 100);
		check(p && ha_malloc_usable_size(p) == size);
		memset(p, sc, size);
		check(ha_realloc(p, size) == p && ha_realloc(p, size / 2) == p);
		check(ha_malloc_usable_size(p) == size);
		for (size_t n = size + 1; n <= max; n += HA_PAGE_SIZE) {
			q = ha_realloc(p, n);
			check(q && ha_malloc_usable_size(q) >= n);
			check(q[0] == sc && q[size - 1] == sc);
			moved += q != p;
			p = q;
		}
		check(moved <= 6);
		heap_check(&sum);
		ha_free(p);
	}
	check_all_free();
}
END_TEST

START_TEST(realloc_in_place)
{
	unsigned char *p, *q;

	heap_up(&heap_modes[_i]);
	for (size_t size = 16; size <= MAX_SMALL_SIZE; size += 16 + (size / 4 & ~15UL)) {
		size_t has;

		p = ha_malloc(size);
		check(p);
		has = ha_malloc_usable_size(p);
		check(ha_realloc(p, has) == p && ha_realloc(p, has / 2) == p);
		check(ha_malloc_usable_size(p) == has);
		q = ha_realloc(p, has + 1);
		check(q && q != p && ha_malloc_usable_size(q) > has);
		/* to less than half: it moves, or a large one would never shrink */
		p = ha_realloc(q, has / 4);
		check(p && ha_malloc_usable_size(p) < has);
		ha_free(p);
	}
	p = ha_malloc(400UL << 13);
	check(p);
	memset(p, 7, 400UL << 13);
	check(ha_realloc(p, 20UL << 13) == p);
	check(ha_malloc_usable_size(p) == 20UL << 13);
	/* what it left may be taken back */
	check(ha_realloc(p, 400UL << 13) == p && p[(20UL << 13) - 1] == 7);
	check(ha_realloc(p, (399UL << 13) + 1) == p);
	check(ha_malloc_usable_size(p) == 400UL << 13);
	q = ha_realloc(p, 100);
	check(q && q != p && q[99] == 7 && ha_malloc_usable_size(q) < 200);
	ha_free(q);
	check_all_free();
}
END_TEST

START_TEST(realloc_edges)
{
	unsigned char *p;

	heap_up(&heap_modes[_i]);
	p = ha_realloc(NULL, 100);
	check_result(p, 100, 16);
	memset(p, 5, 100);
	errno = 0;
	check(!ha_realloc(p, HIDE(HUGE_SIZE + 1)) && errno == ENOMEM && p[99] == 5);
	errno = 0;
	check(!ha_realloc(p, HIDE(HUGE_SIZE)) && errno == ENOMEM && p[99] == 5);
	errno = 0;
	check(!ha_reallocarray(p, HIDE(SIZE_MAX / 4), 5) && errno == ENOMEM);
	check(p[0] == 5 && p[99] == 5);
	p = ha_reallocarray(p, 10, 20);
	check(p && p[99] == 5 && ha_malloc_usable_size(p) >= 200);
	errno = 77;
	check(!ha_realloc(p, HIDE(0)));
	check(!ha_realloc(ha_malloc(1 << 20), HIDE(0)));
	p = ha_realloc(NULL, HIDE(0));
	check_result(p, 0, 8);
	check(!ha_reallocarray(p, 0, 10) && errno == 77);
	check_all_free();
}
END_TEST

/* Every alignment with sizes around it, several of each live at once. */
START_TEST(aligned)
{
	static const size_t sizes[] = {
		0, 1, 8, 15, 16, 17, 31, 48, 64, 100, 128, 1000, 1024, 4095, 4096,
		5000, 8191, 8192, 8193, 20000, 32768, 32769, 100000,
	};

	heap_up(&heap_modes[_i]);
	for (unsigned int shift = 0; shift <= 22; shift++) {
		size_t align = 1UL << shift;
		static struct object o[ARRAY_SIZE(sizes)][3];

		for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
			void *p = ha_aligned_alloc(align, sizes[i]);

			check_result(p, sizes[i], align);
			fill(&o[i][0], p, ha_malloc_usable_size(p), 1 + i);
			p = ha_memalign(align, sizes[i]);
			check_result(p, sizes[i], align);
			fill(&o[i][1], p, ha_malloc_usable_size(p), 100 + i);
			p = (void *)1;
			if (shift < 3) {
				check(ha_posix_memalign(&p, align, sizes[i]) == EINVAL);
				check(p == (void *)1);
				o[i][2].p = NULL;
				continue;
			}
			check(ha_posix_memalign(&p, align, sizes[i]) == 0);
			check_result(p, sizes[i], align);
			fill(&o[i][2], p, ha_malloc_usable_size(p), 200 + i);
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
			for (unsigned int k = 0; k < 3; k++) {
				if (!o[i][k].p)
					continue;
				verify(&o[i][k]);
				if (k == 0)
					ha_free_aligned_sized(o[i][k].p, align, sizes[i]);
				else
					ha_free(o[i][k].p);
			}
		}
	}
	check_all_free();
}
END_TEST

START_TEST(aligned_edges)
{
	static const size_t bad[] = { 0, 3, 24, 100, (1UL << 62) + 1, SIZE_MAX };
	void *p = (void *)1;

	heap_up(&heap_modes[_i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		errno = 0;
		check(!ha_aligned_alloc(HIDE(bad[i]), 10) && errno == EINVAL);
		errno = 77;
		check(ha_posix_memalign(&p, HIDE(bad[i]), 10) == EINVAL);
		check(errno == 77 && p == (void *)1);
	}
	for (unsigned int shift = 26; shift < 64; shift++) {
		errno = 0;
		p = ha_aligned_alloc(HIDE(1UL << shift), HIDE(HUGE_SIZE - 100));
		check(!p && errno == ENOMEM);
		errno = 77;
		check(ha_posix_memalign(&p, HIDE(1UL << shift), HIDE(HUGE_SIZE)) == ENOMEM);
		check(errno == 77);
	}
	errno = 0;
	check(!ha_aligned_alloc(HIDE(1UL << 63), 1) && errno == ENOMEM);
	errno = 0;
	check(!ha_memalign(HIDE((1UL << 63) + 1), 1) && errno == EINVAL);
	/* memalign rounds up what is no power of two */
	p = ha_memalign(HIDE(100), 10);
	check_result(p, 10, 128);
	ha_free(p);
	p = ha_memalign(HIDE(0), 10);
	check_result(p, 10, 16);
	ha_free(p);
	p = ha_aligned_alloc(1UL << 30, 100);
	check_result(p, 100, 1UL << 30);
	ha_free(p);
	p = ha_valloc(10);
	check_result(p, 10, vm_page_size);
	ha_free(p);
	p = ha_pvalloc(vm_page_size + 1);
	check_result(p, 2 * vm_page_size, vm_page_size);
	ha_free(p);
	p = ha_pvalloc(0);
	check_result(p, vm_page_size, vm_page_size);
	ha_free(p);
	errno = 0;
	check(!ha_pvalloc(HIDE(SIZE_MAX)) && errno == ENOMEM);
	errno = 0;
	check(!ha_valloc(HIDE(SIZE_MAX)) && errno == ENOMEM);
	check_all_free();
}
END_TEST

START_TEST(too_large)
{
	static const size_t sizes[] = {
		HUGE_SIZE, HUGE_SIZE - 8192, HUGE_SIZE + 1, SIZE_MAX, SIZE_MAX - 8191,
		1UL << 62, 1UL << 48, (1UL << 47) - (1UL << 30),
	};

	heap_up(&heap_modes[_i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		errno = 0;
		check(!ha_malloc(HIDE(sizes[i])) && errno == ENOMEM);
		errno = 0;
		check(!ha_calloc(1, HIDE(sizes[i])) && errno == ENOMEM);
		errno = 0;
		check(!ha_realloc(NULL, HIDE(sizes[i])) && errno == ENOMEM);
		check(ha_good_size(sizes[i]) >= sizes[i]);
	}
	errno = 0;
	check(!ha_calloc(HIDE(1UL << 32), 1UL << 32) && errno == ENOMEM);
	errno = 0;
	check(!ha_calloc(HIDE(SIZE_MAX), 2) && errno == ENOMEM);
	errno = 0;
	check(!ha_reallocarray(NULL, HIDE(SIZE_MAX), 2) && errno == ENOMEM);
	check_all_free();
}
END_TEST

/* free keeps errno whatever it does, a release of pages included. */
START_TEST(free_keeps_errno)
{
	heap_up(&heap_modes[_i]);
	for (size_t size = 1; size < 1UL << 24; size *= 3) {
		void *p = ha_malloc(size);

		check(p);
		errno = 77;
		ha_free(p);
		ha_free(NULL);
		ha_free_sized(NULL, 5);
		ha_free_aligned_sized(NULL, 8, 5);
		check(errno == 77);
	}
	check(ha_malloc_usable_size(NULL) == 0);
	check_all_free();
}
END_TEST

/* check:off: what would be stopped is not looked for, the rest is the same. */
START_TEST(unchecked)
{
	unsigned char *p;

	heap_up(&(struct heap_mode){ .name = "unchecked", .unchecked = true });
	p = ha_malloc(100);
	check(p);
	ha_free_sized(p, 3);
	p = ha_malloc(100);
	check(p && ha_malloc_usable_size(p) >= 100);
	ha_free(p);
	check_all_free();
}
END_TEST

/* The first call of a process is any of them; there may be nothing to look in. */
static void first_free(void)
{
	ha_free(NULL);
}

static void first_free_sized(void)
{
	ha_free_sized(NULL, 10);
}

static void first_usable(void)
{
	check(ha_malloc_usable_size(NULL) == 0);
}

static void first_release(void)
{
	ha_release();
}

static void first_stats(void)
{
	struct ha_stats st = { .size = sizeof(st) };

	check(ha_stats_get(&st) == 0 && st.in_use == 0 && st.live == 0);
}

static void first_realloc(void)
{
	void *p = ha_realloc(NULL, 10);

	check(p);
	ha_free(p);
}

static void first_calloc(void)
{
	void *p = ha_calloc(10, 10);

	check(p && is_zero(p, 100));
	ha_free(p);
}

static void first_large(void)
{
	void *p = ha_malloc(1 << 20);

	check(p);
	ha_free(p);
}

static void first_aligned(void)
{
	void *p = ha_aligned_alloc(256, 10);

	check(p);
	ha_free(p);
}

static void first_pvalloc(void)
{
	void *p = ha_pvalloc(1);

	check(p && ha_malloc_usable_size(p) >= (size_t)sysconf(_SC_PAGESIZE));
	ha_free(p);
}

static void (*const firsts[])(void) = {
	first_free, first_free_sized, first_usable, first_release, first_stats,
	first_realloc, first_calloc, first_large, first_aligned, first_pvalloc,
};

START_TEST(first_call)
{
	void *p;

	firsts[_i]();
	p = ha_malloc(10);
	check(p);
	ha_free(p);
	check_all_free();
}
END_TEST

static void *first_thread(void *arg)
{
	void *p;

	pthread_barrier_wait(arg);
	p = ha_malloc(100);
	check(p);
	memset(p, 1, 100);
	ha_free(p);
	return NULL;
}

/* Eight threads, none of which finds the heap set up. */
START_TEST(first_at_once)
{
	pthread_barrier_t barrier;
	pthread_t t[8];

	check(!pthread_barrier_init(&barrier, NULL, ARRAY_SIZE(t)));
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		check(!pthread_create(&t[i], NULL, first_thread, &barrier));
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		check(!pthread_join(t[i], NULL));
	check_all_free();
}
END_TEST

Suite *unit_suite(void)
{
	Suite *s = suite_create("malloc");
	TCase *tc = tcase_create("modes");

	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, every_size, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, random_sizes, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, large, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, calloc_zeroes, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, realloc_walk, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, realloc_medium, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, realloc_in_place, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, realloc_edges, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, aligned, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, aligned_edges, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, too_large, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, free_keeps_errno, 0, NR_HEAP_MODES);
	tcase_add_test(tc, unchecked);
	tcase_add_loop_test(tc, first_call, 0, ARRAY_SIZE(firsts));
	tcase_add_test(tc, first_at_once);
	suite_add_tcase(s, tc);
	return s;
}
