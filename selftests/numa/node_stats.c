// SPDX-License-Identifier: MIT
/*
 * Statistics by node say what the kernel says: what is allocated on a CPU of node n
 * is counted there and nowhere else, as small objects and as large ones, and is no
 * longer when another node's CPU has freed it.
 */
#include "numa.h"

#define SMALL		500
#define NR_SMALL	20000
#define LARGE		(3UL << 20)
#define NR_LARGE	4

static struct ha_node_stats before[MAX_TEST_NODES], after[MAX_TEST_NODES];
static void *small[NR_SMALL], *large[NR_LARGE];

static void look(struct ha_node_stats *st)
{
	unsigned int (*get)(struct ha_node_stats *, size_t, unsigned int);

	get = dlsym(RTLD_DEFAULT, "ha_stats_nodes");
	if (!get || get(st, sizeof(*st), MAX_TEST_NODES) != nr_nodes)
		tap_bail("the library does not count %u nodes", nr_nodes);
}

static void release(void)
{
	size_t (*rel)(void) = dlsym(RTLD_DEFAULT, "ha_release");

	if (rel)
		rel();
}

static void fill(unsigned int n)
{
	node_enter(n);
	for (unsigned int i = 0; i < NR_SMALL; i++)
		small[i] = memset(malloc(SMALL), 1, SMALL);
	for (unsigned int i = 0; i < NR_LARGE; i++)
		large[i] = memset(malloc(LARGE), 1, LARGE);
}

static void empty(unsigned int n)
{
	node_enter(n);
	for (unsigned int i = 0; i < NR_SMALL; i++)
		free(small[i]);
	for (unsigned int i = 0; i < NR_LARGE; i++)
		free(large[i]);
	release();
}

static long grown(unsigned int n)
{
	return (long)(after[n].out - before[n].out);
}

/* Bytes that other nodes than @n have more or less now. */
static long others(unsigned int n)
{
	long sum = 0;

	for (unsigned int m = 0; m < nr_nodes; m++)
		if (m != n)
			sum += labs(grown(m)) + labs((long)(after[m].large - before[m].large));
	return sum;
}

int main(int argc, char **argv)
{
	long least = NR_SMALL * SMALL + NR_LARGE * LARGE;

	tap_init(argc, argv);
	nodes_need(2);
	watchdog(60);
	/* what the program itself and its libraries have is there by now */
	fill(0);
	empty(0);
	for (unsigned int n = 0; n < nr_nodes; n++) {
		unsigned int lies = 0;

		release();
		look(before);
		fill(n);
		look(after);
		for (unsigned int i = 0; i < NR_SMALL; i += 100)
			lies += page_node(small[i]) == (int)n;
		ok(grown(n) >= least && grown(n) < least + least / 10 && lies == NR_SMALL / 100,
		   "node %u: %ld bytes more for %ld; %u of %u objects looked at lie there", n,
		   grown(n), least, lies, NR_SMALL / 100);
		ok(after[n].large - before[n].large == NR_LARGE * LARGE,
		   "node %u: %zu of it large", n, after[n].large - before[n].large);
		ok(others(n) < 64 << 10, "node %u: %ld bytes on the others", n, others(n));
		empty((n + 1) % nr_nodes);
		look(after);
		ok(labs(grown(n)) < 64 << 10 && after[n].large == before[n].large,
		   "node %u: freed on node %u, %ld bytes are left", n, (n + 1) % nr_nodes, grown(n));
	}
	return tap_done();
}
