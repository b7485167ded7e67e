// SPDX-License-Identifier: MIT
/*
 * rss_burst.c - a burst of small objects, most of which die, and then nothing
 *
 * Source of the workload: the idle service that keeps its peak, because a few
 * objects stay on each page; as in A. Hunter and others, "Beyond malloc efficiency
 * to fleet efficiency" (OSDI 2021), and in the issue trackers of all allocators.
 *
 *	rss_burst [-m MiB] [-a min] [-b max] [-k kept] [-i idle] [-e end]
 *
 *	-m of objects, sizes uniform in [min, max], every byte written. All but "kept"
 *	in 100 are freed in random order; then no call for "idle" seconds; then the
 *	rest is freed, and no call for "end" seconds.
 *
 * Marks: full; freed, whose value is the kernel pages that still hold a byte of a
 * living object, KiB: without moving objects no allocator can have less; gone; end.
 */
#include <string.h>

#include "rss.h"

#define HASH_SLOTS	(1u << 21)

static uint64_t nr_mib = 600, size_min = 32, size_max = 470, kept = 3;
static uint64_t idle_s = 15, end_s = 10;
static void **objects;
static uint16_t *sizes;
static uint32_t *order;
static uintptr_t *seen;

static uint64_t fill(uint64_t max, uint64_t *rnd)
{
	uint64_t n, bytes = 0;

	for (n = 0; n < max && bytes < nr_mib << 20; n++) {
		sizes[n] = bench_size(bench_random(rnd), BENCH_UNIFORM, size_min, size_max);
		objects[n] = bench_object(sizes[n]);
		memset(objects[n], 1, sizes[n]);
		order[n] = n;
		bytes += sizes[n];
	}
	return n;
}

static void shuffle(uint64_t n, uint64_t *rnd)
{
	uint64_t i;

	for (i = n; i > 1; i--) {
		uint32_t j = bench_below(bench_random(rnd), i), t = order[j];

		order[j] = order[i - 1];
		order[i - 1] = t;
	}
}

/* True when the kernel page was not counted before. */
static int see(uintptr_t page)
{
	uint32_t h = page * 0x9e3779b97f4a7c15ull >> 43;

	while (seen[h] && seen[h] != page)
		h = (h + 1) % HASH_SLOTS;
	if (seen[h])
		return 0;
	seen[h] = page;
	return 1;
}

static uint64_t live_kb(uint64_t n)
{
	uint64_t size = sysconf(_SC_PAGESIZE), pages = 0, i;

	for (i = 0; i < n; i++) {
		uintptr_t p = (uintptr_t)objects[i], a;

		for (a = p / size; p && a <= (p + sizes[i] - 1) / size; a++)
			pages += see(a);
	}
	return pages * size / 1024;
}

static void release(uint64_t from, uint64_t to)
{
	for (; from < to; from++) {
		free(objects[order[from]]);
		objects[order[from]] = NULL;
	}
}

int main(int argc, char **argv)
{
	const struct bench_option table[] = {
		{ 'm', "mib", &nr_mib, NULL }, { 'a', "min", &size_min, NULL }, { 'b', "max", &size_max, NULL },
		{ 'k', "kept", &kept, NULL }, { 'i', "idle", &idle_s, NULL }, { 'e', "end", &end_s, NULL }, { .letter = 0 },
	};
	uint64_t rnd = bench_seed(1, 0), max, n, dead;

	bench_options(argc, argv, table);
	if (size_max > UINT16_MAX || size_min < 1 || size_min > size_max || nr_mib > 4096)
		bench_die("sizes of 1 to 65535 bytes, 4096 MiB at most");
	max = (nr_mib << 20) / ((size_min + size_max) / 2) + 100000;
	objects = bench_map(max * sizeof(*objects));
	sizes = bench_map(max * sizeof(*sizes));
	order = bench_map(max * sizeof(*order));
	seen = bench_map(HASH_SLOTS * sizeof(*seen));
	rss_start();
	n = fill(max, &rnd);
	shuffle(n, &rnd);
	dead = n * (100 - kept) / 100;
	rss_mark("full", n);
	release(0, dead);
	rss_mark("freed", live_kb(n));
	rss_wait(idle_s);
	rss_mark("idle", rss_faults());
	release(dead, n);
	rss_mark("gone", 0);
	rss_wait(end_s);
	rss_mark("end", 0);
	return 0;
}
