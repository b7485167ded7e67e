// SPDX-License-Identifier: MIT
/*
 * ha map: a heap as a picture. Each arena is a field of cells, each cell a page (or
 * several, in a large heap: their mean colour), in rows from the lowest address on.
 *
 *	hue	what size of objects the page's span has
 *	depth	how many of them are live: pale is empty, deep is full
 *	greys	pages without objects: free, returned, not grown, metadata
 *
 * SVG with a path for each colour of an arena, so that a heap of gigabytes stays a
 * file that a browser opens.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pages.h"
#include "text.h"

#define NR_STEPS	5
#define WIDTH		1024	/* pixels of an arena */
#define MARGIN		24
#define LEGEND_ROW	20
#define LABEL		18	/* above each arena */

/* Sizes of objects that share a hue: up to this one, the last for large spans. */
static const struct band {
	uint32_t size;
	const char *label;
	uint16_t hue;
} bands[] = {
	{ 16, "up to 16 B", 215 }, { 32, "17 - 32 B", 195 }, { 64, "33 - 64 B", 170 },
	{ 128, "65 - 128 B", 140 }, { 256, "129 - 256 B", 100 }, { 512, "257 - 512 B", 65 },
	{ 1024, "513 B - 1 KiB", 48 }, { 4096, "1 - 4 KiB", 32 }, { 32768, "4 - 32 KiB", 14 },
	{ 1 << 20, "32 KiB - 1 MiB", 328 }, { UINT32_MAX, "above 1 MiB", 285 },
};

#define NR_BANDS	ARRAY_SIZE(bands)

static const struct {
	uint32_t colour;
	const char *label;
} states[] = {
	[PAGE_UNGROWN] = { 0xffffff, "reserved, not grown into yet" },
	[PAGE_RETURNED] = { 0xe4e4e4, "free, given back to the kernel or untouched" },
	[PAGE_FREE] = { 0xadadad, "free, resident" },
	[PAGE_WINDOW] = { 0x8496ab, "free, lent to a cache of pages" },
	[PAGE_OTHER] = { 0x3c3c3c, "in use, of no span: metadata" },
};

struct map {
	struct heap heap;
	struct target *t;
	FILE *body;		/* the arenas, written before what stands above them */
	uint64_t y;		/* where the next one goes */
	unsigned int per_cell;	/* pages, a power of two */
	unsigned int cell_w;	/* pixels */
	unsigned int cell_h;
	uint64_t nr[NR_PAGE_STATES];
	uint64_t band_pages[NR_BANDS];
	uint64_t band_fill[NR_BANDS];	/* of these, live: 255ths of a page */
	uint64_t nr_lost;
	uint32_t palette[NR_BANDS][NR_STEPS];
};

/* One colour channel of hue, saturation and lightness, all within 0 and 1. */
static unsigned int channel(double hue, double sat, double light, double shift)
{
	double q = light < 0.5 ? light * (1 + sat) : light + sat - light * sat;
	double p = 2 * light - q, t = hue + shift, v;

	t -= t >= 1 ? 1 : t < 0 ? -1 : 0;
	if (t < 1.0 / 6)
		v = p + (q - p) * 6 * t;
	else if (t < 0.5)
		v = q;
	else if (t < 2.0 / 3)
		v = p + (q - p) * (2.0 / 3 - t) * 6;
	else
		v = p;
	return v * 255 + 0.5;
}

static uint32_t colour_of(unsigned int band, unsigned int step)
{
	static const double light[NR_STEPS] = { 0.90, 0.78, 0.67, 0.55, 0.42 };
	double hue = bands[band].hue / 360.0;

	return channel(hue, 0.75, light[step], 1.0 / 3) << 16 |
	       channel(hue, 0.75, light[step], 0) << 8 |
	       channel(hue, 0.75, light[step], -1.0 / 3);
}

static unsigned int band_of(const struct map *m, unsigned int sc)
{
	uint32_t size = sc && sc < m->heap.nr_classes ? m->heap.classes[sc].size : UINT32_MAX;
	unsigned int i = 0;

	while (size > bands[i].size)
		i++;
	return i;
}

/* Empty is a step of its own, full another; quarters between them. */
static unsigned int step_of(unsigned int fill)
{
	return !fill ? 0 : fill >= 250 ? NR_STEPS - 1 : 1 + fill * (NR_STEPS - 2) / 250;
}

static uint32_t page_colour(const struct map *m, const struct page *p)
{
	if (p->state != PAGE_SPAN)
		return states[p->state].colour;
	return m->palette[band_of(m, p->sc)][step_of(p->fill)];
}

static uint32_t cell_colour(const struct map *m, const struct page *pages)
{
	uint64_t sum[3] = { 0 };
	uint32_t c = 0;

	if (m->per_cell == 1)
		return page_colour(m, pages);
	for (unsigned int i = 0; i < m->per_cell; i++) {
		c = page_colour(m, &pages[i]);
		for (int k = 0; k < 3; k++)
			sum[k] += c >> 8 * k & 0xff;
	}
	c = 0;
	/* fewer shades, so that neighbours join */
	for (int k = 0; k < 3; k++)
		c |= (sum[k] / m->per_cell & 0xf8) << 8 * k;
	return c;
}

struct run {
	uint32_t colour;
	uint16_t row;
	uint16_t col;
	uint16_t len;
};

static int by_colour(const void *a, const void *b)
{
	const struct run *x = a, *y = b;

	if (x->colour != y->colour)
		return x->colour < y->colour ? -1 : 1;
	if (x->row != y->row)
		return x->row < y->row ? -1 : 1;
	return x->col < y->col ? -1 : x->col > y->col;
}

static void draw_runs(struct map *m, struct run *runs, size_t nr)
{
	uint32_t last = states[PAGE_UNGROWN].colour;
	bool open = false;

	qsort(runs, nr, sizeof(*runs), by_colour);
	for (size_t i = 0; i < nr; i++) {
		/* the ground has that colour */
		if (runs[i].colour == states[PAGE_UNGROWN].colour)
			continue;
		if (runs[i].colour != last || !open)
			fprintf(m->body, "%s<path fill=\"#%06x\" d=\"", open ? "\"/>\n" : "",
				runs[i].colour);
		open = true;
		last = runs[i].colour;
		fprintf(m->body, "M%u %uh%uv%uh-%uz", runs[i].col * m->cell_w,
			runs[i].row * m->cell_h, runs[i].len * m->cell_w, m->cell_h,
			runs[i].len * m->cell_w);
	}
	if (open)
		fputs("\"/>\n", m->body);
}

static void draw_arena(struct map *m, const struct arena *a, const struct page *pages, size_t nr)
{
	unsigned int cols = WIDTH / m->cell_w, rows;
	size_t nr_cells = nr / m->per_cell, nr_runs = 0;
	struct run *runs = xalloc(nr_cells, sizeof(*runs));
	uint64_t used = 0;

	for (size_t i = 0; i < nr; i++)
		used += pages[i].state == PAGE_SPAN;
	for (size_t i = 0; i < nr_cells; i++) {
		uint32_t colour = cell_colour(m, &pages[i * m->per_cell]);
		struct run *r = nr_runs ? &runs[nr_runs - 1] : NULL;

		if (r && r->colour == colour && r->row == i / cols)
			r->len++;
		else
			runs[nr_runs++] = (struct run){ colour, i / cols, i % cols, 1 };
	}
	rows = (nr_cells + cols - 1) / cols;
	fprintf(m->body, "<text x=\"%d\" y=\"%" PRIu64 "\">0x%" PRIx64 ", node %" PRIu64
		": %u %% of %" PRIu64 " MiB in spans</text>\n", MARGIN, m->y + LABEL - 5, a->base,
		a->nid, (unsigned int)(used * 100 / nr), m->heap.arenas.size >> 20);
	fprintf(m->body, "<g transform=\"translate(%d,%" PRIu64 ")\" "
		"shape-rendering=\"crispEdges\"><title>arena at 0x%" PRIx64 "</title>\n"
		"<rect width=\"%d\" height=\"%u\" fill=\"#%06x\" stroke=\"#999\"/>\n",
		MARGIN, m->y + LABEL, a->base, WIDTH, rows * m->cell_h,
		states[PAGE_UNGROWN].colour);
	draw_runs(m, runs, nr_runs);
	fputs("</g>\n", m->body);
	m->y += LABEL + rows * m->cell_h + 10;
	free(runs);
}

static void count_pages(struct map *m, const struct page *pages, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		unsigned int band;

		m->nr[pages[i].state]++;
		if (pages[i].state != PAGE_SPAN)
			continue;
		band = band_of(m, pages[i].sc);
		m->band_pages[band]++;
		m->band_fill[band] += pages[i].fill;
	}
}

static void swatch(FILE *f, int x, int y, int w, uint32_t colour)
{
	fprintf(f, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"12\" fill=\"#%06x\" "
		"stroke=\"#777\" stroke-width=\"0.5\"/>\n", x, y - 11, w, colour);
}

static int print_legend(const struct map *m, FILE *f, int top)
{
	int y = top, x = MARGIN, bottom;
	char size[SIZE_TEXT];

	fprintf(f, "<text x=\"%d\" y=\"%d\" font-weight=\"bold\">Pages of spans, by size of "
		"object: from empty to full</text>\n", x, y);
	for (unsigned int b = 0; b < NR_BANDS; b++) {
		uint64_t pages = m->band_pages[b];

		y += LEGEND_ROW;
		for (unsigned int s = 0; s < NR_STEPS; s++)
			swatch(f, x + 22 * s, y, 20, m->palette[b][s]);
		fprintf(f, "<text x=\"%d\" y=\"%d\">%s</text>\n", x + 120, y, bands[b].label);
		if (pages)
			fprintf(f, "<text x=\"%d\" y=\"%d\">%s, %u %% live</text>\n", x + 240,
				y, size_text(size, pages << m->heap.page_shift),
				(unsigned int)(m->band_fill[b] * 100 / 255 / pages));
	}
	bottom = y;
	y = top;
	x = MARGIN + 540;
	fprintf(f, "<text x=\"%d\" y=\"%d\" font-weight=\"bold\">Other pages</text>\n", x, y);
	for (int s = PAGE_SPAN - 1; s >= 0; s--) {
		y += LEGEND_ROW;
		swatch(f, x, y, 20, states[s].colour);
		fprintf(f, "<text x=\"%d\" y=\"%d\">%s</text>\n<text x=\"%d\" y=\"%d\">%s</text>\n",
			x + 32, y, states[s].label, x + 340, y,
			size_text(size, m->nr[s] << m->heap.page_shift));
	}
	y += LEGEND_ROW;
	fprintf(f, "<text x=\"%d\" y=\"%d\">A cell is %u page%s of %lu KiB; lowest address "
		"first, row by row.</text>\n", x, y, m->per_cell, m->per_cell == 1 ? "" : "s",
		(1UL << m->heap.page_shift) >> 10);
	if (m->nr_lost)
		fprintf(f, "<text x=\"%d\" y=\"%d\">%" PRIu64 " spans changed too fast to be "
			"drawn.</text>\n", x, y + LEGEND_ROW, m->nr_lost);
	if (!m->heap.check)
		fprintf(f, "<text x=\"%d\" y=\"%d\">check:off: cached objects count as live."
			"</text>\n", x, y + 2 * LEGEND_ROW);
	return bottom + LEGEND_ROW;
}

/* Text of others between tags. */
static void print_escaped(FILE *f, const char *s)
{
	for (; *s; s++)
		if (*s < ' ' || *s > '~' || strchr("<>&\"", *s))
			fprintf(f, "&#%u;", *s < ' ' || *s > '~' ? '?' : *s);
		else
			fputc(*s, f);
}

static void print_svg(const struct map *m, FILE *f, const char *body, size_t size)
{
	int top = MARGIN + 50 + LEGEND_ROW * (NR_BANDS + 1);
	char text[SIZE_TEXT];

	fprintf(f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%" PRIu64 "\" "
		"font-family=\"sans-serif\" font-size=\"12\">\n<title>heaparena: map of a heap"
		"</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fafafa\"/>\n",
		WIDTH + 2 * MARGIN, top + m->y + MARGIN);
	fprintf(f, "<text x=\"%d\" y=\"%d\" font-size=\"18\">Heap of ", MARGIN, MARGIN + 12);
	print_escaped(f, m->t->command[0] ? m->t->command : m->t->name);
	if (m->t->pid)
		fprintf(f, ", process %d", m->t->pid);
	fprintf(f, ": %s in spans, %" PRIu64 " arena%s</text>\n",
		size_text(text, m->nr[PAGE_SPAN] << m->heap.page_shift), m->heap.arenas.nr,
		m->heap.arenas.nr == 1 ? "" : "s");
	print_legend(m, f, MARGIN + 42);
	fprintf(f, "<g transform=\"translate(0,%d)\">\n", top);
	fwrite(body, 1, size, f);
	fputs("</g>\n</svg>\n", f);
}

/* Cells as large as the number of arenas allows. */
static void choose_scale(struct map *m)
{
	uint64_t nr = m->heap.arenas.nr, pages = m->heap.arenas.size >> m->heap.page_shift;

	m->per_cell = 1;
	m->cell_w = m->cell_h = nr <= 4 ? 8 : 4;
	/* some 250000 cells, and a row an arena at least */
	while (nr * (pages / m->per_cell) > 1 << 18 &&
	       pages / m->per_cell > WIDTH / m->cell_w)
		m->per_cell *= 2;
}

static int draw(struct map *m)
{
	size_t nr_pages = m->heap.arenas.size >> m->heap.page_shift;
	struct page *pages = xalloc(nr_pages, sizeof(*pages));
	struct page_rest rest = { 0 };
	int ret = 0;

	choose_scale(m);
	for (unsigned int b = 0; b < NR_BANDS; b++)
		for (unsigned int s = 0; s < NR_STEPS; s++)
			m->palette[b][s] = colour_of(b, s);
	for (uint64_t i = 0; i < m->heap.arenas.nr && !ret; i++) {
		if (!pages_read(&m->heap, i, pages, &rest, &m->nr_lost) || target_gone(m->t))
			ret = target_failed(m->t, "the heap");
		if (!ret) {
			count_pages(m, pages, nr_pages);
			draw_arena(m, &m->heap.arenas.a[i], pages, nr_pages);
		}
	}
	free(pages);
	return ret;
}

static int save(const struct map *m, const char *path, const char *body, size_t size)
{
	FILE *f = is_stdout(path) ? stdout : fopen(path, "we");
	bool bad;

	if (!f)
		return fail("%s: %s", path, strerror(errno));
	print_svg(m, f, body, size);
	if (f == stdout)
		return 0;
	bad = ferror(f);
	bad |= fclose(f) != 0;
	return bad ? fail("%s: cannot write", path) : 0;
}

static int map(struct target *t, const char *path)
{
	struct map m = { .t = t };
	struct layout l;
	char *body = NULL;
	size_t size = 0;
	int ret;

	ret = layout_read(t, &l);
	if (!ret)
		ret = heap_read(t, &l, &m.heap);
	if (ret)
		return ret;
	m.body = open_memstream(&body, &size);
	ret = m.body ? draw(&m) : fail("out of memory");
	if (m.body && fclose(m.body) && !ret)
		ret = fail("out of memory");
	if (!ret)
		ret = save(&m, path, body, size);
	free(body);
	heap_free(&m.heap);
	return ret;
}

int cmd_map(int argc, char **argv)
{
	const char *path = NULL;
	struct target t;
	int c, ret;

	while ((c = getopt(argc, argv, "o:")) != -1) {
		if (c != 'o')
			return EXIT_USAGE;
		path = optarg;
	}
	if (argc != optind + 1 || !path)
		return EXIT_USAGE;
	ret = target_open(&t, argv[optind]);
	if (ret)
		return ret;
	ret = map(&t, path);
	target_close(&t);
	return ret;
}
