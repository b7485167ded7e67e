// SPDX-License-Identifier: MIT
/*
 * Many CPUs, simulated (fake/cpus.c): what they hold and how often they meet stays
 * within bounds that do not grow with their number, and everything goes home.
 *
 * The bounds are stated for the mix of sizes there: 90 of 100 objects of up to 1
 * KiB, 9 of up to 32 KiB, one in 200 of up to 128 KiB; they leave about a half of
 * room above what is measured (tools/bench/cpusim.c).
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <heaparena/heaparena.h>
#include "mcache.h"
#include "mcentral.h"
#include "vm.h"

#include "fake/cpus.h"
#include "fake/early.h"

#define PER_CPU		1600
#define SMALL		48

struct bounds {
	size_t one;		/* bytes in the caches of one CPU */
	size_t mean;		/* ... of each, in the mean */
	unsigned int handed;	/* hand-overs for 1e6 allocations */
	unsigned int remote;	/* work on another node for 1e6 allocations */
};

static const struct bounds bounds[NR_CPUS_PATTERNS] = {
	[CPUS_LOCAL] = { 4 << 20, 3 << 20, 20000, 0 },
	[CPUS_HANDOVER] = { 1 << 20, 1 << 20, 200000, 200000 },
	[CPUS_MIGRATE] = { 6 << 20, 4 << 20, 240000, 130000 },
	[CPUS_EXCHANGE] = { 6 << 20, 4 << 20, 280000, 150000 },
};

static const unsigned int numbers[] = { 2, 8, 64, 256 };

/* Magazines can be emptied from outside (CMD_PRIVATE_EXPEDITED_RSEQ). */
static bool can_fence(void)
{
	long cmds = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	return cmds > 0 && (cmds & 1 << 7);
}

static void check_home(const struct cpus_result *r)
{
	struct heap_sum sum;

	check(r->left == 0);
	heap_check(&sum);
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
		check(sum.out[sc] == 0);
}

static void sum_up(const struct cpus_result *r, struct cpus_count *sum)
{
	memset(sum, 0, sizeof(*sum));
	for (unsigned int k = 0; k < NR_CPUS_SHARED; k++) {
		sum->uses += r->count[k].uses;
		sum->handed += r->count[k].handed;
		sum->remote += r->count[k].remote;
	}
	sum->uses = sum->uses * 1000000 / r->allocs;
	sum->handed = sum->handed * 1000000 / r->allocs;
	sum->remote = sum->remote * 1000000 / r->allocs;
}

START_TEST(bounded)
{
	struct cpus_plan plan = {
		.pattern = _i % NR_CPUS_PATTERNS, .nr_cpus = numbers[_i / NR_CPUS_PATTERNS],
		.nr_nodes = 8, .nr_threads = 1, .per_cpu = PER_CPU, .seed = unit_run_seed,
	};
	const struct bounds *b = &bounds[plan.pattern];
	struct cpus_count sum;
	struct cpus_result r;

	check(cpus_run(&plan, &r));
	sum_up(&r, &sum);
	check(r.allocs >= PER_CPU / 2 * plan.nr_cpus && sum.uses > 0);
	if (r.cached_one > b->one || r.cached > plan.nr_cpus * b->mean)
		ck_abort_msg("%s, %u CPUs: %zu bytes cached, %zu by one CPU",
			     cpus_pattern_names[plan.pattern], plan.nr_cpus, r.cached,
			     r.cached_one);
	if (sum.handed > b->handed || sum.remote > b->remote)
		ck_abort_msg("%s, %u CPUs: %llu hand-overs, %llu remote",
			     cpus_pattern_names[plan.pattern], plan.nr_cpus,
			     (unsigned long long)sum.handed, (unsigned long long)sum.remote);
	check(r.after_idle == 0);
	check_home(&r);
}
END_TEST

/* The same machine by four threads at once. */
START_TEST(at_once)
{
	struct cpus_plan plan = {
		.pattern = _i, .nr_cpus = 64, .nr_nodes = 8, .nr_threads = 4,
		.per_cpu = PER_CPU, .seed = unit_run_seed,
	};
	struct cpus_result r;

	check(cpus_run(&plan, &r));
	check(r.allocs > 0);
	check_home(&r);
}
END_TEST

static void counts_of(unsigned int nid, unsigned int sc, uint64_t *refills,
		      uint64_t *home)
{
	const struct mcentral *mc = &mcentrals[nid][sc];

	*refills = mcentral_nr_refills(mc);
	*home = mc->nr_flushes + depot_count(&mc->depot);
}

/*
 * What one node's CPU frees of another's goes home, a batch at a time, and is not
 * handed out where it was freed.
 */
START_TEST(remote_batches)
{
	const struct size_class *k = &size_classes[_i];
	unsigned int batch = min_size(REMOTE_BYTES / k->size, k->batch);
	unsigned int nr = 64;
	struct cpus_area a;
	uint64_t refills, home;
	void *p[64], *q;

	batch = max_size(batch, 1);
	check(cpus_set_up(2));
	cpus_be(&a, 0);
	for (unsigned int i = 0; i < nr; i++) {
		p[i] = ha_malloc(k->size);
		check(p[i] && heap_arena_find_span((uintptr_t)p[i])->nid == 0);
	}
	cpus_be(&a, 1);
	for (unsigned int i = 0; i < nr; i++)
		ha_free(p[i]);
	counts_of(0, _i, &refills, &home);
	/* not one more than batches; with a full depot, those that were in hand */
	check(home >= (nr - batch) / batch / 2 && home <= nr / batch + 1);
	for (unsigned int i = 0; i < nr; i++) {
		q = ha_malloc(k->size);
		check(q && heap_arena_find_span((uintptr_t)q)->nid == 1);
		p[i] = q;
	}
	for (unsigned int i = 0; i < nr; i++)
		ha_free(p[i]);
}
END_TEST

/* The most that a batch gathers from parts of what one CPU holds for another node. */
static unsigned int gathered(const struct size_class *k)
{
	unsigned int part = min_size(REMOTE_BYTES / k->size, k->batch);

	return part ? k->batch / part * part : k->batch;
}

/*
 * A depot has room for as many objects whoever frees them: what is freed on another
 * node fills it, in batches as whole as parts make them, and comes back first.
 */
START_TEST(remote_fills)
{
	const struct size_class *k = &size_classes[_i];
	struct depot *d = &mcentrals[0][_i].depot;
	unsigned int nr, full, max, part = min_size(REMOTE_BYTES / k->size, k->batch);
	static void *p[8192];
	struct cpus_area a;
	uint64_t pops;

	check(cpus_set_up(2));
	max = d->max;
	full = max * gathered(k);
	nr = full + 4 * k->batch;
	check(nr <= ARRAY_SIZE(p));
	cpus_be(&a, 0);
	for (unsigned int i = 0; i < nr; i++)
		check((p[i] = ha_malloc(k->size)));
	check(!depot_objects(d));
	cpus_be(&a, 1);
	for (unsigned int i = 0; i < nr; i++)
		ha_free(p[i]);
	check(depot_count(d) == max && depot_objects(d) == full);
	/* all else went on to the spans, but what CPU 1 holds */
	check(mcache_nr_cached(_i) <= full + part + 2 * k->batch);
	/* CPU 0 may have two batches; then it is the depot's turn */
	cpus_be(&a, 0);
	pops = depot_nr_pops(d);
	for (unsigned int i = 0; i < full + 2 * k->batch; i++)
		check((p[i] = ha_malloc(k->size)));
	check(!depot_objects(d) && depot_nr_pops(d) - pops == max);
	for (unsigned int i = 0; i < full + 2 * k->batch; i++)
		ha_free(p[i]);
}
END_TEST

/* Until there is no memory, each object leads to the one before; how many. */
static unsigned int fill(void ***list)
{
	unsigned int nr = 0;
	void **p;

	while ((p = ha_malloc(SMALL))) {
		*p = *list;
		*list = p;
		nr++;
	}
	check(errno == ENOMEM);
	return nr;
}

/*
 * No is said when nobody has anything: not in spans, windows and descriptors of another
 * node, nor in the magazines of another CPU.
 */
START_TEST(no_memory_anywhere)
{
	unsigned int home, nr;
	struct cpus_area a;
	void **list = NULL;

	check(cpus_set_up(2));
	for (unsigned int cpu = 4; cpu-- > 0;) {
		cpus_be(&a, cpu);
		ha_free(ha_malloc(SMALL));
		ha_free(ha_malloc(SMALL * 2));
	}
	vm_fail_nth(1, true);
	nr = fill(&list);
	/* each node has grown once */
	check(nr > 2 * (4UL << 20) / SMALL * 9 / 10);
	for (unsigned int cpu = 1; cpu < 4; cpu++) {
		cpus_be(&a, cpu);
		check(fill(&list) == 0);
		if (!can_fence())
			continue;
		cpus_be(&a, cpu - 1);
		for (home = 0; home < 100; home++) {
			void **next = *list;

			ha_free(list);
			list = next;
		}
		cpus_be(&a, cpu);
		check(fill(&list) == home);
	}
	vm_fail_nth(0, false);
}
END_TEST

/*
 * No memory for the magazines of a CPU: objects come and go one by one, and the kernel
 * is not asked for some each time; they are made as soon as there is.
 */
START_TEST(no_memory_for_slot)
{
	struct cpus_area a;
	size_t failed;
	void *p[64];

	check(cpus_set_up(2));
	cpus_be(&a, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
		check((p[i] = ha_malloc(SMALL)));
	vm_fail_nth(1, true);
	cpus_be(&a, 2);
	failed = vm_failed();
	for (unsigned int i = 0; i < 10000; i++) {
		ha_free(p[i % ARRAY_SIZE(p)]);
		check((p[i % ARRAY_SIZE(p)] = ha_malloc(SMALL)));
	}
	check(!slot_exists(2));
	check(vm_failed() > failed && vm_failed() - failed <= 2 * 10000 / 100);
	vm_fail_nth(0, false);
	for (unsigned int i = 0; i < 256; i++) {
		ha_free(p[i % ARRAY_SIZE(p)]);
		check((p[i % ARRAY_SIZE(p)] = ha_malloc(SMALL)));
	}
	check(slot_exists(2));
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
		ha_free(p[i]);
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

Suite *unit_suite(void)
{
	Suite *s = suite_create("manycpu");
	TCase *tc = tcase_create("cpus");

	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, bounded, 0, NR_CPUS_PATTERNS * ARRAY_SIZE(numbers));
	tcase_add_loop_test(tc, at_once, 0, NR_CPUS_PATTERNS);
	tcase_add_loop_test(tc, remote_batches, 1, NR_SIZE_CLASSES);
	tcase_add_loop_test(tc, remote_fills, 1, NR_SIZE_CLASSES);
	tcase_add_test(tc, no_memory_anywhere);
	tcase_add_test(tc, no_memory_for_slot);
	suite_add_tcase(s, tc);
	return s;
}
