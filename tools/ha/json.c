// SPDX-License-Identifier: MIT
/*
 * JSON by jansson: what the library prints of itself (ha_stats_json()), and more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "text.h"

/* What is read of a file that never ends: of its beginning, and in all. */
#define BLANKS_MAX	4096
#define JSON_MAX	(64UL << 20)
/* Of any build; they are compared each with each. */
#define MAX_CLASSES	4096

static json_t *json_row(const struct field *f, const void *from, const char *name)
{
	json_t *o = json_object();

	if (name)
		json_object_set_new(o, "name", json_string(name));
	for (; f->name; f++)
		json_object_set_new(o, f->name, json_integer(field_of(f, from)));
	return o;
}

static json_t *json_rows(const struct field *f, const void *rows, size_t nr, size_t size,
			 size_t name_offset)
{
	json_t *list = json_array();

	for (size_t i = 0; i < nr; i++) {
		const char *row = (const char *)rows + i * size;

		json_array_append_new(list, json_row(f, row, name_offset ?
						     row + name_offset : NULL));
	}
	return list;
}

json_t *json_of_figures(const struct figures *f)
{
	json_t *o = json_object();

	json_object_set_new(o, "heaparena", json_integer(1));
	json_object_set_new(o, "pid", json_integer(f->pid));
	json_object_set_new(o, "command", json_string(f->command));
	json_object_set_new(o, "version", json_string(f->version));
	json_object_set_new(o, "arch", json_string(f->arch));
	json_object_set_new(o, "settled", json_boolean(f->settled));
	json_object_set_new(o, "totals", json_row(total_fields, &f->totals, NULL));
	if (f->live)
		json_object_set_new(o, "process", json_row(process_fields, &f->process, NULL));
	json_object_set_new(o, "nodes", json_rows(node_fields, f->nodes, f->nr_nodes,
						  sizeof(*f->nodes), 0));
	json_object_set_new(o, "classes", json_rows(class_fields, f->classes, f->nr_classes,
						    sizeof(*f->classes), 0));
	json_object_set_new(o, "caches", json_rows(cache_fields, f->caches, f->nr_caches,
						   sizeof(*f->caches),
						   offsetof(struct cache_figures, name)));
	json_object_set_new(o, "heaps", json_rows(heap_fields, f->heaps, f->nr_heaps,
						  sizeof(*f->heaps),
						  offsetof(struct heap_figures, name)));
	return o;
}

int json_print(json_t *json)
{
	int err = json_dumpf(json, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);

	json_decref(json);
	putchar('\n');
	/* main() looks whether all was written */
	return err && !ferror(stdout) ? fail("out of memory") : 0;
}

/*
 * Back.
 */

static void take_row(const json_t *o, const struct field *f, void *to)
{
	for (; f->name; f++) {
		json_t *v = json_object_get(o, f->name);

		if (json_is_integer(v))
			*field_in(f, to) = json_integer_value(v);
	}
}

static void take_name(const json_t *o, char *to)
{
	const char *name = json_string_value(json_object_get(o, "name"));

	snprintf(to, NAME_SIZE, "%s", name ? name : "");
	clean_text(to);
}

/* An array of the file as rows; *nr of them. */
static void *take_rows(const json_t *o, const char *key, const struct field *f, size_t size,
		       size_t name_offset, size_t *nr)
{
	json_t *list = json_object_get(o, key);
	char *rows;

	*nr = json_array_size(list);
	rows = xalloc(*nr, size);
	for (size_t i = 0; i < *nr; i++) {
		take_row(json_array_get(list, i), f, rows + i * size);
		if (name_offset)
			take_name(json_array_get(list, i), rows + i * size + name_offset);
	}
	return rows;
}

static void take_text(const json_t *o, const char *key, char *to, size_t size)
{
	const char *s = json_string_value(json_object_get(o, key));

	snprintf(to, size, "%s", s ? s : "");
	clean_text(to);
}

struct input {
	FILE *f;
	size_t left;			/* of JSON_MAX */
};

static size_t read_some(void *buf, size_t size, void *arg)
{
	struct input *in = arg;
	size_t n = fread(buf, 1, size < in->left ? size : in->left, in->f);

	in->left -= n;
	return n || (in->left && !ferror(in->f)) ? n : (size_t)-1;
}

int figures_of_json(const char *path, FILE *from, struct figures *f)
{
	struct input in = { from, JSON_MAX };
	json_error_t err;
	json_t *o = json_load_callback(read_some, &in, 0, &err);

	fclose(from);
	*f = (struct figures){ 0 };
	if (!o && !in.left)
		return fail("%s: is longer than any output of ha stat --json", path);
	if (!o)
		return fail("%s: neither a core file nor JSON: %s", path, err.text);
	if (json_integer_value(json_object_get(o, "heaparena")) != 1 ||
	    !json_is_object(json_object_get(o, "totals")) ||
	    !json_is_array(json_object_get(o, "classes")) ||
	    json_array_size(json_object_get(o, "classes")) > MAX_CLASSES) {
		json_decref(o);
		return fail("%s: not the output of ha stat --json", path);
	}
	f->pid = json_integer_value(json_object_get(o, "pid"));
	f->live = json_is_object(json_object_get(o, "process"));
	take_text(o, "command", f->command, sizeof(f->command));
	take_text(o, "version", f->version, sizeof(f->version));
	take_text(o, "arch", f->arch, sizeof(f->arch));
	take_row(json_object_get(o, "totals"), total_fields, &f->totals);
	take_row(json_object_get(o, "process"), process_fields, &f->process);
	f->nodes = take_rows(o, "nodes", node_fields, sizeof(*f->nodes), 0, &f->nr_nodes);
	f->classes = take_rows(o, "classes", class_fields, sizeof(*f->classes), 0,
			       &f->nr_classes);
	f->caches = take_rows(o, "caches", cache_fields, sizeof(*f->caches),
			      offsetof(struct cache_figures, name), &f->nr_caches);
	f->heaps = take_rows(o, "heaps", heap_fields, sizeof(*f->heaps),
			     offsetof(struct heap_figures, name), &f->nr_heaps);
	json_decref(o);
	return 0;
}

FILE *json_begin(const char *path)
{
	FILE *f = fopen(path, "re");
	int c = EOF;

	for (int i = 0; f && i < BLANKS_MAX && (c = getc(f)) > 0 && strchr(" \t\r\n", c); i++)
		;
	if (f && c == '{' && ungetc(c, f) == c)
		return f;
	if (f)
		fclose(f);
	return NULL;
}
