// SPDX-License-Identifier: MIT
/*
 * What is allocated on a CPU of node n lies on node n: small objects of many
 * classes, large ones, aligned ones, grown ones; while every node allocates in
 * turn, and while all do at once.  The memory says so (move_pages), and so does
 * its policy: preferred, or bound when strict.
 *
 * A thread that moves takes from its new node at once; without restartable
 * sequences, when its magazine is empty.
 */
#include "numa.h"

#define NR	400

static size_t size_of(unsigned int i)
{
	return i % 20 == 0 ? 40000 + 7000 * (size_t)i : i % 5 == 0 ? 9000 + 50 * i : 8 + 7 * i;
}

static void *allocate(unsigned int i)
{
	size_t size = size_of(i);
	void *p;

	switch (i % 4) {
	case 0:
		return aligned_alloc((size_t)16 << i % 12, size);
	case 1:
		return calloc(1, size);
	case 2:
		p = malloc(size / 2 + 1);
		return p ? realloc(p, size) : NULL;
	default:
		return malloc(size);
	}
}

struct tally {
	unsigned int pages;
	unsigned int elsewhere;
	unsigned int other_policy;
};

/* Every page of an object, which the caller has touched whole. */
static void look(struct tally *t, unsigned int n, char *p, size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE);
	int mode, node;

	for (char *q = p; q < p + size; q = (char *)(((uintptr_t)q | (page - 1)) + 1)) {
		t->pages++;
		t->elsewhere += page_node(q) != (int)n;
	}
	node = page_policy(p, &mode);
	mode &= ~MPOL_MODE_FLAGS;
	t->other_policy += node != (int)n ||
			   mode != (conf_strict() ? MPOL_BIND : MPOL_PREFERRED);
}

/* @NR objects on node @n, kept in @objs, which may hold older ones to free. */
static void fill(void **objs, unsigned int n, struct tally *t)
{
	for (unsigned int i = 0; i < NR; i++) {
		free(objs[i]);
		objs[i] = allocate(i);
		if (!objs[i])
			tap_bail("no memory for %zu bytes", size_of(i));
		memset(objs[i], n + 1, size_of(i));
	}
	for (unsigned int i = 0; i < NR; i++)
		look(t, n, objs[i], size_of(i));
}

static void *objects[MAX_TEST_NODES][NR];
static struct tally tallies[2 * MAX_TEST_NODES];

static void *at_node(struct worker *w)
{
	node_enter(w->id % nr_nodes);
	fill(objects[(w->id + w->id / nr_nodes) % nr_nodes], w->id % nr_nodes, &tallies[w->id]);
	return NULL;
}

/* A thread a node, and then each frees what another has allocated. */
static void in_turn(unsigned int round)
{
	for (unsigned int n = 0; n < nr_nodes; n++) {
		struct worker w = { .id = round * nr_nodes + n, .run = at_node };
		struct tally *t = &tallies[w.id];

		if (pthread_create(&w.thread, NULL, worker_start, &w))
			tap_bail("no thread");
		pthread_join(w.thread, NULL);
		ok(!t->elsewhere && !t->other_policy,
		   "round %u, node %u: %u pages of %u objects, %u elsewhere, %u of another policy",
		   round, n, t->pages, NR, t->elsewhere, t->other_policy);
	}
}

/* One thread that moves on; the objects of one class and large ones. */
static void moving(void)
{
	unsigned int small = 0, large = 0, magazine = 64;
	static void *objs[1000];
	struct ha_stats st;
	void *p;

	for (unsigned int n = 0; n < 2 * nr_nodes; n++) {
		node_enter(n % nr_nodes);
		for (unsigned int i = 0; i < 1000; i++) {
			objs[i] = memset(malloc(300), 1, 300);
			small += page_node(objs[i]) != (int)(n % nr_nodes);
		}
		p = memset(malloc(100000), 1, 100000);
		large += page_node(p) != (int)(n % nr_nodes);
		free(p);
		for (unsigned int i = 0; i < 1000; i++)
			free(objs[i]);
	}
	if (!stats_get(&st))
		tap_bail("no statistics");
	ok(small <= (st.rseq ? 0 : 2 * nr_nodes * magazine) && !large,
	   "one thread, %u moves: %u of %u small and %u large objects elsewhere", 2 * nr_nodes - 1,
	   small, 2000 * nr_nodes, large);
}

static void *at_once(struct worker *w)
{
	node_enter(w->id);
	memset(&tallies[w->id], 0, sizeof(tallies[0]));
	for (int round = 0; round < 3; round++)
		fill(objects[w->id], w->id, &tallies[w->id]);
	return NULL;
}

int main(int argc, char **argv)
{
	struct worker w[MAX_TEST_NODES];

	tap_init(argc, argv);
	nodes_need(2);
	watchdog(60);
	moving();
	in_turn(0);
	in_turn(1);
	workers_start(w, nr_nodes, at_once);
	workers_join(w, nr_nodes);
	for (unsigned int n = 0; n < nr_nodes; n++)
		ok(!tallies[n].elsewhere && !tallies[n].other_policy,
		   "all at once, node %u: %u pages, %u elsewhere, %u of another policy", n,
		   tallies[n].pages, tallies[n].elsewhere, tallies[n].other_policy);
	return tap_done();
}
