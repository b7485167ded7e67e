/* SPDX-License-Identifier: MIT */
/*
 * One chunk of 512 pages as bits, and the summary of any power-of-two run of
 * chunks packed into one word.  Pure functions: no addresses, no locks.
 *
 *	struct palloc_data    alloc  1 = page in use
 *	                      scav   1 = page given back to the kernel (reads as zero)
 *	palloc_sum            start | max | end: free pages at the low end, longest
 *	                      free run, free pages at the high end; 21 bits each,
 *	                      bit 63 alone says "all 2^21 pages free"
 *
 * The packing is Go's (src/runtime/mpagealloc.go).
 */
#ifndef _LIB_PALLOC_BITS_H
#define _LIB_PALLOC_BITS_H

#include <util/bitops.h>

#include "page.h"

#define PALLOC_WORDS		(CHUNK_PAGES / 64)
#define PALLOC_SUM_BITS		21
#define PALLOC_MAX_PAGES	(1UL << PALLOC_SUM_BITS)
/* That many are a region, 16 GiB: what one entry of the tree's root covers. */
#define PALLOC_REGION_SHIFT	(PALLOC_SUM_BITS + HA_PAGE_SHIFT)

struct palloc_data {
	uint64_t alloc[PALLOC_WORDS];
	uint64_t scav[PALLOC_WORDS];
};

typedef struct { uint64_t v; } palloc_sum;

#define PALLOC_SUM_MASK		(PALLOC_MAX_PAGES - 1)
#define PALLOC_SUM_ALL		(1ULL << 63)

static_assert(3 * PALLOC_SUM_BITS == 63, "three counts and the all-free bit");

/* Only start == max == end == 2^21 overflows the fields: it has its own bit. */
static inline palloc_sum palloc_sum_pack(unsigned int start, unsigned int max,
					 unsigned int end)
{
	if (max == PALLOC_MAX_PAGES)
		return (palloc_sum){ PALLOC_SUM_ALL };
	return (palloc_sum){ (uint64_t)start |
			     (uint64_t)max << PALLOC_SUM_BITS |
			     (uint64_t)end << (2 * PALLOC_SUM_BITS) };
}

static inline unsigned int palloc_sum_start(palloc_sum s)
{
	if (s.v & PALLOC_SUM_ALL)
		return PALLOC_MAX_PAGES;
	return s.v & PALLOC_SUM_MASK;
}

static inline unsigned int palloc_sum_max(palloc_sum s)
{
	if (s.v & PALLOC_SUM_ALL)
		return PALLOC_MAX_PAGES;
	return s.v >> PALLOC_SUM_BITS & PALLOC_SUM_MASK;
}

static inline unsigned int palloc_sum_end(palloc_sum s)
{
	if (s.v & PALLOC_SUM_ALL)
		return PALLOC_MAX_PAGES;
	return s.v >> (2 * PALLOC_SUM_BITS) & PALLOC_SUM_MASK;
}

/*
 * Bit i of the result: bits [i, i + nr) of @x are all set, for nr in 1..64.
 * The proven length doubles at each step, so it takes at most six.
 */
static inline uint64_t palloc_word_runs(uint64_t x, unsigned int nr)
{
	unsigned int have = 1, step;

	while (have < nr && x) {
		step = have < nr - have ? have : nr - have;
		x &= x >> step;
		have += step;
	}
	return x;
}

/* Summary of @nr siblings below the root, 1 << @log_pages (at most 2^18) pages each. */
palloc_sum palloc_sum_merge(const palloc_sum *sums, unsigned int nr,
			    unsigned int log_pages);

palloc_sum palloc_bits_summarize(const uint64_t *alloc);
/* First free run of @nr pages at or after @from; CHUNK_PAGES when none.
 * *first_free: first free page seen at or after @from (CHUNK_PAGES when none). */
unsigned int palloc_bits_find(const uint64_t *alloc, unsigned int nr,
			      unsigned int from, unsigned int *first_free);
void palloc_bits_set(uint64_t *map, unsigned int from, unsigned int nr);
void palloc_bits_clear(uint64_t *map, unsigned int from, unsigned int nr);
unsigned int palloc_bits_popcount(const uint64_t *map, unsigned int from,
				  unsigned int nr);
bool palloc_bits_all_clear(const uint64_t *map, unsigned int from, unsigned int nr);
bool palloc_bits_all_set(const uint64_t *map, unsigned int from, unsigned int nr);

#endif /* _LIB_PALLOC_BITS_H */
