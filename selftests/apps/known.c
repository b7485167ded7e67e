// SPDX-License-Identifier: MIT
/*
 * known FOLDER [THREADS] - a heap whose contents are known, to be looked at
 *
 * Allocates objects of all sizes, frees some, and writes to FOLDER what it knows:
 *
 *	stats	ha_stats_json()
 *	walk	"class live bytes" of ha_walk(), a line a class; nothing with check:off
 *	kept	"address size" of each object that it keeps
 *	freed	addresses that it has freed
 *	pid	last: from here on it allocates nothing
 *
 * and then waits for the end of its input. With THREADS, so many of them allocate
 * and free all the while: what is kept stays. "abort" in place of THREADS ends it by
 * abort().
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <heaparena/heaparena.h>

#define NR_KEPT		4000
#define MAX_CLASSES	256

static struct {
	char *p;
	size_t size;
} kept[NR_KEPT];

static char *freed[NR_KEPT];
static size_t nr_kept, nr_freed;
static struct {
	unsigned long nr, bytes;
} truth[MAX_CLASSES];

static int count(const struct ha_object *o, void *arg)
{
	truth[o->size_class].nr++;
	truth[o->size_class].bytes += o->usable;
	return 0;
}

static int file(const char *folder, const char *name)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		_exit(3);
	return fd;
}

static void put(int fd, const char *line, int len)
{
	if (write(fd, line, len) != len)
		_exit(3);
}

static void write_truth(const char *folder)
{
	char line[100];
	int fd = file(folder, "kept");

	for (size_t i = 0; i < nr_kept; i++)
		put(fd, line, sprintf(line, "%p %zu\n", (void *)kept[i].p,
				      ha_malloc_usable_size(kept[i].p)));
	fd = file(folder, "freed");
	for (size_t i = 0; i < nr_freed; i++)
		put(fd, line, sprintf(line, "%p\n", (void *)freed[i]));
	ha_walk(count, NULL);
	fd = file(folder, "walk");
	for (int i = 0; i < MAX_CLASSES; i++)
		if (truth[i].nr)
			put(fd, line, sprintf(line, "%d %lu %lu\n", i, truth[i].nr,
					      truth[i].bytes));
	if (ha_stats_json(file(folder, "stats")))
		_exit(3);
	fd = file(folder, "pid");
	put(fd, line, sprintf(line, "%d\n", getpid()));
}

static void keep(char *p, size_t size)
{
	if (!p || nr_kept == NR_KEPT)
		_exit(3);
	memset(p, 1, size < 100 ? size : 100);
	kept[nr_kept].p = p;
	kept[nr_kept++].size = size;
}

static void *churn(void *arg)
{
	unsigned long x = (unsigned long)arg * 7919 + 1;
	char *p[100] = { NULL };

	for (;;) {
		x = x * 6364136223846793005UL + 1442695040888963407UL;
		ha_free(p[x >> 32 & 63]);
		p[x >> 32 & 63] = ha_malloc(1 + (x >> 40) % (1 << (x >> 60 & 15)));
	}
	return NULL;
}

static void fill(void)
{
	struct ha_cache_options opt = { .size = sizeof(opt), .object_size = 200 };
	struct ha_cache *c = ha_cache_create("known cache", &opt);
	struct ha_heap *h = ha_heap_create("known heap", 0);
	static char *gone[NR_KEPT];
	size_t n = 0;

	for (int i = 0; i < 2400; i++) {
		size_t size = 1UL << i % 16;

		size += i * 37 % size;
		keep(ha_malloc(size), size);
		if (i % 2)
			gone[n++] = ha_malloc(size);
	}
	for (size_t size = 1 << 16; size < 5 << 20; size *= 3) {
		keep(ha_malloc(size), size);
		gone[n++] = ha_malloc(size);
	}
	keep(ha_aligned_alloc(1 << 16, 1 << 16), 1 << 16);
	for (int i = 0; i < 100; i++) {
		keep(ha_heap_alloc(h, i * 50 + 1, 0, 0), i * 50 + 1);
		keep(ha_cache_alloc(c), 200);
		gone[n++] = ha_heap_alloc(h, 300, 0, 0);
	}
	keep(ha_heap_alloc(h, 3 << 20, 0, 0), 3 << 20);
	while (n) {
		ha_free(gone[--n]);
		freed[nr_freed++] = gone[n];
	}
	/* objects may have taken the places of freed ones: those are no proof */
	for (size_t i = 0; i < 500; i++)
		keep(ha_malloc(5000), 5000);
	for (size_t i = 0; i < nr_freed; i++)
		for (size_t k = 0; k < nr_kept; k++)
			if (freed[i] == kept[k].p)
				freed[i] = NULL;
}

int main(int argc, char **argv)
{
	char input[100];
	pthread_t t;
	ssize_t n;

	if (argc < 2)
		return 2;
	fill();
	for (long i = 0; argc > 2 && i < atol(argv[2]); i++)
		if (pthread_create(&t, NULL, churn, (void *)i))
			return 3;
	write_truth(argv[1]);
	if (argc > 2 && !strcmp(argv[2], "abort"))
		abort();
	while ((n = read(0, input, sizeof(input))) > 0)
		;
	_exit(0);
}
