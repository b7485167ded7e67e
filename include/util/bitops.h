/* SPDX-License-Identifier: MIT */
/*
 * Bits of one 64-bit word and of arrays of them.  Bit i of an array is bit
 * (i % 64) of word i / 64.  Nothing here is atomic: the caller holds the lock
 * that protects the bitmap.
 */
#ifndef _UTIL_BITOPS_H
#define _UTIL_BITOPS_H

#include <util/compiler.h>

#define BITS_PER_WORD		64

static inline unsigned int ctz64(uint64_t x)	/* x != 0 */
{
	return (unsigned int)__builtin_ctzll(x);
}

static inline unsigned int clz64(uint64_t x)	/* x != 0 */
{
	return (unsigned int)__builtin_clzll(x);
}

/* In a dozen instructions: the builtin is a call where the CPU may not have one. */
static inline unsigned int popcount64(uint64_t x)
{
	x -= x >> 1 & 0x5555555555555555;
	x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
	return x * 0x0101010101010101 >> 56;
}

static inline unsigned int ilog2(uint64_t x)	/* x != 0 */
{
	return 63 - clz64(x);
}

/* Bits [bit, bit + nr) of one word; nr in 1..64, bit + nr <= 64. */
static inline uint64_t bits_mask(unsigned int bit, unsigned int nr)
{
	return (~0ULL >> (BITS_PER_WORD - nr)) << bit;
}

static inline bool bitmap_test(const uint64_t *map, unsigned int bit)
{
	return (map[bit / BITS_PER_WORD] >> (bit % BITS_PER_WORD)) & 1;
}

static inline void bitmap_set(uint64_t *map, unsigned int bit)
{
	map[bit / BITS_PER_WORD] |= 1ULL << (bit % BITS_PER_WORD);
}

static inline void bitmap_clear(uint64_t *map, unsigned int bit)
{
	map[bit / BITS_PER_WORD] &= ~(1ULL << (bit % BITS_PER_WORD));
}

static inline unsigned int bitmap_words(unsigned int nbits)
{
	return (nbits + BITS_PER_WORD - 1) / BITS_PER_WORD;
}

#endif /* _UTIL_BITOPS_H */
