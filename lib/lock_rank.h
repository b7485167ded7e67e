/* SPDX-License-Identifier: MIT */
/*
 * Lock order, outermost first.  A thread takes locks in increasing rank only;
 * CONFIG_DEBUG checks it.
 *
 *   RANK_INIT       once, around initialisation; nothing else is held
 *   RANK_FORK       serialises forks against each other
 *   RANK_LIMIT      making room under the hard limit, one thread at a time
 *   RANK_PROFILE_SESSION
 *                   starting and stopping a heap profile
 *   RANK_CACHES     the list of object caches
 *   RANK_STRIPE     what one object cache keeps near one CPU
 *   RANK_HEAPS      the list of heaps of the user's
 *   RANK_HEAP       the heaps that share one lock: spans, objects, counts
 *   RANK_MCACHE     one locked cache slot (threads without rseq), or the making and
 *                   draining of the others
 *   RANK_MCENTRAL   spans of one class and node: their bitmaps, lists, counts
 *   RANK_PAGE_CACHE one CPU slot's window of pages: allocations only try it;
 *                   fork, flush and statistics wait
 *   RANK_MHEAP      one node's pages, span descriptors and statistics
 *   RANK_ARENA      the arena index and address space reservations
 *   RANK_PROFILE    stacks, or some of the sampled objects, of the heap profile
 *   RANK_BATCHES    looking for empty batches to give back, one thread at a time
 *   RANK_META       metadata pages (fixalloc's source)
 *
 * Of one rank only fork takes several, in the order of their index or list.
 * The depots' poppers are flags, tried and never waited for: no rank.
 */
#ifndef _LIB_LOCK_RANK_H
#define _LIB_LOCK_RANK_H

enum lock_rank {
	RANK_INIT = 1,
	RANK_FORK,
	RANK_LIMIT,
	RANK_PROFILE_SESSION,
	RANK_CACHES,
	RANK_STRIPE,
	RANK_HEAPS,
	RANK_HEAP,
	RANK_MCACHE,
	RANK_MCENTRAL,
	RANK_PAGE_CACHE,
	RANK_MHEAP,
	RANK_ARENA,
	RANK_PROFILE,
	RANK_BATCHES,
	RANK_META,
	NR_LOCK_RANKS
};

#endif /* _LIB_LOCK_RANK_H */
