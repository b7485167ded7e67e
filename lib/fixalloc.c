// SPDX-License-Identifier: MIT
/*
 * Metadata memory.
 *
 * Each region bumps through chunks of 256 KiB (larger requests get a mapping of
 * their own); only touched pages become resident.
 *
 *	general        whatever is small
 *	states         object states that stay (lib/mspan_pool.c: the first of each kind)
 *	slabs          span descriptors, whole kernel pages that go back when unused
 *	slab_states    object states likewise
 *
 * States, which free() reads at random, go on in chunks of 2 MiB, on huge pages, from
 * 1 MiB on.
 *
 * Invariants:
 *  1. Nothing obtained here is ever unmapped: readers without locks may follow
 *     stale pointers to metadata safely.  What is given back reads as zero.
 *  2. RANK_META is the innermost lock; nothing is called while it is held but vm.
 *  3. What can go back is on huge pages only where it is advised to be, and not any
 *     more from the first time on that a part of the huge page goes (*advised): or
 *     khugepaged would bring it back.
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
	bool slab;		/* (c) of pages that go back: on no huge page unless advised */
	bool huge;		/* (c) may use huge pages */
	uint32_t *advised;	/* (l) of a chunk that does; 1 as long as it is advised */
};

static struct {
	struct lock lock;
	struct meta_region general;
	struct meta_region states;
	struct meta_region slabs;
	struct meta_region slab_states;
	uint32_t *flag;		/* (l) the next huge chunk's */
	size_t bytes;		/* (a) handed out */
} meta = {
	.lock = LOCK_INIT(RANK_META),
	.states = { .front = META_FRONT, .huge = true },
	.slabs = { .slab = true },
	.slab_states = { .slab = true, .huge = true },
};

/* The tail of the old chunk, untouched, is dropped. */
static void region_set(struct meta_region *r, char *chunk, size_t size)
{
	r->chunk = chunk + r->front;
	r->left = size - r->front;
	r->total += size;
}

/* @size from the chunk at hand, at a multiple of @align; NULL when it is too short. */
static void *region_bump(struct meta_region *r, size_t size, size_t align)
{
	size_t pad = -(uintptr_t)r->chunk & (align - 1);
	char *p = r->chunk + pad;

	if (r->left < pad + size)
		return NULL;
	r->chunk += pad + size;
	r->left -= pad + size;
	return p;
}

static bool region_goes_huge(const struct meta_region *r)
{
	return r->huge && r->total >= META_HUGE_FROM && vm_page_size == 4096 &&
	       conf.thp != THP_OFF;
}

static void region_grow_small(struct meta_region *r, size_t size)
{
	char *chunk = vm_map_meta(size);

	if (!chunk)
		return;
	if (r->slab)
		vm_advise_huge(chunk, size, false);
	r->advised = NULL;
	region_set(r, chunk, size);
}

/* A word beside them for the next chunk of slabs on a huge page. */
static bool flag_get(void)
{
	struct meta_region *g = &meta.general;

	if (meta.flag)
		return true;
	if (g->left < META_ALIGN)
		region_grow_small(g, META_CHUNK);
	meta.flag = region_bump(g, META_ALIGN, META_ALIGN);
	return meta.flag;
}

static bool region_grow_huge(struct meta_region *r)
{
	char *chunk = !r->slab || flag_get() ? vm_map_meta_huge(META_HUGE) : NULL;

	if (!chunk)
		return false;
	r->advised = NULL;
	region_set(r, chunk, META_HUGE);
	if (!r->slab)
		return true;
	/* there was no room to choose: it is no huge page's */
	if (!is_aligned((uintptr_t)chunk, META_HUGE)) {
		vm_advise_huge(chunk, META_HUGE, false);
		return true;
	}
	r->advised = meta.flag;
	*r->advised = 1;
	meta.flag = NULL;
	return true;
}

static void region_grow(struct meta_region *r, size_t size)
{
	if (!region_goes_huge(r) || !region_grow_huge(r))
		region_grow_small(r, max_size(META_CHUNK, 2 * size));
}

static void *region_alloc(struct meta_region *r, size_t size, size_t align,
			  uint32_t **advised)
{
	void *p;

	lock_acquire(&meta.lock);
	p = region_bump(r, size, align);
	if (!p) {
		region_grow(r, size);
		p = region_bump(r, size, align);
	}
	if (advised)
		*advised = r->advised;
	lock_release(&meta.lock);
	return p;
}

/* What @size is a multiple of, or a cache line if that is less. */
static size_t align_of(size_t size)
{
	return min_size(size & -size, META_ALIGN);
}

void *meta_alloc(size_t size)
{
	void *p;

	if (size >= META_DIRECT)
		p = vm_map_meta(align_up(size, vm_page_size));
	else
		p = region_alloc(&meta.general, align_up(size, META_ALIGN), META_ALIGN, NULL);
	if (p)
		atomic_add_relaxed(&meta.bytes, size);
	return p;
}

void *meta_alloc_states(size_t size)
{
	size_t real = align_up(size, 8);
	void *p = region_alloc(&meta.states, real, align_of(real), NULL);

	if (p)
		atomic_add_relaxed(&meta.bytes, size);
	return p;
}

void *meta_alloc_slab(size_t size)
{
	return region_alloc(&meta.slabs, size, size, NULL);
}

void *meta_alloc_slab_states(size_t size, uint32_t **advised)
{
	return region_alloc(&meta.slab_states, size, vm_page_size, advised);
}

/*
 * The whole huge page, since the advice is one of mappings and those are few.  It
 * stays one until the part goes.  What no slab has of it yet came with the rest, and
 * goes as well; who has a slab there has all of it to give back, touched or not.
 */
void meta_part_goes(void *states, uint32_t *advised)
{
	uintptr_t block = align_down((uintptr_t)states, META_HUGE), rest;
	const struct meta_region *r = &meta.slab_states;

	if (!advised || !atomic_load_relaxed(advised) || !xchg(advised, 0))
		return;
	vm_advise_huge((void *)block, META_HUGE, false);
	lock_acquire(&meta.lock);
	rest = (uintptr_t)r->chunk;
	/* refused: the next part that goes tries again */
	if (r->advised == advised && r->left && vm_return((void *)rest, r->left))
		atomic_store_relaxed(advised, 1);
	lock_release(&meta.lock);
}

void meta_count(size_t bytes)
{
	atomic_add_relaxed(&meta.bytes, bytes);
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
