// SPDX-License-Identifier: MIT
/*
 * Metadata memory.
 *
 * Each region bumps through chunks of 256 KiB (larger requests get a mapping of
 * their own); only touched pages become resident.  Invariants:
 *  1. Nothing obtained here is ever unmapped: readers without locks may follow
 *     stale pointers to metadata safely.
 *  2. RANK_META is the innermost lock; nothing is called while it is held but vm.
 */
#include <util/align.h>
#include "conf.h"
#include "fixalloc.h"
#include "inspect.h"
#include "lock.h"
#include "vm.h"

#define META_CHUNK		(256UL << 10)
#define META_DIRECT		(64UL << 10)
/* A region that has grown to this goes on in huge pages. */
#define META_HUGE_FROM		(1UL << 20)
#define META_HUGE		(2UL << 20)
#define META_ALIGN		64UL
/* So that the 8 bytes in front of the first block exist. */
#define META_FRONT		META_ALIGN

struct meta_region {
	size_t front;		/* (c) bytes left free at the start of a chunk */
	char *chunk;		/* (l) */
	size_t left;		/* (l) */
	size_t total;		/* (l) bytes of chunks so far */
	bool huge;		/* (c) may use huge pages */
};

static struct {
	struct lock lock;
	struct meta_region general;
	struct meta_region states;
	size_t bytes;		/* (a) handed out */
} meta = {
	.lock = LOCK_INIT(RANK_META),
	.states = { .front = META_FRONT, .huge = true },
};

/* The tail of the old chunk, untouched, is dropped. */
static void region_set(struct meta_region *r, char *chunk, size_t size)
{
	r->chunk = chunk + r->front;
	r->left = size - r->front;
	r->total += size;
}

static void region_grow(struct meta_region *r)
{
	size_t size = META_CHUNK;
	char *chunk;

	if (r->huge && r->total >= META_HUGE_FROM && vm_page_size == 4096 &&
	    conf.thp != THP_OFF)
		size = META_HUGE;
	chunk = size == META_HUGE ? vm_map_meta_huge(size) : vm_map_meta(size);
	if (!chunk)
		return;
	region_set(r, chunk, size);
}

/* To the next multiple of a block's size, or of a cache line if that is less. */
static size_t region_pad(const struct meta_region *r, size_t size)
{
	size_t align = min_size(size & -size, META_ALIGN);

	return -(uintptr_t)r->chunk & (align - 1);
}

static void *region_alloc(struct meta_region *r, size_t size)
{
	void *p = NULL;
	size_t pad;

	lock_acquire(&meta.lock);
	pad = region_pad(r, size);
	if (r->left < pad + size) {
		region_grow(r);
		pad = region_pad(r, size);
	}
	if (r->left >= pad + size) {
		p = r->chunk + pad;
		r->chunk += pad + size;
		r->left -= pad + size;
	}
	lock_release(&meta.lock);
	return p;
}

void *meta_alloc(size_t size)
{
	void *p;

	if (size >= META_DIRECT)
		p = vm_map_meta(align_up(size, vm_page_size));
	else
		p = region_alloc(&meta.general, align_up(size, META_ALIGN));
	if (p)
		atomic_add_relaxed(&meta.bytes, size);
	return p;
}

void *meta_alloc_states(size_t size)
{
	void *p = region_alloc(&meta.states, align_up(size, 8));

	if (p)
		atomic_add_relaxed(&meta.bytes, size);
	return p;
}

void meta_donate(void *chunk, size_t size)
{
	struct meta_region *r = &meta.general;

	lock_acquire(&meta.lock);
	if (meta.states.left < r->left)
		r = &meta.states;
	region_set(r, chunk, size);
	lock_release(&meta.lock);
}

size_t meta_bytes(void)
{
	return atomic_load_relaxed(&meta.bytes);
}

bool meta_fork_held(void)
{
	return lock_is_held(&meta.lock);
}

void meta_fork_prepare(bool nested)
{
	lock_fork_prepare(&meta.lock, nested);
}

void meta_fork_done(void)
{
	lock_fork_done(&meta.lock);
}

void fixalloc_init(struct fixalloc *f, size_t size)
{
	f->size = align_up(size, 64);
	f->list = NULL;
	f->chunk = NULL;
	f->left = 0;
	f->nr_inuse = 0;
}

void *fixalloc_alloc(struct fixalloc *f)
{
	void *obj = f->list;

	if (obj) {
		f->list = *(void **)obj;
		/* the next caller's wait begins now */
		prefetch(f->list);
		*(void **)obj = NULL;
		f->nr_inuse++;
		return obj;
	}
	if (f->left < f->size) {
		size_t chunk = FIXALLOC_BATCH * f->size;

		f->chunk = meta_alloc(chunk);
		f->left = f->chunk ? chunk : 0;
		if (!f->chunk)
			return NULL;
	}
	obj = f->chunk;
	f->chunk += f->size;
	f->left -= f->size;
	f->nr_inuse++;
	return obj;
}

void fixalloc_free(struct fixalloc *f, void *obj)
{
	*(void **)obj = f->list;
	f->list = obj;
	f->nr_inuse--;
}

INSPECT_TABLE(fixalloc) = {
	INSPECT_OBJECT(meta_bytes, meta.bytes),
	INSPECT_END
};
