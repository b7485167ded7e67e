// SPDX-License-Identifier: MIT
/*
 * mcache: in each mode of the heap, objects go round through magazines, depots
 * and spans.  The state byte is the map of owners; what is live, what is cached
 * and what left the spans must add up whenever nobody is at work.
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "fixalloc.h"
#include "mcache.h"
#include "mheap.h"
#include "numa.h"

#include "fake/magazines.h"

#define MAX_LIVE	4000
#define NR_THREADS	8

struct held {
	struct mag_slot slot[MAX_LIVE];
	unsigned int nr;
};

static void held_get(struct held *h, unsigned int sc)
{
	check(h->nr < MAX_LIVE && get(sc, &h->slot[h->nr]));
	h->nr++;
}

static void held_put(struct held *h, unsigned int i)
{
	struct mag_slot slot = h->slot[i];

	h->slot[i] = h->slot[--h->nr];
	put(slot);
}

/* Bound of one class: a magazine of each node on each slot, and the depots. */
static size_t cache_bound(unsigned int sc, unsigned int nr_slots)
{
	size_t mag = (MAG_BATCHES + 1) * size_classes[sc].batch, depots = 0;

	mag += min_size((MAG_WIDE - MAG_BATCHES) * size_classes[sc].batch,
			WIDE_BYTES / size_classes[sc].size);
	for (unsigned int n = 0; n < topo.nr_nodes; n++)
		depots += (mcentrals[n][sc].depot.max + NR_THREADS) * size_classes[sc].batch;
	return mag * topo.nr_nodes * nr_slots + depots;
}

/* Widened, if it can be, and narrowed again: the highest limit. */
static unsigned int highest(struct mag_hdr *hdrs, unsigned int id, unsigned int route)
{
	struct mag_hdr *h = &hdrs[route];
	unsigned int first = h->limit, most;

	for (int i = 0; i < 10 && route_nid(route) == slot_node(id); i++)
		slot_widen(hdrs, slot_node(id), route_class(route));
	most = h->limit;
	slot_narrow(hdrs, slot_node(id), route);
	check(h->limit == first && *slot_wide(hdrs) == 0);
	return most;
}

/*
 * Each number of nodes: 16 bits reach all that a slot's headers lead to, and no magazine
 * is in another.  _i: twice the nodes, and whether by locked slots.
 */
START_TEST(areas)
{
	struct heap_mode mode = { .fake = _i / 2, .locked = _i % 2 };
	unsigned int id, wide = 0;
	struct mag_slot slot;
	struct mag_hdr *hdrs;
	uintptr_t end = 0;

	heap_layers_init(&mode);
	check(get(1, &slot));
	id = current_slot();
	check(slot_exists(id) && slot_is_locked(id) == (mode.locked || !heap_has_rseq()));
	hdrs = headers(id);
	check((void *)(slot_wide(hdrs) + 1) == slot_rest(hdrs));
	for (unsigned int row = 0; row < nr_rows(); row++) {
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
			struct mag_hdr *h = &hdrs[route_make(row, sc)];
			unsigned int room = mag_room(slot_node(id), row, sc), most;

			check(h->base <= h->top && h->top <= h->limit);
			check(h->limit == h->base + room * MAG_SLOT_UNITS);
			check(h->tag == slot_tag(id));
			if (!room)
				continue;
			check((uintptr_t)mag_slot_at(h, h->base) >= end);
			most = highest(hdrs, id, route_make(row, sc));
			wide += most > h->limit;
			end = (uintptr_t)mag_slot_at(h, most);
		}
	}
	check(wide == (_i / 2 > WIDE_NODES ? 0 : FIRST_MEDIUM_CLASS - 1));
	put(slot);
	check_goes_home();
}
END_TEST

START_TEST(churn)
{
	static struct held h[NR_SIZE_CLASSES];
	struct unit_rand r = unit_rand(_i);
	struct heap_sum sum;

	heap_layers_init(&heap_modes[_i]);
	for (unsigned int k = 0; k < 300; k++) {
		unsigned int sc = 1 + rand_below(&r, NR_SIZE_CLASSES - 1);
		unsigned int n = rand_below(&r, 200);

		if (rand_below(&r, 2))
			while (n-- && h[sc].nr < MAX_LIVE / 4)
				held_get(&h[sc], sc);
		else
			while (n-- && h[sc].nr)
				held_put(&h[sc], rand_below(&r, h[sc].nr));
		check(mcache_nr_cached(sc) <= cache_bound(sc, 2));
		if (k % 16)
			continue;
		heap_check(&sum);
		check(heap_sum_mismatches(&sum) == 0);
		for (sc = 1; sc < NR_SIZE_CLASSES; sc++)
			check(sum.live[sc] == h[sc].nr);
	}
	/* a drain takes what is cached, and nothing of what is held */
	mcache_drain_all();
	heap_check(&sum);
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		check(mcache_nr_cached(sc) == 0 && sum.out[sc] == h[sc].nr);
		while (h[sc].nr)
			held_put(&h[sc], h[sc].nr - 1);
	}
	check_goes_home();
}
END_TEST

/* Up and down by more than all magazines and depots hold. */
START_TEST(waves)
{
	static struct held h;
	struct unit_rand r = unit_rand(100 + _i);

	heap_layers_init(&heap_modes[_i]);
	for (unsigned int k = 0; k < 12; k++) {
		unsigned int sc = 1 + rand_below(&r, k % 2 ? 30 : NR_SIZE_CLASSES - 1);

		while (h.nr < MAX_LIVE)
			held_get(&h, sc);
		/* in order, in the opposite order, in none */
		while (h.nr)
			held_put(&h, k % 3 == 0 ? 0 : k % 3 == 1 ? h.nr - 1 :
				 rand_below(&r, h.nr));
		check(mcache_nr_cached(sc) <= cache_bound(sc, 2));
	}
	check_goes_home();
}
END_TEST

/* What a slot holds for other nodes goes to them, never to a malloc here. */
START_TEST(routes)
{
	unsigned int sc = 9, nodes, got;
	struct mag_slot slots[MAX_BATCH];
	static struct held h;

	heap_layers_init(&heap_modes[_i]);
	nodes = topo.nr_nodes;
	check(nodes > 1);
	held_get(&h, sc);
	for (unsigned int n = 0; n < nodes; n++) {
		unsigned int nid = n;

		for (unsigned int round = 0; round < 40; round++) {
			got = mcentral_alloc(&nid, sc, 0, slots, MAX_BATCH);
			check(got && nid == n);
			for (unsigned int i = 0; i < got; i++) {
				if (!mcache_push(route_make(n, sc), slots[i]))
					mcache_free_slow(route_make(n, sc), slots[i]);
			}
		}
		check(mcache_nr_cached(sc) > 0);
	}
	for (unsigned int k = 0; k < 2000; k++) {
		uintptr_t addr;
		struct heap_arena *ha;
		unsigned int nid;

		nid = mcache_nid();
		held_get(&h, sc);
		addr = (uintptr_t)h.slot[h.nr - 1].obj;
		ha = arena_lookup(addr);
		/* the slot's id may change in between: then its node does */
		check(ha->nid == nid || mcache_nid() != nid || heap_modes[_i].locked == 0);
		if (heap_modes[_i].locked)
			check(ha->nid == nid);
	}
	while (h.nr)
		held_put(&h, h.nr - 1);
	check_goes_home();
}
END_TEST

/* Two threads that take turns on what they give each other. */
static struct {
	struct held pool;
	pthread_mutex_t lock;
	bool stop;
	unsigned int sc[4];
	unsigned long refused;
	bool hop, drop, drain;
} storm = { .lock = PTHREAD_MUTEX_INITIALIZER, .sc = { 1, 5, 33, 66 } };

static void hop(struct unit_rand *r, const cpu_set_t *all)
{
	unsigned int cpu = rand_below(r, CPU_COUNT(all)), i;
	cpu_set_t one;

	CPU_ZERO(&one);
	for (i = 0; !CPU_ISSET(i, all) || cpu--; i++)
		;
	CPU_SET(i, &one);
	check(pthread_setaffinity_np(pthread_self(), sizeof(one), &one) == 0);
}

/* Swap a random part with the pool: objects are freed by other threads. */
static void exchange(struct held *mine, struct unit_rand *r)
{
	struct held *pool = &storm.pool;
	unsigned int n = 1 + rand_below(r, 64);

	pthread_mutex_lock(&storm.lock);
	if (rand_below(r, 2))
		while (n-- && mine->nr && pool->nr < MAX_LIVE)
			pool->slot[pool->nr++] = mine->slot[--mine->nr];
	else
		while (n-- && pool->nr && mine->nr < MAX_LIVE)
			mine->slot[mine->nr++] = pool->slot[--pool->nr];
	pthread_mutex_unlock(&storm.lock);
}

static void *storm_thread(void *arg)
{
	struct unit_rand r = unit_rand(200 + (uintptr_t)arg);
	struct held *mine = calloc(1, sizeof(*mine));
	cpu_set_t all;

	check(mine && !pthread_getaffinity_np(pthread_self(), sizeof(all), &all));
	/* every other thread as one that was never registered */
	if (storm.drop && (uintptr_t)arg % 2)
		check(heap_drop_rseq());
	for (unsigned int k = 0; k < 4000; k++) {
		unsigned int n = rand_below(&r, 80), sc = storm.sc[rand_below(&r, 4)];

		if (storm.hop && k % 64 == 0)
			hop(&r, &all);
		if (rand_below(&r, 2))
			while (n-- && mine->nr < 1000)
				held_get(mine, sc);
		else
			while (n-- && mine->nr)
				held_put(mine, rand_below(&r, mine->nr));
		if (k % 8 == 0)
			exchange(mine, &r);
	}
	while (mine->nr)
		held_put(mine, mine->nr - 1);
	free(mine);
	return NULL;
}

static void *drain_thread(void *arg)
{
	while (!READ_ONCE(storm.stop)) {
		mcache_drain_all();
		usleep(500);
	}
	return NULL;
}

static void run_storm(void)
{
	pthread_t t[NR_THREADS], d;
	struct heap_sum sum;

	if (storm.drain)
		check(!pthread_create(&d, NULL, drain_thread, NULL));
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		check(!pthread_create(&t[i], NULL, storm_thread, (void *)i));
	for (unsigned int i = 0; i < NR_THREADS; i++)
		check(!pthread_join(t[i], NULL));
	WRITE_ONCE(storm.stop, true);
	if (storm.drain)
		check(!pthread_join(d, NULL));
	heap_check(&sum);
	check(heap_sum_mismatches(&sum) == 0);
	while (storm.pool.nr)
		held_put(&storm.pool, storm.pool.nr - 1);
	check_goes_home();
}

START_TEST(threads)
{
	heap_layers_init(&heap_modes[_i]);
	run_storm();
}
END_TEST

START_TEST(threads_hop)
{
	heap_layers_init(&heap_modes[_i]);
	storm.hop = true;
	run_storm();
}
END_TEST

START_TEST(threads_drained)
{
	heap_layers_init(&heap_modes[_i]);
	storm.drain = storm.hop = true;
	run_storm();
}
END_TEST

/* Both kinds of thread in one process. */
START_TEST(threads_mixed)
{
	heap_layers_init(&heap_modes[_i]);
	storm.drop = storm.drain = true;
	run_storm();
}
END_TEST

/* Which way a thread goes is found out once, and holds. */
START_TEST(thread_modes)
{
	bool rseq = heap_has_rseq() && !heap_modes[_i].locked;
	struct mag_slot slot;

	heap_layers_init(&heap_modes[_i]);
	check(!mcache_has_id());
	check(!heap_modes[_i].locked || !mcache_uses_rseq());
	check(get(3, &slot));
	check(mcache_has_id() == rseq);
	put(slot);
	check_goes_home();
}
END_TEST

START_TEST(dropped)
{
	struct mag_slot slot;

	heap_layers_init(&heap_modes[_i]);
	check(heap_drop_rseq() && !heap_has_rseq());
	check(get(3, &slot) && !mcache_has_id());
	put(slot);
	check(mcache_nr_cached(3) > 0);
	check_goes_home();
}
END_TEST

static void *one_thread(void *arg)
{
	struct mag_slot slot;

	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		check(get(sc, &slot));
		put(slot);
	}
	return NULL;
}

/* Threads come and go; caches belong to CPUs, and do not multiply. */
START_TEST(thread_exit)
{
	size_t meta = 0, late;

	heap_layers_init(&heap_modes[_i]);
	/* which real nodes' locked slots threads meet is the scheduler's to say */
	late = heap_modes[_i].locked && (topo.fake || topo.nr_nodes == 1) ? 0 : 2UL << 20;
	for (unsigned int k = 0; k < 600; k++) {
		pthread_t t;

		check(!pthread_create(&t, NULL, one_thread, NULL));
		check(!pthread_join(t, NULL));
		/* every locked slot, every CPU that was met, has its own by now */
		if (k == 300)
			meta = meta_bytes();
	}
	check(meta_bytes() <= meta + late);
	check_goes_home();
}
END_TEST

/* No memory for a slot, for a batch, for spans: NULL, or straight home. */
START_TEST(no_memory)
{
	static struct held h;
	unsigned int failed = 0;

	heap_layers_init(&heap_modes[_i]);
	for (long n = 1; n < 40; n++) {
		unsigned int sc = 1 + n % (NR_SIZE_CLASSES - 1);

		vm_fail_nth(n / 4 + 1, n % 2);
		for (unsigned int k = 0; k < 300 && h.nr < MAX_LIVE; k++) {
			if (get(sc, &h.slot[h.nr]))
				h.nr++;
			else
				failed++;
		}
		if (n % 3 == 0)
			while (h.nr)
				held_put(&h, h.nr - 1);
		vm_fail_nth(0, false);
		heap_check(&(struct heap_sum){ 0 });
	}
	check(failed);
	while (h.nr)
		held_put(&h, h.nr - 1);
	check_goes_home();
}
END_TEST

/*
 * A batch that is not full, as one that was begun on another slot: the figures
 * count what is in it.
 */
START_TEST(part_batches)
{
	unsigned int nid = 0, sc = 4;
	struct heap_sum sum;

	heap_layers_init(&heap_modes[0]);
	for (unsigned int n = 1; n < 6; n++) {
		struct mag_batch *b = batch_get(0);

		b->n = mcentral_alloc(&nid, sc, 0, b->slots, n);
		check(b->n == n && depot_push(&mcentrals[0][sc].depot, 0, b));
	}
	heap_check(&sum);
	check(sum.out[sc] == 15);
	check(mcache_nr_cached(sc) == 15);
}
END_TEST

START_TEST(fork_locks)
{
	struct mag_slot slot;

	heap_layers_init(&heap_modes[_i]);
	check(get(3, &slot) && !mcache_fork_held());
	mcache_fork_prepare(false);
	check(mcache_fork_held());
	mcache_fork_done(false);
	check(!mcache_fork_held());
	mcache_fork_prepare(false);
	mcache_fork_done(true);
	check(!mcache_fork_held());
	put(slot);
	check_goes_home();
}
END_TEST

/*
 * What another slot handed out is not handed out here again, before a batch of it
 * has gone round through the depot; what this one did, at once.
 */
START_TEST(foreign)
{
	const unsigned int sc = small_class(64), batch = size_classes[sc].batch;
	const unsigned int large = small_class(2048);
	struct mag_slot own, s[2 * MAX_BATCH], again;
	unsigned int route = route_make(0, sc);

	heap_layers_init(&heap_modes[0]);
	check(get(sc, &own));
	put(own);
	check(get(sc, &again) && again.obj == own.obj);
	for (unsigned int i = 0; i < 2 * batch; i++)
		check(get(sc, &s[i]));
	for (unsigned int i = 0; i < 2 * batch; i++) {
		uint8_t tag = *s[i].state;

		check(depot_count(&mcentrals[0][sc].depot) == (i > batch));
		*s[i].state = OBJECT_FREE;
		if (mcache_push_off(route << MAG_HDR_SHIFT, s[i], tag + 1) != MAG_FOREIGN)
			check(!mcache_has_id());
		mcache_free_foreign(s[i], route, tag + 1);
		check(get(sc, &again));
		for (unsigned int k = 0; k <= i; k++)
			check(again.obj != s[k].obj);
		put(again);
	}
	put(own);
	/* a large one has its states' line to itself, nearly: at once again */
	check(get(large, &own));
	*own.state = OBJECT_FREE;
	mcache_free_foreign(own, route_make(0, large), mcache_tag() + 1);
	check(get(large, &again) && again.obj == own.obj);
	put(again);
	check_goes_home();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mcache");
	TCase *tc = tcase_create("modes");
	/* the last mode differs above this layer only */
	unsigned int modes = NR_HEAP_MODES - 1;

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, areas, 2, 2 * MAX_NODES + 2);
	tcase_add_loop_test(tc, churn, 0, modes);
	tcase_add_loop_test(tc, waves, 0, modes);
	tcase_add_loop_test(tc, routes, 2, modes);
	tcase_add_loop_test(tc, threads, 0, modes);
	tcase_add_loop_test(tc, threads_hop, 0, modes);
	tcase_add_loop_test(tc, threads_drained, 0, modes);
	tcase_add_loop_test(tc, thread_modes, 0, modes);
	tcase_add_loop_test(tc, thread_exit, 0, modes);
	tcase_add_loop_test(tc, no_memory, 0, modes);
	tcase_add_test(tc, part_batches);
	tcase_add_loop_test(tc, fork_locks, 0, modes);
	if (heap_has_rseq()) {
		tcase_add_loop_test(tc, threads_mixed, 0, modes);
		tcase_add_loop_test(tc, dropped, 0, modes);
		tcase_add_test(tc, foreign);
	} else {
		unit_skip("threads_mixed, dropped, foreign", "no thread is registered here");
	}
	suite_add_tcase(s, tc);
	return unit_run(s);
}
