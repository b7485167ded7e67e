// SPDX-License-Identifier: MIT
/*
 * Reference bitmaps: obvious rather than fast, and sharing no code with the
 * library.
 */
#include "naive_bits.h"

static bool get(const uint64_t *map, unsigned int i)
{
	return map[i / 64] & 1ULL << (i % 64);
}

struct naive_sum naive_summarize(const uint64_t *map, unsigned int nr_bits)
{
	struct naive_sum s = { 0 };
	unsigned int run = 0, i;

	while (s.start < nr_bits && !get(map, s.start))
		s.start++;
	while (s.end < nr_bits && !get(map, nr_bits - 1 - s.end))
		s.end++;
	for (i = 0; i < nr_bits; i++) {
		run = get(map, i) ? 0 : run + 1;
		if (run > s.max)
			s.max = run;
	}
	return s;
}

unsigned int naive_find_run(const uint64_t *map, unsigned int nr_bits, unsigned int nr,
			    unsigned int from)
{
	unsigned int i, n;

	for (i = from; i + nr <= nr_bits; i++) {
		for (n = 0; n < nr && !get(map, i + n); n++)
			;
		if (n == nr)
			return i;
	}
	return nr_bits;
}

unsigned int naive_popcount(const uint64_t *map, unsigned int from, unsigned int nr)
{
	unsigned int i, count = 0;

	for (i = from; i < from + nr; i++)
		count += get(map, i);
	return count;
}

void naive_assign(uint64_t *map, unsigned int from, unsigned int nr, bool value)
{
	unsigned int i;

	for (i = from; i < from + nr; i++) {
		if (value)
			map[i / 64] |= 1ULL << (i % 64);
		else
			map[i / 64] &= ~(1ULL << (i % 64));
	}
}
