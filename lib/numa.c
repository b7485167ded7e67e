// SPDX-License-Identifier: MIT
/*
 * Topology in two steps.
 *
 * The first malloc may run before libnuma's constructor, so all that is asked
 * then is how many nodes this process may allocate on (get_mempolicy, one system
 * call).  One node: that is the end of it.  Several: node distances come from
 * libnuma in our own constructor, which the loader runs after libnuma's; until
 * then every node's order is by number.
 *
 * A CPU may be on a node without memory, or without any that this process may have.
 * It counts as one of the nearest node that has: known by its distance, so from the
 * constructor on.
 *
 * libnuma is undefined before numa_available() and prints and allocates on
 * errors: it is called here alone, from the constructor, after it said yes.  How it
 * is come by is the matter of libnuma.h.
 *
 * Invariants: nr_nodes never changes after topo_init(); order[n] is always a
 * permutation that starts with n (readers may see a row change under them and
 * still find every node at most twice, never none).
 */
#include <errno.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libnuma.h"
#include "numa.h"

struct topo topo = { .nr_nodes = 1 };
static struct libnuma libnuma;	/* (c) once topo_init_late() has run */

static void topo_default_order(void)
{
	for (unsigned int n = 0; n < topo.nr_nodes; n++)
		for (unsigned int i = 0; i < topo.nr_nodes; i++)
			topo.order[n][i] = (n + i) % topo.nr_nodes;
}

void topo_init(unsigned int fake, bool on)
{
	unsigned long mask[16] = { 0 };
	int saved = errno;

	if (fake) {
		topo.fake = true;
		topo.nr_nodes = fake;
	} else if (on && syscall(SYS_get_mempolicy, NULL, mask,
				 64 * ARRAY_SIZE(mask), NULL,
				 MPOL_F_MEMS_ALLOWED) == 0) {
		for (unsigned int n = 0; n < MAX_NODES; n++)
			if (mask[0] >> n & 1)
				topo.nr_nodes = n + 1;
	}
	errno = saved;
	topo_default_order();
}

/* libnuma says 0 for unknown: that is last. */
static int topo_distance(unsigned int n, unsigned int node)
{
	int d = node == n ? 1 : libnuma.distance(n, node);

	return d > 0 ? d : 1 << 20;
}

/* Insertion sort of each row by distance; MAX_NODES is small. */
static void topo_sort_row(unsigned int n)
{
	uint8_t row[MAX_NODES];

	for (unsigned int i = 0; i < topo.nr_nodes; i++) {
		unsigned int node = topo.order[n][i], j;

		for (j = i; j > 0; j--) {
			if (topo_distance(n, row[j - 1]) <= topo_distance(n, node))
				break;
			row[j] = row[j - 1];
		}
		row[j] = node;
	}
	for (unsigned int i = 0; i < topo.nr_nodes; i++)
		WRITE_ONCE(topo.order[n][i], row[i]);
}

/* The nearest node with memory from one beyond those; 0 when nothing is known. */
static unsigned int topo_nearest(unsigned int n)
{
	unsigned int best = 0;

	for (unsigned int node = 1; node < topo.nr_nodes; node++)
		if (topo_distance(n, node) < topo_distance(n, best))
			best = node;
	return best;
}

void topo_init_late(void)
{
	if (!topo.fake && topo.nr_nodes > 1 && libnuma_find(&libnuma) &&
	    libnuma.available() >= 0) {
		for (unsigned int n = 0; n < topo.nr_nodes; n++)
			topo_sort_row(n);
		for (unsigned int n = topo.nr_nodes; n < MAX_CPU_NODES; n++)
			topo.near[n] = topo_nearest(n);
	}
	/* pairs with the acquire in topo_node_of_slot() */
	smp_store_release(&topo.settled, true);
}

/* The node with memory that stands for the CPUs of @node. */
static unsigned int topo_memory_node(unsigned int node)
{
	if (node < topo.nr_nodes)
		return node;
	return node < MAX_CPU_NODES ? topo.near[node] : 0;
}

unsigned int topo_current_node(void)
{
	unsigned int cpu, node;
	int saved = errno;
	long err;

	if (topo.nr_nodes == 1 || topo.fake)
		return 0;
	err = syscall(SYS_getcpu, &cpu, &node, NULL);
	errno = saved;
	return err ? 0 : topo_memory_node(node);
}

int topo_node_of_slot(unsigned int id)
{
	unsigned int cpu, node;
	int saved = errno;
	long err;

	if (topo.nr_nodes == 1)
		return 0;
	if (topo.fake)
		return id % topo.nr_nodes;
	/* Both from one call, so they agree. */
	err = syscall(SYS_getcpu, &cpu, &node, NULL);
	errno = saved;
	if (err || cpu != id)
		return -1;
	/* a slot keeps its node: it is not made before that is known */
	if (node >= topo.nr_nodes && !smp_load_acquire(&topo.settled))
		return -1;
	return topo_memory_node(node);
}
