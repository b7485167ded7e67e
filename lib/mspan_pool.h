/* SPDX-License-Identifier: MIT */
/*
 * Span descriptors of one kind, with their states, that go back to the kernel when
 * they have not been needed for a while.  See lib/mspan_pool.c.
 */
#ifndef _LIB_MSPAN_POOL_H
#define _LIB_MSPAN_POOL_H

#include <sys/uio.h>

#include "fixalloc.h"
#include "mspan.h"

/* So many of each kind are made one by one, and stay. */
#define POOL_LOOSE		FIXALLOC_BATCH

struct mspan_slab {
	struct list_head link;		/* (l) the pool's list of those like it; full: itself */
	char *area;			/* (c) descriptors */
	char *states;			/* (c) */
	uint32_t *advised;		/* (c) the huge page that the states are on */
	struct mspan *list;		/* (l) freed descriptors, by their first words */
	uint32_t nr_used;		/* (l) */
	uint32_t fresh;			/* (l) from here on none was made since it went */
	uint32_t touched;		/* (l) so many are resident, perhaps */
	uint32_t since;			/* (l) when it became empty, in looks */
	uint16_t seq;			/* (l) no life number of it is higher */
};

struct mspan_pool {
	uint32_t size;			/* (c) bytes of a descriptor */
	uint32_t state_size;		/* (c) and of its states */
	uint32_t area_size;		/* (c) of a slab's descriptors, and their alignment */
	uint32_t nr_slab;		/* (c) descriptors a slab */
	struct fixalloc loose;		/* (l) those of no slab */
	struct mspan_slab *spare;	/* (l) begun, and not made for want of memory */
	struct list_head partial;	/* (l) slabs: with descriptors in use, and room */
	struct list_head empty;		/* (l) with none in use, latest first */
	struct list_head going;		/* (l) in the hands of who gives them back */
	struct list_head gone;		/* (l) given back */
};

/* For spans of class @sc, or of all that are like it. */
void mspan_pool_init(struct mspan_pool *p, unsigned int sc);
/*
 * A descriptor: dead, with states, all of them free; NULL when there is no memory.
 * Its first word is the caller's while it is dead.  Caller, here and below: the lock
 * of the heap that the pool belongs to.
 */
struct mspan *mspan_pool_get(struct mspan_pool *p);
/* It is dead; @now: the number of the look that is the last by now. */
void mspan_pool_put(struct mspan_pool *p, struct mspan *s, uint32_t now);

/* Ranges of a slab. */
#define SLAB_RANGES		2

/*
 * A slab that has been empty for @age looks, out of everybody's hands until
 * mspan_pool_went(); its ranges of memory.  NULL when there is none.
 */
struct mspan_slab *mspan_pool_take_empty(struct mspan_pool *p, uint32_t now, uint32_t age,
					 struct iovec ranges[SLAB_RANGES]);
/* Before they are given back; without the lock. */
void mspan_slab_prepare(const struct mspan_slab *slab);
/* They went, all of them, or not; bytes that had been in use of what did. */
size_t mspan_pool_went(struct mspan_pool *p, struct mspan_slab *slab, bool gone, uint32_t now);
/* Is there one that is empty, and not given back? */
bool mspan_pool_has_empty(const struct mspan_pool *p);
/* In the child of a fork: who had slabs to give back is not here. */
void mspan_pool_fork_child(struct mspan_pool *p, uint32_t now);

/* Recount and compare, with @nr_used in use; for tests. */
bool mspan_pool_validate(const struct mspan_pool *p, size_t nr_used);

#endif /* _LIB_MSPAN_POOL_H */
