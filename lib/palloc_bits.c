// SPDX-License-Identifier: MIT
/*
 * Bitmaps of one chunk and the arithmetic of summaries.
 *
 *	bit        0 1 2 3 4 5 6 7 ...              511
 *	alloc      0 0 1 1 0 0 0 1 ...            1 0 0
 *	           '-' start                        '-' end = 2
 *	            = 2     '---' a candidate for max
 *
 * Invariants of a summary that covers n pages:
 *   1. start <= max, end <= max, max <= n.
 *   2. start == n, max == n and end == n come together: everything is free.
 *   3. max == 0 means that nothing is free; the word is then 0, which is also
 *      what memory never written reads as.
 *
 * Callers are page_alloc and page_cache, under their owner's lock.  Nothing here
 * knows an address, and nothing fails: an argument out of range is the caller's
 * bug.
 */
#include "palloc_bits.h"

palloc_sum palloc_sum_merge(const palloc_sum *sums, unsigned int nr,
			    unsigned int log_pages)
{
	unsigned int each = 1U << log_pages;
	unsigned int start = 0, max = 0, run = 0, i;
	bool leading = true;

	/* Below the root no summary needs the all-free bit: plain fields. */
	VM_BUG_ON(log_pages >= PALLOC_SUM_BITS);

	/* @run: free pages at the high end of what has been merged so far. */
	for (i = 0; i < nr; i++) {
		uint64_t v = sums[i].v;
		unsigned int first = v & PALLOC_SUM_MASK;
		unsigned int inner = v >> PALLOC_SUM_BITS & PALLOC_SUM_MASK;

		if (leading) {
			start += first;
			leading = first == each;
		}
		max = max_size(max, max_size(run + first, inner));
		run = first == each ? run + each : v >> (2 * PALLOC_SUM_BITS);
	}
	return palloc_sum_pack(start, max, run);
}

palloc_sum palloc_bits_summarize(const uint64_t *alloc)
{
	unsigned int start = CHUNK_PAGES, max = 0, run = 0, i;

	for (i = 0; i < PALLOC_WORDS; i++) {
		uint64_t used = alloc[i], x;

		if (!used) {
			run += BITS_PER_WORD;
			continue;
		}
		run += ctz64(used);
		if (start == CHUNK_PAGES)
			start = run;
		if (run > max)
			max = run;
		/*
		 * Only a word with a run longer than all before matters; once
		 * max is past a few pages hardly any word gets further than
		 * this test.
		 */
		if (max < BITS_PER_WORD - 2) {
			x = palloc_word_runs(~used, max + 1);
			for (; x; x &= x >> 1)
				max++;
		}
		run = clz64(used);
	}
	if (run > max)
		max = run;
	/* Nothing in use: start kept its initial value, which is the truth. */
	return palloc_sum_pack(start, max, run);
}

unsigned int palloc_bits_find(const uint64_t *alloc, unsigned int nr,
			      unsigned int from, unsigned int *first_free)
{
	unsigned int i = from / BITS_PER_WORD, run = 0;
	uint64_t below;

	*first_free = CHUNK_PAGES;
	if (from >= CHUNK_PAGES)
		return CHUNK_PAGES;

	/* Pages below @from count as used; they are all in the first word. */
	below = (1ULL << (from % BITS_PER_WORD)) - 1;
	for (; i < PALLOC_WORDS; i++, below = 0) {
		uint64_t used = alloc[i] | below, x;
		unsigned int bit = i * BITS_PER_WORD;

		if (used == ~0ULL) {
			run = 0;
			continue;
		}
		if (*first_free == CHUNK_PAGES)
			*first_free = bit + ctz64(~used);
		if (!used) {
			run += BITS_PER_WORD;
			if (run >= nr)
				return bit + BITS_PER_WORD - run;
			continue;
		}
		if (run + ctz64(used) >= nr)
			return bit - run;
		if (nr < BITS_PER_WORD) {
			x = palloc_word_runs(~used, nr);
			if (x)
				return bit + ctz64(x);
		}
		run = clz64(used);
	}
	return CHUNK_PAGES;
}

/*
 * The word that holds page @from, the part of it that belongs to the range, and
 * how many pages that part is.
 */
static inline unsigned int range_word(unsigned int from, unsigned int nr,
				      uint64_t *mask)
{
	unsigned int bit = from % BITS_PER_WORD;
	unsigned int n = min_size(nr, BITS_PER_WORD - bit);

	*mask = bits_mask(bit, n);
	return n;
}

void palloc_bits_set(uint64_t *map, unsigned int from, unsigned int nr)
{
	uint64_t mask;
	unsigned int n;

	for (; nr; from += n, nr -= n) {
		n = range_word(from, nr, &mask);
		map[from / BITS_PER_WORD] |= mask;
	}
}

void palloc_bits_clear(uint64_t *map, unsigned int from, unsigned int nr)
{
	uint64_t mask;
	unsigned int n;

	for (; nr; from += n, nr -= n) {
		n = range_word(from, nr, &mask);
		map[from / BITS_PER_WORD] &= ~mask;
	}
}

unsigned int palloc_bits_popcount(const uint64_t *map, unsigned int from,
				  unsigned int nr)
{
	unsigned int n, count = 0;
	uint64_t mask;

	for (; nr; from += n, nr -= n) {
		n = range_word(from, nr, &mask);
		count += popcount64(map[from / BITS_PER_WORD] & mask);
	}
	return count;
}

bool palloc_bits_all_clear(const uint64_t *map, unsigned int from, unsigned int nr)
{
	uint64_t mask;
	unsigned int n;

	for (; nr; from += n, nr -= n) {
		n = range_word(from, nr, &mask);
		if (map[from / BITS_PER_WORD] & mask)
			return false;
	}
	return true;
}

bool palloc_bits_all_set(const uint64_t *map, unsigned int from, unsigned int nr)
{
	uint64_t mask;
	unsigned int n;

	for (; nr; from += n, nr -= n) {
		n = range_word(from, nr, &mask);
		if (~map[from / BITS_PER_WORD] & mask)
			return false;
	}
	return true;
}
