// SPDX-License-Identifier: MIT
/*
 * rss_dense.c - a large dense heap, read at random, and what is left when it is sparse
 *
 * Source of the workload: pointer chasing as in L. McVoy and C. Staelin, "lmbench"
 * (USENIX 1996), on objects of an allocator: what translation misses cost, and what
 * huge pages save of it; A. Hunter and others, "Beyond malloc efficiency to fleet
 * efficiency" (OSDI 2021), for the other side, huge pages that keep memory.
 *
 *	rss_dense [-m MiB] [-a min] [-b max] [-o reads] [-w wait] [-k kept] [-i idle]
 *
 *	Objects of uniform sizes, linked to a ring in random order, which is followed
 *	for "reads" steps at once, and again after "wait" seconds. Then all but "kept"
 *	in 100 are freed, and nothing is called for "idle" seconds.
 *
 * Marks: full; huge, access: KiB on huge pages, ns a read; huge_later, access_later;
 * sparse: resident KiB at the end.
 */
#include <string.h>

#include "rss.h"

static uint64_t nr_mib = 1024, size_min = 64, size_max = 1024, nr_reads = 20 * 1000 * 1000;
static uint64_t wait_s = 10, kept = 3, idle_s = 10;
static void ***objects;
static uint64_t nr;

static uint64_t huge_kb(void)
{
	char line[256];
	uint64_t kb = 0;
	FILE *f = fopen("/proc/self/smaps_rollup", "r");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "AnonHugePages: %lu", &kb);
	if (f)
		fclose(f);
	return kb;
}

static void shuffle(uint64_t *rnd)
{
	uint64_t i;

	for (i = nr; i > 1; i--) {
		uint64_t j = bench_below(bench_random(rnd), i);
		void **t = objects[j];

		objects[j] = objects[i - 1];
		objects[i - 1] = t;
	}
}

static double read_all(void)
{
	void **p = objects[0];
	uint64_t t = bench_now(), i;

	for (i = 0; i < nr_reads; i++)
		p = *p;
	asm volatile("" : : "r"(p));
	return (double)(bench_now() - t) / nr_reads;
}

int main(int argc, char **argv)
{
	const struct bench_option table[] = {
		{ 'm', "mib", &nr_mib, NULL }, { 'a', "min", &size_min, NULL },
		{ 'b', "max", &size_max, NULL }, { 'o', "reads", &nr_reads, NULL },
		{ 'w', "wait", &wait_s, NULL }, { 'k', "kept", &kept, NULL },
		{ 'i', "idle", &idle_s, NULL }, { .letter = 0 },
	};
	uint64_t rnd = bench_seed(6, 0), max, bytes = 0, i, t;

	bench_options(argc, argv, table);
	if (size_min < sizeof(void *) || size_min > size_max || nr_mib > 65536)
		bench_die("sizes of 8 bytes at least, 65536 MiB at most");
	max = (nr_mib << 20) / ((size_min + size_max) / 2) * 11 / 10 + 1000;
	objects = bench_map(max * sizeof(*objects));
	rss_start();
	t = bench_now();
	for (; nr < max && bytes < nr_mib << 20; nr++) {
		uint32_t size = bench_size(bench_random(&rnd), BENCH_UNIFORM, size_min, size_max);

		objects[nr] = bench_object(size);
		memset(objects[nr], 1, size);
		bytes += size;
	}
	rss_mark("full", (bench_now() - t) / 1e6);
	shuffle(&rnd);
	for (i = 0; i < nr; i++)
		*objects[i] = objects[(i + 1) % nr];
	rss_mark("huge", huge_kb());
	rss_mark("access", read_all());
	rss_wait(wait_s);
	rss_mark("huge_later", huge_kb());
	rss_mark("access_later", read_all());
	for (i = 0; i < nr; i++) {
		if (bench_below(bench_random(&rnd), 100) >= kept)
			free(objects[i]);
	}
	rss_wait(idle_s);
	rss_mark("sparse", bench_rss_kb());
	return 0;
}
