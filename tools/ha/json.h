/* SPDX-License-Identifier: MIT */
/* Figures as JSON, and back. The names are those of the fields. */
#ifndef HA_JSON_H
#define HA_JSON_H

#include <jansson.h>
#include <stdio.h>

#include "figures.h"

/* One object, to be freed with json_decref(). */
json_t *json_of_figures(const struct figures *f);
/* Written to stdout with a newline, and freed; the exit status. */
int json_print(json_t *json);
/*
 * A file that looks like what `ha stat --json` or ha_stats_json() wrote, open where that
 * begins, since a pipe is read once; or NULL.
 */
FILE *json_begin(const char *path);
/* Figures from it, which is closed; 0, or the exit status with one line said. */
int figures_of_json(const char *path, FILE *from, struct figures *f);

#endif /* HA_JSON_H */
