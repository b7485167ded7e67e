/* SPDX-License-Identifier: MIT */
/*
 * Object caches: what they keep, and who they are.  See lib/objcache.c; the public
 * functions are in lib/objcache_api.c.
 */
#ifndef _LIB_OBJCACHE_H
#define _LIB_OBJCACHE_H

#include <asm-generic/rseq.h>
#include <asm/cache.h>
#include <heaparena/heaparena.h>
#include "lock.h"

#define OBJCACHE_STRIPES	16
#define OBJCACHE_KEEP		32		/* objects a stripe keeps at most */
#define OBJCACHE_KEEP_BYTES	(64UL << 10)	/* ... and bytes, beyond the first */
#define OBJCACHE_KEEP_MAX	(1UL << 20)	/* larger objects are not kept */
#define OBJCACHE_NAME		32

struct objcache_stripe {
	struct lock lock;
	uint32_t n;				/* (l) kept */
	uint64_t allocs;			/* (l) served from here */
	uint64_t frees;				/* (l) kept here */
	struct mag_slot slots[OBJCACHE_KEEP];	/* (l) state OBJECT_FREE */
} __aligned(L1_CACHE_BYTES);

struct ha_cache {
	struct ha_cache *next;			/* (c) all that were ever made */
	uint32_t used;				/* (a) 1 between create and destroy */
	uint32_t keep;				/* (c) while used: objects a stripe keeps */
	struct ha_cache_options opt;		/* (c) while used */
	size_t usable;				/* (c) while used: bytes of an object */
	uint64_t fresh;				/* (a) allocs that no stripe could serve */
	uint64_t dropped;			/* (a) frees that no stripe kept */
	uint64_t destroyed;			/* (a) objects given up after they were kept */
	char name[OBJCACHE_NAME];		/* (l RANK_CACHES) constant while used */
	struct objcache_stripe stripe[OBJCACHE_STRIPES];
};

/* A cache that has counted nothing yet; NULL when out of memory. */
struct ha_cache *objcache_get(const char *name, const struct ha_cache_options *opt,
			      size_t usable);
/* It has no objects any more. */
void objcache_put(struct ha_cache *c);
/* Those in use, for walks: after @c, from NULL on; lock-free. */
struct ha_cache *objcache_next(struct ha_cache *c);

/* An object that was kept; false when there is none near. */
bool objcache_pop(struct ha_cache *c, struct mag_slot *out);
/* False when the stripe is full. */
bool objcache_push(struct ha_cache *c, struct mag_slot slot);
/* All objects of a stripe, at most OBJCACHE_KEEP; how many. */
unsigned int objcache_take(struct ha_cache *c, unsigned int stripe, struct mag_slot *slots);

/* A copy, for who does not know that the cache stays in use: OBJCACHE_NAME bytes. */
void objcache_name(struct ha_cache *c, char *name);
void objcache_stat(struct ha_cache *c, struct ha_cache_stats *st);
/* Bytes of objects kept, all caches. */
size_t objcache_kept_bytes(void);

bool objcache_fork_held(void);
void objcache_fork_prepare(bool nested);
void objcache_fork_done(void);

#endif /* _LIB_OBJCACHE_H */
