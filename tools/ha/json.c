// SPDX-License-Identifier: MIT
/*
 * JSON by jansson: what the library prints of itself (ha_stats_json()), and more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

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
	if (err || fflush(stdout) || ferror(stdout))
		return fail("cannot write");
	return 0;
}
