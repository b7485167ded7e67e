// SPDX-License-Identifier: MIT
/*
 * Metadata memory.
 *
 * meta_alloc() bumps through chunks of 256 KiB (larger requests get a mapping of
 * their own); only touched pages become resident.  Invariants:
 *  1. Nothing obtained here is ever unmapped: readers without locks may follow
 *     stale pointers to metadata safely.
 *  2. RANK_META is the innermost lock; nothing is called while it is held but vm.
 */
#include <util/align.h>
#include "fixalloc.h"
#include "lock.h"
#include "vm.h"

#define META_CHUNK		(256UL << 10)
#define META_DIRECT		(64UL << 10)
#define META_ALIGN		64UL

static struct {
	struct lock lock;
	char *chunk;		/* (l) */
	size_t left;		/* (l) */
	size_t bytes;		/* (a) handed out */
} meta = { .lock = LOCK_INIT(RANK_META) };

void *meta_alloc(size_t size)
{
	void *p = NULL;

	size = align_up(size, META_ALIGN);
	if (size >= META_DIRECT) {
		p = vm_map_meta(align_up(size, vm_page_size));
		goto out;
	}
	lock_acquire(&meta.lock);
	if (meta.left < size) {
		char *chunk = vm_map_meta(META_CHUNK);

		/* The tail of the old chunk, under 64 KiB untouched, is dropped. */
		if (chunk) {
			meta.chunk = chunk;
			meta.left = META_CHUNK;
		}
	}
	if (meta.left >= size) {
		p = meta.chunk;
		meta.chunk += size;
		meta.left -= size;
	}
	lock_release(&meta.lock);
out:
	if (p)
		atomic_add_relaxed(&meta.bytes, size);
	return p;
}

size_t meta_bytes(void)
{
	return atomic_load_relaxed(&meta.bytes);
}

bool meta_fork_prepare(void)
{
	return lock_fork_prepare(&meta.lock);
}

void meta_fork_done(bool taken)
{
	lock_fork_done(&meta.lock, taken);
}

void fixalloc_init(struct fixalloc *f, size_t size)
{
	f->size = align_up(size, META_ALIGN);
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
		*(void **)obj = NULL;
		f->nr_inuse++;
		return obj;
	}
	if (f->left < f->size) {
		size_t chunk = max_size(FIXALLOC_CHUNK, f->size);

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
