// SPDX-License-Identifier: MIT
/*
 * span_drop: of spans with a few objects out, the pages that go are those without
 * one; what stays is as it was; what the kernel refuses is marked as there.
 */
#include <string.h>

#include "mheap.h"
#include "span_drop.h"

#include "fake/heap.h"
#include "fake/unit.h"

#define NR_SPANS	100

static const struct heap_mode one = { .name = "one" };

static struct mspan *span[NR_SPANS];
static struct mag_slot slot[NR_SPANS][1024];

/* All objects out and written, then most of them back. */
static void make(unsigned int i, unsigned int sc, struct unit_rand *r)
{
	struct mspan *s = mheap_alloc_span(0, sc, 0);
	unsigned int kept = rand_below(r, 3);

	check(s);
	span[i] = s;
	check(mspan_alloc(s, slot[i], s->nelems) == s->nelems);
	memset((void *)s->start, 7, mspan_size(s));
	for (unsigned int k = 0; k < s->nelems; k++)
		if (rand_below(r, s->nelems) >= kept)
			mspan_free(s, k / 64, 1ULL << (k % 64));
}

/* Does an object that is out touch kernel page @page of the span? */
static bool page_used(const struct mspan *s, unsigned int page)
{
	for (unsigned int k = 0; k < s->nelems; k++)
		if (bitmap_test(s->bits, k) &&
		    k * s->size / vm_page_size <= page &&
		    ((k + 1) * s->size - 1) / vm_page_size >= page)
			return true;
	return false;
}

static size_t check_span(const struct mspan *s, bool refused)
{
	size_t gone = 0;

	for (unsigned int i = 0; i < mspan_size(s) / vm_page_size; i++) {
		const char *p = (const char *)s->start + i * vm_page_size;
		bool dropped = s->dropped >> i & 1;

		check(dropped == (!refused && !page_used(s, i)));
		check(p[0] == (dropped ? 0 : 7) && !memcmp(p, p + 1, vm_page_size - 1));
		gone += dropped ? vm_page_size : 0;
	}
	return gone;
}

START_TEST(drops)
{
	struct unit_rand r = unit_rand(_i);
	struct span_drop d;
	size_t gone = 0;

	heap_layers_init(&one);
	span_drop_init(&d, true);
	for (unsigned int i = 0; i < NR_SPANS; i++)
		make(i, 1 + rand_below(&r, FIRST_MEDIUM_CLASS - 1), &r);
	vm_fail_nth(1, true);
	for (unsigned int i = 0; i < NR_SPANS; i++)
		span_drop_add(&d, span[i]);
	span_drop_flush(&d);
	check(d.refused && d.bytes == 0);
	for (unsigned int i = 0; i < NR_SPANS; i++)
		check_span(span[i], true);
	vm_fail_nth(0, false);
	span_drop_init(&d, true);
	for (unsigned int i = 0; i < NR_SPANS; i++)
		span_drop_add(&d, span[i]);
	span_drop_flush(&d);
	for (unsigned int i = 0; i < NR_SPANS; i++)
		gone += check_span(span[i], false);
	check(!d.refused && d.bytes == gone && gone > 0);
	/* nothing more of them, and nothing at all is fine */
	for (unsigned int i = 0; i < NR_SPANS; i++)
		span_drop_add(&d, span[i]);
	span_drop_flush(&d);
	check(d.bytes == gone);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("span_drop");
	TCase *tc = tcase_create("drops");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	if (unit_small_pages("drops"))
		tcase_add_loop_test(tc, drops, 0, 4);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
