// SPDX-License-Identifier: MIT
/*
 * A node without memory: allocations on its CPUs go on, with pages of the nearest
 * other node, and come from their own again once it has some.  A hog takes the
 * node's memory, then ends.
 */
#include "numa.h"

#define NR	2000
#define SIZE(i)	((i) % 4 ? 600 + (i) % 1000 : (size_t)40000)

static void *old[NR], *new[NR];

/* Pages of @NR new objects by node. */
static void allocate(void **objs, unsigned int *by_node)
{
	size_t page = sysconf(_SC_PAGESIZE);

	memset(by_node, 0, MAX_TEST_NODES * sizeof(*by_node));
	for (unsigned int i = 0; i < NR; i++) {
		objs[i] = malloc(SIZE(i));
		if (!objs[i])
			tap_bail("no memory");
		memset(objs[i], 1, SIZE(i));
		for (size_t off = 0; off < SIZE(i); off += page) {
			int n = page_node((char *)objs[i] + off);

			if (n >= 0 && n < MAX_TEST_NODES)
				by_node[n]++;
		}
	}
}

static void release(void **objs)
{
	for (unsigned int i = 0; i < NR; i++)
		free(objs[i]);
}

static unsigned int sum(const unsigned int *by_node)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < nr_nodes; i++)
		n += by_node[i];
	return n;
}

static void exhaust(unsigned int n)
{
	unsigned int by_node[MAX_TEST_NODES], total;
	int near = node_by_distance(n, 1);
	struct hog hog;

	node_enter(n);
	hog_fill(&hog, n);
	diag("node %u: hog of %zu MiB, %ld KiB left", n, hog.used >> 20, node_free_kb(n));
	allocate(old, by_node);
	total = sum(by_node);
	/* The kernel keeps a little of the node for itself, and may hand out of that. */
	ok(near >= 0 && by_node[near] + by_node[n] >= total - total / 50 &&
	   by_node[near] >= total / 2,
	   "node %u full: of %u pages %u on node %d, the nearest, %u on its own", n, total,
	   near < 0 ? 0 : by_node[near], near, by_node[n]);
	hog_end(&hog);
	allocate(new, by_node);
	total = sum(by_node);
	/* spans of 8 KiB may still come in kernel pages that others have touched */
	ok(by_node[n] >= total - total / (sysconf(_SC_PAGESIZE) > 4096 ? 8 : 50),
	   "node %u has room: of %u pages %u are its own", n, total, by_node[n]);
	release(old);
	release(new);
	malloc_trim(0);
	allocate(new, by_node);
	total = sum(by_node);
	/* ... or of which an object from before holds a part */
	ok(by_node[n] >= total - (sysconf(_SC_PAGESIZE) > 4096 ? total / 50 : 0), "node %u after a trim: of %u pages %u are its own", n, total,
	   by_node[n]);
	release(new);
}

int main(int argc, char **argv)
{
	tap_init(argc, argv);
	vm_need();
	nodes_need(2);
	watchdog(80);
	exhaust(nr_nodes - 1);
	exhaust(0);
	return tap_done();
}
