// SPDX-License-Identifier: MIT
/*
 * ha walk: the live objects of a heap, by size class, or one by one.
 *
 * What lived throughout is counted once, as by ha_walk() from within; what came or
 * went meanwhile, perhaps.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "spans.h"
#include "text.h"

struct tally {
	uint64_t nr_spans;
	uint64_t nr_objects;
	uint64_t nr_live;
	uint64_t bytes;
};

struct walk {
	struct heap heap;
	struct tally *classes;
	struct tally all;
	uint64_t in_heaps;	/* objects of heaps of the user's, among all */
	uint64_t nr_lost;
	bool objects;
	bool json;
	bool begun;
};

static void add(struct tally *t, const struct span *s, uint64_t size)
{
	t->nr_spans++;
	t->nr_objects += s->nelems;
	t->nr_live += s->nr_live;
	t->bytes += s->nr_live * size;
}

static void print_object(struct walk *w, const struct span *s, uint32_t i, uint64_t size)
{
	uint64_t addr = s->start + i * size;

	if (w->json)
		printf("%s{\"address\":%" PRIu64 ",\"size\":%" PRIu64
		       ",\"class\":%u,\"node\":%u,\"heap\":%" PRIu64 "}",
		       w->begun ? "," : "", addr, size, s->sc, s->nid, s->heap);
	else
		printf("0x%" PRIx64 " %" PRIu64 "%s\n", addr, size,
		       s->heap ? " heap" : s->sc ? "" : " large");
	w->begun = true;
}

static void visit(const struct span *s, void *arg)
{
	struct walk *w = arg;
	uint64_t size = span_object_bytes(&w->heap, s);

	add(&w->classes[s->sc], s, size);
	add(&w->all, s, size);
	if (s->heap)
		w->in_heaps += s->nr_live;
	for (uint32_t i = 0; i < s->nelems && w->objects; i++)
		if (s->live[i])
			print_object(w, s, i, size);
}

static json_t *json_tally(const struct tally *t)
{
	return json_pack("{sI sI sI sI}", "nr_spans", (json_int_t)t->nr_spans, "nr_objects",
			 (json_int_t)t->nr_objects, "nr_live", (json_int_t)t->nr_live,
			 "bytes", (json_int_t)t->bytes);
}

/* The rest of the object that the list of objects, if any, is in already. */
static int print_json(const struct walk *w)
{
	json_t *list = json_array(), *o;
	char *text;

	for (unsigned int sc = 0; sc < w->heap.nr_classes; sc++) {
		if (!w->classes[sc].nr_spans)
			continue;
		o = json_tally(&w->classes[sc]);
		json_object_set_new(o, "class", json_integer(sc));
		json_object_set_new(o, "object_size", json_integer(w->heap.classes[sc].size));
		json_array_append_new(list, o);
	}
	o = json_pack("{si si sb sI sI so so}", "heaparena", 1, "pid", (int)w->heap.t->pid,
		      "states", w->heap.check, "nr_lost", (json_int_t)w->nr_lost, "in_heaps",
		      (json_int_t)w->in_heaps, "totals", json_tally(&w->all), "classes", list);
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!text)
		return fail("out of memory");
	printf("%s\n", text + (w->objects ? 1 : 0));
	free(text);
	return 0;
}

static void print_row(const char *name, const struct tally *t)
{
	unsigned int fill = per_mille(t->nr_live, t->nr_objects);
	char bytes[SIZE_TEXT];

	printf("%8s%10" PRIu64 "%12" PRIu64 "%12" PRIu64 "%4u.%u %%%12s\n", name, t->nr_spans,
	       t->nr_objects, t->nr_live, fill / 10, fill % 10, size_text(bytes, t->bytes));
}

static void print_text(const struct walk *w)
{
	char size[SIZE_TEXT];

	printf("%8s%10s%12s%12s%8s%12s\n", "size", "spans", "objects", "live", "fill", "live");
	for (unsigned int sc = 1; sc < w->heap.nr_classes; sc++)
		if (w->classes[sc].nr_spans)
			print_row(bytes_text(size, w->heap.classes[sc].size), &w->classes[sc]);
	if (w->classes[0].nr_spans)
		print_row("large", &w->classes[0]);
	print_row("all", &w->all);
	if (w->in_heaps)
		printf("%" PRIu64 " of these objects are in heaps of the program's own\n",
		       w->in_heaps);
	if (!w->heap.check)
		puts("check:off: free objects in caches count as live");
	if (w->nr_lost)
		printf("%" PRIu64 " spans changed too fast to be counted\n", w->nr_lost);
}

static int walk(struct target *t, struct walk *w)
{
	struct layout l;
	int ret = layout_read(t, &l);

	if (!ret)
		ret = heap_read(t, &l, &w->heap);
	if (ret)
		return ret;
	w->classes = xalloc(w->heap.nr_classes, sizeof(*w->classes));
	if (w->json && w->objects)
		printf("{\"objects\":[");
	for (uint64_t i = 0; i < w->heap.arenas.nr && !ret; i++)
		if (!heap_visit(&w->heap, i, visit, w, &w->nr_lost) || target_gone(t))
			ret = target_failed(t, "the heap");
	if (!ret && w->json) {
		if (w->objects)
			printf("],");
		ret = print_json(w);
	} else if (!ret && !w->objects) {
		print_text(w);
	}
	free(w->classes);
	heap_free(&w->heap);
	return ret;
}

int cmd_walk(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' }, { "verbose", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 }
	};
	struct walk w = { 0 };
	struct target t;
	int c, ret;

	while ((c = getopt_long(argc, argv, "v", options, NULL)) != -1) {
		if (c != 'j' && c != 'v')
			return EXIT_USAGE;
		w.json |= c == 'j';
		w.objects |= c == 'v';
	}
	if (argc != optind + 1)
		return EXIT_USAGE;
	ret = target_open(&t, argv[optind]);
	if (ret)
		return ret;
	ret = walk(&t, &w);
	target_close(&t);
	return ret;
}
