/* SPDX-License-Identifier: MIT */
/*
 * Rounding to powers of two, and small arithmetic.  Arguments are evaluated
 * once; @align is always a power of two.
 */
#ifndef _UTIL_ALIGN_H
#define _UTIL_ALIGN_H

#include <util/compiler.h>

static inline uintptr_t align_up(uintptr_t x, uintptr_t align)
{
	return (x + align - 1) & ~(align - 1);
}

static inline uintptr_t align_down(uintptr_t x, uintptr_t align)
{
	return x & ~(align - 1);
}

static inline bool is_aligned(uintptr_t x, uintptr_t align)
{
	return (x & (align - 1)) == 0;
}

static inline bool is_power_of_2(uintptr_t x)
{
	return x && !(x & (x - 1));
}

static inline uintptr_t div_round_up(uintptr_t x, uintptr_t d)
{
	return x / d + !!(x % d);
}

static inline size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static inline size_t max_size(size_t a, size_t b)
{
	return a > b ? a : b;
}

#endif /* _UTIL_ALIGN_H */
