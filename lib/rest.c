// SPDX-License-Identifier: MIT
/*
 * The look at a slot's caches.
 *
 *	epoch	changes when the page heap grows and, in a process that has the
 *		background thread, ten times a second (mheap_epoch)
 *	round	one look at each magazine of the slot and each depot, a few at each
 *		slow path, so that no call takes long; it begins when the epoch is
 *		another than at the end of the last one
 *
 * What a magazine looks like is its height and how often it was popped, modulo 2^16: who
 * takes and gives the same few objects all the time comes back to the same height.  Depots
 * come first, because what of a magazine goes home counts as use of its class.
 */
#include "mcentral.h"
#include "rest.h"

/* Looked at in one call: a line of headers holds four. */
#define REST_LOOKS	32

static uint32_t look_at(unsigned int i, const struct mag_hdr *hdrs,
			unsigned int nr_depots, bool *empty)
{
	const struct mcentral *mc;
	const struct mag_hdr *h;
	uint32_t look;

	if (i < nr_depots) {
		mc = &mcentrals[route_nid(i)][route_class(i)];
		*empty = !depot_count(&mc->depot);
		return mcentral_nr_refills(mc) + atomic_load_relaxed(&mc->nr_flushes);
	}
	h = &hdrs[i - nr_depots];
	look = atomic_load_relaxed(&h->word);
	*empty = (uint16_t)look == h->base;
	return look;
}

int rest_next(struct rest *r, const struct mag_hdr *hdrs, unsigned int nr_depots,
	      unsigned int nr_mags)
{
	unsigned int i = atomic_load_relaxed(&r->cursor);

	for (unsigned int n = 0; n < REST_LOOKS && i < nr_depots + nr_mags; i++) {
		unsigned int sc = route_class(i);
		uint32_t look;
		bool empty;

		if (!sc || sc >= NR_SIZE_CLASSES)
			continue;
		n++;
		look = look_at(i, hdrs, nr_depots, &empty);
		if (!empty && atomic_load_relaxed(&r->seen[i]) == look) {
			atomic_store_relaxed(&r->cursor, i);
			return i;
		}
		atomic_store_relaxed(&r->seen[i], look);
	}
	if (i == nr_depots + nr_mags) {
		atomic_store_relaxed(&r->epoch, atomic_load_relaxed(&mheap_epoch));
		i = 0;
	}
	atomic_store_relaxed(&r->cursor, i);
	return -1;
}

void rest_mark(struct rest *r, unsigned int i, const struct mag_hdr *hdrs,
	       unsigned int nr_depots)
{
	bool empty;

	atomic_store_relaxed(&r->seen[i], look_at(i, hdrs, nr_depots, &empty));
}
