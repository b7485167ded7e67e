// SPDX-License-Identifier: MIT
/*
 * walk: against a list that the test keeps, object by object; visitors that free,
 * allocate and stop; what check:off answers.
 */
#include <errno.h>
#include <string.h>

#include "fake/early.h"

#define MAX_LIVE	3000

static struct live {
	char *p;
	size_t usable;
	unsigned int seen;
} live[MAX_LIVE];

static size_t nr_visited;

static int by_address(const void *a, const void *b)
{
	const struct live *x = a, *y = b;

	return x->p < y->p ? -1 : x->p > y->p;
}

/* live[] is sorted; those without an object come first. */
static int count(const struct ha_object *o, void *arg)
{
	struct live key = { .p = o->start };
	struct live *l = bsearch(&key, live, MAX_LIVE, sizeof(key), by_address);

	nr_visited++;
	check(l && o->usable == l->usable && o->state == HA_OBJECT_LIVE);
	check(o->size_class || o->nr_objects == 1);
	check(!o->heap && arg == &nr_visited);
	l->seen++;
	return 0;
}

static void walk_all(void)
{
	size_t nr = 0;

	qsort(live, MAX_LIVE, sizeof(live[0]), by_address);
	nr_visited = 0;
	errno = 77;
	check(ha_walk(count, &nr_visited) == 0 && errno == 77);
	for (unsigned int i = 0; i < MAX_LIVE; i++) {
		check(live[i].seen == !!live[i].p);
		live[i].seen = 0;
		nr += !!live[i].p;
	}
	check(nr_visited == nr);
}

START_TEST(truth)
{
	struct unit_rand r = unit_rand(_i);

	heap_up(&heap_modes[_i]);
	for (unsigned int step = 0; step < 20000; step++) {
		struct live *l = &live[rand_below(&r, MAX_LIVE)];

		if (l->p) {
			ha_free(l->p);
			l->p = NULL;
		} else {
			l->p = ha_malloc(rand_log(&r, rand_below(&r, 32) ? 15 : 23));
			check(l->p);
			l->usable = ha_malloc_usable_size(l->p);
		}
		if (step % 500 == 0)
			walk_all();
		if (step == 10000)
			ha_release();
	}
	for (unsigned int i = 0; i < MAX_LIVE; i++) {
		ha_free(live[i].p);
		live[i].p = NULL;
	}
	walk_all();
}
END_TEST

static int free_it(const struct ha_object *o, void *arg)
{
	nr_visited++;
	ha_free(o->start);
	return 0;
}

/* It frees all, while others of the span are still to come. */
START_TEST(visitor_frees)
{
	struct unit_rand r = unit_rand(30 + _i);
	size_t nr = 0;

	heap_up(&heap_modes[_i]);
	for (; nr < 5000; nr++)
		check(ha_malloc(rand_log(&r, 16)));
	check(ha_walk(free_it, NULL) == 0 && nr_visited == nr);
	nr_visited = 0;
	check(ha_walk(free_it, NULL) == 0 && nr_visited == 0);
	ha_release();
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

static int free_span(const struct ha_object *o, void *arg)
{
	struct live *l = arg;

	nr_visited++;
	if (o->start != l->p)
		return 0;
	/* its neighbours go, and the span with them */
	for (unsigned int i = 0; i < 100; i++)
		ha_free(l[i].p);
	ha_release();
	return 0;
}

START_TEST(span_goes)
{
	heap_up(&heap_modes[0]);
	for (unsigned int i = 0; i < 100; i++)
		live[i].p = ha_malloc(512);
	qsort(live, 100, sizeof(live[0]), by_address);
	check(ha_walk(free_span, live) == 0 && nr_visited == 1);
}
END_TEST

static int allocate(const struct ha_object *o, void *arg)
{
	for (unsigned int i = 0; i < 3; i++)
		check(ha_malloc(o->usable));
	return ++nr_visited == 50 ? 4711 : 0;
}

START_TEST(visitor_stops)
{
	heap_up(&heap_modes[_i]);
	for (unsigned int i = 0; i < 100; i++)
		check(ha_malloc(100 * i));
	check(ha_walk(allocate, NULL) == 4711 && nr_visited == 50);
}
END_TEST

static int never(const struct ha_object *o, void *arg)
{
	ck_abort();
}

START_TEST(empty)
{
	check(ha_walk(never, NULL) == 0);
	heap_up(&heap_modes[_i]);
	check(ha_walk(never, NULL) == 0);
}
END_TEST

START_TEST(unchecked)
{
	heap_up(&heap_modes[NR_HEAP_MODES - 1]);
	check(ha_malloc(100));
	errno = 0;
	check(ha_walk(never, NULL) == -1 && errno == ENOTSUP);
}
END_TEST

Suite *unit_suite(void)
{
	Suite *s = suite_create("walk");
	TCase *tc = tcase_create("objects");

	tcase_set_timeout(tc, UNIT_TIMEOUT);
	/* all modes but the last, which is check:off */
	tcase_add_loop_test(tc, truth, 0, NR_HEAP_MODES - 1);
	tcase_add_loop_test(tc, visitor_frees, 0, NR_HEAP_MODES - 1);
	tcase_add_test(tc, span_goes);
	tcase_add_loop_test(tc, visitor_stops, 0, NR_HEAP_MODES - 1);
	tcase_add_loop_test(tc, empty, 0, NR_HEAP_MODES - 1);
	tcase_add_test(tc, unchecked);
	suite_add_tcase(s, tc);
	return s;
}
