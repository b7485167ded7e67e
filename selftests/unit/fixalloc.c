// SPDX-License-Identifier: MIT
/*
 * fixalloc: metadata that is aligned, zero and in nobody else's hands; objects
 * of one size against a stack; and what happens when there is no more.
 */
#include <pthread.h>
#include <string.h>

#include <util/align.h>
#include "conf.h"
#include "fixalloc.h"
#include "vm.h"

#include "fake/unit.h"

#define MAX_LIVE	512

struct piece {
	unsigned char *p;
	size_t size;
	unsigned char tag;
};

static bool all_bytes(const unsigned char *p, size_t n, unsigned char c)
{
	return n == 0 || (p[0] == c && memcmp(p, p + 1, n - 1) == 0);
}

static void fill(struct piece *piece, void *p, size_t size, unsigned char tag)
{
	piece->p = p;
	piece->size = size;
	piece->tag = tag;
	memset(p, tag, size);
}

START_TEST(meta_disjoint)
{
	static struct piece live[MAX_LIVE];
	struct unit_rand r = unit_rand(1);
	size_t bytes = meta_bytes();

	vm_init();
	for (unsigned int i = 0; i < MAX_LIVE; i++) {
		size_t size = rand_log(&r, i % 16 ? 12 : 18);
		bool states = rand_below(&r, 3) == 0 && size < 4096;
		void *p = states ? meta_alloc_states(size) : meta_alloc(size);

		check(p && is_aligned((uintptr_t)p, states ? 8 : 64));
		check(all_bytes(p, size, 0));
		fill(&live[i], p, size, 1 + i % 255);
		bytes += size;
	}
	check(meta_bytes() == bytes);
	for (unsigned int i = 0; i < MAX_LIVE; i++)
		check(all_bytes(live[i].p, live[i].size, live[i].tag));
}
END_TEST

/* Neighbours in time are neighbours in memory: few cache lines and pages. */
START_TEST(states_dense)
{
	struct unit_rand r = unit_rand(2);
	unsigned int breaks = 0;
	char *end = NULL;
	size_t total = 0;

	vm_init();
	conf.thp = _i ? THP_OFF : THP_AUTO;
	while (total < 7UL << 20) {
		size_t size = 64 * (1 + rand_below(&r, 16));
		char *p = meta_alloc_states(size);

		check(p && is_aligned((uintptr_t)p, 64));
		breaks += p != end;
		end = p + align_up(size, 64);
		total += align_up(size, 64);
	}
	/*
	 * Chunks of 256 KiB to 1 MiB, then of 2 MiB where huge pages may be used;
	 * a chunk that happens to follow the last is no break.
	 */
	if (_i || vm_page_size != 4096)
		check(breaks <= 29);
	else
		check(breaks <= 5 + 4);
}
END_TEST

START_TEST(huge_aligned)
{
	size_t huge = 2UL << 20, calls;
	char *p;

	vm_init();
	calls = vm_stat.nr_calls;
	p = vm_map_meta_huge(huge);
	check(p && is_aligned((uintptr_t)p, huge));
	check(vm_stat.nr_calls > calls);
	check(all_bytes((unsigned char *)p, huge, 0));
	memset(p, 1, huge);
}
END_TEST

static const size_t sizes[] = { 1, 8, 64, 65, 100, 128, 192, 1000, 5000 };

/* Against a stack of what was freed; a fresh object only when that is empty. */
START_TEST(fix_model)
{
	size_t size = sizes[_i], real = align_up(size, 64);
	static unsigned char *live[MAX_LIVE], *freed[MAX_LIVE];
	unsigned int nr_live = 0, nr_freed = 0, step, i;
	struct unit_rand r = unit_rand(10 + _i);
	struct fixalloc f;

	vm_init();
	fixalloc_init(&f, size);
	check(f.size == real);
	for (step = 0; step < 20000; step++) {
		unsigned char *p;

		if (nr_live && (nr_live == MAX_LIVE || rand_below(&r, 100) < 48)) {
			i = rand_below(&r, nr_live);
			p = live[i];
			check(all_bytes(p, size, p[0]));
			live[i] = live[--nr_live];
			freed[nr_freed++] = p;
			fixalloc_free(&f, p);
			check(f.nr_inuse == nr_live);
			continue;
		}
		p = fixalloc_alloc(&f);
		check(p && is_aligned((uintptr_t)p, 64));
		if (nr_freed) {
			check(p == freed[--nr_freed]);
			/* the link is gone, the rest is as it was */
			check(all_bytes(p, min_size(size, 8), 0) || size < 8);
			check(size <= 8 || all_bytes(p + 8, size - 8, p[8]));
		} else {
			check(all_bytes(p, real, 0));
		}
		memset(p, 1 + step % 255, size);
		live[nr_live++] = p;
		check(f.nr_inuse == nr_live);
	}
	for (i = 0; i < nr_live; i++)
		check(all_bytes(live[i], size, live[i][0]));
}
END_TEST

START_TEST(out_of_memory)
{
	struct fixalloc f;
	size_t bytes;
	void *p;

	vm_init();
	fixalloc_init(&f, 128 << 10);
	bytes = meta_bytes();
	vm_fail_nth(1, true);
	check(!fixalloc_alloc(&f) && !fixalloc_alloc(&f) && f.nr_inuse == 0);
	check(!meta_alloc(1UL << 20) && meta_bytes() == bytes);
	while (meta_alloc(1000))
		bytes += 1000;
	while (meta_alloc_states(1000))
		bytes += 1000;
	check(meta_bytes() == bytes);
	/* what is left in a chunk still serves what fits */
	check(meta_alloc(64) || !meta_alloc(1));
	vm_fail_nth(0, false);
	p = fixalloc_alloc(&f);
	check(p && f.nr_inuse == 1 && meta_alloc(1000) && meta_alloc_states(1000));
	fixalloc_free(&f, p);
	vm_fail_nth(1, true);
	/* a freed object and the rest of its chunk need no memory */
	for (unsigned int i = 0; i < FIXALLOC_BATCH; i++)
		check(fixalloc_alloc(&f));
	check(!fixalloc_alloc(&f) && f.nr_inuse == FIXALLOC_BATCH);
}
END_TEST

static void *meta_thread(void *arg)
{
	static const size_t count = 2000;
	struct unit_rand r = unit_rand(100 + (uintptr_t)arg);
	unsigned char tag = 1 + (uintptr_t)arg;
	struct piece *live = calloc(count, sizeof(*live));

	check(live);
	for (size_t i = 0; i < count; i++) {
		size_t size = 1 + rand_below(&r, 300);
		void *p = i % 2 ? meta_alloc(size) : meta_alloc_states(size);

		check(p && all_bytes(p, size, 0));
		fill(&live[i], p, size, tag);
	}
	for (size_t i = 0; i < count; i++)
		check(all_bytes(live[i].p, live[i].size, tag));
	free(live);
	return NULL;
}

START_TEST(meta_threads)
{
	pthread_t t[4];

	vm_init();
	for (uintptr_t i = 0; i < ARRAY_SIZE(t); i++)
		check(!pthread_create(&t[i], NULL, meta_thread, (void *)i));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		check(!pthread_join(t[i], NULL));
}
END_TEST

START_TEST(fork_lock)
{
	vm_init();
	check(!meta_fork_held());
	meta_fork_prepare(false);
	check(meta_fork_held());
	meta_fork_done();
	check(!meta_fork_held() && meta_alloc(64));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fixalloc");
	TCase *tc = tcase_create("meta");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_test(tc, meta_disjoint);
	tcase_add_loop_test(tc, states_dense, 0, 2);
	tcase_add_test(tc, huge_aligned);
	tcase_add_loop_test(tc, fix_model, 0, ARRAY_SIZE(sizes));
	tcase_add_test(tc, out_of_memory);
	tcase_add_test(tc, meta_threads);
	tcase_add_test(tc, fork_lock);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
