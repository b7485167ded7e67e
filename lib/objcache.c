// SPDX-License-Identifier: MIT
/*
 * What object caches keep: free objects, constructed, a few for each CPU.
 *
 *	ha_cache --> stripe[16]   by CPU (slot id), each behind a lock
 *	               slots[32]  objects out of their spans, state OBJECT_FREE
 *
 * Nothing is written in a free object, so that an object keeps what its
 * constructor made of it.  For the rest of the allocator a kept object is like one
 * in a magazine: out of its span, and not live.
 *
 * Cost: an uncontended lock a call (an atomic exchange each way), and the counters
 * beside it, which are on its cache line.  A stripe that is busy is passed by once.
 *
 * Bounds: 16 stripes of 32 objects, and of 64 KiB or one object.
 *
 * Invariants:
 *  1. Descriptors are recycled, never unmapped, and stay on the list: walks need no
 *     lock.
 *  2. No lock is held across a constructor, a destructor, or an allocation.
 */
#include <string.h>

#include <util/align.h>
#include <util/line.h>
#include "fixalloc.h"
#include "inspect.h"
#include "mcache.h"
#include "objcache.h"

static struct {
	struct lock lock;
	struct ha_cache *all;		/* (a) newest first */
} caches = { .lock = LOCK_INIT(RANK_CACHES) };

static struct ha_cache *cache_new(void)
{
	struct ha_cache *c = meta_alloc(sizeof(*c));

	if (!c)
		return NULL;
	for (unsigned int i = 0; i < OBJCACHE_STRIPES; i++)
		lock_init(&c->stripe[i].lock, RANK_STRIPE);
	c->next = caches.all;
	/* pairs with the acquire in objcache_next() */
	smp_store_release(&caches.all, c);
	return c;
}

static uint32_t cache_keep(size_t usable)
{
	size_t n = OBJCACHE_KEEP_BYTES / usable;

	if (usable > OBJCACHE_KEEP_MAX)
		return 0;
	return n < 1 ? 1 : min_size(n, OBJCACHE_KEEP);
}

struct ha_cache *objcache_get(const char *name, const struct ha_cache_options *opt,
			      size_t usable)
{
	struct ha_cache *c;

	lock_acquire(&caches.lock);
	for (c = caches.all; c && atomic_load_relaxed(&c->used); c = c->next)
		;
	if (!c)
		c = cache_new();
	if (c) {
		c->opt = *opt;
		atomic_store_relaxed(&c->usable, usable);
		c->keep = cache_keep(usable);
		name_copy(c->name, sizeof(c->name), name);
		atomic_store_relaxed(&c->fresh, (uint64_t)0);
		atomic_store_relaxed(&c->dropped, (uint64_t)0);
		atomic_store_relaxed(&c->destroyed, (uint64_t)0);
		for (unsigned int i = 0; i < OBJCACHE_STRIPES; i++) {
			lock_acquire(&c->stripe[i].lock);
			c->stripe[i].allocs = 0;
			c->stripe[i].frees = 0;
			lock_release(&c->stripe[i].lock);
		}
		smp_store_release(&c->used, 1);
	}
	lock_release(&caches.lock);
	return c;
}

void objcache_put(struct ha_cache *c)
{
	smp_store_release(&c->used, 0);
}

struct ha_cache *objcache_next(struct ha_cache *c)
{
	c = c ? c->next : smp_load_acquire(&caches.all);
	while (c && !smp_load_acquire(&c->used))
		c = c->next;
	return c;
}

/* Where this thread looks: any will do, so that it may move on meanwhile. */
static unsigned int stripe_here(void)
{
	uint32_t id = mcache_has_id() ? READ_ONCE(*mcache_id) : lock_self();

	return id % OBJCACHE_STRIPES;
}

/* Its stripe, locked, or the next one where that is busy. */
static struct objcache_stripe *stripe_lock(struct ha_cache *c)
{
	unsigned int i = stripe_here();
	struct objcache_stripe *s = &c->stripe[i];

	if (lock_try_acquire(&s->lock))
		return s;
	s = &c->stripe[(i + 1) % OBJCACHE_STRIPES];
	lock_acquire(&s->lock);
	return s;
}

bool objcache_pop(struct ha_cache *c, struct mag_slot *out)
{
	struct objcache_stripe *s = stripe_lock(c);
	bool ok = s->n > 0;

	if (ok) {
		*out = s->slots[--s->n];
		s->allocs++;
	}
	lock_release(&s->lock);
	return ok;
}

bool objcache_push(struct ha_cache *c, struct mag_slot slot)
{
	struct objcache_stripe *s = stripe_lock(c);
	bool ok = s->n < c->keep;

	if (ok) {
		s->slots[s->n++] = slot;
		s->frees++;
	}
	lock_release(&s->lock);
	return ok;
}

unsigned int objcache_take(struct ha_cache *c, unsigned int stripe, struct mag_slot *slots)
{
	struct objcache_stripe *s = &c->stripe[stripe];
	unsigned int n;

	lock_acquire(&s->lock);
	n = s->n;
	memcpy(slots, s->slots, n * sizeof(*slots));
	s->n = 0;
	lock_release(&s->lock);
	return n;
}

void objcache_name(struct ha_cache *c, char *name)
{
	lock_acquire(&caches.lock);
	memcpy(name, c->name, sizeof(c->name));
	lock_release(&caches.lock);
}

void objcache_stat(struct ha_cache *c, struct ha_cache_stats *st)
{
	memset(st, 0, sizeof(*st));
	st->size = sizeof(*st);
	st->name = c->name;
	st->object_size = READ_ONCE(c->opt.object_size);
	st->usable = atomic_load_relaxed(&c->usable);
	st->nr_constructed = atomic_load_relaxed(&c->fresh);
	st->nr_allocs = st->nr_constructed;
	st->nr_destroyed = atomic_load_relaxed(&c->destroyed);
	st->nr_frees = atomic_load_relaxed(&c->dropped);
	st->nr_destroyed += st->nr_frees;
	for (unsigned int i = 0; i < OBJCACHE_STRIPES; i++) {
		struct objcache_stripe *s = &c->stripe[i];

		lock_acquire(&s->lock);
		st->nr_allocs += s->allocs;
		st->nr_frees += s->frees;
		st->nr_kept += s->n;
		lock_release(&s->lock);
	}
	/* read one after the other while others work */
	if (st->nr_allocs > st->nr_frees)
		st->nr_live = st->nr_allocs - st->nr_frees;
}

size_t objcache_kept_bytes(void)
{
	struct ha_cache_stats st;
	size_t bytes = 0;

	for (struct ha_cache *c = objcache_next(NULL); c; c = objcache_next(c)) {
		objcache_stat(c, &st);
		bytes += st.nr_kept * st.usable;
	}
	return bytes;
}

bool objcache_fork_held(void)
{
	for (struct ha_cache *c = smp_load_acquire(&caches.all); c; c = c->next)
		for (unsigned int i = 0; i < OBJCACHE_STRIPES; i++)
			if (lock_is_held(&c->stripe[i].lock))
				return true;
	return lock_is_held(&caches.lock);
}

void objcache_fork_prepare(bool nested)
{
	lock_fork_prepare(&caches.lock, nested);
	for (struct ha_cache *c = caches.all; c; c = c->next)
		for (unsigned int i = 0; i < OBJCACHE_STRIPES; i++)
			lock_fork_prepare(&c->stripe[i].lock, nested);
}

void objcache_fork_done(void)
{
	for (struct ha_cache *c = caches.all; c; c = c->next)
		for (unsigned int i = OBJCACHE_STRIPES; i-- > 0;)
			lock_fork_done(&c->stripe[i].lock);
	lock_fork_done(&caches.lock);
}

INSPECT_TABLE(objcache) = {
	INSPECT_SIZEOF(ha_cache),
	INSPECT_OBJECT(caches_all, caches.all),
	INSPECT_MEMBER(ha_cache, next),
	INSPECT_MEMBER(ha_cache, used),
	INSPECT_MEMBER(ha_cache, name),
	INSPECT_MEMBER_AS(ha_cache, object_size, struct ha_cache, opt.object_size),
	INSPECT_MEMBER(ha_cache, usable),
	INSPECT_MEMBER(ha_cache, fresh),
	INSPECT_MEMBER(ha_cache, dropped),
	INSPECT_MEMBER(ha_cache, destroyed),
	INSPECT_MEMBERS(ha_cache, stripe),
	INSPECT_MEMBER(objcache_stripe, n),
	INSPECT_MEMBER(objcache_stripe, allocs),
	INSPECT_MEMBER(objcache_stripe, frees),
	INSPECT_END
};
