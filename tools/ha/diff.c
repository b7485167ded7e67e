// SPDX-License-Identifier: MIT
/*
 * ha diff: what has grown between two readings of a heap. Each is a file of `ha stat
 * --json` (or of ha_stats_json() from within), a core file, or a process as it is now.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "text.h"

#define DELTA_TEXT	(SIZE_TEXT + 2)

static const char *delta_text(char buf[DELTA_TEXT], uint64_t before, uint64_t after)
{
	char size[SIZE_TEXT];

	if (before == after)
		return "0";
	size_text(size, after > before ? after - before : before - after);
	snprintf(buf, DELTA_TEXT, "%c%s", after > before ? '+' : '-', size);
	return buf;
}

static void print_bytes(const char *name, uint64_t before, uint64_t after)
{
	char a[SIZE_TEXT], b[SIZE_TEXT], d[DELTA_TEXT];

	printf("%-12s%12s%12s%13s\n", name, size_text(a, before), size_text(b, after),
	       delta_text(d, before, after));
}

static void print_totals(const struct figures *a, const struct figures *b)
{
	const struct totals *x = &a->totals, *y = &b->totals;

	printf("%-12s%12s%12s%13s\n", "", "before", "after", "change");
	print_bytes("mapped", x->mapped, y->mapped);
	print_bytes("in use", x->in_use, y->in_use);
	print_bytes("live", x->live, y->live);
	print_bytes("  large", x->large, y->large);
	print_bytes("cached", x->cached, y->cached);
	print_bytes("free", x->free, y->free);
	print_bytes("returned", x->returned, y->returned);
	print_bytes("metadata", x->metadata, y->metadata);
	if (a->live && b->live)
		print_bytes("resident", a->process.rss, b->process.rss);
}

/* A class of either side; a size, because builds may number them differently. */
struct change {
	uint64_t size;		/* bytes an object, 0 for large */
	uint64_t bytes[2];
	uint64_t nr[2];
	uint64_t spans[2];
};

static void take_side(struct change *all, size_t *nr, const struct figures *f, int side)
{
	for (size_t i = 0; i < f->nr_classes; i++) {
		const struct class_figures *c = &f->classes[i];
		size_t at = 0;

		while (at < *nr && all[at].size != c->object_size)
			at++;
		*nr += at == *nr;
		all[at].size = c->object_size;
		all[at].nr[side] = c->nr_live;
		all[at].spans[side] = c->nr_spans;
		all[at].bytes[side] = c->object_size ? c->nr_live * c->object_size :
						       f->totals.large;
	}
}

static int64_t growth(const struct change *c)
{
	return (int64_t)(c->bytes[1] - c->bytes[0]);
}

static int by_growth(const void *a, const void *b)
{
	int64_t x = growth(a), y = growth(b);
	const struct change *p = a, *q = b;

	if (x != y)
		return x > y ? -1 : 1;
	return p->size < q->size ? -1 : p->size > q->size;
}

static void print_classes(const struct figures *a, const struct figures *b)
{
	struct change *all = xalloc(a->nr_classes + b->nr_classes, sizeof(*all));
	size_t nr = 0;

	take_side(all, &nr, a, 0);
	take_side(all, &nr, b, 1);
	qsort(all, nr, sizeof(*all), by_growth);
	printf("\n%8s%12s%12s%12s%13s%9s\n", "size", "before", "after", "objects", "bytes",
	       "spans");
	for (size_t i = 0; i < nr; i++) {
		const struct change *c = &all[i];
		char size[SIZE_TEXT], d[DELTA_TEXT];

		if (c->nr[0] == c->nr[1] && c->spans[0] == c->spans[1] && !growth(c))
			continue;
		printf("%8s%12" PRIu64 "%12" PRIu64 "%+12" PRId64 "%13s%+9" PRId64 "\n",
		       c->size ? bytes_text(size, c->size) : "large", c->nr[0], c->nr[1],
		       (int64_t)(c->nr[1] - c->nr[0]), delta_text(d, c->bytes[0], c->bytes[1]),
		       (int64_t)(c->spans[1] - c->spans[0]));
	}
	free(all);
}

/* Heaps and object caches by name; those of one side alone count as 0 on the other. */
static void print_named(const char *what, const char *name, uint64_t before, uint64_t after)
{
	char d[DELTA_TEXT];

	if (before != after)
		printf("%s %-32s%13s\n", what, name, delta_text(d, before, after));
}

static void print_heaps(const struct figures *a, const struct figures *b)
{
	for (size_t i = 0; i < b->nr_heaps; i++) {
		uint64_t before = 0;

		for (size_t j = 0; j < a->nr_heaps; j++)
			if (!strcmp(a->heaps[j].name, b->heaps[i].name))
				before = a->heaps[j].live;
		print_named("heap", b->heaps[i].name, before, b->heaps[i].live);
	}
	for (size_t i = 0; i < b->nr_caches; i++) {
		const struct cache_figures *c = &b->caches[i];
		uint64_t before = 0;

		for (size_t j = 0; j < a->nr_caches; j++)
			if (!strcmp(a->caches[j].name, c->name))
				before = a->caches[j].nr_live * a->caches[j].usable;
		print_named("object cache", c->name, before, c->nr_live * c->usable);
	}
}

static int figures_any(const char *what, struct figures *f)
{
	FILE *json = parse_number(what, INT32_MAX) ? NULL : json_begin(what);

	return json ? figures_of_json(what, json, f) : figures_of(what, f);
}

int cmd_diff(int argc, char **argv)
{
	struct figures a, b;
	int ret;

	if (getopt(argc, argv, "") != -1 || argc != optind + 2)
		return EXIT_USAGE;
	ret = figures_any(argv[optind], &a);
	if (ret)
		return ret;
	ret = figures_any(argv[optind + 1], &b);
	if (!ret) {
		print_totals(&a, &b);
		print_classes(&a, &b);
		print_heaps(&a, &b);
		figures_free(&b);
	}
	figures_free(&a);
	return ret;
}
