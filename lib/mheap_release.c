// SPDX-License-Identifier: MIT
/*
 * Free pages go back to the kernel, highest address first, while allocation goes lowest
 * first.
 *
 *	under the lock   runs of free resident pages are marked in use (nr_going)
 *	without it       the kernel takes them, many in one call
 *	under the lock   they are free again, and count as given back if they went
 *
 * So nobody is given a page that is on its way, and nobody waits for the kernel.
 */
#include <util/probe.h>
#include "mheap.h"

/* With so many of its pages free a chunk is no more worth being on huge pages. */
#define SPARSE_PAGES	(CHUNK_PAGES / 8)
/* What one call gives back to the kernel between two looks at the lock. */
#define RELEASE_MAX	(1024UL << 10)
#define RELEASE_RUNS	32

/*
 * Under the lock: may a run at @base go, from a chunk on huge pages?  When it does,
 * the chunk is no such any more.  Else what it keeps is added to *kept.
 */
static bool may_split(struct mheap *h, uintptr_t base, size_t *kept)
{
	uintptr_t chunk = align_down(base, CHUNK_SIZE);
	size_t nr_free;

	if (!thp_is_huge(base))
		return true;
	/* the run itself is marked in use by now */
	nr_free = page_alloc_count_free(&h->pages, chunk, CHUNK_PAGES);
	if (kept && nr_free < SPARSE_PAGES) {
		*kept += nr_free << HA_PAGE_SHIFT;
		return false;
	}
	thp_set_huge(chunk, CHUNK_SIZE, false);
	return true;
}

/*
 * Under the lock: runs of free resident pages below *limit, highest first, until
 * they are @max bytes; how many.  Nobody is given a page of them until they are put
 * back.
 */
static unsigned int take_runs(struct mheap *h, struct iovec *runs, size_t max,
			      uintptr_t *limit, size_t *kept)
{
	size_t min_pages = max_size(1, vm_page_size >> HA_PAGE_SHIFT), sum = 0, nr_pages;
	unsigned int nr = 0;

	thp_front_close(&h->front);
	while (nr < RELEASE_RUNS && sum < max) {
		uintptr_t base = page_alloc_take_unscav(&h->pages, *limit, min_pages,
							RELEASE_MAX >> HA_PAGE_SHIFT,
							&nr_pages);

		if (!base)
			break;
		*limit = base;
		if (arena_is_pool(base)) {
			page_alloc_free(&h->pages, base, nr_pages, false);
			*limit = align_down(base, ARENA_SIZE);
			continue;
		}
		if (!may_split(h, base, kept)) {
			page_alloc_free(&h->pages, base, nr_pages, false);
			*kept += nr_pages << HA_PAGE_SHIFT;
			*limit = align_down(base, CHUNK_SIZE);
			continue;
		}
		runs[nr].iov_base = (void *)base;
		runs[nr++].iov_len = nr_pages << HA_PAGE_SHIFT;
		h->nr_going += nr_pages;
		sum += nr_pages << HA_PAGE_SHIFT;
	}
	return nr;
}

/* Under the lock: the first @done of them have gone. */
static size_t put_runs(struct mheap *h, const struct iovec *runs, unsigned int nr,
		       unsigned int done)
{
	size_t bytes = 0;

	for (unsigned int i = 0; i < nr; i++) {
		size_t nr_pages = runs[i].iov_len >> HA_PAGE_SHIFT;

		h->nr_going -= nr_pages;
		h->nr_given += i < done ? nr_pages : 0;
		page_alloc_free(&h->pages, (uintptr_t)runs[i].iov_base, nr_pages, i < done);
		if (i < done)
			mheap_set_due(h, (uintptr_t)runs[i].iov_base, runs[i].iov_len);
		bytes += i < done ? runs[i].iov_len : 0;
	}
	return bytes;
}

static size_t release(unsigned int nid, size_t max, size_t *kept)
{
	struct mheap *h = &mheaps[nid];
	struct iovec runs[RELEASE_RUNS];
	uintptr_t limit = ~0UL;
	unsigned int nr, gone;
	size_t done = 0;

	while (done < max) {
		lock_acquire(&h->lock);
		nr = take_runs(h, runs, min_size(max - done, RELEASE_MAX), &limit, kept);
		mheap_unlock(h);
		if (!nr)
			break;
		gone = vm_return_many(runs, nr);
		lock_acquire(&h->lock);
		done += put_runs(h, runs, nr, gone);
		mheap_unlock(h);
		for (unsigned int i = 0; i < nr; i++)
			PROBE(scavenge, nid, (uintptr_t)runs[i].iov_base, runs[i].iov_len,
			      i < gone);
	}
	return done;
}

size_t mheap_release(unsigned int nid, size_t max)
{
	return release(nid, max, NULL);
}

size_t mheap_release_sparse(unsigned int nid, size_t max, size_t *kept)
{
	return release(nid, max, kept);
}
