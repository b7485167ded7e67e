/* SPDX-License-Identifier: MIT */
/*
 * The spans of one class and node that have room, ordered by fill.  See
 * lib/span_set.c; the mcentral lock protects a set.
 */
#ifndef _LIB_SPAN_SET_H
#define _LIB_SPAN_SET_H

#include "mspan.h"

#define SPAN_SET_LISTS		8

struct span_set {
	struct list_head lists[SPAN_SET_LISTS];	/* (l) by eighths of fill */
	uint32_t nonempty;			/* (l) bit i: lists[i] has a span */
	uint32_t nr_spans;			/* (l) */
};

void span_set_init(struct span_set *set);
void span_set_add(struct span_set *set, struct mspan *s);
void span_set_del(struct span_set *set, struct mspan *s);
/* After s->nr_alloc changed: move it where it belongs. */
void span_set_update(struct span_set *set, struct mspan *s);
/* The same, and in front of its list: who looks at some of each list meets it. */
void span_set_renew(struct span_set *set, struct mspan *s);
/* The span to allocate from, NULL when none has room; it stays in the set. */
struct mspan *span_set_pick(const struct span_set *set);

#endif /* _LIB_SPAN_SET_H */
