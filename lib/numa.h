/* SPDX-License-Identifier: MIT */
/*
 * Nodes, and which of them a CPU is near: the only user of libnuma.  See
 * lib/numa.c.  Called topo_* because libnuma owns numa_*.
 */
#ifndef _LIB_NUMA_H
#define _LIB_NUMA_H

#include <util/compiler.h>
#include "heap_arena.h"

struct topo {
	unsigned int nr_nodes;		/* (c) node ids in use are below it, 1..MAX_NODES */
	bool fake;			/* (c) nodes are made up: id % nr_nodes */
	uint8_t order[MAX_NODES][MAX_NODES];	/* [n]: nodes by distance from n, n first */
};

extern struct topo topo;

/* Within the first malloc: the number of nodes, by one system call. */
void topo_init(unsigned int fake, bool on);
/* From the constructor, when libnuma is ready: distances. */
void topo_init_late(void);
/* The node of the CPU this thread runs on; 0 when nodes are made up. */
unsigned int topo_current_node(void);
/*
 * The node of cache slot @id, which is the current CPU when nodes are real; -1
 * when the thread has left that CPU meanwhile.
 */
int topo_node_of_slot(unsigned int id);

#endif /* _LIB_NUMA_H */
