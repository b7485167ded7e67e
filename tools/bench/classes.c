// SPDX-License-Identifier: MIT
/*
 * classes.c - pair and burst for every size class, and for sizes above them
 *
 * Source of the workload: the fast-path figures of S. Ghemawat and P. Menage,
 * "TCMalloc: Thread-Caching Malloc" (2005), for each size instead of one. The sizes
 * are the boundaries of the classes that Go's rule gives (8 to 32768); other
 * allocators have others, but a size is a size.
 *
 *	classes [-n burst] [-o ops]
 *
 *	pair	malloc and free of one object, over and over
 *	burst	-n objects allocated, then freed in the order they came
 *
 * An operation is one pair of the whole run; the curves "pair" and "burst" give ns a
 * pair for each size. Sizes above 32 KiB get a tenth of the operations.
 */
#include "bench.h"

#define SMALL_MAX	32768

static const uint32_t sizes[] = {
	8, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288,
	320, 352, 384, 416, 448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408,
	1536, 1792, 2048, 2304, 2688, 3072, 3200, 3456, 4096, 4864, 5376, 6144, 6528, 6784,
	6912, 8192, 9472, 9728, 10240, 10880, 12288, 13568, 14336, 16384, 18432, 19072,
	20480, 21760, 24576, 27264, 28672, 32768,
	40 << 10, 64 << 10, 96 << 10, 128 << 10, 192 << 10, 256 << 10, 512 << 10, 1024 << 10,
};

#define NR_SIZES	(sizeof(sizes) / sizeof(*sizes))

static uint64_t depth = 64, nr_ops = 10 * 1000 * 1000;
static double pair_ns[NR_SIZES], burst_ns[NR_SIZES];
static uint64_t nr_done;

static double run(void **stack, uint64_t nr_objects, size_t size, uint64_t nr_pairs)
{
	uint64_t i, j, start;

	for (j = 0; j < nr_objects; j++)	/* warm: first pages, first refill */
		stack[j] = bench_object(size);
	for (j = 0; j < nr_objects; j++)
		free(stack[j]);

	nr_pairs = (nr_pairs + nr_objects - 1) / nr_objects * nr_objects;
	start = bench_now();
	for (i = 0; i < nr_pairs; i += nr_objects) {
		for (j = 0; j < nr_objects; j++) {
			stack[j] = malloc(size);
			if (!stack[j])
				bench_die("malloc(%zu) failed", size);
			*(volatile char *)stack[j] = 1;
		}
		for (j = 0; j < nr_objects; j++)
			free(stack[j]);
	}
	nr_done += nr_pairs;
	return (double)(bench_now() - start) / nr_pairs;
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = {
		{ 'n', "burst", &depth, NULL },
		{ 'o', "ops", &nr_ops, NULL },
		{ 0 },
	};
	const char *params = bench_options(argc, argv, options);
	void **stack = bench_map(depth * sizeof(*stack));
	uint64_t i, nr = nr_ops / NR_SIZES / 2 + 1;
	struct bench b;

	bench_start(&b);
	for (i = 0; i < NR_SIZES; i++) {
		uint64_t n = sizes[i] > SMALL_MAX ? nr / 10 + 1 : nr;

		pair_ns[i] = run(stack, 1, sizes[i], n);
		burst_ns[i] = run(stack, depth, sizes[i], n);
	}
	bench_stop(&b);
	bench_peak(&b);
	bench_report(&b, "classes", params, nr_done, 1);
	for (i = 0; i < NR_SIZES; i++) {
		bench_series("pair", sizes[i], pair_ns[i]);
		bench_series("burst", sizes[i], burst_ns[i]);
	}
	return 0;
}
