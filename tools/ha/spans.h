/* SPDX-License-Identifier: MIT */
/*
 * Arenas, pages and spans of a heap that is read from outside. See tools/ha/spans.c.
 */
#ifndef HA_SPANS_H
#define HA_SPANS_H

#include "layout.h"

struct arenas {
	uint64_t *base;		/* addresses, in order of creation */
	uint32_t *nid;
	uint64_t *at;		/* of their descriptions */
	uint64_t nr;
	uint64_t size;		/* bytes of address space of each */
};

/* False when the memory cannot be read. */
bool arenas_read(struct target *t, const struct layout *l, struct arenas *a);
void arenas_free(struct arenas *a);

#endif /* HA_SPANS_H */
