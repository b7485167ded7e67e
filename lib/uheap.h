/* SPDX-License-Identifier: MIT */
/*
 * Heaps of the user's (ha_heap_*): spans that belong to one heap alone and go back
 * whole.  See lib/uheap.c; the public functions are in lib/uheap_api.c.
 */
#ifndef _LIB_UHEAP_H
#define _LIB_UHEAP_H

#include <heaparena/heaparena.h>
#include "lock.h"
#include "mspan.h"

#define UHEAP_NAME		32
#define UHEAP_TINY_MAX		16	/* bytes; larger ones are ordinary objects */

struct ha_heap {
	struct ha_heap *next;		/* (c) all that were ever made */
	uint32_t used;			/* (a) 1 between create and destroy */
	uint32_t stripe;		/* (c) for ever: which lock it has */
	char name[UHEAP_NAME];		/* (l) constant while used */
	size_t limit;			/* (l) bytes of spans */
	size_t mapped;			/* (l) bytes of spans, and of those on their way */
	size_t live;			/* (l) bytes of objects */
	size_t large;			/* (l) of these, in spans of their own */
	size_t nr_live;			/* (l) */
	size_t nr_allocs;		/* (l) */
	size_t nr_frees;		/* (l) */
	size_t nr_tiny;			/* (l) */
	uint64_t seen;			/* the scavenger's: allocs and frees, last time */
	bool rested;			/* the same; the scavenger's */
	bool visited;			/* (l) all its spans, in this round */
	uint8_t round;			/* (l) never 0 once begun, which is a new span's */
	char *tiny;			/* (l) where the next tiny object goes */
	char *tiny_end;			/* (l) */
	struct list_head full;		/* (l) spans without room, and large ones */
	struct list_head partial[NR_SIZE_CLASSES];	/* (l) spans with room */
};

/* An empty heap; NULL when out of memory. */
struct ha_heap *uheap_get(const char *name, size_t limit);
/* Those in use, for walks: after @h, from NULL on; lock-free. */
struct ha_heap *uheap_next(struct ha_heap *h);
bool uheap_used(const struct ha_heap *h);

/* An object; NULL with ENOMEM.  @align: a power of two. */
void *uheap_alloc(struct ha_heap *h, size_t size, size_t align, bool zero);
/* One of at most UHEAP_TINY_MAX bytes, that lives as long as all of the heap. */
void *uheap_alloc_tiny(struct ha_heap *h, size_t size);
/*
 * Free the object at @addr, which is in a span of a heap: of @h, or whichever it is
 * when NULL.  Misuse is reported as that of @op.
 */
void uheap_free(const char *op, struct ha_heap *h, uintptr_t addr);
/* The size of the live object at @addr, and its heap; misuse when there is none. */
size_t uheap_object_size(const char *op, uintptr_t addr, struct ha_heap **h);

/* All spans go back; @last: and the heap with them. */
void uheap_reset(struct ha_heap *h, bool last);
void uheap_set_limit(struct ha_heap *h, size_t limit);
void uheap_stat(struct ha_heap *h, struct ha_heap_stats *st);
/* A copy, for who does not know that the heap stays in use: UHEAP_NAME bytes. */
void uheap_name(struct ha_heap *h, char *name);
/* Bytes of live objects of size classes, all heaps. */
size_t uheap_small_bytes(void);

/*
 * Whole free kernel pages inside partly used spans.  One caller at a time, but for
 * uheap_new_round(), after which all spans of the heap are visited once more.
 *
 * uheap_look: has the heap been at rest since the last look?  If not: a new round.
 * uheap_scavenge: give back pages in at most @nr_spans spans not visited in this
 * round; @all: also where that splits huge pages for little; *bytes: what went.  False when nothing was left to visit.
 */
void uheap_new_round(struct ha_heap *h);
bool uheap_look(struct ha_heap *h);
bool uheap_scavenge(struct ha_heap *h, unsigned int nr_spans, bool all, size_t *bytes);
/* Bytes given back inside spans of heaps, on one node. */
size_t uheap_dropped(unsigned int nid);

bool uheap_fork_held(void);
void uheap_fork_prepare(bool nested);
void uheap_fork_done(void);

#endif /* _LIB_UHEAP_H */
