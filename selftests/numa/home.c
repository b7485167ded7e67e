// SPDX-License-Identifier: MIT
/*
 * An object goes home, whoever frees it: what node n has allocated and another
 * node frees is handed out on node n again, and never on the other one.
 *
 *	node n allocates --> node m frees --> node m allocates: nothing of n
 *	                                  --> node n allocates: the same objects
 *
 * As many objects as the caches of both sides hold come back as they are; of more,
 * the pages do: rounds of it grow nothing.
 */
#include "numa.h"

#define NR_MAX	6000
#define ROUNDS	12
/* A magazine of the node that frees may keep this many back. */
#define KEPT	128

struct job {
	unsigned int node;
	size_t size;
	unsigned int nr;
	void **objs;
	unsigned int elsewhere;
	enum { ALLOC, FREE } what;
};

static void *do_job(void *arg)
{
	struct job *j = arg;

	node_enter(j->node);
	j->elsewhere = 0;
	for (unsigned int i = 0; i < j->nr; i++) {
		if (j->what == FREE) {
			free(j->objs[i]);
			continue;
		}
		j->objs[i] = malloc(j->size);
		if (!j->objs[i])
			tap_bail("no memory");
		memset(j->objs[i], 1, j->size);
		j->elsewhere += page_node(j->objs[i]) != (int)j->node;
	}
	return NULL;
}

static unsigned int run_job(unsigned int node, size_t size, unsigned int nr, void **objs,
			    int what)
{
	struct job j = { .node = node, .size = size, .nr = nr, .objs = objs, .what = what };
	pthread_t t;

	if (pthread_create(&t, NULL, do_job, &j) || pthread_join(t, NULL))
		tap_bail("no thread");
	return j.elsewhere;
}

static size_t in_use(void)
{
	struct ha_stats st;

	return stats_get(&st) ? st.in_use : 0;
}

static int by_address(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return (x > y) - (x < y);
}

/* How many of @a are in @b; both are sorted here. */
static unsigned int common(void **a, void **b, unsigned int nr)
{
	unsigned int i = 0, j = 0, n = 0;

	qsort(a, nr, sizeof(*a), by_address);
	qsort(b, nr, sizeof(*b), by_address);
	while (i < nr && j < nr) {
		int c = by_address(&a[i], &b[j]);

		n += c == 0;
		i += c <= 0;
		j += c >= 0;
	}
	return n;
}

/* Caches belong to CPUs: without sequences each thread may meet another. */
static bool by_cpu;

static void there_and_back(unsigned int n, unsigned int m, size_t size, unsigned int nr)
{
	static void *first[NR_MAX], *again[NR_MAX], *other[NR_MAX];
	unsigned int lost, home, wrong;

	wrong = run_job(n, size, nr, first, ALLOC);
	run_job(m, size, nr, first, FREE);
	wrong += run_job(m, size, nr, other, ALLOC);
	lost = common(first, other, nr);
	wrong += run_job(n, size, nr, again, ALLOC);
	home = common(first, again, nr);
	run_job(m, size, nr, other, FREE);
	run_job(n, size, nr, again, FREE);
	ok(!wrong && !lost, "%zu bytes, node %u to %u: %u handed out by the wrong node", size, n,
	   m, wrong + lost);
	if (by_cpu)
		ok(home + KEPT >= nr, "%zu bytes, back on node %u: %u of %u used again", size, n,
		   home, nr);
}

static void rounds(unsigned int n, unsigned int m, size_t size)
{
	static void *objs[NR_MAX];
	unsigned int nr = size < 1000 ? NR_MAX : NR_MAX / 4, wrong = 0;
	size_t before = 0;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		if (i == 2)
			before = in_use();
		wrong += run_job(n, size, nr, objs, ALLOC);
		run_job(m, size, nr, objs, FREE);
	}
	ok(!wrong && in_use() <= before + (256 << 10),
	   "%zu bytes, %u rounds of %u: %u on another node, in use %zu KiB, then %zu", size, ROUNDS,
	   nr, wrong, before >> 10, in_use() >> 10);
}

int main(int argc, char **argv)
{
	struct ha_stats st;

	tap_init(argc, argv);
	nodes_need(2);
	watchdog(80);
	by_cpu = stats_get(&st) && st.rseq;
	for (unsigned int n = 0; n < nr_nodes; n++) {
		there_and_back(n, (n + 1) % nr_nodes, 64, 500);
		there_and_back(n, (n + nr_nodes - 1) % nr_nodes, 1500, 200);
		rounds(n, (n + 1) % nr_nodes, 64);
		rounds(n, (n + nr_nodes - 1) % nr_nodes, 5000);
	}
	return tap_done();
}
