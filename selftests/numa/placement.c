// SPDX-License-Identifier: MIT
/*
 * What is allocated on a CPU of node n lies on node n: small objects of many
 * classes, large ones, aligned ones, grown ones; while every node allocates in
 * turn, and while all do at once.  The memory says so (move_pages), and so does
 * its policy: preferred, or bound when strict.
 *
 * A thread without restartable sequences learns of a move when its magazine is
 * empty: that many objects a class may still be the old node's.
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

/* What may lie elsewhere after a move. */
static unsigned int allowed(void)
{
	struct ha_stats st;

	return stats_get(&st) && st.rseq ? 0 : NR / 2;
}

static void in_turn(unsigned int round)
{
	for (unsigned int n = 0; n < nr_nodes; n++) {
		struct tally t = { 0 };

		node_enter(n);
		fill(objects[(n + round) % nr_nodes], n, &t);
		ok(t.elsewhere <= allowed() && t.other_policy <= allowed(),
		   "round %u, node %u: %u pages of %u objects, %u elsewhere, %u of another policy",
		   round, n, t.pages, NR, t.elsewhere, t.other_policy);
	}
}

static struct tally tallies[MAX_TEST_NODES];

static void *at_once(struct worker *w)
{
	node_enter(w->id);
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
	in_turn(0);
	/* Each frees what another node has allocated, then allocates. */
	in_turn(1);
	workers_start(w, nr_nodes, at_once);
	workers_join(w, nr_nodes);
	for (unsigned int n = 0; n < nr_nodes; n++)
		ok(!tallies[n].elsewhere && !tallies[n].other_policy,
		   "all at once, node %u: %u pages, %u elsewhere, %u of another policy", n,
		   tallies[n].pages, tallies[n].elsewhere, tallies[n].other_policy);
	return tap_done();
}
