// SPDX-License-Identifier: MIT
/*
 * The library's own caches, depots, spans and page heaps under many CPUs.
 *
 *	thread -> mcache_id -> fake area: { cpu_id, node_id, mm_cid }
 *	                                       any number that is set here
 *
 * A section reads its slot's id from the area that mcache_id points into.  Here this is
 * plain memory, so that a thread is CPU 200 by writing 200 there.  The kernel does
 * not know of it and restarts nothing: no two threads may be one CPU at a time.
 * With several, thread t has the CPUs c with c % nr_threads == t.
 *
 * One thread alone is deterministic: the same seed gives the same counts.  It runs
 * the CPUs in turns of a few operations, in random order, so that between two visits
 * of one CPU to a shared structure all others have had theirs, as if all ran at
 * once.  What it cannot show is waiting: nobody holds a lock while another CPU runs.
 * Hand-overs stand for it: each is a cache line that a real machine would have to
 * move, and a lock that could have been contended.
 *
 * Objects are never written to, so that a run takes little memory: what is counted
 * is what the caches hold, not what is resident.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <asm/cache.h>
#include <heaparena/heaparena.h>
#include "conf.h"
#include "fixalloc.h"
#include "malloc.h"
#include "mcache.h"
#include "mcentral.h"
#include "mheap.h"
#include "numa.h"

#include "cpus.h"
#include "fake/unit.h"

#define LIVE		256	/* objects of a thread */
#define BURST		32	/* operations of a turn, at most */
#define STAY		4	/* a thread that moves does so every so many turns */
#define CPUS_THREADS	8
#define LINES_SHIFT	14	/* more than there are locks and stacks */
#define NR_LINES	(1 << LINES_SHIFT)
#define NOBODY		UINT16_MAX

const char *const cpus_pattern_names[] = { "local", "handover", "migrate", "exchange" };
const char *const cpus_shared_names[] = {
	"depot", "pool", "central", "window", "pages", "other"
};

/* What a thread has: that on its CPU, or in flight between a pair of them. */
static struct bag {
	pthread_mutex_t lock;
	unsigned int nr;
	void **obj;
} bags[CPUS_MAX];

struct worker {
	const struct cpus_plan *plan;
	struct cpus_result *result;
	struct unit_rand rand;
	struct cpus_area area;
	unsigned int first, step;	/* its CPUs */
	uint64_t allocs;
	bool failed;
};

/*
 * Who was at a cache line last.
 */
static struct line {
	uintptr_t nr;
	uint16_t cpu;
} lines[NR_LINES];
static struct worker *watched;		/* NULL: nobody counts */

static struct line *line_of(const void *what)
{
	uintptr_t nr = (uintptr_t)what / L1_CACHE_BYTES;
	size_t i = nr * 0x9e3779b97f4a7c15ULL >> (64 - LINES_SHIFT);

	while (lines[i].nr && lines[i].nr != nr)
		i = (i + 1) % NR_LINES;
	if (!lines[i].nr) {
		lines[i].nr = nr;
		lines[i].cpu = NOBODY;
	}
	return &lines[i];
}

static int part_of(const void *what, const void *array, size_t size, unsigned int n)
{
	size_t off = (uintptr_t)what - (uintptr_t)array;

	return off < size * n ? (int)(off / size) : -1;
}

static enum cpus_shared kind_of(const void *what, unsigned int rank, int *nid)
{
	*nid = part_of(what, mcentrals, sizeof(mcentrals[0]), MAX_NODES);
	if (*nid >= 0)
		return rank ? CPUS_CENTRAL : CPUS_DEPOT;
	*nid = part_of(what, depot_stacks, sizeof(depot_stacks[0]), MAX_NODES);
	if (*nid >= 0)
		return CPUS_DEPOT;
	*nid = part_of(what, mheaps, sizeof(mheaps[0]), MAX_NODES);
	if (*nid >= 0)
		return rank == RANK_PAGE_CACHE ? CPUS_WINDOW : CPUS_PAGES;
	return rank ? CPUS_OTHER : CPUS_POOL;
}

static void watch(const void *what, unsigned int rank)
{
	unsigned int cpu;
	struct cpus_count *c;
	struct line *l;
	int nid;

	if (!watched)
		return;
	cpu = watched->area.words[RSEQ_OFF_CPU_ID / 4];
	c = &watched->result->count[kind_of(what, rank, &nid)];
	c->uses++;
	c->remote += nid >= 0 && (unsigned int)nid != cpu % topo.nr_nodes;
	l = line_of(what);
	c->handed += l->cpu != NOBODY && l->cpu != cpu;
	l->cpu = cpu;
}

/*
 * What is held.
 */
size_t cpus_cached(unsigned int cpu)
{
	uintptr_t addr = (uintptr_t)&mcache_hdrs + mcache_hdrs.row[cpu];
	const struct mag_hdr *hdrs;
	size_t bytes = 0;

	/* not of the table it is counted from, whatever a sanitizer thinks */
	asm ("" : "+r" (addr));
	hdrs = (const struct mag_hdr *)addr;
	for (unsigned int row = 0; row < 2 * topo.nr_nodes; row++) {
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
			const struct mag_hdr *h = &hdrs[route_make(row, sc)];

			bytes += (size_t)mag_nr(h) * size_classes[sc].size;
		}
	}
	return bytes;
}

static size_t live_bytes(void)
{
	size_t bytes = 0;

	for (unsigned int b = 0; b < CPUS_MAX; b++)
		for (unsigned int i = 0; i < bags[b].nr; i++)
			bytes += ha_malloc_usable_size(bags[b].obj[i]);
	return bytes;
}

static void take_stock(struct worker *w)
{
	struct cpus_result *r = w->result;
	size_t sum = 0, depots;

	for (unsigned int c = 0; c < w->plan->nr_cpus; c++) {
		size_t bytes = cpus_cached(c);

		sum += bytes;
		r->cached_one = bytes > r->cached_one ? bytes : r->cached_one;
	}
	depots = mcache_cached_bytes() - sum;
	r->depots = depots > r->depots ? depots : r->depots;
	if (sum <= r->cached)
		return;
	r->cached = sum;
	r->live = live_bytes();
}

/*
 * The work.
 */
void cpus_be(struct cpus_area *a, unsigned int cpu)
{
	a->words[RSEQ_OFF_CPU_ID / 4] = cpu;
	a->words[RSEQ_OFF_NODE_ID / 4] = cpu % topo.nr_nodes;
	a->words[RSEQ_OFF_MM_CID / 4] = cpu;
	mcache_simulate(CPUS_MAX, a);
}

/* Most objects are small, few are of tens of KiB: a server's mix. */
static size_t random_size(struct unit_rand *r)
{
	uint64_t kind = rand_below(r, 1000);

	if (kind < 900)
		return 16 + rand_below(r, 16UL << rand_below(r, 7));
	if (kind < 995)
		return 1024 + rand_below(r, 1024UL << rand_below(r, 6));
	return 32768 + rand_below(r, 32768UL << rand_below(r, 3));
}

static void bag_fill(struct worker *w, struct bag *b)
{
	void *p = ha_malloc(random_size(&w->rand));

	w->failed |= !p;
	if (p)
		b->obj[b->nr++] = p;
	w->allocs++;
}

static void bag_take(struct worker *w, struct bag *b)
{
	unsigned int i = rand_below(&w->rand, b->nr);
	void *p = b->obj[i];

	b->obj[i] = b->obj[--b->nr];
	ha_free(p);
}

/* A random object dies, a new one comes. */
static void replace(struct worker *w, struct bag *b, unsigned int n)
{
	pthread_mutex_lock(&b->lock);
	while (n--) {
		if (b->nr == LIVE)
			bag_take(w, b);
		bag_fill(w, b);
	}
	pthread_mutex_unlock(&b->lock);
}

/*
 * CPU @cpu of the first half allocates for one of the other half that is on the next
 * node, which frees.
 */
static void hand_over(struct worker *w, unsigned int cpu, unsigned int n)
{
	unsigned int half = w->plan->nr_cpus / 2;
	struct bag *b;

	if (!half) {
		replace(w, &bags[cpu], n);
		return;
	}
	b = &bags[cpu < half ? cpu : (cpu - half + half - 1) % half];
	pthread_mutex_lock(&b->lock);
	/* twice: half of the CPUs make the allocations of all */
	if (cpu < half)
		for (n *= 2; n-- && b->nr < LIVE;)
			bag_fill(w, b);
	else
		for (n *= 2; n-- && b->nr;)
			bag_take(w, b);
	pthread_mutex_unlock(&b->lock);
}

static struct bag *any_bag(struct worker *w)
{
	return &bags[rand_below(&w->rand, w->plan->nr_cpus)];
}

/* The thread that ran here goes elsewhere with its objects; that from there comes. */
static void migrate(struct worker *w, struct bag *here)
{
	struct bag *there = any_bag(w), *low = here < there ? here : there;
	void **obj;
	unsigned int nr;

	if (here == there)
		return;
	pthread_mutex_lock(&low->lock);
	pthread_mutex_lock(&(low == here ? there : here)->lock);
	obj = here->obj;
	nr = here->nr;
	here->obj = there->obj;
	here->nr = there->nr;
	there->obj = obj;
	there->nr = nr;
	pthread_mutex_unlock(&here->lock);
	pthread_mutex_unlock(&there->lock);
}

static void turn(struct worker *w, unsigned int cpu, unsigned int n)
{
	cpus_be(&w->area, cpu);
	switch (w->plan->pattern) {
	case CPUS_HANDOVER:
		hand_over(w, cpu, n);
		break;
	case CPUS_MIGRATE:
		if (rand_below(&w->rand, STAY) == 0)
			migrate(w, &bags[cpu]);
		replace(w, &bags[cpu], n);
		break;
	case CPUS_EXCHANGE:
		while (n--)
			replace(w, any_bag(w), 1);
		break;
	default:
		replace(w, &bags[cpu], n);
	}
}

static void run_turns(struct worker *w, bool stock)
{
	unsigned int nr = (w->plan->nr_cpus - w->first + w->step - 1) / w->step;
	unsigned int rounds = w->plan->per_cpu / (BURST / 2);

	for (unsigned int k = 0; k < rounds && !w->failed; k++) {
		for (unsigned int i = 0; i < nr; i++)
			turn(w, w->first + rand_below(&w->rand, nr) * w->step,
			     1 + rand_below(&w->rand, BURST));
		if (stock && k % 16 == 0)
			take_stock(w);
	}
}

static pthread_barrier_t start;

static void *work(void *arg)
{
	struct worker *w = arg;
	bool counts = w->plan->nr_threads == 1;

	pthread_barrier_wait(&start);
	run_turns(w, false);
	/* all have met, and none is far ahead */
	pthread_barrier_wait(&start);
	if (counts) {
		w->allocs = 0;
		watched = w;
	}
	run_turns(w, counts);
	watched = NULL;
	return NULL;
}

/* Everybody's objects are freed, each bag on its CPU. */
static void free_all(struct worker *w)
{
	for (unsigned int c = 0; c < w->plan->nr_cpus; c++) {
		cpus_be(&w->area, c);
		while (bags[c].nr)
			bag_take(w, &bags[c]);
	}
}

static void finish(const struct cpus_plan *plan, struct cpus_result *r)
{
	mcache_drain_idle();
	mcache_drain_idle();
	for (unsigned int c = 0; c < plan->nr_cpus; c++)
		r->after_idle += cpus_cached(c);
	r->meta = meta_bytes();
	mcache_drain_all();
	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		struct mheap_stat st;

		mheap_flush_caches(n);
		mheap_stat(n, &st);
		r->left += st.pages - st.free - st.donated;
	}
}

bool cpus_set_up(unsigned int nr_nodes)
{
	conf.background = false;
	conf.rseq = true;
	conf.numa_fake = nr_nodes;
	conf.numa = VM_BIND_OFF;
	return heap_ready();
}

static bool bags_init(const struct cpus_plan *plan)
{
	if (plan->nr_cpus > CPUS_MAX || plan->nr_threads > CPUS_THREADS)
		return false;
	for (unsigned int b = 0; b < CPUS_MAX; b++) {
		pthread_mutex_init(&bags[b].lock, NULL);
		bags[b].obj = calloc(LIVE, sizeof(void *));
		if (!bags[b].obj)
			return false;
	}
	return true;
}

bool cpus_run(const struct cpus_plan *plan, struct cpus_result *result)
{
	static struct worker workers[CPUS_THREADS];
	pthread_t threads[CPUS_THREADS];
	bool ok = true;

	memset(result, 0, sizeof(*result));
	if (!cpus_set_up(plan->nr_nodes) || !bags_init(plan))
		return false;
	watch_shared = watch;
	for (unsigned int t = 0; t < plan->nr_threads; t++) {
		struct worker *w = &workers[t];

		w->plan = plan;
		w->result = result;
		w->rand.state = plan->seed + t;
		w->first = t;
		w->step = plan->nr_threads;
	}
	pthread_barrier_init(&start, NULL, plan->nr_threads);
	/* before the others: this makes room for the numbers of all CPUs */
	cpus_be(&workers[0].area, 0);
	for (unsigned int t = 1; t < plan->nr_threads; t++)
		if (pthread_create(&threads[t], NULL, work, &workers[t]))
			abort();
	work(&workers[0]);
	for (unsigned int t = 0; t < plan->nr_threads; t++) {
		if (t)
			pthread_join(threads[t], NULL);
		result->allocs += workers[t].allocs;
		ok &= !workers[t].failed;
	}
	free_all(&workers[0]);
	finish(plan, result);
	return ok;
}
