// SPDX-License-Identifier: MIT
/*
 * vector.c - vectors that grow, are cut to fit, and die
 *
 * Source of the workload: the dynamic tables of T. Cormen, C. Leiserson,
 * R. Rivest and C. Stein, Introduction to Algorithms, chapter 17.4, with the
 * factor 3/2 of the vectors of several libraries. P. Wilson and others
 * ("Dynamic Storage Allocation: A Survey and Critical Review", IWMM 1995) name
 * the problem behind it: each step needs the next larger hole while the smaller
 * one is still in use.
 *
 *	vector [-n vectors] [-a min] [-b max] [-o ops] [-t threads]
 *
 *	A vector taken at random is grown by half (realloc) and its new end
 *	written. Past its own limit, drawn by a power law from -a to -b bytes, it is
 *	cut back to two thirds (realloc), read, and freed.
 *
 * An operation is one step of growth.
 */
#include "bench.h"

struct vector {
	char		*data;
	uint32_t	capacity;
	uint32_t	limit;
};

static uint64_t nr_vectors = 200, size_min = 64, size_max = 1024 * 1024;
static uint64_t nr_ops = 1000 * 1000, nr_threads = 1;
static struct vector *vectors;
static volatile uint64_t sink;

static void write_new(struct vector *v, uint32_t from)
{
	uint32_t i;

	for (i = from; i < v->capacity; i += 512)
		v->data[i] = 1;
	v->data[v->capacity - 1] = 1;
}

static void resize(struct vector *v, uint32_t capacity)
{
	char *data = realloc(v->data, capacity);

	if (!data)
		bench_die("realloc(%u) failed", capacity);
	v->data = data;
	v->capacity = capacity;
}

static void end(struct vector *v)
{
	resize(v, v->capacity / 3 * 2 + 1);
	sink = v->data[0] + v->data[v->capacity / 2];
	free(v->data);
	*v = (struct vector){ 0 };
}

static void work(struct bench_worker *w)
{
	uint64_t i, nr = nr_vectors / w->nr;
	struct vector *mine = vectors + w->idx * nr;

	for (i = 0; i < w->nr_ops; i++) {
		struct vector *v = &mine[bench_below(bench_random(&w->rnd), nr)];
		uint32_t old = v->capacity;

		if (!old)
			v->limit = bench_size(bench_random(&w->rnd), BENCH_POWER,
					      size_min, size_max);
		resize(v, old + old / 2 + 16);
		write_new(v, old);
		if (v->capacity > v->limit)
			end(v);
	}
}

static void drain(struct bench_worker *w)
{
	uint64_t i, nr = nr_vectors / w->nr;

	for (i = 0; i < nr; i++)
		free(vectors[w->idx * nr + i].data);
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = {
		{ 'n', "vectors", &nr_vectors, NULL },
		{ 'a', "min", &size_min, NULL },
		{ 'b', "max", &size_max, NULL },
		{ 'o', "ops", &nr_ops, NULL },
		{ 't', "threads", &nr_threads, NULL },
		{ 0 },
	};
	const struct bench_load load = { .name = "vector", .work = work, .drain = drain };
	const char *params = bench_options(argc, argv, options);

	if (nr_vectors < nr_threads || size_max < size_min || size_max >> 30)
		bench_die("need threads <= vectors, min <= max < 2^30");
	vectors = bench_map(nr_vectors * sizeof(*vectors));
	bench_run(&load, params, nr_threads, 0, nr_ops);
	return 0;
}
