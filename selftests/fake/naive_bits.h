/* SPDX-License-Identifier: MIT */
/*
 * Bitmaps one bit at a time: what palloc_bits is held against.  Works for maps
 * of any length, so that it also says what summaries of many chunks must be.
 */
#ifndef SELFTESTS_FAKE_NAIVE_BITS_H
#define SELFTESTS_FAKE_NAIVE_BITS_H

#include <util/compiler.h>

struct naive_sum {
	unsigned int start;
	unsigned int max;
	unsigned int end;
};

/* Runs of clear bits of @map[0, nr_bits). */
struct naive_sum naive_summarize(const uint64_t *map, unsigned int nr_bits);
/* First run of @nr clear bits at or after @from, or @nr_bits. */
unsigned int naive_find_run(const uint64_t *map, unsigned int nr_bits, unsigned int nr,
			    unsigned int from);
unsigned int naive_popcount(const uint64_t *map, unsigned int from, unsigned int nr);
void naive_assign(uint64_t *map, unsigned int from, unsigned int nr, bool value);

#endif /* SELFTESTS_FAKE_NAIVE_BITS_H */
