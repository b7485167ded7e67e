// SPDX-License-Identifier: MIT
/*
 * batch: the pool of empty batches, and what goes back of it.  A batch is in one hand
 * and keeps what is written in it, whatever goes; what nobody has for a while goes, all
 * but a few; what went is used again before anything new is made.
 */
#include <pthread.h>
#include <string.h>

#include <util/align.h>
#include "batch.h"
#include "fixalloc.h"
#include "vm.h"

#include "fake/unit.h"

#define MANY		1000
#define BATCH_BYTES	align_up(sizeof(struct mag_batch), 64)
/* What may stay when nobody has any: those made one by one, and a few slabs. */
#define STAYS		(300UL << 10)

static void mark(struct mag_batch *b, uintptr_t tag)
{
	b->n = tag % (MAX_BATCH + 1);
	for (unsigned int i = 0; i < MAX_BATCH; i++)
		b->slots[i] = (struct mag_slot){ (void *)(tag * 1000 + i), (uint8_t *)tag };
}

static bool marked(const struct mag_batch *b, uintptr_t tag)
{
	for (unsigned int i = 0; i < MAX_BATCH; i++)
		if (b->slots[i].obj != (void *)(tag * 1000 + i) ||
		    b->slots[i].state != (uint8_t *)tag)
			return false;
	return b->n == tag % (MAX_BATCH + 1);
}

/* Puts and gets of many, a release now and then, and what is held is as it was. */
START_TEST(random_steps)
{
	static struct mag_batch *held[MANY];
	static uintptr_t tag[MANY];
	struct unit_rand r = unit_rand(1);
	unsigned int nr = 0;
	size_t gone = 0, went;

	vm_init();
	for (unsigned int step = 0; step < 60000; step++) {
		unsigned int dice = rand_below(&r, 1000);
		bool filling = step / 3000 % 2 == 0;

		if (dice < (filling ? 600 : 300) && nr < MANY) {
			held[nr] = batch_get(rand_below(&r, 100));
			check(held[nr]);
			for (unsigned int i = 0; i < nr; i++)
				check(held[i] != held[nr]);
			tag[nr] = step + 1;
			mark(held[nr], tag[nr]);
			nr++;
		} else if (dice < 995 && nr) {
			unsigned int i = rand_below(&r, nr);

			check(marked(held[i], tag[i]));
			batch_put(rand_below(&r, 100), held[i]);
			held[i] = held[--nr];
			tag[i] = tag[nr];
		} else {
			size_t before = meta_bytes();

			went = batch_release(rand_below(&r, 2));
			check(meta_bytes() == before - went);
			gone += went;
		}
	}
	for (unsigned int i = 0; i < nr; i++) {
		check(marked(held[i], tag[i]));
		batch_put(0, held[i]);
	}
	check(gone);
}
END_TEST

static struct mag_batch *many[MANY];

static void get_many(void)
{
	for (unsigned int i = 0; i < MANY; i++) {
		many[i] = batch_get(0);
		check(many[i]);
		mark(many[i], i);
	}
}

static void put_many(void)
{
	for (unsigned int i = 0; i < MANY; i++) {
		check(marked(many[i], i));
		batch_put(i, many[i]);
	}
}

START_TEST(everything)
{
	size_t before, full, left, mapped;

	vm_init();
	before = meta_bytes();
	get_many();
	full = meta_bytes();
	check(full - before >= MANY * BATCH_BYTES);
	/* in use: nothing goes */
	check(batch_release(true) <= STAYS);
	put_many();
	left = full - batch_release(true);
	check(left >= meta_bytes() && meta_bytes() - before <= STAYS);
	check(batch_release(true) == 0);
	/* the same memory again, no more of it */
	mapped = vm_stat.prepared[VM_META];
	for (unsigned int i = 0; i < 5; i++) {
		get_many();
		check(meta_bytes() - before <= full - before + STAYS);
		put_many();
		check(batch_release(true) > 0);
	}
	check(vm_stat.prepared[VM_META] == mapped);
}
END_TEST

/* Only what nobody took between two looks. */
START_TEST(rests)
{
	size_t before;

	vm_init();
	get_many();
	put_many();
	check(batch_release(false) == 0);
	get_many();
	put_many();
	check(batch_release(false) == 0);
	before = meta_bytes();
	check(batch_release(false) > before / 2);
	check(batch_release(false) == 0);
	/* a few are at hand without anything new */
	before = meta_bytes();
	for (unsigned int i = 0; i < 8; i++)
		check(batch_get(200));
	check(meta_bytes() == before);
}
END_TEST

/* The kernel says no, to all or to what comes behind some: they are still there. */
START_TEST(refused)
{
	size_t full, mapped;

	vm_init();
	get_many();
	put_many();
	full = meta_bytes();
	mapped = vm_stat.prepared[VM_META];
	for (long n = 1; n < 4; n++) {
		size_t went;

		vm_fail_nth(n, true);
		went = batch_release(true);
		vm_fail_nth(0, false);
		check(meta_bytes() == full - went && (n > 1 || !went));
		get_many();
		check(meta_bytes() == full && vm_stat.prepared[VM_META] == mapped);
		put_many();
	}
	check(batch_release(true) > full / 2);
}
END_TEST

/* No memory for one: NULL, and as soon as there is some, one. */
START_TEST(no_memory)
{
	struct mag_batch *b;

	vm_init();
	for (long n = 1; n < 6; n++) {
		vm_fail_nth(n, true);
		do {
			b = batch_get(0);
			if (b)
				mark(b, n);
		} while (b);
		vm_fail_nth(0, false);
		check(batch_get(0));
		check(batch_release(true) <= STAYS);
	}
}
END_TEST

static uint32_t stop;
static size_t nr_went;

static void *worker(void *arg)
{
	struct unit_rand r = unit_rand(100 + (uintptr_t)arg);
	uintptr_t tag = ((uintptr_t)arg + 1) << 32;
	struct mag_batch *mine[40];
	unsigned int nr = 0;

	for (unsigned int i = 0; i < 40000; i++) {
		if (nr < ARRAY_SIZE(mine) && rand_below(&r, 2)) {
			struct mag_batch *b = batch_get((uintptr_t)arg);

			/* the pool is busy: do without */
			if (b) {
				mark(b, tag + nr);
				mine[nr++] = b;
			}
		} else if (nr) {
			nr--;
			check(marked(mine[nr], tag + nr));
			batch_put((uintptr_t)arg, mine[nr]);
		}
	}
	while (nr) {
		nr--;
		check(marked(mine[nr], tag + nr));
		batch_put((uintptr_t)arg, mine[nr]);
	}
	return NULL;
}

static void *releaser(void *unused)
{
	size_t went = 0;

	while (!atomic_load_relaxed(&stop))
		went += batch_release(true);
	atomic_add_relaxed(&nr_went, went);
	return unused;
}

START_TEST(threads)
{
	pthread_t t[5], rel[2];

	vm_init();
	get_many();
	put_many();
	for (unsigned int i = 0; i < ARRAY_SIZE(rel); i++)
		check(!pthread_create(&rel[i], NULL, releaser, NULL));
	for (uintptr_t i = 0; i < ARRAY_SIZE(t); i++)
		check(!pthread_create(&t[i], NULL, worker, (void *)i));
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		check(!pthread_join(t[i], NULL));
	atomic_store_relaxed(&stop, 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(rel); i++)
		check(!pthread_join(rel[i], NULL));
	check(nr_went);
	/* all of them are there, each once */
	get_many();
	put_many();
	batch_release(true);
	check(batch_release(true) == 0);
}
END_TEST

START_TEST(fork_lock)
{
	vm_init();
	get_many();
	put_many();
	check(!batch_fork_held());
	batch_fork_prepare(false);
	check(batch_fork_held() && batch_release(true) == 0);
	batch_fork_done();
	check(!batch_fork_held());
	batch_fork_child();
	check(batch_release(true) > 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("batch");
	TCase *tc = tcase_create("pool");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_test(tc, random_steps);
	tcase_add_test(tc, everything);
	tcase_add_test(tc, rests);
	tcase_add_test(tc, refused);
	tcase_add_test(tc, no_memory);
	tcase_add_test(tc, threads);
	tcase_add_test(tc, fork_lock);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
