// SPDX-License-Identifier: MIT
/*
 * iobuf.c - buffers of 16 KiB to 8 MiB between a reader and a writer
 *
 * Source of the workload: the traffic that P. Druschel and L. Peterson describe
 * in "Fbufs: A High-Bandwidth Cross-Domain Transfer Facility" (SOSP 1993): a
 * buffer is filled, handed on, and freed after a few others; the cost is less the
 * allocator's search than the pages that it takes from the kernel and gives back.
 *
 *	iobuf [-n buffers] [-a min] [-b max] [-o ops] [-t threads]
 *
 *	-n buffers are in flight. One at random is freed, and one of a new size,
 *	by a power law from -a to -b, takes its place; one byte of every 4 KiB
 *	is written.
 *
 * An operation is one buffer.
 */
#include "bench.h"

static uint64_t nr_buffers = 16, size_min = 16 * 1024, size_max = 8 * 1024 * 1024;
static uint64_t nr_ops = 40 * 1000, nr_threads = 1;

static void *new_buffer(uint64_t *rnd)
{
	uint32_t i, size = bench_size(bench_random(rnd), BENCH_POWER, size_min, size_max);
	char *p = bench_object(size);

	for (i = 0; i < size; i += 4096)
		p[i] = 1;
	return p;
}

static void fill(struct bench_worker *w)
{
	uint64_t i;

	for (i = 0; i < w->nr_slots; i++)
		w->slots[i] = new_buffer(&w->rnd);
}

static void work(struct bench_worker *w)
{
	uint64_t i;

	for (i = 0; i < w->nr_ops; i++) {
		void **slot = &w->slots[bench_below(bench_random(&w->rnd), w->nr_slots)];

		free(*slot);
		*slot = new_buffer(&w->rnd);
	}
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = {
		{ 'n', "buffers", &nr_buffers, NULL },
		{ 'a', "min", &size_min, NULL },
		{ 'b', "max", &size_max, NULL },
		{ 'o', "ops", &nr_ops, NULL },
		{ 't', "threads", &nr_threads, NULL },
		{ 0 },
	};
	const struct bench_load load = { .name = "iobuf", .fill = fill, .work = work };
	const char *params = bench_options(argc, argv, options);

	if (nr_buffers < nr_threads || size_max < size_min || size_max >> 30)
		bench_die("need threads <= buffers, min <= max < 2^30");
	bench_run(&load, params, nr_threads, nr_buffers, nr_ops);
	return 0;
}
