// SPDX-License-Identifier: MIT
/*
 * lookup: every byte of objects of every class, tails, large objects across
 * arenas, addresses that are nobody's, and structs of other versions.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "conf.h"
#include "lookup.h"

#include "fake/early.h"

static struct ha_object at(const void *addr)
{
	struct ha_object o = { .size = sizeof(o) };

	errno = 77;
	check(ha_lookup(addr, &o) == 1 && errno == 77);
	check(o.size == sizeof(o) && o.reserved == 0);
	return o;
}

static bool nothing_at(uintptr_t addr)
{
	struct ha_object o = { .size = sizeof(o), .usable = 12345 };

	errno = 77;
	return ha_lookup((void *)addr, &o) == 0 && errno == 77 && o.usable == 12345;
}

static void check_object(const struct ha_object *o, char *p, size_t size)
{
	check(o->start == p && o->usable == size && !o->heap);
	check(o->span <= o->start && o->nr_objects > o->index);
	check((char *)o->span + o->index * size == p);
	check(p + size <= (char *)o->span + o->span_size);
	check(o->node < topo.nr_nodes);
}

static const unsigned int freed_state[] = { HA_OBJECT_CACHED, HA_OBJECT_UNKNOWN };

START_TEST(each_class)
{
	struct unit_rand r = unit_rand(_i);
	unsigned int live, freed;

	heap_up(&heap_modes[_i]);
	live = conf.check ? HA_OBJECT_LIVE : HA_OBJECT_UNKNOWN;
	freed = freed_state[!conf.check];
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		size_t size = size_classes[sc].size;
		char *p[5];

		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
			p[i] = ha_malloc(size);
		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
			for (unsigned int k = 0; k < 64; k++) {
				size_t off = k == 0 ? 0 : k == 1 ? size - 1 :
					     rand_below(&r, size);
				struct ha_object o = at(p[i] + off);

				check_object(&o, p[i], size);
				check(o.size_class == sc && o.state == live);
				check(o.nr_objects == size_classes[sc].nelems);
				check(o.span_size == size_classes[sc].pages * HA_PAGE_SIZE);
			}
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
			ha_free(p[i]);
			check(at(p[i] + size / 2).state == freed);
		}
	}
}
END_TEST

/* Between the last object and the end of the span there is none. */
START_TEST(tails)
{
	unsigned int seen = 0;

	heap_up(&heap_modes[_i]);
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		const struct size_class *k = &size_classes[sc];
		char *p = ha_malloc(k->size);
		struct ha_object o = at(p);
		uintptr_t end = (uintptr_t)o.span + o.span_size;
		uintptr_t tail = (uintptr_t)o.span + (size_t)k->nelems * k->size;

		check(at((void *)(tail - 1)).index == k->nelems - 1U);
		for (uintptr_t a = tail; a < end; a++, seen++)
			check(nothing_at(a));
		ha_free(p);
	}
	check(seen > 1000);
}
END_TEST

START_TEST(free_states)
{
	struct ha_object o;
	void *a, *b;

	heap_up(&heap_modes[0]);
	a = ha_malloc(1000);
	b = ha_malloc(1000);
	check(a && b);
	o = at(a);
	/* of eight in a page, one batch: the last are still in the span or cached */
	check(at(b).span == o.span && o.nr_objects > 2);
	ha_free(a);
	check(at(a).state == HA_OBJECT_CACHED);
	ha_release();
	check(at(a).state == HA_OBJECT_FREE && at(b).state == HA_OBJECT_LIVE);
	ha_free(b);
	ha_release();
	check(nothing_at((uintptr_t)a) && nothing_at((uintptr_t)b));
}
END_TEST

/* First, last and inner bytes; the pages behind; what a change of length does. */
START_TEST(large)
{
	static const size_t sizes[] = { 32769, 40000, 1 << 20, 5 << 20, 200UL << 20 };
	struct unit_rand r = unit_rand(20 + _i);
	char *p[ARRAY_SIZE(sizes)];

	heap_up(&heap_modes[_i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		p[i] = ha_malloc(sizes[i]);
		check(p[i]);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t has = ha_malloc_usable_size(p[i]);

		for (unsigned int k = 0; k < 100; k++) {
			size_t off = k == 0 ? 0 : k == 1 ? has - 1 : rand_below(&r, has);
			struct ha_object o = at(p[i] + off);

			check_object(&o, p[i], has);
			check((o.size_class == 0) == (sizes[i] > MAX_MEDIUM_SIZE));
			check(o.state == (conf.check || !o.size_class ? HA_OBJECT_LIVE :
					  HA_OBJECT_UNKNOWN));
			check(o.nr_objects == 1 && o.span == p[i] && o.span_size == has);
		}
	}
	/* shrunk in place, the rest is nobody's */
	check(ha_realloc(p[4], 100UL << 20) == p[4]);
	check(at(p[4] + (100UL << 20) - 1).usable == 100UL << 20);
	check(nothing_at((uintptr_t)p[4] + (150UL << 20)));
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		ha_free(p[i]);
	ha_release();
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		check(nothing_at((uintptr_t)p[i]) && nothing_at((uintptr_t)p[i] + 8192));
}
END_TEST

static int function(void)
{
	return 0;
}

START_TEST(nobodys)
{
	struct unit_rand r = unit_rand(40);
	static int data;
	int local;
	char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (unsigned int round = 0; round < 2; round++) {
		check(nothing_at(0) && nothing_at(1) && nothing_at(8192));
		check(nothing_at((uintptr_t)&data) && nothing_at((uintptr_t)&local));
		check(nothing_at((uintptr_t)function) && nothing_at((uintptr_t)page));
		check(nothing_at(~0UL) && nothing_at(1UL << 63) && nothing_at(1UL << 47));
		check(nothing_at(VM_ARENA_HINT - 1) && nothing_at(1UL << VM_ADDR_BITS));
		for (unsigned int i = 0; i < 100000; i++)
			check(nothing_at(rand_u64(&r) | 1UL << 63));
		/* the same once there is a heap */
		heap_up(&heap_modes[0]);
		check(ha_malloc(100));
	}
}
END_TEST

/* A caller with a shorter or a longer struct gets what it knows of. */
START_TEST(sizes)
{
	struct ha_object all;
	char *p;

	heap_up(&heap_modes[0]);
	p = ha_malloc(100);
	all = at(p);
	for (size_t size = 0; size <= sizeof(all) + 32; size++) {
		union {
			struct ha_object o;
			unsigned char bytes[sizeof(struct ha_object) + 64];
		} u, want;
		int err;

		memset(&u, 0x5a, sizeof(u));
		u.o.size = size;
		want = u;
		errno = 0;
		err = ha_lookup(p, &u.o);
		if (size < offsetof(struct ha_object, heap)) {
			check(err == -1 && errno == EINVAL);
		} else {
			check(err == 1);
			memcpy(&want, &all, min_size(size, sizeof(all)));
			want.o.size = min_size(size, sizeof(all));
		}
		check(memcmp(&u, &want, sizeof(u)) == 0);
	}
}
END_TEST

/* A view of a span that has gone does not hold, also where its twin stands now. */
START_TEST(views)
{
	struct span_view v, w;
	char *p, *q;

	heap_up(&heap_modes[0]);
	p = ha_malloc(2 << 20);
	check(span_view_find((uintptr_t)p + 30000, &v) && span_view_holds(&v));
	check(v.start == (uintptr_t)p && v.sc == 0 && !v.heap);
	ha_free(p);
	check(!span_view_holds(&v) && !span_view_find((uintptr_t)p, &w));
	q = ha_malloc(2 << 20);
	check(span_view_find((uintptr_t)q, &w) && span_view_holds(&w));
	if (q == p && w.s == v.s && w.states == v.states)
		check(!span_view_holds(&v));
}
END_TEST

Suite *unit_suite(void)
{
	Suite *s = suite_create("lookup");
	TCase *tc = tcase_create("addresses");

	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, each_class, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, tails, 0, NR_HEAP_MODES);
	tcase_add_test(tc, free_states);
	tcase_add_loop_test(tc, large, 0, NR_HEAP_MODES);
	tcase_add_test(tc, nobodys);
	tcase_add_test(tc, sizes);
	tcase_add_test(tc, views);
	suite_add_tcase(s, tc);
	return s;
}
