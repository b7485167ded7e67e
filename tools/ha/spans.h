/* SPDX-License-Identifier: MIT */
/*
 * Arenas, pages and spans of a heap that is read from outside. See tools/ha/spans.c.
 */
#ifndef HA_SPANS_H
#define HA_SPANS_H

#include "layout.h"

struct arena {
	uint64_t base;
	uint64_t at;		/* address of its description */
	uint64_t reserved;	/* bytes from base on */
	uint64_t nid;
};

struct arenas {
	struct arena *a;	/* by address */
	uint64_t nr;
	uint64_t size;		/* bytes of address space of each */
};

/* What a heap is like as a whole. */
struct heap {
	struct target *t;
	const struct layout *l;
	struct arenas arenas;
	unsigned int nr_classes;
	unsigned int page_shift;
	uint64_t nr_nodes;
	bool check;		/* misuse detection is on: states tell who is live */
	struct {
		uint32_t size;	/* bytes an object; 0 for large */
		uint32_t nelems;
		uint32_t pages;
	} *classes;
};

/* A span as it was at one moment. */
struct span {
	uint64_t start;
	uint64_t nr_pages;
	uint64_t heap;		/* of the user's, 0 for none */
	uint32_t object_size;	/* bytes; 0: all of the span */
	uint32_t nelems;
	uint32_t nr_out;	/* live or cached */
	uint32_t nr_live;	/* without misuse detection: as nr_out */
	uint16_t sc;
	uint16_t nid;
	uint64_t states;	/* address of the first object's state, of one byte each */
	const uint8_t *live;	/* [nelems] 1: live */
};

/* False when the memory cannot be read. */
bool arenas_read(struct target *t, const struct layout *l, struct arenas *a);
void arenas_free(struct arenas *a);

/* 0, or the exit status with one line said. */
int heap_read(struct target *t, const struct layout *l, struct heap *h);
void heap_free(struct heap *h);

/*
 * @visit each span that begins in arena @i, by address. *nr_lost: those that never
 * stood still, added up. False when the memory cannot be read.
 */
bool heap_visit(struct heap *h, uint64_t i, void (*visit)(const struct span *s, void *arg),
		void *arg, uint64_t *nr_lost);

static inline uint64_t span_object_bytes(const struct heap *h, const struct span *s)
{
	return s->object_size ? s->object_size : s->nr_pages << h->page_shift;
}

#endif /* HA_SPANS_H */
