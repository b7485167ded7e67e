/* SPDX-License-Identifier: MIT */
/*
 * The figures of a heap that is read from outside: those of ha_stats_get() and its
 * kin, under the same names, and what /proc knows beside. See tools/ha/figures.c.
 */
#ifndef HA_FIGURES_H
#define HA_FIGURES_H

#include "layout.h"

#define NAME_SIZE	64

/* Each of uint64_t alone, so that tables of fields can do with names and offsets. */
struct totals {
	uint64_t mapped, in_use, free, returned, live, cached, large, metadata, reserved;
	uint64_t nr_spans, nr_spans_total, nr_large_live, nr_large;
	uint64_t nr_refill, nr_refills, nr_flushes;
	uint64_t soft_limit, hard_limit, nr_assists, assist_bytes, nr_limited;
	uint64_t nr_nodes, rseq;
};

struct node_figures {
	uint64_t node, mapped, in_use, free, returned, out, large, nr_spans;
};

struct class_figures {
	uint64_t class_no, object_size, span_size, nr_spans, nr_objects, nr_live, nr_cached;
	uint64_t nr_refill, nr_refills, nr_flushes;
};

struct heap_figures {
	uint64_t limit, mapped, live, nr_live, nr_allocs, nr_frees, nr_tiny;
	char name[NAME_SIZE];
};

struct cache_figures {
	uint64_t object_size, usable, nr_live, nr_kept, nr_allocs, nr_frees, nr_constructed,
		 nr_destroyed;
	char name[NAME_SIZE];
};

/* Of a live process; bytes, and counts since its start. */
struct process_figures {
	uint64_t rss, rss_peak, swap, heap_rss, minor_faults, major_faults, cpu_ms, threads;
};

struct figures {
	pid_t pid;
	bool live;		/* then process is filled in */
	bool check;		/* misuse detection is on */
	bool settled;		/* pages were read while nobody changed them */
	char command[64];
	char version[17];
	char arch[17];
	struct totals totals;
	struct process_figures process;
	struct node_figures *nodes;
	struct class_figures *classes;	/* those that have ever been used */
	struct heap_figures *heaps;
	struct cache_figures *caches;
	size_t nr_nodes, nr_classes, nr_heaps, nr_caches;
};

/* Adds to *p; false when the memory cannot be read. */
bool process_read(struct target *t, const struct layout *l, struct process_figures *p);

/* 0, or the exit status with one line said. */
int figures_read(struct target *t, const struct layout *l, struct figures *f);
void figures_free(struct figures *f);

/* target_open(), layout_read() and figures_read() of @what in one. */
int figures_of(const char *what, struct figures *f);

/* Names and places of members, for every form of output. */
struct field {
	const char *name;
	size_t offset;
};

extern const struct field total_fields[], process_fields[], node_fields[], class_fields[],
	heap_fields[], cache_fields[];		/* each ends with a NULL name */

static inline uint64_t field_of(const struct field *f, const void *from)
{
	return *(const uint64_t *)((const char *)from + f->offset);
}

static inline uint64_t *field_in(const struct field *f, void *to)
{
	return (uint64_t *)((char *)to + f->offset);
}

/* Tenths of a percent; 0 of nothing. */
static inline unsigned int per_mille(uint64_t part, uint64_t whole)
{
	return whole ? (unsigned int)((double)part / whole * 1000 + 0.5) : 0;
}

#endif /* HA_FIGURES_H */
