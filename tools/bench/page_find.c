// SPDX-License-Identifier: MIT
/*
 * page_find.c - what finding pages costs as the address space grows
 *
 * Not a comparison: this library's page allocator alone, in its test build, over
 * simulated address space (it keeps books; nothing is mapped). The question is that
 * of Go's proposal 35112, "Make the page allocator scale" (2019): does the search for
 * a run of pages depend on how large the heap is?
 *
 *	page_find [-o ops]
 *
 *	For heaps of 1 GiB to 1 TiB: all pages are taken, but one in 64, so that every
 *	chunk has free pages and none has two together. Then -o times: 64 pages
 *	somewhere become free, and a search for 64 pages finds them.
 *
 * Curves over the size in GiB: "find" ns a search, "steps" summaries that it read,
 * "free" ns to free them. The line itself is of the largest heap. It alone of the
 * programs here includes headers of lib/: it is linked with libheaparena-test.a.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "page_alloc.h"

#define GIB		(1UL << 30)
#define GIB_PAGES	(GIB >> HA_PAGE_SHIFT)
#define BASE		(1UL << PALLOC_REGION_SHIFT)
#define RUN		64		/* pages */
#define NR_SHAPES	6

static const size_t gibs[NR_SHAPES] = { 1, 4, 16, 64, 256, 1024 };
static double find_ns[NR_SHAPES], free_ns[NR_SHAPES], steps[NR_SHAPES];
static size_t meta_kb;

static void die(const char *what)
{
	fprintf(stderr, "page_find: %s\n", what);
	exit(1);
}

static void *meta(void *arg, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	meta_kb += size / 1024;
	return p == MAP_FAILED ? NULL : p;
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

/* All in use; then the first page of each 64 free. */
static void prepare(struct page_alloc *pa, size_t gib)
{
	size_t i, nr_scav;

	for (i = 0; i < gib; i++)
		if (page_alloc_grow(pa, BASE + i * GIB, GIB) ||
		    !page_alloc_alloc_at(pa, BASE + i * GIB, GIB_PAGES, &nr_scav))
			die("cannot grow");
	for (i = 0; i < gib * GIB_PAGES; i += RUN)
		page_alloc_free(pa, BASE + (i << HA_PAGE_SHIFT), 1, false);
}

static void measure(unsigned int shape, uint64_t nr_ops)
{
	struct page_alloc *pa = calloc(1, sizeof(*pa));
	uint64_t t0, t1, t2, start, rnd = 88172645463325252ull;
	uint64_t i, finds = 0, frees = 0;
	size_t nr_scav;

	if (!pa || page_alloc_init(pa, meta, NULL))
		die("no memory");
	prepare(pa, gibs[shape]);
	start = pa->nr_steps;
	for (i = 0; i < nr_ops; i++) {
		size_t at = random_next(&rnd) % (gibs[shape] * GIB_PAGES / RUN) * RUN;
		uintptr_t addr = BASE + (at << HA_PAGE_SHIFT);

		/* The first page is free already. */
		t0 = now();
		page_alloc_free(pa, addr + HA_PAGE_SIZE, RUN - 1, false);
		t1 = now();
		if (page_alloc_alloc(pa, RUN, 1, &nr_scav) != addr)
			die("found another place than the only one");
		t2 = now();
		frees += t1 - t0;
		finds += t2 - t1;
		page_alloc_free(pa, addr, 1, false);
	}
	find_ns[shape] = (double)finds / nr_ops;
	free_ns[shape] = (double)frees / nr_ops;
	steps[shape] = (double)(pa->nr_steps - start) / nr_ops;
}

int main(int argc, char **argv)
{
	uint64_t nr_ops = argc == 3 ? strtod(argv[2], NULL) : 20000;
	unsigned int i;

	if (!nr_ops)
		die("usage: page_find [-o ops]");
	for (i = 0; i < NR_SHAPES; i++)
		measure(i, nr_ops);
	i = NR_SHAPES - 1;
	printf("page_find gib=%zu %.2f - 0 %.2f - 0 0 %llu metadata_mb=%zu\n", gibs[i],
	       find_ns[i], find_ns[i], (unsigned long long)nr_ops, meta_kb / 1024);
	for (i = 0; i < NR_SHAPES; i++) {
		printf("series find %zu %.2f\n", gibs[i], find_ns[i]);
		printf("series steps %zu %.2f\n", gibs[i], steps[i]);
		printf("series free %zu %.2f\n", gibs[i], free_ns[i]);
	}
	return 0;
}
