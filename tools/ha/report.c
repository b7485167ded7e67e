// SPDX-License-Identifier: MIT
/* A heap profile in words: by function, by stack, by lifetime. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "text.h"

struct row {
	const char *name;
	int64_t flat, flat_objects, total, total_objects;
	int64_t life[3], alloc, live;
	size_t seen;			/* by which sample last: recursion counts once */
};

struct rows {
	struct row *row;
	size_t nr, room;
};

static int row_by_name(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->name, ((const struct row *)b)->name);
}

static int by_flat(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->flat != y->flat)
		return x->flat < y->flat ? 1 : -1;
	return x->total < y->total ? 1 : x->total > y->total ? -1 : row_by_name(a, b);
}

/* All functions of all samples, sorted by name, each once. */
static struct rows all_functions(const struct profile *p)
{
	const struct frame *frames[MAX_FRAMES];
	struct rows r = { NULL };
	size_t n, kept = 0;

	for (size_t i = 0; i < p->nr_samples; i++) {
		n = sample_frames(&p->samples[i], frames, MAX_FRAMES);
		if (r.nr + n + 1 > r.room) {
			r.room = 2 * r.room + n + 1;
			r.row = realloc(r.row, r.room * sizeof(*r.row));
			if (!r.row)
				exit(fail("out of memory"));
		}
		for (size_t k = 0; k < n; k++)
			r.row[r.nr++] = (struct row){ .name = frames[k]->function };
	}
	if (r.nr)
		qsort(r.row, r.nr, sizeof(*r.row), row_by_name);
	for (size_t i = 0; i < r.nr; i++)
		if (!kept || strcmp(r.row[kept - 1].name, r.row[i].name))
			r.row[kept++] = r.row[i];
	r.nr = kept;
	return r;
}

static struct row *find_row(struct rows *r, const char *name)
{
	const struct row key = { .name = name };

	return bsearch(&key, r->row, r->nr, sizeof(key), row_by_name);
}

static void print_head(const struct profile *p, const struct view *v, int64_t bytes,
		       int64_t objects)
{
	char a[SIZE_TEXT], b[SIZE_TEXT];

	printf("%s: %s in %" PRId64 " objects, by a sample in %s over %.1f s\n", v->title,
	       size_text(a, bytes), objects, size_text(b, p->period), p->duration_ns / 1e9);
	if (p->comment)
		printf("%s\n", p->comment);
}

static double percent(int64_t part, int64_t all)
{
	return all ? 100.0 * part / all : 0;
}

void report_top(const struct profile *p, const struct view *v, size_t nr)
{
	const struct frame *frames[MAX_FRAMES];
	struct rows r = all_functions(p);
	int64_t bytes = 0, objects = 0;

	for (size_t i = 0; i < p->nr_samples; i++) {
		const struct sample *s = &p->samples[i];
		size_t n = sample_frames(s, frames, MAX_FRAMES);

		bytes += s->value[v->bytes];
		objects += s->value[v->objects];
		for (size_t k = 0; k < n; k++) {
			struct row *row = find_row(&r, frames[k]->function);

			if (!k) {
				row->flat += s->value[v->bytes];
				row->flat_objects += s->value[v->objects];
			}
			if (row->seen != i + 1) {
				row->total += s->value[v->bytes];
				row->total_objects += s->value[v->objects];
			}
			row->seen = i + 1;
		}
	}
	if (r.nr)
		qsort(r.row, r.nr, sizeof(*r.row), by_flat);
	print_head(p, v, bytes, objects);
	printf("%12s %6s %11s %12s %6s  %s\n", "own", "%", "objects", "with callees", "%",
	       "function");
	for (size_t i = 0; i < r.nr && i < nr; i++) {
		const struct row *row = &r.row[i];
		char a[SIZE_TEXT], b[SIZE_TEXT];

		if (!row->total)
			continue;
		printf("%12s %5.1f%% %11" PRId64 " %12s %5.1f%%  %s\n", size_text(a, row->flat),
		       percent(row->flat, bytes), row->flat_objects,
		       size_text(b, row->total), percent(row->total, bytes), row->name);
	}
}

void report_collapsed(const struct profile *p, int value)
{
	const struct frame *frames[MAX_FRAMES];

	for (size_t i = 0; i < p->nr_samples; i++) {
		const struct sample *s = &p->samples[i];
		size_t n = sample_frames(s, frames, MAX_FRAMES);

		if (!s->value[value])
			continue;
		if (!n)
			printf("?");
		while (n--)
			printf("%s%s", frames[n]->function, n ? ";" : "");
		printf(" %" PRId64 "\n", s->value[value]);
	}
}

static int by_alloc(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return x->alloc < y->alloc ? 1 : x->alloc > y->alloc ? -1 : row_by_name(a, b);
}

int report_lifetimes(const struct profile *p, size_t nr)
{
	static const char *const names[] = { "freed_10ms", "freed_1s", "freed_later" };
	int alloc = profile_type(p, "alloc_objects"), live = profile_type(p, "inuse_objects");
	const struct frame *frames[MAX_FRAMES];
	bool known = alloc >= 0 && live >= 0;
	int life[ARRAY_SIZE(names)];
	struct rows r;

	for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
		life[k] = profile_type(p, names[k]);
		known = known && life[k] >= 0;
	}
	if (!known)
		return fail("%s: does not tell how long objects lived", p->path);
	r = all_functions(p);
	for (size_t i = 0; i < p->nr_samples; i++) {
		const struct sample *s = &p->samples[i];
		struct row *row;

		if (!sample_frames(s, frames, MAX_FRAMES))
			continue;
		row = find_row(&r, frames[0]->function);
		row->alloc += s->value[alloc];
		row->live += s->value[live];
		for (size_t k = 0; k < ARRAY_SIZE(names); k++)
			row->life[k] += s->value[life[k]];
	}
	if (r.nr)
		qsort(r.row, r.nr, sizeof(*r.row), by_alloc);
	printf("%12s %8s %8s %8s %8s  %s\n", "objects", "< 10 ms", "< 1 s", "later", "live",
	       "function");
	for (size_t i = 0; i < r.nr && i < nr; i++) {
		const struct row *row = &r.row[i];
		int64_t all = row->life[0] + row->life[1] + row->life[2] + row->live;

		if (!all)
			continue;
		printf("%12" PRId64 " %7.1f%% %7.1f%% %7.1f%% %7.1f%%  %s\n", row->alloc,
		       percent(row->life[0], all), percent(row->life[1], all),
		       percent(row->life[2], all), percent(row->live, all), row->name);
	}
	return 0;
}

static int by_value(const void *a, const void *b, void *arg)
{
	const struct sample *const *x = a, *const *y = b;
	int value = *(int *)arg;
	int64_t i = (*x)->value[value], j = (*y)->value[value];

	return i < j ? 1 : i > j ? -1 : 0;
}

static void print_frame(FILE *f, size_t nr, const struct frame *frame)
{
	fprintf(f, "    #%-2zu %s", nr, frame->function);
	if (frame->file)
		fprintf(f, "  %s:%u", frame->file, frame->line);
	fputc('\n', f);
}

int64_t report_stacks(const struct profile *p, const struct view *v, size_t nr, FILE *f)
{
	const struct sample **order = xalloc(p->nr_samples, sizeof(*order));
	const struct frame *frames[MAX_FRAMES];
	int value = v->bytes;
	size_t n = 0, shown;
	int64_t all = 0;

	for (size_t i = 0; i < p->nr_samples; i++) {
		all += p->samples[i].value[value];
		if (p->samples[i].value[value])
			order[n++] = &p->samples[i];
	}
	qsort_r(order, n, sizeof(*order), by_value, &value);
	shown = n < nr ? n : nr;
	for (size_t i = 0; i < shown; i++) {
		int64_t bytes = order[i]->value[value];
		size_t depth = sample_frames(order[i], frames, MAX_FRAMES);

		fprintf(f, "%" PRId64 " bytes in %" PRId64 " objects\n", bytes,
			order[i]->value[v->objects]);
		for (size_t k = 0; k < depth; k++)
			print_frame(f, k, frames[k]);
		fputc('\n', f);
	}
	if (shown < n)
		fprintf(f, "and %zu stacks more\n\n", n - shown);
	free(order);
	return all;
}
