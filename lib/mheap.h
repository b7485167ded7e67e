/* SPDX-License-Identifier: MIT */
/*
 * The page heap of one node: spans in, pages out.  See lib/mheap.c.
 */
#ifndef _LIB_MHEAP_H
#define _LIB_MHEAP_H

#include <asm/cache.h>
#include "heap_arena.h"
#include "lock.h"
#include "mspan_pool.h"
#include "page_alloc.h"
#include "page_cache.h"
#include "thp.h"

/* CPU slots share this many page caches; a busy one is passed by. */
#define HEAP_CACHES_SHIFT	4
#define NR_HEAP_CACHES		(1 << HEAP_CACHES_SHIFT)
#define HEAP_CACHE_MAX_PAGES	16	/* larger spans go to the heap itself */

/* Medium and large spans have descriptors alike: realloc turns one into the other. */
#define NR_SPAN_KINDS		FIRST_MEDIUM_CLASS

struct heap_cache {
	struct lock lock;
	struct page_cache pages;			/* (l) */
	struct mspan *spans[NR_SPAN_KINDS];		/* (l) descriptors at hand */
} __aligned(L1_CACHE_BYTES);

struct mheap {
	struct lock lock;
	unsigned int nid;				/* (c) */
	struct page_alloc pages;			/* (l) */
	uintptr_t grow_base;				/* (l) reserved for this node and not */
	uintptr_t grow_end;				/*     in pages yet: [base, end), of */
	uintptr_t ready_end;				/*     which [base, ready) is prepared */
	unsigned int grow_fails;			/* (l) in a row, of the least step */
	unsigned int grow_wait;				/* (l) attempts to pass over */
	struct thp_front front;				/* (l) of it, on huge pages when touched */
	size_t nr_donated;				/* (l) pages that became metadata */
	size_t peak;					/* (l) pages in use, since last asked */
	size_t notice;					/* (a) free pages to tell of at once; 0: none */
	size_t nr_going;				/* (l) pages taken out to be returned */
	size_t nr_given;				/* (l) pages given back, not taken since */
	size_t nr_again;				/* (l) and taken, since last asked */
	size_t ready;					/* (l) bytes in the limit's account */
	size_t charged;					/* (l) set aside there, until unlock */
	uint32_t look;					/* (l) counts mheap_meta_look() */
	size_t nr_due;					/* (l) marks for lib/mheap_meta.c; (a) for a glance */
	struct mspan_pool spans[NR_SPAN_KINDS];		/* (l) descriptors */
	size_t nr_spans;				/* (a) in use */
	size_t large_bytes;				/* (a) in large spans */
	size_t nr_large_now;				/* (a) large spans in use */
	size_t nr_large;				/* (a) allocations so far */
	size_t nr_spans_total;				/* (a) small spans ever made */
	struct heap_cache cache[NR_HEAP_CACHES];
} __aligned(DESTRUCTIVE_BYTES);

extern struct mheap mheaps[MAX_NODES];

/* (a) Another when a heap has grown, and when the background thread says so. */
extern uint32_t mheap_epoch __hidden;

/*
 * Called without a lock when there is enough free memory in the heap that giving
 * some back is worth a thread; @now: more than mheap_set_notice() said.  Set once,
 * before the first free.
 */
extern void (*mheap_notify)(bool now);
/* Tell of it at once, and once, when this many pages are free and resident. */
void mheap_set_notice(unsigned int nid, size_t pages);

/*
 * Bytes of pages that depots may hold as long as nobody else wants them, and who gives
 * some of a node back, @bytes or a little more; false: there was nothing.  Called without
 * a lock, before a heap grows or takes pages that are with the kernel, while mheap_kept is
 * not 0.
 */
extern size_t mheap_kept;		/* (a) */
extern bool (*mheap_reclaim)(unsigned int nid, size_t bytes);

/* 0 or -ENOMEM; @nr_nodes heaps, before any other call. */
int mheap_init(unsigned int nr_nodes);

/*
 * Bring the limit's account of @h up to date; under its lock.  Whoever may have changed what
 * it is about unlocks by mheap_unlock(), which does that first.
 */
void mheap_settle(struct mheap *h);
void mheap_unlock(struct mheap *h);

/*
 * A span of class @sc for @nid, else from the nearest node that has room (never
 * another one when binding is strict).  @slot picks the page cache.  NULL when no
 * node has memory.  Caller holds no lock.
 */
struct mspan *mheap_alloc_span(unsigned int nid, unsigned int sc, unsigned int slot);
/*
 * A large span of @nr_pages whose start is a multiple of @align_pages pages.
 * *zeroed: its memory is known to read as zero.
 */
struct mspan *mheap_alloc_large(unsigned int nid, size_t nr_pages,
				size_t align_pages, bool *zeroed);
/* Either kind; the caller owns it wholly.  Holds no lock. */
void mheap_free_span(struct mspan *s);
/* Change the length of a span of one object; false when its neighbour is taken. */
bool mheap_resize_span(struct mspan *s, size_t nr_pages);
/* A medium span, of one object that is out, becomes a large one as it is. */
void mheap_make_large(struct mspan *s);

/*
 * Return every free page to the kernel, at most @max bytes; the number of bytes
 * that went back.
 */
size_t mheap_release(unsigned int nid, size_t max);
/*
 * The same, but for the few free pages of chunks on huge pages, which would be
 * split: *kept, bytes of what was passed over.
 */
size_t mheap_release_sparse(unsigned int nid, size_t max, size_t *kept);
/* Page entries of [base, base + size) may go, see heap_arena_set_due(); under the lock. */
static inline void mheap_set_due(struct mheap *h, uintptr_t base, size_t size)
{
	atomic_add_relaxed(&h->nr_due, heap_arena_set_due(base, size));
}

/* What is free there has become resident, on a huge page. */
void mheap_set_resident(unsigned int nid, uintptr_t base, size_t size);
/* Nothing becomes a huge page by itself from here on. */
void mheap_close_front(unsigned int nid);
/* Bytes of free pages that are resident; without a lock, a moment's view. */
size_t mheap_resident_free(unsigned int nid);
/* Empty the page caches into the heap: pages, and descriptors; true if there were any. */
bool mheap_flush_caches(unsigned int nid);

struct mheap_stat {
	size_t pages;			/* prepared */
	size_t free;			/* of these, free */
	size_t returned;		/* of the free ones, given back */
	size_t donated;			/* of those in use, metadata */
	size_t spans;
	size_t large_bytes;
	size_t large;			/* large spans in use */
	size_t nr_large;
	size_t nr_spans_total;
};

/* Pages that were given back and have been taken again; from 0 on if @take. */
size_t mheap_again(unsigned int nid, bool take);
/* Most pages in use (or in windows) at a time since the last call. */
size_t mheap_take_peak(unsigned int nid);
void mheap_stat(unsigned int nid, struct mheap_stat *st);

/* The slots of a node may be consecutive, or every so many: either spreads. */
static inline unsigned int heap_cache_of(unsigned int slot)
{
	return slot * 0x9e3779b1u >> (32 - HEAP_CACHES_SHIFT);
}

/* Locks of all nodes, in order. */
bool mheap_fork_held(unsigned int nr_nodes);
void mheap_fork_prepare(unsigned int nr_nodes, bool nested);
void mheap_fork_done(unsigned int nr_nodes, bool child);

#endif /* _LIB_MHEAP_H */
