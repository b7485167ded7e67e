// SPDX-License-Identifier: MIT
/*
 * tree.c - trees that are built and dropped, and a graph that changes
 *
 * Sources of the workloads. tree: J. Ellis, P. Kovac and H. Boehm's GCBench
 * (1997), trees of rising depth beside one that lives on. graph: the linked
 * structures of M. Carlisle and A. Rogers' Olden programs, "Software Caching and
 * Computation Migration in Olden" (PPoPP 1995): vertices with lists of edges,
 * walked as often as changed, so that where objects lie counts as well.
 *
 *	tree [-m tree|graph] [-n nodes] [-o ops] [-t threads]
 *
 *	tree	-n nodes live on; trees of 2^4 to 2^14 nodes are built, summed up
 *		and freed; an operation is one node, malloc and free
 *	graph	-n vertices of four edges in the mean; one vertex after the other
 *		is taken out with its edges, put in anew, and its neighbours are
 *		summed up; an operation is one vertex
 */
#include "bench.h"

struct node {
	struct node	*left;
	struct node	*right;
	uint64_t	value;
};

struct edge {
	struct edge	*next;
	uint32_t	to;
};

struct vertex {
	struct edge	*edges;
	uint64_t	value;
	char		name[];		/* 0 to 63 bytes */
};

static uint64_t mode, nr_nodes = 100 * 1000, nr_ops = 4 * 1000 * 1000, nr_threads = 1;
static volatile uint64_t sink;

/* ---- trees ------------------------------------------------------------------ */

static struct node *build(uint64_t nr)
{
	struct node *n = bench_object(sizeof(*n));

	n->value = nr--;
	n->left = nr ? build((nr + 1) / 2) : NULL;
	n->right = nr / 2 ? build(nr / 2) : NULL;
	return n;
}

static uint64_t sum(const struct node *n)
{
	return n ? n->value + sum(n->left) + sum(n->right) : 0;
}

static void drop(struct node *n)
{
	if (!n)
		return;
	drop(n->left);
	drop(n->right);
	free(n);
}

static void tree_fill(struct bench_worker *w)
{
	w->slots[0] = build(nr_nodes / w->nr);
}

static void tree_work(struct bench_worker *w)
{
	uint64_t done, nr, depth = 4;

	for (done = 0; done < w->nr_ops; done += nr) {
		struct node *root;

		nr = 1ul << depth;
		if (nr > w->nr_ops - done)
			nr = w->nr_ops - done;
		root = build(nr);
		sink = sum(root);
		drop(root);
		depth = depth == 14 ? 4 : depth + 1;
	}
}

static void tree_drain(struct bench_worker *w)
{
	drop(w->slots[0]);
}

/* ---- graphs ----------------------------------------------------------------- */

static struct vertex *vertex_new(struct bench_worker *w)
{
	uint64_t r = bench_random(&w->rnd);
	unsigned int i, nr_edges = 1 + bench_below(r, 7);
	struct vertex *v = bench_object(sizeof(*v) + (r & 63) + 1);

	v->value = r;
	v->edges = NULL;
	for (i = 0; i < nr_edges; i++) {
		struct edge *e = bench_object(sizeof(*e));

		e->to = bench_below(bench_random(&w->rnd), w->nr_slots);
		e->next = v->edges;
		v->edges = e;
	}
	return v;
}

static void vertex_drop(struct vertex *v)
{
	struct edge *e, *next;

	for (e = v ? v->edges : NULL; e; e = next) {
		next = e->next;
		free(e);
	}
	free(v);
}

static void graph_fill(struct bench_worker *w)
{
	uint64_t i;

	for (i = 0; i < w->nr_slots; i++)
		w->slots[i] = vertex_new(w);
}

static void graph_work(struct bench_worker *w)
{
	uint64_t i, total = 0;
	struct vertex *v;
	struct edge *e;

	for (i = 0; i < w->nr_ops; i++) {
		void **slot = &w->slots[bench_below(bench_random(&w->rnd), w->nr_slots)];

		vertex_drop(*slot);
		v = *slot = vertex_new(w);
		for (e = v->edges; e; e = e->next)
			total += ((struct vertex *)w->slots[e->to])->value;
	}
	sink = total;
}

static void graph_drain(struct bench_worker *w)
{
	uint64_t i;

	for (i = 0; i < w->nr_slots; i++)
		vertex_drop(w->slots[i]);
}

int main(int argc, char **argv)
{
	static const char *const modes[] = { "tree", "graph", NULL };
	const struct bench_option options[] = {
		{ 'm', "mode", &mode, modes },
		{ 'n', "nodes", &nr_nodes, NULL },
		{ 'o', "ops", &nr_ops, NULL },
		{ 't', "threads", &nr_threads, NULL },
		{ 0 },
	};
	const struct bench_load loads[] = {
		{ .name = "tree", .fill = tree_fill, .work = tree_work, .drain = tree_drain },
		{ .name = "graph", .fill = graph_fill, .work = graph_work,
		  .drain = graph_drain },
	};
	const char *params = bench_options(argc, argv, options);

	if (nr_nodes < nr_threads)
		bench_die("need threads <= nodes");
	bench_run(&loads[mode], params, nr_threads, mode ? nr_nodes : nr_threads, nr_ops);
	return 0;
}
