// SPDX-License-Identifier: MIT
/*
 * profile_table: random samples against a naive account; what does not fit; peaks;
 * and the profile of a whole heap in each of its modes, when memory fails.
 */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "conf.h"
#include "poisson.h"
#include "profile.h"
#include "profile_session.h"
#include "profile_table.h"
#include "vm.h"

#include "fake/early.h"

#define UNIT		(1ULL << POISSON_UNIT_SHIFT)
#define NR_STACKS	50
#define NR_OBJECTS	3000

struct truth {
	int64_t objects, bytes, alloc_objects, alloc_bytes;
};

static uintptr_t stack_pc[NR_STACKS][PROFILE_MAX_FRAMES];

static void make_stacks(struct unit_rand *r)
{
	for (unsigned int i = 0; i < NR_STACKS; i++)
		for (unsigned int k = 0; k < PROFILE_MAX_FRAMES; k++)
			/* many have their first frames in common */
			stack_pc[i][k] = k < 3 ? 1000 + i % 5 * 10 + k : rand_below(r, 1000);
}

/* Frames of stack @i. */
static unsigned int stack_nr(unsigned int i)
{
	return 4 + i;
}

static struct profile_stack *find_stack(unsigned int i)
{
	struct profile_stack *s = profile_table_stacks();

	for (; s; s = s->older)
		if (s->nr == stack_nr(i) &&
		    !memcmp(s->pc, stack_pc[i], s->nr * sizeof(uintptr_t)))
			return s;
	return NULL;
}

static bool add(uintptr_t addr, size_t size, uint64_t weight, unsigned int stack)
{
	const struct profile_event ev = { addr, size, weight, size, weight };

	return profile_table_add(&ev, stack_pc[stack], stack_nr(stack));
}

START_TEST(account)
{
	static struct object {
		size_t size;
		unsigned int stack;
		unsigned int weight;
	} obj[NR_OBJECTS];
	static struct truth truth[NR_STACKS];
	struct unit_rand r = unit_rand(_i);
	struct profile_totals t;
	int64_t live = 0;

	heap_up(&heap_modes[0]);
	check(profile_table_init(_i) == 0);
	make_stacks(&r);
	for (unsigned int step = 0; step < 100000; step++) {
		unsigned int i = rand_below(&r, NR_OBJECTS);
		struct truth *w = &truth[obj[i].stack];
		uintptr_t addr = 0xc000000000 + i * 16;
		struct object *o = &obj[i];

		if (o->size && rand_below(&r, 4)) {
			profile_table_del(addr);
			w->objects -= o->weight;
			w->bytes -= o->weight * o->size;
			live -= o->weight * o->size;
			o->size = 0;
		} else if (o->size) {
			size_t size = 1 + rand_log(&r, 30);

			profile_table_resize(addr, size, 0);
			w->bytes += (int64_t)o->weight * (size - o->size);
			live += (int64_t)o->weight * (size - o->size);
			o->size = size;
		} else {
			*o = (struct object){ 1 + rand_log(&r, 20), rand_below(&r, NR_STACKS),
					      1 + rand_below(&r, 100) };
			check(add(addr, o->size, o->weight * UNIT, o->stack));
			w = &truth[o->stack];
			w->objects += o->weight;
			w->bytes += o->weight * o->size;
			w->alloc_objects += o->weight;
			w->alloc_bytes += o->weight * o->size;
			live += o->weight * o->size;
		}
		profile_table_totals(&t);
		check(t.live_bytes == live);
	}
	for (unsigned int i = 0; i < NR_STACKS; i++) {
		struct profile_stack *s = find_stack(i);

		check(s);
		check(s->count[PROFILE_LIVE_OBJECTS] == truth[i].objects * (int64_t)UNIT);
		check(s->count[PROFILE_LIVE_BYTES] == truth[i].bytes);
		check(s->count[PROFILE_ALLOC_OBJECTS] == truth[i].alloc_objects * (int64_t)UNIT);
		check(s->count[PROFILE_ALLOC_BYTES] == truth[i].alloc_bytes);
		check(s->count[PROFILE_SHORT_OBJECTS] + s->count[PROFILE_MIDDLE_OBJECTS] +
		      s->count[PROFILE_LONG_OBJECTS] ==
		      s->count[PROFILE_ALLOC_OBJECTS] - s->count[PROFILE_LIVE_OBJECTS]);
	}
	profile_table_reset();
	for (unsigned int i = 0; i < NR_STACKS; i++) {
		check(find_stack(i)->count[PROFILE_LIVE_BYTES] == truth[i].bytes);
		check(find_stack(i)->count[PROFILE_ALLOC_BYTES] == 0);
	}
	check(t.nr_dropped == 0 && t.nr_lost_stacks == 0);
}
END_TEST

START_TEST(pcs_once)
{
	struct unit_rand r = unit_rand(7);
	unsigned int seen[2000] = { 0 };

	heap_up(&heap_modes[0]);
	check(profile_table_init(false) == 0);
	make_stacks(&r);
	for (unsigned int i = 0; i < NR_STACKS; i++)
		check(add(16 * i + 16, 1, UNIT, i));
	for (struct profile_pc *p = profile_table_pcs(); p; p = p->older)
		check(p->pc < 2000 && !seen[p->pc]++);
	for (unsigned int i = 0; i < NR_STACKS; i++)
		for (unsigned int k = 0; k < stack_nr(i); k++)
			check(seen[stack_pc[i][k]]);
}
END_TEST

START_TEST(no_room)
{
	struct unit_rand r = unit_rand(8);
	struct profile_totals t;
	int64_t alloc = 0;

	heap_up(&heap_modes[0]);
	check(profile_table_init(false) == 0);
	make_stacks(&r);
	profile_table_limit(10, 3);
	for (unsigned int i = 0; i < 20; i++)
		check(add(16 + i * 16, 100, UNIT, i) == (i < 10));
	profile_table_totals(&t);
	check(t.nr_samples == 10 && t.nr_dropped == 10 && t.nr_lost_stacks == 17);
	check(t.live_bytes == 1000);
	/* what has no stack of its own, or is not followed, is still allocated */
	for (struct profile_stack *s = profile_table_stacks(); s; s = s->older)
		alloc += s->count[PROFILE_ALLOC_BYTES];
	check(alloc == 2000);
	/* those that are not known go, and nothing happens */
	for (unsigned int i = 0; i < 20; i++)
		profile_table_del(16 + i * 16);
	profile_table_totals(&t);
	check(t.nr_samples == 0 && t.live_bytes == 0);
	check(add(16, 100, UNIT, 0));
}
END_TEST

START_TEST(peak)
{
	struct unit_rand r = unit_rand(9);
	struct profile_stack *a;

	heap_up(&heap_modes[0]);
	check(profile_table_init(false) == 0);
	make_stacks(&r);
	for (unsigned int i = 0; i < 1000; i++)
		check(add(16 + i * 16, 1000, UNIT, 0));
	for (unsigned int i = 0; i < 500; i++)
		profile_table_del(16 + i * 16);
	a = find_stack(0);
	check(a->count[PROFILE_PEAK_BYTES] >= 990000 && a->count[PROFILE_PEAK_BYTES] <= 1000000);
	for (unsigned int i = 0; i < 480; i++)
		check(add(16 + i * 16, 1000, UNIT, 1));
	profile_table_settle();
	check(find_stack(1)->count[PROFILE_PEAK_BYTES] == 0);
	check(add(8, 70000, UNIT, 1));
	profile_table_settle();
	check(find_stack(1)->count[PROFILE_PEAK_BYTES] == 550000);
	check(a->count[PROFILE_PEAK_BYTES] == 500000);
}
END_TEST

/* Whatever the kernel refuses, malloc goes on, and what is counted stays true. */
START_TEST(memory_fails)
{
	const struct heap_mode *mode = &heap_modes[_i % NR_HEAP_MODES];
	unsigned int nth = _i / NR_HEAP_MODES;
	static void *p[20000];
	struct profile_totals t;
	bool off = mode->unchecked;
	int err;

	heap_up(mode);
	vm_fail_nth(nth, true);
	err = ha_profile_start(64);
	if (off) {
		check(err == -1 && errno == ENOTSUP);
		return;
	}
	if (err) {
		check(errno == ENOMEM);
		vm_fail_nth(0, false);
		check(ha_profile_start(64) == 0);
	}
	for (unsigned int i = 0; i < 20000; i++) {
		p[i] = ha_malloc(rand_below(&(struct unit_rand){ i }, 300));
		if (i == 10000)
			vm_fail_nth(0, false);
	}
	for (unsigned int i = 0; i < 20000; i++)
		ha_free(p[i]);
	profile_table_totals(&t);
	check(t.live_bytes == 0 && t.nr_samples == 0);
	ha_profile_stop();
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

/* The session begins and ends at a slow path of malloc where a handler wished it. */
START_TEST(wishes)
{
	struct profile_facts f;

	heap_up(&heap_modes[_i]);
	check(profile_prepare() == 0);
	profile_todo = PROFILE_START;
	for (unsigned int i = 0; i < 1000; i++)
		check(ha_malloc(64));
	profile_facts(&f);
	check(f.on && f.mean == PROFILE_MEAN);
	profile_todo = PROFILE_STOP;
	check(ha_malloc(8 << 20));
	profile_facts(&f);
	check(!f.on && profile_todo == PROFILE_NOTHING);
}
END_TEST

/* What is written there from outside, in a process that was not told of a profile. */
START_TEST(orders)
{
	static const uint32_t none[] = { PROFILE_ORDER_STOP + 1, 0xff, 0x10000, ~0U };
	struct profile_facts f;

	heap_up(&heap_modes[_i]);
	conf.orders = false;
	profile_todo = PROFILE_ORDER_START;
	check(ha_malloc(8 << 20));
	profile_facts(&f);
	check(!f.mean && profile_todo == PROFILE_NOTHING);
	conf.orders = true;
	conf.check = false;
	profile_todo = PROFILE_ORDER_START;
	check(ha_malloc(8 << 20));
	profile_facts(&f);
	check(!f.mean && profile_todo == PROFILE_NOTHING);
	conf.check = true;
	profile_todo = PROFILE_ORDER_STOP;
	check(ha_malloc(8 << 20));
	profile_facts(&f);
	check(!f.mean && profile_todo == PROFILE_NOTHING);
	profile_todo = PROFILE_ORDER_START;
	for (unsigned int i = 0; i < 1000; i++)
		check(ha_malloc(64));
	profile_facts(&f);
	check(f.on && f.mean == PROFILE_MEAN && profile_todo == PROFILE_NOTHING);
	for (unsigned int i = 0; i < ARRAY_SIZE(none); i++) {
		profile_todo = none[i];
		check(ha_malloc(8 << 20));
		profile_facts(&f);
		check(f.on && profile_todo == PROFILE_NOTHING);
	}
	/* none who allocates: who does the background work sees to it */
	profile_todo = PROFILE_ORDER_STOP;
	ha_background_work();
	profile_facts(&f);
	check(!f.on && profile_todo == PROFILE_NOTHING);
	/* and it can be written, as if it had been started from within */
	check(ha_profile_dump(-1) == -1 && errno == EBADF);
}
END_TEST

Suite *unit_suite(void)
{
	Suite *s = suite_create("profile_table");
	TCase *tc = tcase_create("tables");

	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, account, 0, 2);
	tcase_add_test(tc, pcs_once);
	tcase_add_test(tc, no_room);
	tcase_add_test(tc, peak);
	tcase_add_loop_test(tc, memory_fails, 0, 8 * NR_HEAP_MODES);
	tcase_add_loop_test(tc, wishes, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, orders, 0, NR_HEAP_MODES);
	suite_add_tcase(s, tc);
	return s;
}
