// SPDX-License-Identifier: MIT
/*
 * Partly used spans by eighths of fill.
 *
 *	lists[0]   less than 1/8 in use
 *	...
 *	lists[7]   7/8 and more, not full
 *
 * Allocation takes from the fullest list, so that sparse spans get the chance to
 * empty and return their pages; full spans are on no list and are found again by
 * address when one of their objects is freed.
 *
 * A lock-free set was the other candidate.  A set is touched once for a batch
 * of 32 objects, only when the depot in front of it (which is lock-free) is empty
 * or full, while its lock is held for the bitmaps anyway; and a stack cannot give
 * up the span that just became empty, which is what returns memory.
 */
#include "span_set.h"

void span_set_init(struct span_set *set)
{
	for (unsigned int i = 0; i < SPAN_SET_LISTS; i++)
		list_init(&set->lists[i]);
	set->nonempty = 0;
	set->nr_spans = 0;
}

static unsigned int span_set_idx(const struct mspan *s)
{
	return s->nr_alloc * SPAN_SET_LISTS / s->nelems;
}

static void span_set_link(struct span_set *set, struct mspan *s, unsigned int i)
{
	s->set_idx = i;
	list_add(&s->link, &set->lists[i]);
	set->nonempty |= 1U << i;
}

static void span_set_unlink(struct span_set *set, struct mspan *s)
{
	list_del(&s->link);
	if (list_empty(&set->lists[s->set_idx]))
		set->nonempty &= ~(1U << s->set_idx);
}

void span_set_add(struct span_set *set, struct mspan *s)
{
	VM_BUG_ON(!list_empty(&s->link) || mspan_full(s));
	span_set_link(set, s, span_set_idx(s));
	set->nr_spans++;
}

void span_set_del(struct span_set *set, struct mspan *s)
{
	VM_BUG_ON(list_empty(&s->link));
	span_set_unlink(set, s);
	set->nr_spans--;
}

void span_set_update(struct span_set *set, struct mspan *s)
{
	unsigned int i = span_set_idx(s);

	if (i == s->set_idx)
		return;
	span_set_unlink(set, s);
	span_set_link(set, s, i);
}

void span_set_renew(struct span_set *set, struct mspan *s)
{
	span_set_unlink(set, s);
	span_set_link(set, s, span_set_idx(s));
}

struct mspan *span_set_pick(const struct span_set *set)
{
	if (!set->nonempty)
		return NULL;
	return list_entry(set->lists[ilog2(set->nonempty)].next,
			  struct mspan, link);
}
