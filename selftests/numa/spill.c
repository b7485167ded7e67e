// SPDX-License-Identifier: MIT
/*
 * No address space for more arenas (RLIMIT_AS), but free pages in the heaps of
 * other nodes: allocations take those, nearest node first; when strict, none.
 *
 *	own arenas full | nearest node's free pages | next nearest's | ... | NULL
 */
#include "numa.h"
#include <sys/resource.h>

#define SIZE	(200 << 10)
#define NR	4000

static void *objs[NR];

/* A heap with free pages on node @n, when caches have been emptied. */
static void warm(unsigned int n)
{
	void *p[8];

	node_enter(n);
	for (unsigned int i = 0; i < 8; i++)
		p[i] = malloc(SIZE);
	for (unsigned int i = 0; i < 8; i++)
		free(p[i]);
	free(HIDE(malloc(100)));
}

int main(int argc, char **argv)
{
	unsigned int nr = 0, at = 0, wrong = 0, of_node[MAX_TEST_NODES] = { 0 };
	struct rlimit lim;
	int mode;

	tap_init(argc, argv);
	nodes_need(2);
	watchdog(60);
	for (unsigned int n = nr_nodes; n-- > 0;)
		warm(n);
	malloc_trim(0);
	lim.rlim_cur = lim.rlim_max = (rlim_t)tap_status_kb("VmSize") << 10;
	if (setrlimit(RLIMIT_AS, &lim))
		tap_bail("setrlimit: %s", strerror(errno));
	while (nr < NR && (errno = 0, objs[nr] = malloc(SIZE))) {
		int node = page_policy(objs[nr++], &mode);

		if (node < 0 || (unsigned int)node >= nr_nodes)
			tap_bail("object %u has no node", nr - 1);
		of_node[node]++;
		/* the nodes come in the order of their distance */
		while (at < nr_nodes && node_by_distance(0, at) != node)
			at++;
		wrong += at == nr_nodes;
	}
	diag("%u objects by node: %u %u %u %u", nr, of_node[0], of_node[1], of_node[2], of_node[3]);
	ok(nr < NR && errno == ENOMEM, "%u objects, then NULL and ENOMEM", nr);
	ok(of_node[0] > 0 && !wrong, "own node first, then by distance: %u out of order", wrong);
	if (conf_strict())
		ok(nr == of_node[0], "strict: none of another node");
	else
		ok(of_node[node_by_distance(0, nr_nodes - 1)] > 0, "down to the farthest node");
	for (unsigned int i = 0; i < nr; i++)
		free(objs[i]);
	objs[0] = malloc(SIZE);
	ok(objs[0] && page_policy(objs[0], &mode) == 0, "freed, the own node serves again");
	free(objs[0]);
	return tap_done();
}
