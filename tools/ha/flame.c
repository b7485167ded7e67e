// SPDX-License-Identifier: MIT
/*
 * A heap profile as a flame graph: SVG, without scripts.
 *
 *	+--------------------------------------------+  all
 *	| main                                       |  depth 1: who was called first
 *	+---------------------+----------------------+
 *	| parse               | load                 |
 *	+------+              +-----------+
 *	| node |              | read_file |             the functions that allocate
 *	+------+              +-----------+
 *
 * A box is as wide as the bytes that were allocated by it and those below it; boxes of
 * one function have one colour, wherever they are.  Each has a title that says the
 * whole name, the source line, bytes, and share.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "text.h"

#define WIDTH		1200.0
#define MARGIN		12.0
#define ROW		18.0
#define HEAD		58.0
#define CHAR		6.6		/* of a name, in pixels */
#define SMALLEST	0.4		/* boxes that are narrower are left out */

struct node {
	const char *name;
	const struct frame *frame;
	int64_t bytes, objects;
	struct node *child, *next;	/* children by bytes */
};

struct flame {
	FILE *f;
	double scale;			/* pixels a byte */
	int64_t all;
};

static struct node *child_of(struct node *n, const struct frame *frame)
{
	struct node *c;

	for (c = n->child; c; c = c->next)
		if (!strcmp(c->name, frame->function))
			return c;
	c = xalloc(1, sizeof(*c));
	c->name = frame->function;
	c->frame = frame;
	c->next = n->child;
	n->child = c;
	return c;
}

static int by_name(const void *a, const void *b)
{
	const struct node *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* By name, so that two profiles of a program look alike. */
static void sort_children(struct node *n)
{
	struct node **all, *c;
	size_t nr = 0, i = 0;

	for (c = n->child; c; c = c->next)
		nr++;
	all = xalloc(nr, sizeof(*all));
	for (c = n->child; c; c = c->next)
		all[i++] = c;
	qsort(all, nr, sizeof(*all), by_name);
	n->child = NULL;
	while (i--) {
		all[i]->next = n->child;
		n->child = all[i];
		sort_children(all[i]);
	}
	free(all);
}

static struct node *make_tree(const struct profile *p, const struct view *v)
{
	struct node *root = xalloc(1, sizeof(*root));
	const struct frame *frames[MAX_FRAMES];

	root->name = "all";
	for (size_t i = 0; i < p->nr_samples; i++) {
		const struct sample *s = &p->samples[i];
		size_t n = sample_frames(s, frames, MAX_FRAMES);
		struct node *at = root;

		if (s->value[v->bytes] <= 0)
			continue;
		for (;;) {
			at->bytes += s->value[v->bytes];
			at->objects += s->value[v->objects];
			if (!n--)
				break;
			at = child_of(at, frames[n]);
		}
	}
	sort_children(root);
	return root;
}

static size_t depth_of(const struct node *n, const struct flame *g)
{
	size_t deepest = 0;

	for (const struct node *c = n->child; c; c = c->next) {
		size_t d = c->bytes * g->scale >= SMALLEST ? depth_of(c, g) : 0;

		if (d > deepest)
			deepest = d;
	}
	return deepest + 1;
}

/* Characters of @s, and bytes that are none. */
static size_t nr_chars(const char *s)
{
	size_t nr = 0;

	for (; *s; nr++)
		s += char_length(s) ? char_length(s) : 1;
	return nr;
}

/* At most @max characters: what is cut within one, or is none, is no XML. */
static void put_escaped(FILE *f, const char *s, size_t max)
{
	size_t n;

	for (; *s && max; s += n ? n : 1, max--) {
		n = char_length(s);
		switch (*s) {
		case '<': fputs("&lt;", f); break;
		case '>': fputs("&gt;", f); break;
		case '&': fputs("&amp;", f); break;
		case '"': fputs("&quot;", f); break;
		default:
			if (n)
				fwrite(s, 1, n, f);
			else
				fputc('?', f);
		}
	}
}

/* Warm and pale, so that black text can be read on it. */
static void colour(const char *name, char *to, size_t size)
{
	uint32_t h = 2166136261u;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	snprintf(to, size, "hsl(%u,%u%%,%u%%)", 12 + h % 42, 62 + h / 64 % 24, 64 + h / 4096 % 12);
}

/* The name, or as much of it as there is room for, with two dots. */
static void put_label(const struct flame *g, const char *name, double x, double y, double width)
{
	size_t room = width > 8 ? (size_t)((width - 8) / CHAR) : 0, len = nr_chars(name);

	if (room < 3)
		return;
	fprintf(g->f, "<text x=\"%.1f\" y=\"%.1f\">", x + 4, y + ROW - 5.5);
	put_escaped(g->f, name, len <= room ? len : room - 2);
	fputs(len <= room ? "</text>" : "..</text>", g->f);
}

static void put_node(const struct flame *g, const struct node *n, double x, double y)
{
	double width = n->bytes * g->scale;
	char size[SIZE_TEXT], fill[40];

	if (width < SMALLEST)
		return;
	colour(n->name, fill, sizeof(fill));
	fputs("<g><title>", g->f);
	put_escaped(g->f, n->name, SIZE_MAX);
	if (n->frame && n->frame->file) {
		fputs("\n", g->f);
		put_escaped(g->f, n->frame->file, SIZE_MAX);
		fprintf(g->f, ":%u", n->frame->line);
	}
	fprintf(g->f, "\n%s, %.2f%%, %" PRId64 " objects</title>", size_text(size, n->bytes),
		100.0 * n->bytes / g->all, n->objects);
	fprintf(g->f, "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\" fill=\"%s\"/>", x,
		y, width, ROW - 1, n->frame ? fill : "#d8d8d8");
	put_label(g, n->name, x, y, width);
	fputs("</g>\n", g->f);
	for (const struct node *c = n->child; c; c = c->next) {
		put_node(g, c, x, y + ROW);
		x += c->bytes * g->scale;
	}
}

static void put_head(const struct flame *g, const struct profile *p, const struct view *v,
		     double height, int64_t objects)
{
	char a[SIZE_TEXT], b[SIZE_TEXT];

	fprintf(g->f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
		"width=\"%.0f\" height=\"%.0f\">\n"
		"<style>text{font:11px monospace;fill:#111}"
		".h{font:bold 16px sans-serif}.s{font:12px sans-serif;fill:#444}"
		"rect{stroke:#fff;stroke-width:.5}g:hover rect{stroke:#000;stroke-width:1}</style>\n"
		"<rect x=\"0\" y=\"0\" width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
		WIDTH, height, WIDTH, height);
	fprintf(g->f, "<text class=\"h\" x=\"%.0f\" y=\"24\">Heap, %s: %s in %" PRId64
		" objects</text>\n", MARGIN, v->title, size_text(a, g->all), objects);
	fprintf(g->f, "<text class=\"s\" x=\"%.0f\" y=\"44\">", MARGIN);
	put_escaped(g->f, p->path, 100);
	fprintf(g->f, ", a sample in %s over %.1f s; a box is as wide as the bytes allocated "
		"there and below</text>\n", size_text(b, p->period), p->duration_ns / 1e9);
}

int report_flame(const struct profile *p, const struct view *v, const char *path)
{
	struct node *root = make_tree(p, v);
	struct flame g = { .all = root->bytes };
	bool ok;

	g.scale = g.all ? (WIDTH - 2 * MARGIN) / g.all : 0;
	g.f = is_stdout(path) ? stdout : fopen(path, "we");
	if (!g.f)
		return fail("%s: %s", path, strerror(errno));
	put_head(&g, p, v, HEAD + depth_of(root, &g) * ROW + MARGIN, root->objects);
	if (g.all)
		put_node(&g, root, MARGIN, HEAD);
	else
		fprintf(g.f, "<text x=\"%.0f\" y=\"70\">nothing</text>\n", MARGIN);
	fputs("</svg>\n", g.f);
	if (g.f == stdout)
		return 0;
	ok = !ferror(g.f);
	if (fclose(g.f) || !ok)
		return fail("%s: %s", path, strerror(errno));
	return 0;
}
