// SPDX-License-Identifier: MIT
/*
 * uheap: heaps against lists that the test keeps, every call that may meet their
 * objects, limits, failures of the kernel's memory, and a fork.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "conf.h"
#include "lookup.h"
#include "mcache.h"
#include "numa.h"
#include "uheap.h"
#include "vm.h"

#include "fake/early.h"

#define NR_HEAPS	5
#define MAX_LIVE	400

/* Not what Check leaves with. */
#define CHILD_MET	40
#define CHILD_PASSED	41

struct live {
	unsigned char *p;
	size_t size, usable;
};

static struct ha_heap *heap[NR_HEAPS];
static struct live live[NR_HEAPS][MAX_LIVE];

static unsigned char tag(const struct live *l)
{
	return 1 + (l - &live[0][0]) % 251;
}

static void check_bytes(const struct live *l, size_t n)
{
	check(n == 0 || (l->p[0] == tag(l) && memcmp(l->p, l->p + 1, n - 1) == 0));
}

static void filled(struct live *l, void *p, size_t size)
{
	l->p = p;
	l->size = size;
	l->usable = ha_malloc_usable_size(p);
	check(l->usable >= size);
	memset(p, tag(l), size);
}

static struct ha_heap_stats stat_of(struct ha_heap *h)
{
	struct ha_heap_stats st = { .size = sizeof(st) };

	check(ha_heap_stats_get(h, &st) == 0 && st.size == sizeof(st));
	check(st.live <= st.mapped);
	return st;
}

static void check_heap_sums(unsigned int k)
{
	struct ha_heap_stats st = stat_of(heap[k]);
	size_t bytes = 0, nr = 0;

	for (unsigned int i = 0; i < MAX_LIVE; i++) {
		struct ha_object o = { .size = sizeof(o) };
		struct live *l = &live[k][i];

		if (!l->p)
			continue;
		bytes += l->usable;
		nr++;
		check(ha_lookup(l->p + (l->size ? l->size - 1 : 0), &o) == 1);
		check(o.heap == heap[k] && o.start == l->p && o.usable == l->usable);
		check(o.state == HA_OBJECT_LIVE && !ha_sparse(l->p));
	}
	check(st.live == bytes && st.nr_live == nr && st.nr_allocs == st.nr_frees + nr);
}

static void step_alloc(struct unit_rand *r, unsigned int k, struct live *l)
{
	size_t size = rand_log(r, rand_below(r, 20) ? 14 : 21);
	size_t align = rand_below(r, 3) ? 0 : 1UL << rand_below(r, 15);
	unsigned int flags = rand_below(r, 4) ? 0 : HA_ZERO;
	unsigned char *p = ha_heap_alloc(heap[k], size, align, flags);

	check(p && is_aligned((uintptr_t)p, align ? align : size <= 8 ? 8 : 16));
	for (size_t i = 0; flags && i < size; i++)
		check(p[i] == 0);
	filled(l, p, size);
}

static void step_free(struct unit_rand *r, unsigned int k, struct live *l)
{
	check_bytes(l, l->size);
	errno = 77;
	switch (rand_below(r, 4)) {
	case 0:
		ha_heap_free(heap[k], l->p);
		break;
	case 1:
		ha_free_batch((void *const *)&l->p, 1);
		break;
	case 2:
		ha_free_sized(l->p, l->usable);
		break;
	default:
		ha_free(l->p);
	}
	check(errno == 77);
	l->p = NULL;
}

static void step_realloc(struct unit_rand *r, unsigned int k, struct live *l)
{
	size_t size = rand_log(r, 16), keep = min_size(size, l->size);
	unsigned char *p;

	if (ha_resize(l->p, size) == 0)
		check(ha_malloc_usable_size(l->p) >= size);
	p = ha_realloc(l->p, size);
	check(p);
	l->p = p;
	check_bytes(l, keep);
	filled(l, p, size);
}

static unsigned int nr_seen[NR_HEAPS + 1];

static int count(const struct ha_object *o, void *arg)
{
	unsigned int k = o->heap ? 0 : NR_HEAPS;

	while (k < NR_HEAPS && o->heap != heap[k])
		k++;
	check(k < NR_HEAPS || !o->heap);
	nr_seen[k]++;
	return 0;
}

static void check_walk(size_t others)
{
	memset(nr_seen, 0, sizeof(nr_seen));
	if (!conf.check)
		return;
	check(ha_walk(count, NULL) == 0);
	for (unsigned int k = 0; k < NR_HEAPS; k++)
		check(!heap[k] || nr_seen[k] == stat_of(heap[k]).nr_live);
	check(nr_seen[NR_HEAPS] == others);
}

START_TEST(truth)
{
	struct unit_rand r = unit_rand(_i);
	struct ha_stats st = { .size = sizeof(st) };
	struct heap_sum sum;
	void *mine;

	heap_up(&heap_modes[_i]);
	mine = ha_malloc(100);
	for (unsigned int k = 0; k < NR_HEAPS; k++)
		heap[k] = ha_heap_create("truth", 0);
	for (unsigned int step = 0; step < 30000; step++) {
		unsigned int k = rand_below(&r, NR_HEAPS);
		struct live *l = &live[k][rand_below(&r, MAX_LIVE)];

		if (!l->p)
			step_alloc(&r, k, l);
		else if (rand_below(&r, 3))
			step_free(&r, k, l);
		else
			step_realloc(&r, k, l);
		if (step % 3000 == 0) {
			for (k = 0; k < NR_HEAPS; k++)
				check_heap_sums(k);
			heap_check(&sum);
			check_walk(1);
		}
		if (step % 10000 == 9999) {
			k = rand_below(&r, NR_HEAPS);
			ha_heap_reset(heap[k]);
			memset(live[k], 0, sizeof(live[k]));
			check(stat_of(heap[k]).mapped == 0);
		}
	}
	for (unsigned int k = 0; k < NR_HEAPS; k++) {
		ha_heap_destroy(heap[k]);
		heap[k] = NULL;
	}
	check_walk(1);
	ha_free(mine);
	ha_release();
	heap_check(&sum);
	check(sum.spans == 0 && ha_stats_get(&st) == 0 && st.live == 0 && st.in_use == 0);
}
END_TEST

/* The totals count objects of heaps, small and large. */
START_TEST(totals)
{
	struct ha_stats a = { .size = sizeof(a) }, b = a;
	struct ha_heap *h;

	heap_up(&heap_modes[_i]);
	h = ha_heap_create(NULL, 0);
	check(ha_stats_get(&a) == 0);
	check(ha_heap_alloc(h, 100, 0, 0) && ha_heap_alloc(h, 1 << 20, 0, 0));
	check(ha_stats_get(&b) == 0);
	check(b.live == a.live + 112 + (1 << 20) && b.large == a.large + (1 << 20));
	check(b.mapped == b.in_use + b.free + b.returned);
	check(b.live + b.cached <= b.in_use);
}
END_TEST

START_TEST(tiny)
{
	static unsigned char *p[20000];
	struct unit_rand r = unit_rand(30);
	struct ha_object o = { .size = sizeof(o) };
	struct ha_heap *h;
	size_t bytes = 0;

	heap_up(&heap_modes[0]);
	h = ha_heap_create("tiny", 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
		size_t size = i % 16 + 1;

		p[i] = ha_heap_alloc_tiny(h, size);
		check(p[i] && is_aligned((uintptr_t)p[i], min_size(size & -size, 8)));
		memset(p[i], i, size);
		bytes += size;
		if (rand_below(&r, 100) == 0)
			check(ha_heap_alloc(h, 1000, 0, 0));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
		for (size_t k = 0; k < i % 16 + 1; k++)
			check(p[i][k] == (unsigned char)i);
	/* no tiny object is the start of what could be freed */
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
		check(ha_lookup(p[i], &o) == 1 && o.start != p[i] && o.heap == h);
	check(stat_of(h).nr_tiny == ARRAY_SIZE(p));
	check(stat_of(h).mapped < bytes + bytes / 4 + (400UL << 10));
	errno = 0;
	check(!ha_heap_alloc_tiny(h, 17) && errno == EINVAL);
	check(ha_heap_alloc_tiny(h, 0));
	ha_heap_reset(h);
	check(stat_of(h).mapped == 0 && stat_of(h).nr_tiny == 0);
	check(ha_heap_alloc_tiny(h, 3));
	ha_heap_destroy(h);
}
END_TEST

START_TEST(limit)
{
	struct ha_heap *h;
	unsigned int nr = 0;
	void *p, *first;

	heap_up(&heap_modes[_i]);
	h = ha_heap_create("limited", 100 << 10);
	first = ha_heap_alloc(h, 1000, 0, 0);
	for (errno = 0; (p = ha_heap_alloc(h, 1000, 0, 0)); nr++)
		;
	check(errno == ENOMEM && nr > 80 && nr < 100);
	check(stat_of(h).mapped <= 100 << 10 && stat_of(h).limit == 100 << 10);
	check(!ha_heap_alloc(h, 40000, 0, 0) && !ha_heap_alloc(h, 1UL << 62, 0, 0));
	check(!ha_heap_alloc(h, PTRDIFF_MAX, 0, 0) && !ha_heap_alloc(h, 8, 1UL << 62, 0));
	/* what is freed can be had again */
	ha_free(first);
	check(ha_heap_alloc(h, 1000, 0, 0) && !ha_heap_alloc(h, 1000, 0, 0));
	ha_heap_set_limit(h, 0);
	check(ha_heap_alloc(h, 1000, 0, 0) && stat_of(h).limit == 0);
	ha_heap_set_limit(h, 1);
	check(!ha_heap_alloc(h, 2000, 0, 0));
	ha_heap_reset(h);
	check(!ha_heap_alloc(h, 8, 0, 0) && stat_of(h).mapped == 0);
	errno = 0;
	check(!ha_heap_alloc(h, 8, 3, 0) && errno == EINVAL);
	check(!ha_heap_alloc(h, 8, 0, 64) && errno == EINVAL);
	ha_heap_destroy(h);
	ha_heap_destroy(NULL);
}
END_TEST

/* A descriptor that is used again begins anew. */
START_TEST(again)
{
	struct ha_heap *a, *b;

	heap_up(&heap_modes[0]);
	a = ha_heap_create("a \"name\" that is longer than what is kept", 1234);
	check(strcmp(stat_of(a).name, "a ?name? that is longer than wh") == 0);
	check(ha_heap_alloc(a, 10, 0, 0) == NULL && ha_heap_alloc_tiny(a, 3) == NULL);
	ha_heap_set_limit(a, 0);
	check(ha_heap_alloc(a, 10, 0, 0) && ha_heap_alloc_tiny(a, 3));
	ha_heap_destroy(a);
	b = ha_heap_create(NULL, 0);
	check(a == b && stat_of(b).nr_allocs == 0 && stat_of(b).nr_tiny == 0);
	check(stat_of(b).limit == 0 && stat_of(b).name[0] == '\0');
	check(ha_heap_alloc_tiny(b, 3));
}
END_TEST

/* The fault is still to come if one of the next @n calls meets it. */
static bool fault_pending(long n)
{
	void *p = mmap(NULL, vm_page_size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(p != MAP_FAILED);
	while (n--)
		if (vm_return(p, vm_page_size))
			return true;
	return false;
}

/*
 * The Nth system call fails: NULL with ENOMEM, and nothing is lost.  False when
 * there are not so many.
 */
static bool fail_child(long n)
{
	struct heap_sum sum;
	struct ha_heap *h;
	bool pending;

	vm_fail_nth(n, false);
	h = ha_heap_create("failing", 0);
	for (unsigned int i = 0; h && i < 300; i++) {
		errno = 77;
		if (i % 3 == 0 ? !ha_heap_alloc_tiny(h, 9) :
		    !ha_heap_alloc(h, (size_t)i * i, 1UL << i % 14, i % 2))
			check(errno == ENOMEM);
	}
	pending = fault_pending(n);
	vm_fail_nth(0, false);
	if (!h)
		h = ha_heap_create("failing", 0);
	check(h && ha_heap_alloc(h, 100, 0, 0));
	heap_check(&sum);
	check(stat_of(h).mapped == sum.used_pages << HA_PAGE_SHIFT);
	ha_heap_destroy(h);
	heap_check(&sum);
	check(sum.spans == 0);
	return !pending;
}

START_TEST(failures)
{
	bool met = true;
	long n;

	for (n = 1; met && n < 500; n++) {
		int status;
		pid_t pid = fork();

		if (!pid) {
			heap_mode_set(&heap_modes[_i]);
			_exit(fail_child(n) ? CHILD_MET : CHILD_PASSED);
		}
		check(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
		met = WEXITSTATUS(status) == CHILD_MET;
		check(met || WEXITSTATUS(status) == CHILD_PASSED);
	}
	check(!met && n > 10);
}
END_TEST

/* What a late free meets: no live state, whoever has the span by then. */
START_TEST(states_after_reset)
{
	uint8_t *state[300];
	struct span_view v;
	struct ha_heap *h;

	heap_up(&heap_modes[_i]);
	h = ha_heap_create("late", 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(state); i++) {
		char *p = ha_heap_alloc(h, i * 150, 0, 0);

		check(span_view_find((uintptr_t)p, &v) && v.heap == h);
		state[i] = &v.s->object_state[(p - (char *)v.start) /
					      span_view_object_size(&v)];
		check(*state[i] == OBJECT_LIVE);
	}
	ha_heap_reset(h);
	for (unsigned int i = 0; i < ARRAY_SIZE(state); i++)
		check(*state[i] == OBJECT_FREE);
}
END_TEST

static int stop;

static void *use_heap(void *arg)
{
	struct ha_heap *h = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		void *p[20];

		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
			p[i] = ha_heap_alloc(h, i * 100, 0, 0);
		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
			ha_free(p[i]);
	}
	return NULL;
}

/* A child finds heaps in order, whatever other threads had in their hands. */
START_TEST(fork_in_use)
{
	struct ha_heap *h, *own;
	pthread_t t[3];
	void *kept;

	heap_up(&heap_modes[_i]);
	h = ha_heap_create("shared", 0);
	own = ha_heap_create("own", 0);
	kept = ha_heap_alloc(h, 5000, 0, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		check(!pthread_create(&t[i], NULL, use_heap, h));
	for (unsigned int i = 0; i < unit_storm(100); i++) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			ha_free(kept);
			for (unsigned int k = 0; k < 500; k++)
				check(ha_heap_alloc(h, k * 20, 0, 0) && ha_heap_alloc(own, k, 0, 0));
			ha_heap_reset(h);
			ha_heap_destroy(own);
			check(ha_heap_alloc(h, 100, 0, 0));
			_exit(0);
		}
		check(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	check(stat_of(h).nr_live == 1 && stat_of(own).nr_live == 0);
	ha_heap_destroy(h);
}
END_TEST

static size_t all_dropped(void)
{
	size_t sum = 0;

	for (unsigned int n = 0; n < topo.nr_nodes; n++)
		sum += uheap_dropped(n);
	return sum;
}

static void scavenge(struct ha_heap *h, size_t *bytes)
{
	*bytes = 0;
	while (uheap_scavenge(h, 3, true, bytes))
		;
}

/* Pages of a heap that hold nothing go, once it rests; they come back when needed. */
START_TEST(pages_inside)
{
	static unsigned char *p[20000];
	struct ha_heap *h = ha_heap_create("sparse", 0);
	size_t gone, more;

	check(h && !all_dropped());
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = ha_heap_alloc(h, 200, 0, 0);
		memset(p[i], 1 + i % 250, 200);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
		if (i % 40)
			ha_free(p[i]);
	}
	check(!uheap_look(h) && uheap_look(h));
	vm_fail_nth(1, true);
	scavenge(h, &gone);
	check(gone == 0 && !all_dropped());
	vm_fail_nth(0, false);
	uheap_new_round(h);
	scavenge(h, &gone);
	check(gone > ARRAY_SIZE(p) * 50 && gone == all_dropped());
	/* visited once */
	scavenge(h, &more);
	check(more == 0 && uheap_look(h));
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i += 40)
		check(p[i][0] == 1 + i % 250 && !memcmp(p[i], p[i] + 1, 199));
	/* objects in them again, and zero where that was asked for */
	for (unsigned int i = 1; i < 40; i++) {
		p[i] = ha_heap_alloc(h, 200, 0, HA_ZERO);
		check(p[i] && p[i][0] == 0 && !memcmp(p[i], p[i] + 1, 199));
		memset(p[i], 9, 200);
	}
	check(all_dropped() < gone);
	check(!uheap_look(h) && uheap_look(h));
	scavenge(h, &more);
	for (unsigned int i = 1; i < 40; i++)
		check(p[i][0] == 9 && !memcmp(p[i], p[i] + 1, 199));
	for (unsigned int i = 0; i < ARRAY_SIZE(p) && _i % 2; i++)
		if (i < 40 || i % 40 == 0)
			ha_free(p[i]);
	ha_heap_destroy(h);
	check(!all_dropped());
}
END_TEST

Suite *unit_suite(void)
{
	Suite *s = suite_create("uheap");
	TCase *tc = tcase_create("heaps");

	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, truth, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, totals, 0, NR_HEAP_MODES);
	tcase_add_test(tc, tiny);
	tcase_add_loop_test(tc, limit, 0, NR_HEAP_MODES);
	tcase_add_test(tc, again);
	tcase_add_loop_test(tc, failures, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, states_after_reset, 0, NR_HEAP_MODES);
	if (unit_small_pages("pages_inside"))
		tcase_add_loop_test(tc, pages_inside, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, fork_in_use, 0, NR_HEAP_MODES);
	suite_add_tcase(s, tc);
	return s;
}
