/* SPDX-License-Identifier: MIT */
/*
 * Metadata objects of one size, and the bump allocator they come from.
 *
 *	meta_alloc        zeroed bytes, never given back, any thread
 *	meta_alloc_slab   whole kernel pages, whose owner may give them back
 *	fixalloc          a LIFO of freed objects before fresh ones; the owner locks
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

/*
 * Whole kernel pages that stay mapped, and that the owner may give back to the kernel
 * and use again: @size, a power of two, at a multiple of it.  They are zero, and on no
 * huge page.  The owner counts what is in use of them by meta_count().
 */
void *meta_alloc_slab(size_t size);
/*
 * The same for states, dense and on huge pages as above; any number of whole pages.
 * *advised: what meta_part_goes() wants, NULL when they are on no huge page.
 */
void *meta_alloc_slab_states(size_t size, uint32_t **advised);
/*
 * A part of a block of states, at @states, is about to be given back: from here on
 * nothing makes a huge page of it.  Any thread.
 */
void meta_part_goes(void *states, uint32_t *advised);
/* What slabs have in use changed; modulo 2^64, so that minus is taken off again. */
void meta_count(size_t bytes);
size_t meta_bytes(void);
bool meta_fork_held(void);
void meta_fork_prepare(bool nested);
void meta_fork_done(void);

void fixalloc_init(struct fixalloc *f, size_t size);
/* Contents: zero when fresh, otherwise as freed.  NULL when out of memory. */
void *fixalloc_alloc(struct fixalloc *f);
void fixalloc_free(struct fixalloc *f, void *obj);

#endif /* _LIB_FIXALLOC_H */
