/* SPDX-License-Identifier: MIT */
/*
 * The tree of the page allocator, for its own files: lib/page_alloc.c has the picture
 * and the invariants.
 */
#ifndef _LIB_PAGE_ALLOC_TREE_H
#define _LIB_PAGE_ALLOC_TREE_H

#include "palloc_bits.h"

#define FANOUT_SHIFT		3
#define FANOUT			(1U << FANOUT_SHIFT)
#define LEAF_LEVEL		4
#define REGION_SIZE		(1UL << PALLOC_REGION_SHIFT)
#define REGION_CHUNKS		(1U << (PALLOC_REGION_SHIFT - CHUNK_SHIFT))
#define ADDR_LIMIT		(1UL << VM_ADDR_BITS)
#define PALLOC_ROOT_ENTRIES	(1U << (VM_ADDR_BITS - PALLOC_REGION_SHIFT))

static_assert(REGION_CHUNKS == 1U << (FANOUT_SHIFT * LEAF_LEVEL),
	      "leaves of a region = fan-out to the number of levels");

/*
 * Zero when new.  The alignments keep what one arena writes, in leaf[] as in
 * chunks[], inside one kernel page.
 */
struct palloc_region {
	uint64_t unscav[REGION_CHUNKS / BITS_PER_WORD];
	palloc_sum level1[8];
	palloc_sum level2[64];
	palloc_sum level3[512];
	palloc_sum leaf[REGION_CHUNKS] __aligned(128);
	struct palloc_data chunks[REGION_CHUNKS] __aligned(4096);
};

static_assert(sizeof(struct palloc_data) == 128, "two cache lines a chunk");
static_assert(offsetof(struct palloc_region, level1) % 64 == 0,
	      "siblings are one cache line");

static inline palloc_sum *level_sums(struct palloc_region *r, unsigned int level)
{
	static const uint16_t offset[LEAF_LEVEL + 1] = {
		[1] = offsetof(struct palloc_region, level1),
		[2] = offsetof(struct palloc_region, level2),
		[3] = offsetof(struct palloc_region, level3),
		[4] = offsetof(struct palloc_region, leaf),
	};

	return (palloc_sum *)((char *)r + offset[level]);
}

/* log2 of the pages that one summary of @level covers. */
static inline unsigned int level_log_pages(unsigned int level)
{
	return PALLOC_SUM_BITS - FANOUT_SHIFT * level;
}

static inline unsigned int region_idx(uintptr_t addr)
{
	return addr >> PALLOC_REGION_SHIFT;
}

static inline unsigned int chunk_idx(uintptr_t addr)
{
	return addr >> CHUNK_SHIFT & (REGION_CHUNKS - 1);
}

static inline unsigned int page_idx(uintptr_t addr)
{
	return addr >> HA_PAGE_SHIFT & (CHUNK_PAGES - 1);
}

static inline uintptr_t region_base(unsigned int ri)
{
	return (uintptr_t)ri << PALLOC_REGION_SHIFT;
}

static inline uintptr_t sum_base(unsigned int ri, unsigned int level, unsigned int i)
{
	return region_base(ri) +
	       ((uintptr_t)i << (level_log_pages(level) + HA_PAGE_SHIFT));
}

static inline palloc_sum *chunk_sum(struct palloc_region *r, unsigned int ci)
{
	return &r->leaf[ci];
}

#endif /* _LIB_PAGE_ALLOC_TREE_H */
