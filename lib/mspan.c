// SPDX-License-Identifier: MIT
/*
 * Objects of one span: who is out, who is in.  See lib/mspan.h for the layout.
 *
 * Allocation is address ordered within the span: new objects pack towards its
 * low end, and what dies at its high end frees whole pages.  The mcentral lock
 * of the span's class and node protects the bits; object states are not touched
 * here, except that a new span starts with all of them free.
 */
#include <string.h>

#include "mspan.h"

/* 0 is no life's: what was given back reads so. */
static uint16_t seq_next(uint16_t seq)
{
	return seq == UINT16_MAX ? 1 : seq + 1;
}

void mspan_init(struct mspan *s, uintptr_t start, size_t nr_pages,
		unsigned int sc, unsigned int nid)
{
	unsigned int nelems = class_nelems(sc);

	s->start = start;
	s->nr_pages = nr_pages;
	s->size = sc ? size_classes[sc].size : 0;
	s->nelems = nelems;
	s->nr_alloc = 0;
	s->sc = sc;
	s->nid = nid;
	s->set_idx = 0;
	s->hint = 0;
	s->dropped = 0;
	s->user_size = 0;
	/* pairs with the acquires in lib/lookup.c */
	__atomic_store_n(&s->seq, seq_next(s->seq), __ATOMIC_RELEASE);
	list_init(&s->link);
	memset(s->object_state, OBJECT_FREE, nelems + 1);
	memset(s->bits, 0, bitmap_words(nelems) * sizeof(s->bits[0]));
	/* pairs with the acquire of readers that found the span by address */
	__atomic_store_n(&s->state, sc ? MSPAN_SMALL : MSPAN_LARGE,
			 __ATOMIC_RELEASE);
}

/* Up to @n of the free objects @free of word @w, lowest first, into slots[]. */
static unsigned int take_word(struct mspan *s, unsigned int w, uint64_t free,
			      struct mag_slot *slots, unsigned int n)
{
	char *obj = mspan_object(s, w * 64);
	uint8_t *state = &s->object_state[w * 64];
	uint64_t left = free;
	unsigned int got = 0;

	for (; left && got < n; left &= left - 1) {
		unsigned int i = ctz64(left);

		slots[got].obj = obj + (size_t)i * s->size;
		slots[got].state = state + i;
		got++;
	}
	s->bits[w] |= free & ~left;
	s->nr_alloc += got;
	return got;
}

unsigned int mspan_alloc(struct mspan *s, struct mag_slot *slots, unsigned int n)
{
	unsigned int nr_words = bitmap_words(s->nelems);
	unsigned int got = 0, w;

	for (w = s->hint; w < nr_words; w++) {
		uint64_t free = ~s->bits[w];

		if (w * 64 + 64 > s->nelems)
			free &= bits_mask(0, s->nelems - w * 64);
		got += take_word(s, w, free, slots + got, n - got);
		/* the next one starts here: something may be left */
		if (got == n)
			break;
	}
	s->hint = w;
	return got;
}

unsigned int mspan_alloc_line(struct mspan *s, struct mag_slot *slots,
			      unsigned int n)
{
	unsigned int nr_lines = s->nelems / 64;

	for (unsigned int w = s->hint; w < nr_lines; w++)
		if (!s->bits[w])
			return take_word(s, w, ~0ULL, slots, n);
	return 0;
}

void mspan_free(struct mspan *s, unsigned int word, uint64_t mask)
{
	s->bits[word] &= ~mask;
	s->nr_alloc -= popcount64(mask);
	if (word < s->hint)
		s->hint = word;
}

/* Is no object that touches [from, to) of the span out of it? */
static bool mspan_range_free(const struct mspan *s, size_t from, size_t to)
{
	unsigned int last = (to - 1) / s->size;

	for (unsigned int i = from / s->size; i <= last && i < s->nelems; i++)
		if (bitmap_test(s->bits, i))
			return false;
	return true;
}

uintptr_t mspan_drop(struct mspan *s, unsigned int page_shift, size_t *size)
{
	unsigned int nr = mspan_size(s) >> page_shift, i, end;

	/* Kernel pages larger than ours: a span is no whole number of them. */
	if (!is_aligned(s->start, 1UL << page_shift))
		return 0;
	for (i = 0; i < nr && i < 32; i++)
		if (!(s->dropped >> i & 1) &&
		    mspan_range_free(s, (size_t)i << page_shift,
				     (size_t)(i + 1) << page_shift))
			break;
	for (end = i; end < nr && end < 32; end++) {
		if (s->dropped >> end & 1 ||
		    !mspan_range_free(s, (size_t)end << page_shift,
				      (size_t)(end + 1) << page_shift))
			break;
		s->dropped |= 1U << end;
	}
	*size = (size_t)(end - i) << page_shift;
	return *size ? s->start + ((size_t)i << page_shift) : 0;
}

bool mspan_validate(struct mspan *s)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < s->nelems; i++) {
		bool bit = bitmap_test(s->bits, i);

		count += bit;
		if (!bit && s->object_state[i] != OBJECT_FREE)
			return false;
		if (!bit && i / 64 < s->hint)
			return false;
	}
	return count == s->nr_alloc && s->object_state[s->nelems] == OBJECT_FREE;
}
