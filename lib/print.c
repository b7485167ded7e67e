// SPDX-License-Identifier: MIT
/*
 * Statistics in words: the same figures as text for people and as JSON, to a file
 * descriptor or into memory.  Nothing here allocates, and no lock is held across a
 * write: it can be had from a process that is out of memory.
 *
 *	{ "heaparena": 1, "pid": N, "totals": {...},
 *	  "nodes": [{...}], "classes": [{...}], "caches": [{...}], "heaps": [{...}] }
 *
 * Members are named as those of the structs in heaparena.h.  Classes without a
 * span are left out.
 *
 * Each table is a list of fields: name and place in its struct.  Both forms are
 * made from it, so that neither can lack what the other has.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <util/align.h>
#include <util/line.h>
#include "malloc.h"
#include "numa.h"
#include "objcache.h"
#include "print.h"
#include "sizeclasses.h"
#include "stats.h"
#include "uheap.h"

/* Where it goes: fd, or a buffer when fd < 0. */
struct out {
	int fd;
	int err;		/* errno of the first write that failed */
	char *buf;
	size_t size;
	size_t len;		/* of all so far, whether or not it fit */
	struct line line;
};

struct field {
	const char *name;
	size_t off;
	bool is_int;		/* unsigned int, else size_t */
};

#define SIZE_FIELD(type, f)	{ #f, offsetof(type, f), false }
#define INT_FIELD(type, f)	{ #f, offsetof(type, f), true }

#define S(f)	SIZE_FIELD(struct ha_stats, f)
static const struct field total_fields[] = {
	S(mapped), S(in_use), S(free), S(returned), S(live), S(cached), S(large),
	S(metadata), S(reserved), S(nr_spans), S(nr_spans_total), S(nr_large_live),
	S(nr_large), S(nr_refill), S(nr_refills), S(nr_flushes), S(soft_limit),
	S(hard_limit), S(nr_assists), S(assist_bytes), S(nr_limited),
	INT_FIELD(struct ha_stats, nr_nodes), INT_FIELD(struct ha_stats, rseq),
};
#undef S

#define N(f)	SIZE_FIELD(struct ha_node_stats, f)
static const struct field node_fields[] = {
	N(mapped), N(in_use), N(free), N(returned), N(out), N(large), N(nr_spans),
};
#undef N

#define C(f)	SIZE_FIELD(struct ha_class_stats, f)
static const struct field class_fields[] = {
	C(object_size), C(span_size), C(nr_spans), C(nr_objects), C(nr_live),
	C(nr_cached), C(nr_refill), C(nr_refills), C(nr_flushes),
};
#undef C

#define K(f)	SIZE_FIELD(struct ha_cache_stats, f)
static const struct field cache_fields[] = {
	K(object_size), K(usable), K(nr_live), K(nr_kept), K(nr_allocs), K(nr_frees),
	K(nr_constructed), K(nr_destroyed),
};
#undef K

#define H(f)	SIZE_FIELD(struct ha_heap_stats, f)
static const struct field heap_fields[] = {
	H(limit), H(mapped), H(live), H(nr_live), H(nr_allocs), H(nr_frees), H(nr_tiny),
};
#undef H

static void out_write(struct out *o, const char *s, size_t n)
{
	while (n && !o->err) {
		ssize_t done = write(o->fd, s, n);

		if (done < 0 && errno != EINTR)
			o->err = errno;
		else if (done == 0)
			o->err = EIO;
		else if (done > 0) {
			s += done;
			n -= done;
		}
	}
}

/* What the line holds goes on its way; it was kept shorter than it can be. */
static void out_flush(struct out *o)
{
	struct line *l = &o->line;

	if (o->fd >= 0)
		out_write(o, l->buf, l->len);
	else if (o->len < o->size)
		memcpy(o->buf + o->len, l->buf, min_size(l->len, o->size - o->len));
	o->len += l->len;
	line_start(l);
}

/* Room for one field. */
static struct line *out_line(struct out *o)
{
	if (o->line.len > sizeof(o->line.buf) / 2)
		out_flush(o);
	return &o->line;
}

static void out_str(struct out *o, const char *s)
{
	line_str(out_line(o), s);
}

static void out_pad(struct out *o, size_t n)
{
	struct line *l = out_line(o);

	while (n--)
		line_char(l, ' ');
}

static size_t field_value(const struct field *f, const void *from)
{
	const char *p = (const char *)from + f->off;

	return f->is_int ? *(const unsigned int *)p : *(const size_t *)p;
}

static size_t nr_digits(size_t v)
{
	size_t n = 1;

	while (v /= 10)
		n++;
	return n;
}

/* One struct, as members of a JSON object that is open already. */
static void json_fields(struct out *o, const struct field *f, size_t nr,
			const void *from, bool first)
{
	for (size_t i = 0; i < nr; i++) {
		struct line *l = out_line(o);

		line_str(l, first && !i ? "\"" : ",\"");
		line_str(l, f[i].name);
		line_str(l, "\":");
		line_dec(l, field_value(&f[i], from));
	}
}

/* A row of a table: figures below their names, to the right. */
static size_t column_width(const struct field *f)
{
	return max_size(strlen(f->name) + 2, 12);
}

static void text_names(struct out *o, const char *what, const struct field *f, size_t nr)
{
	out_str(o, "\n");
	out_str(o, what);
	out_pad(o, max_size(strlen(what), 16) - strlen(what));
	for (size_t i = 0; i < nr; i++) {
		out_pad(o, column_width(&f[i]) - strlen(f[i].name));
		out_str(o, f[i].name);
	}
	out_str(o, "\n");
}

static void text_row(struct out *o, const char *name, const struct field *f, size_t nr,
		     const void *from)
{
	size_t len = strlen(name);

	line_mem(out_line(o), name, len);
	out_pad(o, max_size(len, 16) - len);
	for (size_t i = 0; i < nr; i++) {
		size_t v = field_value(&f[i], from), width = column_width(&f[i]);

		out_pad(o, max_size(width, nr_digits(v) + 1) - nr_digits(v));
		line_dec(out_line(o), v);
	}
	out_str(o, "\n");
}

/* A table of numbered rows in either form: begin, a row each, end. */
struct table {
	const char *name;		/* of the table */
	const char *key;		/* of the number, NULL where rows have names */
	const struct field *fields;
	size_t nr;
	unsigned int rows;
};

static void table_begin(struct out *o, const struct table *t, bool json)
{
	if (!json) {
		text_names(o, t->name, t->fields, t->nr);
		return;
	}
	out_str(o, ",\"");
	out_str(o, t->name);
	out_str(o, "\":[");
}

static void table_row(struct out *o, struct table *t, bool json, unsigned int number,
		      const void *from)
{
	if (json) {
		out_str(o, t->rows ? ",{\"" : "{\"");
		out_str(o, t->key);
		out_str(o, "\":");
		line_dec(out_line(o), number);
		json_fields(o, t->fields, t->nr, from, false);
		out_str(o, "}");
	} else {
		struct line l;

		line_start(&l);
		line_str(&l, t->key);
		line_char(&l, ' ');
		line_dec(&l, number);
		l.buf[l.len] = '\0';
		text_row(o, l.buf, t->fields, t->nr, from);
	}
	t->rows++;
}

/* A row that has a name, in which no character needs care. */
static void table_named(struct out *o, struct table *t, bool json, const char *name,
			const void *from)
{
	if (json) {
		out_str(o, t->rows ? ",{\"name\":\"" : "{\"name\":\"");
		out_str(o, name);
		out_str(o, "\"");
		json_fields(o, t->fields, t->nr, from, false);
		out_str(o, "}");
	} else {
		text_row(o, name, t->fields, t->nr, from);
	}
	t->rows++;
}

static void table_end(struct out *o, bool json)
{
	if (json)
		out_str(o, "]");
}

static void print_totals(struct out *o, bool json)
{
	struct ha_stats st;

	stats_collect(&st);
	if (json) {
		out_str(o, "{\"heaparena\":1,\"pid\":");
		line_dec(out_line(o), getpid());
		out_str(o, ",\"totals\":{");
		json_fields(o, total_fields, ARRAY_SIZE(total_fields), &st, true);
		out_str(o, "}");
		return;
	}
	out_str(o, "heaparena " HEAPARENA_VERSION ", process ");
	line_dec(out_line(o), getpid());
	out_str(o, "\n");
	for (size_t i = 0; i < ARRAY_SIZE(total_fields); i++) {
		const struct field *f = &total_fields[i];
		size_t v = field_value(f, &st);

		out_str(o, f->name);
		out_pad(o, 36 - min_size(35, strlen(f->name) + nr_digits(v)));
		line_dec(out_line(o), v);
		out_str(o, "\n");
	}
}

static void print_nodes(struct out *o, bool json)
{
	struct table t = { "nodes", "node", node_fields, ARRAY_SIZE(node_fields), 0 };
	struct ha_node_stats st;

	table_begin(o, &t, json);
	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		stats_node_get(n, &st);
		table_row(o, &t, json, n, &st);
	}
	table_end(o, json);
}

static void print_classes(struct out *o, bool json)
{
	struct table t = { "classes", "class", class_fields, ARRAY_SIZE(class_fields), 0 };
	struct ha_class_stats st;

	table_begin(o, &t, json);
	for (unsigned int sc = 0; sc < NR_SIZE_CLASSES; sc++) {
		stats_class(sc, &st);
		if (st.nr_spans)
			table_row(o, &t, json, sc, &st);
	}
	table_end(o, json);
}

static void print_caches(struct out *o, bool json)
{
	struct table t = { "caches", NULL, cache_fields, ARRAY_SIZE(cache_fields), 0 };
	struct ha_cache *c = objcache_next(NULL);
	struct ha_cache_stats st;
	char name[OBJCACHE_NAME];

	if (!c && !json)
		return;
	table_begin(o, &t, json);
	for (; c; c = objcache_next(c)) {
		objcache_stat(c, &st);
		objcache_name(c, name);
		table_named(o, &t, json, name, &st);
	}
	table_end(o, json);
}

static void print_heaps(struct out *o, bool json)
{
	struct table t = { "heaps", NULL, heap_fields, ARRAY_SIZE(heap_fields), 0 };
	struct ha_heap *h = uheap_next(NULL);
	struct ha_heap_stats st;
	char name[UHEAP_NAME];

	if (!h && !json)
		return;
	table_begin(o, &t, json);
	for (; h; h = uheap_next(h)) {
		uheap_stat(h, &st);
		uheap_name(h, name);
		table_named(o, &t, json, name, &st);
	}
	table_end(o, json);
}

static void print_all(struct out *o, bool json)
{
	line_start(&o->line);
	print_totals(o, json);
	print_nodes(o, json);
	print_classes(o, json);
	print_caches(o, json);
	print_heaps(o, json);
	out_str(o, json ? "}\n" : "");
	out_flush(o);
}

int print_to_fd(enum ha_format format, int fd)
{
	struct out o = { .fd = fd };
	int saved = errno;

	print_all(&o, format == HA_FORMAT_JSON);
	errno = saved;
	return o.err;
}

static int stats_to_fd(enum ha_format format, int fd)
{
	int err;

	if (!heap_ready())
		return -1;
	err = fd < 0 ? EBADF : print_to_fd(format, fd);
	if (err)
		errno = err;
	return err ? -1 : 0;
}

__export int ha_stats_text(int fd)
{
	return stats_to_fd(HA_FORMAT_TEXT, fd);
}

__export int ha_stats_json(int fd)
{
	return stats_to_fd(HA_FORMAT_JSON, fd);
}

__export size_t ha_stats_format(enum ha_format format, char *buf, size_t size)
{
	struct out o = { .fd = -1, .buf = buf, .size = size ? size - 1 : 0 };

	if (format != HA_FORMAT_TEXT && format != HA_FORMAT_JSON) {
		errno = EINVAL;
		return 0;
	}
	if (!heap_ready())
		return 0;
	print_all(&o, format == HA_FORMAT_JSON);
	if (size)
		buf[min_size(o.len, size - 1)] = '\0';
	return o.len;
}
