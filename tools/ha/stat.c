// SPDX-License-Identifier: MIT
/* ha stat: what a heap has, as text or JSON. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "text.h"

static void print_part(const char *name, uint64_t bytes, uint64_t whole, const char *what)
{
	char size[SIZE_TEXT];
	unsigned int share = per_mille(bytes, whole);

	printf("%-12s%10s", name, size_text(size, bytes));
	if (whole)
		printf("  %3u.%u %%", share / 10, share % 10);
	else
		printf("%9s", "");
	printf("  %s\n", what);
}

static void print_head(const struct figures *f)
{
	if (f->pid)
		printf("process %d ", f->pid);
	printf("%s%s%s: heaparena %s, %s, %" PRIu64 " node%s, caches %s%s\n",
	       f->command[0] ? "(" : "", f->command, f->command[0] ? ")" : "", f->version,
	       f->arch, f->totals.nr_nodes, f->totals.nr_nodes == 1 ? "" : "s",
	       f->totals.rseq ? "by rseq" : "locked", f->live ? "" : ", core file");
	if (!f->settled)
		puts("(read in the middle of a change: figures of pages may not add up)");
}

static void print_totals(const struct totals *s)
{
	uint64_t room = s->in_use > s->live + s->cached ? s->in_use - s->live - s->cached : 0;

	print_part("mapped", s->mapped, 0, "address space of the heap that can be used");
	print_part("  in use", s->in_use, s->mapped, "pages of spans");
	print_part("    live", s->live, s->mapped, "objects of the program");
	print_part("    cached", s->cached, s->mapped, "free objects near CPUs and in depots");
	print_part("    room", room, s->mapped, "free objects and tails inside spans");
	print_part("  free", s->free, s->mapped, "pages of no span, resident");
	print_part("  returned", s->returned, s->mapped, "given back to the kernel, or untouched");
	print_part("metadata", s->metadata, 0, "the allocator's own");
}

static void print_process(const struct figures *f)
{
	const struct process_figures *p = &f->process;
	char rss[SIZE_TEXT], peak[SIZE_TEXT], heap[SIZE_TEXT], swap[SIZE_TEXT];

	printf("resident    %10s  of the heap; process %s, peak %s, swapped %s\n",
	       size_text(heap, p->heap_rss), size_text(rss, p->rss),
	       size_text(peak, p->rss_peak), size_text(swap, p->swap));
	printf("faults      %10" PRIu64 "  minor, %" PRIu64 " major; %" PRIu64
	       " threads, %" PRIu64 ".%02" PRIu64 " s of CPU\n", p->minor_faults,
	       p->major_faults, p->threads, p->cpu_ms / 1000, p->cpu_ms % 1000 / 10);
}

static void print_limits(const struct totals *s)
{
	char soft[SIZE_TEXT], hard[SIZE_TEXT];

	printf("limits            soft %s, hard %s", s->soft_limit ?
	       size_text(soft, s->soft_limit) : "none",
	       s->hard_limit ? size_text(hard, s->hard_limit) : "none");
	if (s->nr_assists || s->nr_limited)
		printf("; %" PRIu64 " assists, hard limit met %" PRIu64 " times",
		       s->nr_assists, s->nr_limited);
	putchar('\n');
}

static void print_nodes(const struct figures *f)
{
	printf("\n%-8s%10s%10s%10s%10s%10s%10s\n", "node", "mapped", "in use", "out", "free",
	       "returned", "spans");
	for (size_t i = 0; i < f->nr_nodes; i++) {
		const struct node_figures *n = &f->nodes[i];
		char a[SIZE_TEXT], b[SIZE_TEXT], c[SIZE_TEXT], d[SIZE_TEXT], e[SIZE_TEXT];

		printf("%-8" PRIu64 "%10s%10s%10s%10s%10s%10" PRIu64 "\n", n->node,
		       size_text(a, n->mapped), size_text(b, n->in_use), size_text(c, n->out),
		       size_text(d, n->free), size_text(e, n->returned), n->nr_spans);
	}
}

static void print_classes(const struct figures *f)
{
	printf("\n%8s%10s%12s%12s%10s%8s%11s  %s\n", "size", "spans", "objects", "live",
	       "cached", "fill", "live", "refills");
	for (size_t i = 0; i < f->nr_classes; i++) {
		const struct class_figures *c = &f->classes[i];
		uint64_t bytes = c->class_no ? c->nr_live * c->object_size : f->totals.large;
		unsigned int fill = per_mille(c->nr_live, c->nr_objects);
		char size[SIZE_TEXT], live[SIZE_TEXT];

		printf("%8s%10" PRIu64 "%12" PRIu64 "%12" PRIu64 "%10" PRIu64,
		       c->class_no ? bytes_text(size, c->object_size) : "large", c->nr_spans,
		       c->nr_objects, c->nr_live, c->nr_cached);
		if (c->nr_objects)
			printf("%4u.%u %%", fill / 10, fill % 10);
		else
			printf("%8s", "-");
		printf("%11s  %" PRIu64 "\n", size_text(live, bytes),
		       c->class_no ? c->nr_refills : c->nr_refill);
	}
}

static void print_lists(const struct figures *f)
{
	char a[SIZE_TEXT], b[SIZE_TEXT];

	if (f->nr_heaps)
		printf("\n%-32s%11s%11s%12s%12s\n", "heap", "mapped", "live", "objects",
		       "allocated");
	for (size_t i = 0; i < f->nr_heaps; i++) {
		const struct heap_figures *h = &f->heaps[i];

		printf("%-32s%11s%11s%12" PRIu64 "%12" PRIu64 "\n", h->name,
		       size_text(a, h->mapped), size_text(b, h->live), h->nr_live,
		       h->nr_allocs);
	}
	if (f->nr_caches)
		printf("\n%-32s%11s%11s%12s%12s\n", "object cache", "object", "live", "kept",
		       "allocated");
	for (size_t i = 0; i < f->nr_caches; i++) {
		const struct cache_figures *c = &f->caches[i];

		printf("%-32s%11s%11" PRIu64 "%12" PRIu64 "%12" PRIu64 "\n", c->name,
		       bytes_text(a, c->object_size), c->nr_live, c->nr_kept, c->nr_allocs);
	}
}

static void print_text(const struct figures *f)
{
	const struct totals *s = &f->totals;
	unsigned int frag = 1000 - per_mille(s->live < s->in_use ? s->live : s->in_use,
					     s->in_use);

	print_head(f);
	print_totals(s);
	if (f->live)
		print_process(f);
	print_limits(s);
	if (s->in_use)
		printf("fragmentation %6u.%u %% of pages in use hold nothing live\n", frag / 10,
		       frag % 10);
	if (f->nr_nodes > 1)
		print_nodes(f);
	print_classes(f);
	print_lists(f);
}

int cmd_stat(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' }, { NULL, 0, NULL, 0 }
	};
	bool json = false;
	struct figures f;
	int c, ret;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c != 'j')
			return EXIT_USAGE;
		json = true;
	}
	if (argc != optind + 1)
		return EXIT_USAGE;
	ret = figures_of(argv[optind], &f);
	if (ret)
		return ret;
	if (json)
		ret = json_print(json_of_figures(&f));
	else
		print_text(&f);
	figures_free(&f);
	return ret;
}
