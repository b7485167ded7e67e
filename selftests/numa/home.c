// SPDX-License-Identifier: MIT
/*
 * An object goes home, whoever frees it: what node n has allocated and another
 * node frees is handed out on node n again, and never on the other one.
 *
 *	node n allocates --> node m frees --> node m allocates: nothing of n
 *	                                  --> node n allocates: the same objects
 *
 * Nothing more may be mapped for it the second time: what came home is used.
 */
#include "numa.h"

#define NR	3000

struct job {
	unsigned int node;
	size_t size;
	void **objs;
	unsigned int elsewhere;
	enum { ALLOC, FREE } what;
};

static void *do_job(void *arg)
{
	struct job *j = arg;

	node_enter(j->node);
	j->elsewhere = 0;
	for (unsigned int i = 0; i < NR; i++) {
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

static unsigned int run_job(unsigned int node, size_t size, void **objs, int what)
{
	struct job j = { .node = node, .size = size, .objs = objs, .what = what };
	pthread_t t;

	if (pthread_create(&t, NULL, do_job, &j) || pthread_join(t, NULL))
		tap_bail("no thread");
	return j.elsewhere;
}

static size_t mapped(void)
{
	struct ha_stats st;

	return stats_get(&st) ? st.mapped : 0;
}

static int by_address(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return (x > y) - (x < y);
}

/* How many of @a are in @b; both are sorted here. */
static unsigned int common(void **a, void **b)
{
	unsigned int i = 0, j = 0, n = 0;

	qsort(a, NR, sizeof(*a), by_address);
	qsort(b, NR, sizeof(*b), by_address);
	while (i < NR && j < NR) {
		int c = by_address(&a[i], &b[j]);

		n += c == 0;
		i += c <= 0;
		j += c >= 0;
	}
	return n;
}

static void there_and_back(unsigned int n, unsigned int m, size_t size)
{
	static void *first[NR], *again[NR], *other[NR];
	unsigned int lost, foreign, home, wrong;
	size_t before, grown;

	wrong = run_job(n, size, first, ALLOC);
	/* All that node m could hand out of its own is taken first. */
	run_job(m, size, other, ALLOC);
	run_job(m, size, other, FREE);
	run_job(m, size, first, FREE);
	before = mapped();
	foreign = run_job(m, size, other, ALLOC);
	lost = common(first, other);
	wrong += run_job(n, size, again, ALLOC);
	home = common(first, again);
	grown = mapped() - before;
	run_job(n, size, other, FREE);
	run_job(m, size, again, FREE);
	ok(!wrong && !foreign && !lost,
	   "%zu bytes, node %u to %u: %u of %u handed out by the wrong node", size, n, m,
	   wrong + foreign + lost, NR);
	ok(home >= NR * 9 / 10 && grown <= (1 << 20),
	   "%zu bytes, back on node %u: %u of %u used again, %zu KiB more mapped", size, n, home,
	   NR, grown >> 10);
}

int main(int argc, char **argv)
{
	tap_init(argc, argv);
	nodes_need(2);
	watchdog(80);
	for (unsigned int n = 0; n < nr_nodes; n++) {
		there_and_back(n, (n + 1) % nr_nodes, 64);
		there_and_back(n, (n + nr_nodes - 1) % nr_nodes, 1500);
	}
	return tap_done();
}
