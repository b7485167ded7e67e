// SPDX-License-Identifier: MIT
/*
 * A node that has CPUs and no memory: what its CPUs allocate lies on the nearest
 * node that has some.
 */
#include "numa.h"

#define NR	500

static bool has_memory(unsigned int n)
{
	char buf[4096], *p;

	if (!node_file(buf, sizeof(buf), n, "meminfo"))
		return false;
	p = strstr(buf, "MemTotal:");
	return p && strtol(p + 9, NULL, 10) > 0;
}

static int nearest_with_memory(unsigned int n)
{
	for (unsigned int rank = 0; rank < nr_nodes; rank++) {
		int m = node_by_distance(n, rank);

		if (m >= 0 && has_memory(m))
			return m;
	}
	return -1;
}

static void look(unsigned int n)
{
	unsigned int elsewhere = 0;
	int near = nearest_with_memory(n);

	node_enter(n);
	for (unsigned int i = 0; i < NR; i++) {
		size_t size = i % 4 ? 500 + 3 * i : 50000;
		char *p = malloc(size);

		if (!p)
			tap_bail("no memory");
		memset(p, 1, size);
		elsewhere += page_node(p + size - 1) != near;
	}
	ok(!elsewhere, "node %u has no memory: %u of %u objects elsewhere than on node %d", n,
	   elsewhere, NR, near);
}

int main(int argc, char **argv)
{
	unsigned int seen = 0;

	tap_init(argc, argv);
	nodes_need(2);
	watchdog(60);
	for (unsigned int n = 0; n < nr_nodes; n++) {
		if (has_memory(n))
			continue;
		look(n);
		seen++;
	}
	if (!seen)
		tap_skip_all("each node has memory");
	return tap_done();
}
