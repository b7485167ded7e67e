// SPDX-License-Identifier: MIT
/*
 * depot: a stack of batches with a bound, and the open one that gathers parts, alone
 * and under threads; the pool of empty batches behind all depots.
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include <util/align.h>
#include "depot.h"
#include "vm.h"

#include "fake/unit.h"

#define MAX_DEPTH	16
#define NR_THREADS	6
#define NR_BATCHES	64
#define NR_OBJS		4096

static struct depot_stack *fresh_stacks(void)
{
	static struct depot_stack stacks[DEPOT_STACKS];

	memset(stacks, 0, sizeof(stacks));
	return stacks;
}

/* A batch that says in each slot whose it is. */
static void mark(struct mag_batch *b, uintptr_t tag)
{
	b->n = 1 + tag % MAX_BATCH;
	for (unsigned int i = 0; i < MAX_BATCH; i++) {
		b->slots[i].obj = (void *)(tag * 1000 + i);
		b->slots[i].state = (uint8_t *)tag;
	}
}

static bool marked(const struct mag_batch *b, uintptr_t tag)
{
	for (unsigned int i = 0; i < MAX_BATCH; i++)
		if (b->slots[i].obj != (void *)(tag * 1000 + i) ||
		    b->slots[i].state != (uint8_t *)tag)
			return false;
	return b->n == 1 + tag % MAX_BATCH;
}

START_TEST(stack)
{
	struct mag_batch *model[MAX_DEPTH];
	uintptr_t tags[MAX_DEPTH], tag = 1;
	struct unit_rand r = unit_rand(_i);
	unsigned int depth = 0;
	struct depot d;

	vm_init();
	depot_init(&d, fresh_stacks(), _i);
	for (unsigned int step = 0; step < 20000; step++) {
		if (rand_below(&r, 2)) {
			struct mag_batch *b = batch_get(0);

			check(b);
			mark(b, ++tag);
			if (depth == (unsigned int)_i) {
				check(!depot_push(&d, 0, b) && marked(b, tag));
				batch_put(0, b);
			} else {
				check(depot_push(&d, 0, b));
				tags[depth] = tag;
				model[depth++] = b;
			}
		} else {
			struct mag_batch *b = depot_pop(&d, 0);

			check(!b == !depth);
			if (b) {
				check(b == model[--depth] && marked(b, tags[depth]));
				batch_put(0, b);
			}
		}
		check(depot_count(&d) == depth && lfstack_empty(&d.stacks[0].full) == !depth);
	}
}
END_TEST

/*
 * Who pushed a batch has it again, the last one first; then those of others are taken.
 * A stack that somebody pops from is passed by.
 */
START_TEST(own_first)
{
	struct mag_batch *model[DEPOT_STACKS][MAX_DEPTH], *b;
	unsigned int depth[DEPOT_STACKS] = { 0 }, nr = 0, own, at;
	struct unit_rand r = unit_rand(7);
	uint64_t pops = 0, popped = 0;
	struct depot d;

	vm_init();
	depot_init(&d, fresh_stacks(), MAX_DEPTH);
	check(!d.used && !depot_pop(&d, 3));
	for (unsigned int step = 0; step < 20000; step++) {
		unsigned int slot = rand_below(&r, 1000), busy = rand_below(&r, DEPOT_STACKS);

		own = slot % DEPOT_STACKS;
		if (rand_below(&r, 2)) {
			b = batch_get(0);
			b->n = 1 + step % MAX_BATCH;
			if (!depot_push(&d, slot, b)) {
				check(nr == MAX_DEPTH);
				batch_put(0, b);
				continue;
			}
			model[own][depth[own]++] = b;
			nr++;
		} else {
			if (step % 3 == 0)
				d.stacks[busy].full.popper = 1;
			for (at = own; !depth[at] || d.stacks[at].full.popper;) {
				at = (at + 1) % DEPOT_STACKS;
				if (at == own)
					break;
			}
			b = depot_pop(&d, slot);
			if (depth[at] && !d.stacks[at].full.popper) {
				check(b == model[at][--depth[at]]);
				pops++;
				popped += b->n;
				nr--;
				batch_put(0, b);
			} else {
				check(!b);
			}
			d.stacks[busy].full.popper = 0;
		}
		check(depot_count(&d) == nr && (d.used || !nr));
	}
	check(depot_nr_pops(&d) == pops && depot_nr_popped(&d) == popped && pops > 1000);
}
END_TEST

/* The bound follows what it cost, and what was too much. */
START_TEST(bound)
{
	struct mag_batch *b;
	struct depot d;

	vm_init();
	depot_init(&d, fresh_stacks(), 2);
	for (unsigned int i = 0; i < 7; i++) {
		b = batch_get(0);
		b->n = 3;
		if (!depot_push(&d, 0, b))
			batch_put(0, b);
	}
	check(depot_count(&d) == 2 && depot_objects(&d) == 6 && d.missed == 15);
	check(depot_widen(&d, 4, 3, 1) == 4 && d.max == 6 && depot_widen(&d, 4, 3, 1) == 0);
	while (depot_count(&d) < 6)
		check(depot_push(&d, 0, batch_get(0)));
	check(!depot_push(&d, 0, batch_get(0)) && depot_widen(&d, 0, 3, 1) == 0 && d.max == 6);
	/* not looked at yet, then four are popped, and three come back */
	check(depot_take_low(&d) == 0);
	for (unsigned int i = 0; i < 4; i++)
		check(depot_pop(&d, 0));
	for (unsigned int i = 0; i < 3; i++)
		check(depot_push(&d, 0, batch_get(0)));
	check(depot_take_low(&d) == 2 && depot_take_low(&d) == 5);
	check(depot_narrow(&d, 3) == 3 && d.max == 3);
	check(depot_narrow(&d, 3) == 1 && d.max == 2 && depot_narrow(&d, 1) == 0);
	check(depot_count(&d) == 5 && !depot_push(&d, 0, batch_get(0)));
}
END_TEST

/* Objects first, first + 1, ... of a part. */
static void fill_part(struct mag_slot *slots, unsigned int n, uintptr_t first)
{
	for (unsigned int i = 0; i < n; i++)
		slots[i] = (struct mag_slot){ (void *)(first + i), (uint8_t *)~(first + i) };
}

/* Who holds @b has them now; each was in the depot once. */
static unsigned int take_parts(struct mag_batch *b, uint8_t *in)
{
	unsigned int n = b->n;

	for (unsigned int i = 0; i < n; i++) {
		uintptr_t obj = (uintptr_t)b->slots[i].obj;

		check(obj < NR_OBJS && in[obj] == 1 && b->slots[i].state == (uint8_t *)~obj);
		in[obj] = 0;
	}
	batch_put(0, b);
	return n;
}

/*
 * Parts of _i objects at most, of batches of 21: they come out as whole as they can
 * be, the open one last, and the bound counts them with it.
 */
START_TEST(parts)
{
	static uint8_t in[NR_OBJS];
	const unsigned int batch = 21, max = 5;
	struct unit_rand r = unit_rand(_i);
	struct mag_slot slots[MAX_BATCH];
	unsigned int held = 0, n;
	struct mag_batch *b;
	struct depot d;

	vm_init();
	depot_init(&d, fresh_stacks(), max);
	memset(in, 0, sizeof(in));
	for (unsigned int step = 0; step < 20000; step++) {
		uintptr_t first = rand_below(&r, NR_OBJS / MAX_BATCH) * MAX_BATCH;
		bool is_in = false;

		n = 1 + rand_below(&r, _i);
		for (unsigned int i = 0; i < n; i++)
			is_in |= in[first + i];
		fill_part(slots, n, first);
		if (rand_below(&r, 3) && !is_in) {
			if (depot_gather(&d, 0, slots, n, batch)) {
				memset(in + first, 1, n);
				held += n;
			} else {
				/* as whole as parts of that size can make them */
				check(depot_count(&d) == max && !d.open && d.missed);
				check(held >= max * (batch - _i + 1));
				check(depot_widen(&d, 0, batch, 1) == 0 && !d.missed);
			}
		} else if (rand_below(&r, 2)) {
			b = depot_pop(&d, 0);
			check(!b == !held);
			/* what is popped beside an open one had no room any more */
			check(!b || b->n <= batch);
			check(!b || !d.open || b->n + _i > batch);
			held -= b ? take_parts(b, in) : 0;
		}
		check(depot_objects(&d) == held && depot_count(&d) <= max);
		check(!d.open || (d.open->n && d.open->n < batch));
	}
	while ((b = depot_pop(&d, 0)))
		held -= take_parts(b, in);
	check(!held && !depot_count(&d) && !depot_objects(&d) && !d.open);
}
END_TEST

/* Whoever brings them, the last batch that was gathered is popped first. */
START_TEST(parts_in_turn)
{
	struct mag_slot slots[4];
	struct mag_batch *b;
	struct depot d;

	vm_init();
	depot_init(&d, fresh_stacks(), 10);
	for (unsigned int i = 0; i < 12; i++) {
		fill_part(slots, 4, 4 * i);
		check(depot_gather(&d, 5 * i, slots, 4, 8));
	}
	check(depot_count(&d) == 6 && !d.open);
	for (unsigned int i = 6; i-- > 0;) {
		b = depot_pop(&d, 3 * i);
		check(b && b->n == 8 && (uintptr_t)b->slots[0].obj == 8 * i);
		batch_put(0, b);
	}
	check(!d.held);
}
END_TEST

/* Without room, without memory, while another thread pops or has it in hand. */
START_TEST(parts_declined)
{
	struct mag_slot slots[4];
	struct mag_batch *b;
	struct depot d;

	vm_init();
	fill_part(slots, 4, 0);
	depot_init(&d, fresh_stacks(), 0);
	check(!depot_gather(&d, 0, slots, 4, 10) && d.missed == 4 && !d.held);
	/* what is declined in parts is made room for in batches */
	for (unsigned int i = 0; i < 3; i++)
		check(!depot_gather(&d, 0, slots, 4, 10));
	check(depot_widen(&d, 9, 10, 1) == 2 && d.max == 2);
	vm_fail_nth(1, true);
	while (batch_get(0))
		;
	check(!depot_gather(&d, 0, slots, 4, 10) && !d.held && !d.open && !d.missed);
	vm_fail_nth(0, false);
	check(depot_gather(&d, 0, slots, 4, 10) && depot_count(&d) == 1);
	/* somebody pops from the stack: what is open is not on it */
	d.stacks[0].full.popper = 1;
	b = depot_pop(&d, 0);
	check(b && b->n == 4 && !depot_pop(&d, 0) && !d.held);
	check(depot_nr_pops(&d) == 1 && depot_nr_popped(&d) == 4);
	batch_put(0, b);
	check(depot_gather(&d, 0, slots, 4, 10) && depot_gather(&d, 0, slots, 4, 10));
	check(depot_count(&d) == 1 && depot_objects(&d) == 8);
	/* the third does not fit beside two */
	check(depot_gather(&d, 0, slots, 4, 10) && depot_count(&d) == 2 && d.open->n == 4);
	check(!lfstack_empty(&d.stacks[0].full) && depot_objects(&d) == 12);
	/* in hand: another one is wanted, and the bound is there already */
	b = d.open;
	d.open = NULL;
	check(!depot_gather(&d, 0, slots, 4, 10) && depot_objects(&d) == 12);
	d.open = b;
	/* of the popper and the counters that the parent had, a child knows nothing */
	depot_fork_child(&d);
	check(depot_count(&d) == 2 && depot_objects(&d) == 12);
	b = depot_pop(&d, 0);
	check(b && b->n == 8);
	b = depot_pop(&d, 0);
	check(b && b->n == 4 && !depot_pop(&d, 0) && !d.held);
	/* what was in hand there is lost here */
	check(depot_gather(&d, 0, slots, 4, 10));
	d.open = NULL;
	depot_fork_child(&d);
	check(!d.held && !depot_pop(&d, 0) && depot_gather(&d, 0, slots, 4, 10));
}
END_TEST

START_TEST(busy_popper)
{
	struct mag_batch *b;
	struct depot d;

	vm_init();
	depot_init(&d, fresh_stacks(), 4);
	b = batch_get(0);
	check(depot_push(&d, 0, b));
	/* somebody is in the middle of a pop: decline, do not wait */
	d.stacks[0].full.popper = 1;
	check(!depot_pop(&d, 0) && depot_count(&d) == 1);
	check(depot_push(&d, 0, batch_get(0)) && depot_count(&d) == 2);
	/* and stayed in the parent of this process */
	depot_fork_child(&d);
	check(depot_pop(&d, 0) && depot_pop(&d, 0) == b && !depot_pop(&d, 0));
	batch_fork_child();
	batch_put(0, b);
	check(batch_get(0) == b);
}
END_TEST

START_TEST(pool)
{
	struct mag_batch *b[NR_BATCHES];

	vm_init();
	for (unsigned int i = 0; i < NR_BATCHES; i++) {
		b[i] = batch_get(0);
		check(b[i]);
		mark(b[i], i + 1);
	}
	for (unsigned int i = 0; i < NR_BATCHES; i++)
		check(marked(b[i], i + 1));
	for (unsigned int i = 0; i < NR_BATCHES; i++)
		batch_put(0, b[i]);
	/* no memory is needed while the pool has some */
	vm_fail_nth(1, true);
	for (unsigned int i = NR_BATCHES; i-- > 0;)
		check(batch_get(0) == b[i]);
	while (batch_get(0))
		;
	check(!batch_get(0));
	vm_fail_nth(0, false);
	check(batch_get(0));
}
END_TEST

/* Shared by the threads: each batch carries its number, owned[] its holders. */
static struct {
	struct depot d;
	uint32_t owned[NR_BATCHES];
	uint32_t overfull;
	unsigned long pops, declined;
} storm;

static void storm_take(struct mag_batch *b)
{
	check(atomic_fetch_add_relaxed(&storm.owned[b->n], 1) == 0);
}

static bool storm_push(struct mag_batch *b)
{
	uint32_t n = b->n;

	atomic_sub_relaxed(&storm.owned[n], 1);
	if (depot_push(&storm.d, n, b)) {
		if (depot_count(&storm.d) > storm.d.max + NR_THREADS)
			atomic_add_relaxed(&storm.overfull, 1);
		return true;
	}
	storm_take(b);
	return false;
}

static void *storm_thread(void *arg)
{
	struct unit_rand r = unit_rand(100 + (uintptr_t)arg);
	struct mag_batch *mine[NR_BATCHES];
	unsigned int nr = 0;

	for (unsigned int i = (uintptr_t)arg; i < NR_BATCHES; i += NR_THREADS) {
		/* declined while another thread is in the pool */
		while (!(mine[nr] = batch_get(0)))
			sched_yield();
		mine[nr]->n = i;
		storm_take(mine[nr++]);
	}
	for (unsigned int step = 0; step < 40000; step++) {
		if (nr && rand_below(&r, 2)) {
			unsigned int i = rand_below(&r, nr);

			if (storm_push(mine[i]))
				mine[i] = mine[--nr];
		} else {
			struct mag_batch *b = depot_pop(&storm.d, step);

			atomic_add_relaxed(b ? &storm.pops : &storm.declined, 1);
			if (b) {
				storm_take(b);
				mine[nr++] = b;
			}
		}
		/* through the pool and back: what it gives is nobody's */
		if (step % 64 == 0) {
			struct mag_batch *b = batch_get(0);

			if (b) {
				b->n = 12345;
				barrier();
				check(b->n == 12345);
				batch_put(0, b);
			}
		}
	}
	while (nr)
		atomic_sub_relaxed(&storm.owned[mine[--nr]->n], 1);
	return NULL;
}

START_TEST(threads)
{
	unsigned int left = 0, seen[NR_BATCHES] = { 0 };
	struct mag_batch *b;
	pthread_t t[NR_THREADS];

	vm_init();
	depot_init(&storm.d, fresh_stacks(), MAX_DEPTH);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		check(!pthread_create(&t[i], NULL, storm_thread, (void *)i));
	for (unsigned int i = 0; i < NR_THREADS; i++)
		check(!pthread_join(t[i], NULL));
	check(!storm.overfull && storm.pops);
	while ((b = depot_pop(&storm.d, 0))) {
		check(b->n < NR_BATCHES && seen[b->n]++ == 0);
		left++;
	}
	check(left <= MAX_DEPTH + NR_THREADS && depot_count(&storm.d) == 0);
	for (unsigned int i = 0; i < NR_BATCHES; i++)
		check(storm.owned[i] == 0);
}
END_TEST

/* Objects: 1 while a thread has them, 0 in the depot. */
static uint32_t in_hand[NR_OBJS];

static unsigned int gather_take(struct mag_batch *b, struct mag_slot *mine, unsigned int nr)
{
	for (unsigned int i = 0; i < b->n; i++) {
		uintptr_t obj = (uintptr_t)b->slots[i].obj;

		check(obj < NR_OBJS && b->slots[i].state == (uint8_t *)~obj);
		check(atomic_fetch_add_relaxed(&in_hand[obj], 1) == 0);
		mine[nr++] = b->slots[i];
	}
	return nr;
}

/* Parts of any size, and whole batches between them; what comes out is nobody else's. */
static void *gather_thread(void *arg)
{
	struct unit_rand r = unit_rand(200 + (uintptr_t)arg);
	const unsigned int batch = 32, share = NR_OBJS / NR_THREADS;
	static struct mag_slot slots[NR_THREADS][NR_OBJS];
	struct mag_slot *mine = slots[(uintptr_t)arg];
	unsigned int nr = share, n;
	struct mag_batch *b;

	fill_part(mine, share, (uintptr_t)arg * share);
	for (unsigned int i = 0; i < share; i++)
		atomic_store_relaxed(&in_hand[(uintptr_t)mine[i].obj], 1);
	for (unsigned int step = 0; step < 40000; step++) {
		n = min_size(1 + rand_below(&r, 16), nr);
		if (n && rand_below(&r, 3)) {
			for (unsigned int i = nr - n; i < nr; i++)
				atomic_sub_relaxed(&in_hand[(uintptr_t)mine[i].obj], 1);
			if (depot_gather(&storm.d, (uintptr_t)arg, mine + nr - n, n, batch)) {
				nr -= n;
				continue;
			}
			for (unsigned int i = nr - n; i < nr; i++)
				check(atomic_fetch_add_relaxed(&in_hand[(uintptr_t)mine[i].obj],
							       1) == 0);
		}
		if (depot_count(&storm.d) > storm.d.max + NR_THREADS)
			atomic_add_relaxed(&storm.overfull, 1);
		b = depot_pop(&storm.d, (uintptr_t)arg);
		if (!b)
			continue;
		atomic_add_relaxed(&storm.pops, 1);
		check(b->n && b->n <= batch);
		nr = gather_take(b, mine, nr);
		batch_put((uintptr_t)arg, b);
	}
	for (unsigned int i = 0; i < nr; i++)
		atomic_sub_relaxed(&in_hand[(uintptr_t)mine[i].obj], 1);
	return (void *)(uintptr_t)nr;
}

START_TEST(gather_threads)
{
	static struct mag_slot left[NR_OBJS];
	unsigned int nr = 0, outside = 0;
	struct mag_batch *b;
	pthread_t t[NR_THREADS];
	void *ret;

	vm_init();
	depot_init(&storm.d, fresh_stacks(), MAX_DEPTH);
	memset(&storm.overfull, 0, sizeof(storm.overfull));
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		check(!pthread_create(&t[i], NULL, gather_thread, (void *)i));
	for (unsigned int i = 0; i < NR_THREADS; i++) {
		check(!pthread_join(t[i], &ret));
		outside += (uintptr_t)ret;
	}
	check(!storm.overfull && storm.pops);
	check(depot_objects(&storm.d) + outside == NR_OBJS / NR_THREADS * NR_THREADS);
	while ((b = depot_pop(&storm.d, 0)))
		nr = gather_take(b, left, nr);
	check(nr + outside == NR_OBJS / NR_THREADS * NR_THREADS);
	check(!storm.d.held && !storm.d.open);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("depot");
	TCase *tc = tcase_create("depot");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, stack, 0, MAX_DEPTH + 1);
	tcase_add_test(tc, own_first);
	tcase_add_test(tc, bound);
	tcase_add_loop_test(tc, parts, 1, 22);
	tcase_add_test(tc, parts_in_turn);
	tcase_add_test(tc, parts_declined);
	tcase_add_test(tc, busy_popper);
	tcase_add_test(tc, pool);
	tcase_add_test(tc, threads);
	tcase_add_test(tc, gather_threads);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
