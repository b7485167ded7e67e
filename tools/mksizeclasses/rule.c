// SPDX-License-Identifier: MIT
/*
 * rule.c - the size class rule
 *
 * A candidate size moves up in steps that grow with it, so that rounding up
 * costs at most 1/8 of an object:
 *
 *	size from	step
 *	8		8	(only class 8 itself: requests of up to 8 bytes)
 *	16		16	malloc owes 16-byte alignment from here on
 *	128		size/8	taken anew at each power of two
 *	2048		256	a cap on size/8, so that spans can stay short
 *
 * A span gets as many pages as it takes to waste at most 1/8 of it behind the
 * last object. Then two corrections:
 *
 *   - A candidate with the pages and the object count of the class before it
 *     replaces that class: the smaller one would only waste the difference.
 *   - Each size grows to span / count, rounded down to 128 bytes, where that is
 *     larger: the tail is given to the objects. 128 keeps strides a multiple
 *     of two cache lines.
 *
 * A span of few objects is multiplied (span_objects, span_pages): what a span costs,
 * from the page heap and back, is shared by what it holds.
 *
 * Medium classes follow, whole pages with a span each: four from one power of two
 * to the next, so that a shift finds the class. What an object does not use of its
 * pages is never touched, so that no rule bounds it.
 *
 * Invariants of the result: sizes rise strictly; every size above 8 is a
 * multiple of 16; powers of two from 8 to the page size are classes, and those
 * above max_small.
 */
#include "rule.h"

const struct rule_params rule_seed = {
	.page_size	= 8192,
	.max_small	= 32768,
	.step_pow2	= 128,
	.step_coarse	= 2048,
	.waste_div	= 8,
};

const struct rule_params rule_project = {
	.page_size	= 8192,
	.max_small	= 32768,
	.step_pow2	= 128,
	.step_coarse	= 2048,
	.waste_div	= 8,
	.span_objects	= 32,
	.span_pages	= 2,
	.max_medium	= 1 << 20,
};

static unsigned int is_pow2(unsigned int n)
{
	return n && !(n & (n - 1));
}

/* The step that applies from the power of two @size on; @step below it. */
static unsigned int step_from(const struct rule_params *p, unsigned int size,
			      unsigned int step)
{
	if (!is_pow2(size))
		return step;
	if (size >= p->step_coarse)
		return 256;
	if (size >= p->step_pow2)
		return size / 8;
	return size >= 16 ? 16 : 8;
}

static unsigned int pages_for(const struct rule_params *p, unsigned int size)
{
	unsigned int span = p->page_size;

	while (span % size > span / p->waste_div)
		span += p->page_size;
	return span / p->page_size;
}

/* Would @size make spans of the same pages and object count as @c does? */
static int replaces(const struct rule_params *p, const struct rule_class *c,
		    unsigned int size, unsigned int nr_pages)
{
	unsigned int span = nr_pages * p->page_size;

	return c->nr_pages == nr_pages && span / c->size == span / size;
}

static unsigned int add_medium(const struct rule_params *p, struct rule_class *tab,
			       unsigned int nr)
{
	unsigned int base, i, size;

	for (base = p->max_small; base < p->max_medium; base *= 2) {
		for (i = 1; i <= RULE_MEDIUM_STEPS; i++) {
			size = base + base / RULE_MEDIUM_STEPS * i;
			tab[nr++] = (struct rule_class){ size, size / p->page_size };
		}
	}
	return nr;
}

/* How many times its pages a span should have. */
static unsigned int multiple_for(const struct rule_params *p, const struct rule_class *c)
{
	unsigned int span = c->nr_pages * p->page_size, n = 1;

	while (n * span / c->size < p->span_objects &&
	       (n + 1) * c->nr_pages <= p->span_pages)
		n++;
	return n;
}

unsigned int rule_make_table(const struct rule_params *p,
			     struct rule_class *tab)
{
	unsigned int size, step = 8, nr = 1, i;

	tab[0] = (struct rule_class){ 0, 0 };
	for (size = 8; size <= p->max_small && nr < RULE_MAX_CLASSES;
	     size += step) {
		unsigned int nr_pages = pages_for(p, size);

		step = step_from(p, size, step);
		if (nr > 1 && replaces(p, &tab[nr - 1], size, nr_pages))
			nr--;
		tab[nr++] = (struct rule_class){ size, nr_pages };
	}

	for (i = 1; i < nr; i++) {
		unsigned int span = tab[i].nr_pages * p->page_size;
		unsigned int grown = span / (span / tab[i].size) & ~127u;

		if (grown > tab[i].size)
			tab[i].size = grown;
	}
	for (i = 1; i < nr; i++)
		tab[i].nr_pages *= multiple_for(p, &tab[i]);
	return add_medium(p, tab, nr);
}
