/* SPDX-License-Identifier: MIT */
/*
 * Metadata objects of one size, and the bump allocator they come from.
 *
 *	meta_alloc   zeroed bytes, never given back, any thread
 *	fixalloc     a LIFO of freed objects before fresh ones; the owner locks
 *
 * A freed object's first word is the list link; the rest keeps what was last
 * written (type-stable memory: a late reader sees an object of the same kind,
 * never unmapped memory).  After Go's src/runtime/mfixalloc.go.
 */
#ifndef _LIB_FIXALLOC_H
#define _LIB_FIXALLOC_H

#include <util/compiler.h>

#define FIXALLOC_BATCH		16	/* objects a chunk */

struct fixalloc {
	size_t size;		/* (c) bytes an object, multiple of 64 */
	void *list;		/* (l) freed objects */
	char *chunk;		/* (l) fresh bytes */
	size_t left;
	size_t nr_inuse;	/* (l) */
};

/* 64-byte aligned, zeroed; NULL when out of memory. */
void *meta_alloc(size_t size);
/*
 * The same from a region of its own: object states, which free() reads at random,
 * are kept dense there, on huge pages once there are many.  The address is a
 * multiple of what @size is a multiple of, 8 to 64.  The 8 bytes in front
 * belong to the caller too, who leaves the last 8 of @size alone in return.
 */
void *meta_alloc_states(size_t size);
/*
 * When the kernel has no address space left: zeroed memory of the heap's own to
 * go on with, for ever.  It goes to the region that has less.
 */
void meta_donate(void *chunk, size_t size);
size_t meta_bytes(void);
bool meta_fork_held(void);
void meta_fork_prepare(bool nested);
void meta_fork_done(void);

void fixalloc_init(struct fixalloc *f, size_t size);
/* Contents: zero when fresh, otherwise as freed.  NULL when out of memory. */
void *fixalloc_alloc(struct fixalloc *f);
void fixalloc_free(struct fixalloc *f, void *obj);

#endif /* _LIB_FIXALLOC_H */
