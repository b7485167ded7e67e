// SPDX-License-Identifier: MIT
/*
 * objcache: what is constructed, kept, counted and destroyed, and what the rest of
 * the allocator sees of it.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>

#include "conf.h"
#include "mcache.h"
#include "objcache.h"
#include "vm.h"

#include "fake/early.h"

#define MAGIC	0x5a17c0de5a17c0deULL

static unsigned long nr_made, nr_gone;
static int refuse;

static int make(void *obj, void *arg)
{
	if (refuse)
		return refuse;
	check(arg == &nr_made);
	*(uint64_t *)obj = MAGIC;
	__atomic_fetch_add(&nr_made, 1, __ATOMIC_RELAXED);
	return 0;
}

static void unmake(void *obj, void *arg)
{
	check(*(uint64_t *)obj == MAGIC);
	*(uint64_t *)obj = 0;
	__atomic_fetch_add(&nr_gone, 1, __ATOMIC_RELAXED);
}

static struct ha_cache *create(size_t size, size_t align)
{
	struct ha_cache_options opt = {
		.size = sizeof(opt),
		.object_size = size,
		.align = align,
		.construct = make,
		.destroy = unmake,
		.arg = &nr_made,
	};

	return ha_cache_create("test", &opt);
}

static struct ha_cache_stats stat_of(struct ha_cache *c)
{
	struct ha_cache_stats st = { .size = sizeof(st) };

	check(ha_cache_stats_get(c, &st) == 0);
	check(st.nr_allocs - st.nr_frees == st.nr_live);
	check(st.nr_constructed - st.nr_destroyed == st.nr_live + st.nr_kept);
	check(st.nr_constructed == nr_made && st.nr_destroyed == nr_gone);
	return st;
}

START_TEST(life)
{
	static const size_t sizes[] = { 8, 24, 100, 5000, 32768, 100000, 2 << 20 };
	struct unit_rand r = unit_rand(_i);
	struct heap_sum sum;

	heap_up(&heap_modes[_i]);
	for (unsigned int k = 0; k < ARRAY_SIZE(sizes); k++) {
		struct ha_cache *c = create(sizes[k], 0);
		uint64_t *p[100] = { NULL };
		size_t nr = 0, max = 0;

		nr_made = nr_gone = 0;
		check(c && stat_of(c).nr_live == 0);
		for (unsigned int step = 0; step < 3000; step++) {
			unsigned int i = rand_below(&r, ARRAY_SIZE(p));

			if (p[i]) {
				check(*p[i] == MAGIC);
				ha_cache_free(c, p[i]);
				p[i] = NULL;
				nr--;
			} else {
				p[i] = ha_cache_alloc(c);
				check(p[i] && *p[i] == MAGIC);
				check(ha_malloc_usable_size(p[i]) >= sizes[k]);
				nr++;
			}
			check(stat_of(c).nr_live == nr);
			max = max_size(max, stat_of(c).nr_kept);
		}
		/* constructed once, used many times; but not the very large */
		if (sizes[k] < 1000 && !heap_modes[_i].fake)
			check(nr_made < 1500 && max >= 4);
		check(sizes[k] <= 1 << 20 || max == 0);
		errno = 0;
		check(ha_cache_destroy(c) == -1 && errno == EBUSY);
		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
			ha_cache_free(c, p[i]);
		check(stat_of(c).nr_live == 0);
		check(ha_cache_shrink(c) <= nr_made && stat_of(c).nr_kept == 0);
		check(nr_made == nr_gone);
		check(ha_cache_destroy(c) == 0);
	}
	ha_release();
	heap_check(&sum);
	check(sum.spans == 0);
}
END_TEST

/* A kept object is not live, and counts as cached; ha_release() takes it back. */
START_TEST(kept)
{
	struct ha_stats a = { .size = sizeof(a) }, b = a;
	struct ha_object o = { .size = sizeof(o) };
	struct ha_cache *c;
	uint64_t *p;

	heap_up(&heap_modes[_i]);
	c = create(200, 0);
	p = ha_cache_alloc(c);
	check(ha_lookup(p, &o) == 1);
	check(o.state == (conf.check ? HA_OBJECT_LIVE : HA_OBJECT_UNKNOWN));
	check(ha_stats_get(&a) == 0);
	ha_cache_free(c, p);
	check(*p == MAGIC && stat_of(c).nr_kept == 1);
	check(ha_stats_get(&b) == 0);
	check(b.live == a.live - 208 && b.cached == a.cached + 208);
	check(ha_lookup(p, &o) == 1);
	check(o.state == (conf.check ? HA_OBJECT_CACHED : HA_OBJECT_UNKNOWN));
	ha_release();
	check(stat_of(c).nr_kept == 0 && nr_gone == 1);
	check(ha_stats_get(&b) == 0 && b.live == 0 && b.cached == 0 && b.in_use == 0);
	check(ha_cache_destroy(c) == 0 && ha_cache_destroy(NULL) == 0);
}
END_TEST

START_TEST(options)
{
	struct ha_cache_options opt = { .size = sizeof(opt) };
	struct ha_cache *c, *d;
	unsigned char *p;

	heap_up(&heap_modes[0]);
	errno = 0;
	check(!ha_cache_create("none", &opt) && errno == EINVAL);
	opt.object_size = 10;
	opt.align = 3;
	errno = 0;
	check(!ha_cache_create("align", &opt) && errno == EINVAL);
	opt.align = 0;
	opt.flags = 2;
	errno = 0;
	check(!ha_cache_create("flags", &opt) && errno == EINVAL);
	opt.flags = 0;
	opt.reserved = 1;
	errno = 0;
	check(!ha_cache_create("reserved", &opt) && errno == EINVAL);
	opt.reserved = 0;
	opt.object_size = PTRDIFF_MAX + 1UL;
	check(!ha_cache_create("size", &opt) && errno == EINVAL);
	opt.object_size = PTRDIFF_MAX;
	check(!ha_cache_create("size", &opt) && errno == ENOMEM);
	for (size_t align = 1; align <= 65536; align *= 2) {
		opt.object_size = 300;
		opt.align = align;
		opt.flags = HA_ZERO;
		c = ha_cache_create("a<b", &opt);
		p = ha_cache_alloc(c);
		check(p && is_aligned((uintptr_t)p, align));
		for (unsigned int i = 0; i < 300; i++)
			check(p[i] == 0);
		ha_cache_free(c, p);
		check(ha_cache_destroy(c) == 0);
		/* the descriptor serves again, counted anew */
		d = ha_cache_create(NULL, &opt);
		check(c == d && c->stripe[0].allocs == 0 && !c->fresh && !c->name[0]);
		check(ha_cache_destroy(d) == 0);
	}
}
END_TEST

/* A constructor that fails, and memory that does. */
START_TEST(failures)
{
	struct ha_cache *c;
	void *p;

	heap_up(&heap_modes[0]);
	c = create(100, 0);
	refuse = ENODEV;
	errno = 0;
	check(!ha_cache_alloc(c) && errno == ENODEV && stat_of(c).nr_allocs == 0);
	refuse = 0;
	check(ha_cache_alloc(c) && stat_of(c).nr_live == 1);
	for (long n = 1; n < 20; n++) {
		struct ha_cache *big;

		vm_fail_nth(n, true);
		errno = 0;
		big = create(3 << 20, 0);
		check(big || errno == ENOMEM);
		errno = 0;
		p = big ? ha_cache_alloc(big) : NULL;
		check(p || !big || errno == ENOMEM);
		vm_fail_nth(0, false);
		if (p)
			ha_cache_free(big, p);
		check(ha_cache_destroy(big) == 0);
		ha_release();
	}
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

static struct ha_cache *shared;
static int stop;

static void *use_cache(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		uint64_t *p[20];

		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
			p[i] = ha_cache_alloc(shared);
			check(p[i] && *p[i] == MAGIC);
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
			ha_cache_free(shared, p[i]);
	}
	return NULL;
}

START_TEST(threads_and_forks)
{
	pthread_t t[4];

	heap_up(&heap_modes[_i]);
	shared = create(64, 64);
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		check(!pthread_create(&t[i], NULL, use_cache, NULL));
	for (unsigned int i = 0; i < unit_storm(50); i++) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			for (unsigned int k = 0; k < 600; k++) {
				uint64_t *p = ha_cache_alloc(shared);

				check(p && *p == MAGIC);
				if (k % 2)
					ha_cache_free(shared, p);
			}
			ha_cache_shrink(shared);
			_exit(0);
		}
		check(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
		if (i % 8 == 0)
			ha_release();
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	check(stat_of(shared).nr_live == 0);
	check(ha_cache_destroy(shared) == 0 && nr_made == nr_gone);
}
END_TEST

Suite *unit_suite(void)
{
	Suite *s = suite_create("objcache");
	TCase *tc = tcase_create("caches");

	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, life, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, kept, 0, NR_HEAP_MODES);
	tcase_add_test(tc, options);
	tcase_add_test(tc, failures);
	tcase_add_loop_test(tc, threads_and_forks, 0, NR_HEAP_MODES);
	suite_add_tcase(s, tc);
	return s;
}
