// SPDX-License-Identifier: MIT
/*
 * Batches of pages to give back inside spans.  See lib/span_drop.h.
 *
 * A page's mark in mspan.dropped is set when its run is added, and taken back when
 * the kernel refuses: the page is still there then, and is tried again in a later
 * round.
 */
#include <string.h>

#include <util/probe.h>
#include "span_drop.h"
#include "thp.h"

void span_drop_init(struct span_drop *d, bool all)
{
	d->all = all;
	d->nr = 0;
	d->bytes = 0;
	memset(d->bytes_of, 0, sizeof(d->bytes_of));
	d->refused = false;
}

static void unmark(struct mspan *s, const struct iovec *range)
{
	unsigned int shift = ctz64(vm_page_size);

	s->dropped &= ~bits_mask(((uintptr_t)range->iov_base - s->start) >> shift,
				 range->iov_len >> shift);
}

void span_drop_flush(struct span_drop *d)
{
	unsigned int done = d->nr ? vm_return_many(d->range, d->nr) : 0;

	for (unsigned int i = 0; i < done; i++) {
		d->bytes += d->range[i].iov_len;
		d->bytes_of[d->span[i]->nid] += d->range[i].iov_len;
	}
	for (unsigned int i = done; i < d->nr; i++)
		unmark(d->span[i], &d->range[i]);
	for (unsigned int i = 0; i < d->nr; i++)
		PROBE(scavenge, d->span[i]->nid, (uintptr_t)d->range[i].iov_base,
		      d->range[i].iov_len, i < done);
	d->refused |= done < d->nr;
	d->nr = 0;
}

void span_drop_add(struct span_drop *d, struct mspan *s)
{
	unsigned int shift = ctz64(vm_page_size);
	uintptr_t addr;
	size_t size;

	if (arena_is_pool(s->start))
		return;
	/* few pages of a dense chunk are not worth a huge page */
	if (thp_is_huge(s->start)) {
		if (!d->all && !thp_is_sparse(s->start))
			return;
		thp_set_huge(align_down(s->start, CHUNK_SIZE), CHUNK_SIZE, false);
	}
	while (!d->refused && (addr = mspan_drop(s, shift, &size))) {
		d->range[d->nr] = (struct iovec){ (void *)addr, size };
		d->span[d->nr] = s;
		if (++d->nr == VM_RETURN_MAX)
			span_drop_flush(d);
	}
}
