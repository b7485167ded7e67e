/* SPDX-License-Identifier: MIT */
/*
 * Nodes, and which of them a CPU is near: the only user of libnuma.  See
 * lib/numa.c.  Called topo_* because libnuma owns numa_*.
 */
#ifndef _LIB_NUMA_H
#define _LIB_NUMA_H

#include <util/compiler.h>
#include "heap_arena.h"

/* Nodes of CPUs; those with memory are below MAX_NODES. */
#define MAX_CPU_NODES	64

struct topo {
	unsigned int nr_nodes;		/* (c) node ids in use are below it, 1..MAX_NODES */
	bool fake;			/* (c) nodes are made up: id % nr_nodes */
	bool settled;			/* (a) the constructor has run: distances are known */
	uint8_t order[MAX_NODES][MAX_NODES];	/* [n]: nodes by distance from n, n first */
	uint8_t near[MAX_CPU_NODES];	/* (c) once settled, for nodes without memory: the nearest */
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
 * when the thread has left that CPU meanwhile, or when it is too early to say.
 */
int topo_node_of_slot(unsigned int id);

#endif /* _LIB_NUMA_H */
