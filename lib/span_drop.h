/* SPDX-License-Identifier: MIT */
/*
 * Kernel pages inside spans that are in use, given back a few dozen runs at a time.
 *
 * Who fills a batch holds the lock of each span in it until it is flushed, so that
 * nobody is given an object of a page that is about to go.
 */
#ifndef _LIB_SPAN_DROP_H
#define _LIB_SPAN_DROP_H

#include "heap_arena.h"
#include "mspan.h"
#include "vm.h"

struct span_drop {
	struct iovec range[VM_RETURN_MAX];
	struct mspan *span[VM_RETURN_MAX];
	unsigned int nr;
	size_t bytes;			/* gone so far */
	size_t bytes_of[MAX_NODES];	/* of these, on each node */
	bool all;
	bool refused;			/* by the kernel: more is not tried */
};

/* @all: also where a huge page would be split for little. */
void span_drop_init(struct span_drop *d, bool all);
/* All runs of pages of @s that hold no object out of it; may flush on the way. */
void span_drop_add(struct span_drop *d, struct mspan *s);
/* Give back what was added; before the locks are released. */
void span_drop_flush(struct span_drop *d);

#endif /* _LIB_SPAN_DROP_H */
