// SPDX-License-Identifier: MIT
/*
 * The page heap: one a node.
 *
 *	mheap_alloc_span            mheap_alloc_large
 *	     |                            |
 *	heap_cache[slot]  (try-lock)      |
 *	     | window empty               |
 *	     +----------> page_alloc <----+        (mheap.lock)
 *	                      | no run of pages, and nothing kept above (mheap_reclaim)
 *	                  mheap_grow: prepare 4 MiB steps of the current arena,
 *	                              or reserve further arenas
 *
 * A node that has no memory left is passed over for the next by distance; a span
 * knows the node it came from and goes back there.
 *
 * Invariants:
 *  1. Pages of a span in use are marked in use in page_alloc, and entered in the
 *     page entries before the span is returned to the caller.
 *  2. Page entries of free pages are 0; a kernel page of them may be given back while
 *     none of its pages is in use (lib/mheap_meta.c).
 *  3. [grow_base, grow_end) is reserved address space inside this node's arenas,
 *     right behind what page_alloc was last given; a part of it may be prepared
 *     already, when page_alloc could not take it for want of metadata.
 *  4. Descriptors are recycled, or given back, never unmapped (lib/mspan_pool.c).
 *  5. ready is what the limit's account has of this heap: all grown pages but those
 *     given back or on their way.  Whoever may have changed that unlocks by
 *     mheap_unlock().
 *
 * Locks: heap_cache.lock is only tried by allocations (fork, flush and statistics
 * wait for it), and mheap.lock is taken inside it.  Callers hold neither.
 */
#include <errno.h>
#include <string.h>

#include <util/probe.h>
#include "conf.h"
#include "donate.h"
#include "limit.h"
#include "mheap.h"
#include "numa.h"

#define GROW_STEP	CHUNK_SIZE
/* A heap that could not grow so many times in a row passes over 1, 2, 4, ... attempts. */
#define GROW_FAILS	8
#define GROW_WAIT_SHIFT	8
/* A heap of this size goes on in huge pages when it is dense (lib/thp.c). */
#define HUGE_FROM	(64UL << 20)
/* Descriptors moved to a heap cache at once. */
#define SPAN_STASH	8

/* Other threads may take what was made room for. */
#define LIMIT_TRIES	4

/* Runs that are looked at for one that is resident. */
#define RESIDENT_TRIES	256

/* Free memory below which nobody is told, bytes. */
#define NOTIFY_FREE	(4UL << 20)

/*
 * Where pages may come from: what is at hand, as far as can be told, or anywhere; of what is
 * resident for certain, which the hard limit's account has already.
 */
enum mheap_how { AT_HAND, GROW, RESIDENT };

static_assert(MAX_SPAN_PAGES <= PLACE_SPAN_PAGES,
	      "an offset in a small span fits in a page entry");

struct mheap mheaps[MAX_NODES];
void (*mheap_notify)(bool now);
bool (*mheap_reclaim)(unsigned int nid, size_t bytes);
size_t mheap_kept;
uint32_t mheap_epoch;

/* Pages that are free and resident. */
static size_t mheap_at_hand(const struct mheap *h)
{
	return h->pages.nr_free - h->pages.nr_scav;
}

static void *mheap_meta(void *arg, size_t size)
{
	return meta_alloc(size);
}

int mheap_init(unsigned int nr_nodes)
{
	for (unsigned int nid = 0; nid < nr_nodes; nid++) {
		struct mheap *h = &mheaps[nid];

		/* done by a first try that failed later on */
		if (h->pages.root)
			continue;
		lock_init(&h->lock, RANK_MHEAP);
		h->nid = nid;
		if (page_alloc_init(&h->pages, mheap_meta, NULL)) {
			h->pages.root = NULL;
			return -ENOMEM;
		}
		for (unsigned int sc = 0; sc < NR_SPAN_KINDS; sc++)
			mspan_pool_init(&h->spans[sc], sc);
		for (unsigned int i = 0; i < NR_HEAP_CACHES; i++)
			lock_init(&h->cache[i].lock, RANK_PAGE_CACHE);
	}
	return 0;
}

/* Bring the limit's account up to date; what was charged is in it by now. */
void mheap_settle(struct mheap *h)
{
	size_t ready = (h->pages.nr_pages - h->pages.nr_scav - h->nr_going)
		       << HA_PAGE_SHIFT;

	lock_assert_held(&h->lock);
	limit_settle(ready - h->ready, h->charged);
	h->ready = ready;
	h->charged = 0;
}

void mheap_unlock(struct mheap *h)
{
	mheap_settle(h);
	lock_release(&h->lock);
}

/* May @nr pages be taken?  As if none of them were ready, for the worst. */
static bool mheap_charge(struct mheap *h, size_t nr)
{
	return limit_charge(nr << HA_PAGE_SHIFT, &h->charged);
}

static void mheap_advise(uintptr_t base, size_t size)
{
	/*
	 * A huge page for the first small object of a process would cost it 2 MiB
	 * or more: nothing is huge unless asked for.
	 */
	vm_advise_huge((void *)base, size, conf.thp == THP_ALWAYS);
}

/*
 * Will what comes next be filled by small objects, to the brim?  The heap is large
 * and nearly full; what a chunk can lie unused by then is a part in 32 of it.  What
 * is given back of a huge page is gone only when the kernel splits it, some time: not
 * where there is a limit to meet soon.
 */
static bool mheap_goes_huge(const struct mheap *h, size_t nr_pages)
{
	return thp_size() && thp_size() <= GROW_STEP && nr_pages < HEAP_CACHE_MAX_PAGES &&
	       limit_far() &&
	       h->pages.nr_pages >= HUGE_FROM >> HA_PAGE_SHIFT &&
	       mheap_at_hand(h) <= h->pages.nr_pages / 32 &&
	       h->pages.nr_scav <= h->pages.nr_pages / 32;
}

/* Prepare the next @size bytes of the growth area and give them to page_alloc. */
static int mheap_take(struct mheap *h, size_t size)
{
	uintptr_t end = h->grow_base + size;

	if (end > h->ready_end) {
		if (vm_prepare((void *)h->ready_end, end - h->ready_end))
			return -ENOMEM;
		h->ready_end = end;
	}
	if (page_alloc_grow(&h->pages, h->grow_base, size))
		return -ENOMEM;
	PROBE(grow, h->nid, h->grow_base, size);
	h->grow_base = end;
	return 0;
}

/* By @need bytes, a multiple of GROW_STEP. */
static int mheap_grow_by(struct mheap *h, size_t need, bool huge)
{
	size_t size;
	uintptr_t base;

	if (h->grow_end - h->grow_base < need) {
		size = align_up(need, ARENA_SIZE);
		base = heap_arena_reserve(&size, h->nid, conf.numa);
		if (!base)
			return -ENOMEM;
		mheap_advise(base, size);
		if (base != h->grow_end || !h->grow_end) {
			/* The old tail is still good for smaller runs. */
			if (h->grow_end > h->grow_base)
				mheap_take(h, h->grow_end - h->grow_base);
			h->grow_base = base;
			h->ready_end = base;
		}
		h->grow_end = base + size;
	}
	if (h->grow_end - h->grow_base < need)
		return -ENOMEM;
	/* before more is touched, let go of what nobody uses */
	atomic_add_relaxed(&mheap_epoch, 1);
	base = h->grow_base;
	if (mheap_take(h, need))
		return -ENOMEM;
	if (huge) {
		size = thp_front_grow(&h->front, base, need);
		page_alloc_set_resident(&h->pages, base, size_to_pages(size));
	}
	return 0;
}

static void mheap_note_grown(struct mheap *h, bool ok)
{
	unsigned int fails = ok ? 0 : h->grow_fails + 1;

	h->grow_fails = min_size(fails, GROW_FAILS + GROW_WAIT_SHIFT);
	h->grow_wait = fails < GROW_FAILS ? 0 : 1U << (h->grow_fails - GROW_FAILS);
}

/*
 * Make room for a run of @nr_pages; under h->lock.  When there was none for the least
 * step, over and over, the kernel is not asked each time: other nodes may have pages,
 * and when they have none, mheaps_may_grow() says that it is to be asked after all.
 */
static int mheap_grow(struct mheap *h, size_t nr_pages)
{
	size_t need = align_up(nr_pages << HA_PAGE_SHIFT, GROW_STEP);
	int err;

	lock_assert_held(&h->lock);
	if (need > GROW_STEP)
		return mheap_grow_by(h, need, mheap_goes_huge(h, nr_pages));
	if (h->grow_wait) {
		h->grow_wait--;
		return -ENOMEM;
	}
	err = mheap_grow_by(h, need, mheap_goes_huge(h, nr_pages));
	mheap_note_grown(h, !err);
	return err;
}

/* True when one of them had stopped to. */
static bool mheaps_may_grow(void)
{
	bool any = false;

	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		struct mheap *h = &mheaps[n];

		lock_acquire(&h->lock);
		any |= h->grow_wait != 0;
		h->grow_wait = 0;
		lock_release(&h->lock);
	}
	return any;
}

static size_t pages_out(const struct mheap *h)
{
	return h->pages.nr_pages - h->pages.nr_free - h->nr_going;
}

static void mheap_note_peak(struct mheap *h)
{
	h->peak = max_size(h->peak, pages_out(h));
}

/*
 * Of the pages just taken, @nr_scav were with the kernel.  Those that were given
 * back are told from those never used by their number alone: what was given back
 * is lower than what is fresh, and taken first.
 */
static void mheap_note_taken(struct mheap *h, size_t nr_scav)
{
	size_t again = min_size(nr_scav, h->nr_given);

	h->nr_given -= again;
	h->nr_again += again;
}

/*
 * A run of resident pages, in one chunk.  At the hard limit that is all there is when they
 * cannot go: locked in memory, or beside an object on a larger page of the kernel's.
 */
static uintptr_t mheap_alloc_resident(struct mheap *h, size_t nr, size_t align)
{
	uintptr_t base, start, limit = ~0UL;
	size_t n, skip;

	for (int i = 0; i < RESIDENT_TRIES && nr <= CHUNK_PAGES; i++) {
		base = page_alloc_take_unscav(&h->pages, limit, 1, nr + align - 1, &n);
		if (!base)
			break;
		start = align_up(base, align << HA_PAGE_SHIFT);
		skip = (start - base) >> HA_PAGE_SHIFT;
		if (skip + nr <= n) {
			page_alloc_free(&h->pages, base, skip, false);
			page_alloc_free(&h->pages, start + (nr << HA_PAGE_SHIFT), n - skip - nr,
					false);
			return start;
		}
		page_alloc_free(&h->pages, base, n, false);
		limit = base;
	}
	return 0;
}

/*
 * Reserved space is no promise: of what is larger than an arena the kernel is asked whether
 * there is so much.  Not of what an alignment skips: nobody touches that.
 */
static bool mheap_may_have(size_t nr)
{
	return nr <= ARENA_PAGES || vm_may_have(nr << HA_PAGE_SHIFT);
}

static uintptr_t mheap_alloc_pages(struct mheap *h, size_t nr, size_t align,
				   enum mheap_how how, size_t *nr_scav)
{
	uintptr_t base;

	lock_assert_held(&h->lock);
	if (how == RESIDENT) {
		*nr_scav = 0;
		base = mheap_alloc_resident(h, nr, align);
		mheap_note_peak(h);
		return base;
	}
	if (how == AT_HAND && mheap_at_hand(h) < nr)
		return 0;
	if (!mheap_charge(h, nr))
		return 0;
	base = page_alloc_alloc(&h->pages, nr, align, nr_scav);
	if (!base && how == GROW && mheap_may_have(nr) && !mheap_grow(h, nr + align - 1))
		base = page_alloc_alloc(&h->pages, nr, align, nr_scav);
	if (base)
		mheap_note_taken(h, *nr_scav);
	mheap_note_peak(h);
	return base;
}

static unsigned int span_kind(unsigned int sc)
{
	return sc < NR_SPAN_KINDS ? sc : 0;
}

static struct mspan_pool *span_pool(struct mheap *h, unsigned int sc)
{
	return &h->spans[span_kind(sc)];
}

static struct mspan *mheap_span_get(struct mheap *h, unsigned int sc)
{
	struct mspan *s = mspan_pool_get(span_pool(h, sc));

	/* no memory for metadata: of the heap's, descriptors and states, as either is short */
	for (int i = 0; unlikely(!s) && i < 2; i++) {
		size_t nr = donate_pages(&h->pages, h->nid);

		if (!nr && !mheap_grow(h, 1))
			nr = donate_pages(&h->pages, h->nid);
		h->nr_donated += nr;
		s = mspan_pool_get(span_pool(h, sc));
	}
	return s;
}

static void mheap_span_put(struct mheap *h, struct mspan *s, unsigned int sc)
{
	mspan_pool_put(span_pool(h, sc), s, h->look);
}

/* What was free in the window, and never touched, may make its entries due. */
static void mheap_flush_window(struct mheap *h, struct heap_cache *c)
{
	if (c->pages.scav)
		mheap_set_due(h, c->pages.base, PAGE_CACHE_PAGES * HA_PAGE_SIZE);
	page_cache_flush(&c->pages, &h->pages);
}

/*
 * The page cache's share: pages from the window, a descriptor from the stash,
 * each refilled under the heap lock when it runs out.  0 or -ENOMEM.
 */
static int heap_cache_alloc(struct heap_cache *c, struct mheap *h,
			    unsigned int sc, enum mheap_how how,
			    uintptr_t *base, struct mspan **sp)
{
	size_t nr = size_classes[sc].pages, nr_scav;
	struct mspan **stash = &c->spans[span_kind(sc)], *s = *stash;

	*base = page_cache_alloc(&c->pages, nr, &nr_scav);
	if (*base && s) {
		*stash = *(struct mspan **)s;
		*sp = s;
		return 0;
	}
	lock_acquire(&h->lock);
	if (!*base) {
		mheap_flush_window(h, c);
		if ((how == GROW || mheap_at_hand(h) >= nr) &&
		    mheap_charge(h, PAGE_CACHE_PAGES) &&
		    page_alloc_to_cache(&h->pages, &c->pages)) {
			mheap_note_peak(h);
			mheap_note_taken(h, popcount64(c->pages.scav));
			*base = page_cache_alloc(&c->pages, nr, &nr_scav);
		}
		mheap_settle(h);
		if (!*base)
			*base = mheap_alloc_pages(h, nr, 1, how, &nr_scav);
	}
	for (int i = 0; !s && i < SPAN_STASH; i++) {
		struct mspan *new = mheap_span_get(h, sc);

		if (!new)
			break;
		/* written when it is taken, one after the other otherwise */
		prefetch_write(new->object_state);
		prefetch_write(new->bits);
		*(struct mspan **)new = *stash;
		*stash = new;
	}
	s = *stash;
	if (s && *base)
		*stash = *(struct mspan **)s;
	else if (*base)
		page_alloc_free(&h->pages, *base, nr, false);
	mheap_unlock(h);
	*sp = s;
	return s && *base ? 0 : -ENOMEM;
}

/* What is wanted, and what is known of what was got. */
struct span_request {
	unsigned int sc;	/* 0: a large span */
	unsigned int slot;	/* whose page cache; of small spans */
	size_t nr_pages;
	size_t align_pages;
	size_t nr_scav;		/* of its pages, those that read as zero; of large spans */
};

static int mheap_alloc_direct(struct mheap *h, struct span_request *r,
			      enum mheap_how how, uintptr_t *base, struct mspan **sp)
{
	lock_acquire(&h->lock);
	*sp = mheap_span_get(h, r->sc);
	*base = *sp ? mheap_alloc_pages(h, r->nr_pages, r->align_pages, how,
					&r->nr_scav) : 0;
	if (*sp && !*base)
		mheap_span_put(h, *sp, r->sc);
	mheap_unlock(h);
	return *base ? 0 : -ENOMEM;
}

static void mheap_count(struct mheap *h, const struct span_request *r, uintptr_t base)
{
	size_t bytes = r->nr_pages << HA_PAGE_SHIFT;

	atomic_add_relaxed(&h->nr_spans, 1);
	if (r->sc) {
		PROBE(span_alloc, h->nid, size_classes[r->sc].size, base, bytes);
		atomic_add_relaxed(&h->nr_spans_total, 1);
		return;
	}
	atomic_add_relaxed(&h->nr_large, 1);
	atomic_add_relaxed(&h->nr_large_now, 1);
	atomic_add_relaxed(&h->large_bytes, bytes);
	PROBE(large_alloc, h->nid, base, bytes);
}

static struct mspan *mheap_try(struct mheap *h, struct span_request *r, enum mheap_how how)
{
	struct heap_cache *c = &h->cache[heap_cache_of(r->slot)];
	struct mspan *s;
	uintptr_t base;
	int err;

	if (r->sc && r->nr_pages < HEAP_CACHE_MAX_PAGES && lock_try_acquire(&c->lock)) {
		err = heap_cache_alloc(c, h, r->sc, how, &base, &s);
		lock_release(&c->lock);
	} else {
		err = mheap_alloc_direct(h, r, how, &base, &s);
	}
	if (err)
		return NULL;
	mspan_init(s, base, r->nr_pages, r->sc, h->nid);
	heap_arena_set_span(base, r->nr_pages, s->object_state, h->nid, r->sc);
	mheap_count(h, r, base);
	return s;
}

/* Would it help to have back what is kept above, when @h has not so much at hand? */
static bool mheap_may_reclaim(struct mheap *h, const struct span_request *r)
{
	size_t kept = atomic_load_relaxed(&mheap_kept);

	return kept + mheap_resident_free(h->nid) >= r->nr_pages << HA_PAGE_SHIFT;
}

/* Without growth, as long as those above have something to give back. */
static struct mspan *mheap_ready(struct mheap *h, struct span_request *r)
{
	struct mspan *s;

	if (!atomic_load_relaxed(&mheap_kept))
		return NULL;
	do {
		s = mheap_try(h, r, AT_HAND);
	} while (!s && mheap_may_reclaim(h, r) &&
		 mheap_reclaim(h->nid, r->nr_pages << HA_PAGE_SHIFT));
	return s;
}

static struct mspan *mheap_near(unsigned int nid, struct span_request *r, enum mheap_how how)
{
	for (unsigned int i = 0; i < topo.nr_nodes; i++) {
		struct mheap *h = &mheaps[READ_ONCE(topo.order[nid][i])];
		struct mspan *s = mheap_try(h, r, how);

		if (s || conf.numa == VM_BIND_STRICT)
			return s;
	}
	return NULL;
}

static struct mspan *mheap_any(unsigned int nid, struct span_request *r)
{
	struct mspan *s = mheap_ready(&mheaps[nid], r);

	if (!s)
		s = mheap_near(nid, r, GROW);
	if (unlikely(!s) && mheaps_may_grow())
		s = mheap_near(nid, r, GROW);
	if (unlikely(!s) && !limit_fits(r->nr_pages << HA_PAGE_SHIFT))
		s = mheap_near(nid, r, RESIDENT);
	return s;
}

static struct mspan *mheap_get(unsigned int nid, struct span_request *r)
{
	size_t bytes = r->nr_pages << HA_PAGE_SHIFT;
	struct mspan *s;

	limit_check(bytes);
	s = mheap_any(nid, r);
	for (int i = 0; unlikely(!s) && i < LIMIT_TRIES && limit_retry(bytes); i++)
		s = mheap_any(nid, r);
	if (unlikely(!s))
		PROBE(no_pages, nid, bytes);
	return s;
}

struct mspan *mheap_alloc_span(unsigned int nid, unsigned int sc, unsigned int slot)
{
	struct span_request r = {
		.sc = sc, .slot = slot, .nr_pages = size_classes[sc].pages, .align_pages = 1,
	};

	return mheap_get(nid, &r);
}

struct mspan *mheap_alloc_large(unsigned int nid, size_t nr_pages,
				size_t align_pages, bool *zeroed)
{
	struct span_request r = { .nr_pages = nr_pages, .align_pages = align_pages };
	struct mspan *s;

	/* what a descriptor can say */
	if (nr_pages > UINT32_MAX)
		return NULL;
	s = mheap_get(nid, &r);
	if (s)
		*zeroed = r.nr_scav == nr_pages;
	return s;
}

void mheap_free_span(struct mspan *s)
{
	struct mheap *h = &mheaps[s->nid];
	uintptr_t base = s->start;
	size_t nr_pages = s->nr_pages, resident, notice;

	heap_arena_clear_span(base, nr_pages, s->sc);
	if (!s->sc) {
		PROBE(large_free, h->nid, base, nr_pages << HA_PAGE_SHIFT);
		atomic_sub_relaxed(&h->nr_large_now, 1);
		atomic_sub_relaxed(&h->large_bytes, nr_pages << HA_PAGE_SHIFT);
	} else {
		PROBE(span_free, h->nid, size_classes[s->sc].size, base,
		      nr_pages << HA_PAGE_SHIFT);
	}
	atomic_sub_relaxed(&h->nr_spans, 1);
	/* late readers: dead before anything of it changes */
	smp_store_release(&s->state, MSPAN_DEAD);
	lock_acquire(&h->lock);
	mheap_span_put(h, s, s->sc);
	page_alloc_free(&h->pages, base, nr_pages, false);
	resident = mheap_at_hand(h);
	lock_release(&h->lock);
	if (resident <= NOTIFY_FREE >> HA_PAGE_SHIFT || !mheap_notify)
		return;
	notice = atomic_load_relaxed(&h->notice);
	mheap_notify(notice && resident > notice &&
		     try_cmpxchg_acquire(&h->notice, notice, 0));
}

void mheap_set_notice(unsigned int nid, size_t pages)
{
	atomic_store_relaxed(&mheaps[nid].notice, pages);
}

void mheap_make_large(struct mspan *s)
{
	struct mheap *h = &mheaps[s->nid];

	/* look-ups go on finding its object meanwhile, as the one or the other */
	heap_arena_make_large(s->start, s->sc);
	s->size = 0;
	smp_store_release(&s->sc, 0);
	smp_store_release(&s->state, MSPAN_LARGE);
	atomic_add_relaxed(&h->nr_large, 1);
	atomic_add_relaxed(&h->nr_large_now, 1);
	atomic_add_relaxed(&h->large_bytes, mspan_size(s));
}

static bool mheap_try_resize(struct mspan *s, size_t nr_pages)
{
	struct mheap *h = &mheaps[s->nid];
	size_t old = s->nr_pages, nr_scav = 0;
	bool ok = true;

	lock_acquire(&h->lock);
	if (nr_pages < old) {
		page_alloc_free(&h->pages, s->start + (nr_pages << HA_PAGE_SHIFT),
				old - nr_pages, false);
	} else if (nr_pages > old) {
		ok = mheap_charge(h, nr_pages - old) &&
		     page_alloc_alloc_at(&h->pages,
					 s->start + (old << HA_PAGE_SHIFT),
					 nr_pages - old, &nr_scav);
	}
	if (ok) {
		WRITE_ONCE(s->nr_pages, nr_pages);
		mheap_note_taken(h, nr_scav);
	}
	PROBE(resize, h->nid, s->start, old << HA_PAGE_SHIFT,
	      nr_pages << HA_PAGE_SHIFT, ok);
	mheap_note_peak(h);
	mheap_unlock(h);
	if (ok && !s->sc)
		atomic_add_relaxed(&h->large_bytes,
				   (nr_pages - old) << HA_PAGE_SHIFT);
	return ok;
}

bool mheap_resize_span(struct mspan *s, size_t nr_pages)
{
	size_t more = nr_pages > s->nr_pages ? nr_pages - s->nr_pages : 0;

	more <<= HA_PAGE_SHIFT;
	if (more)
		limit_check(more);
	if (mheap_try_resize(s, nr_pages))
		return true;
	/* its neighbour may be free, and the limit alone in the way */
	return !limit_fits(more) && limit_retry(more) && mheap_try_resize(s, nr_pages);
}

static bool mheap_flush_stash(struct mheap *h, struct heap_cache *c)
{
	bool any = false;

	for (unsigned int kind = 0; kind < NR_SPAN_KINDS; kind++) {
		struct mspan *s;

		while ((s = c->spans[kind])) {
			c->spans[kind] = *(struct mspan **)s;
			mheap_span_put(h, s, kind);
			any = true;
		}
	}
	return any;
}

bool mheap_flush_caches(unsigned int nid)
{
	struct mheap *h = &mheaps[nid];
	bool any = false;

	for (unsigned int i = 0; i < NR_HEAP_CACHES; i++) {
		struct heap_cache *c = &h->cache[i];

		lock_acquire(&c->lock);
		lock_acquire(&h->lock);
		any |= c->pages.free != 0;
		mheap_flush_window(h, c);
		any |= mheap_flush_stash(h, c);
		mheap_unlock(h);
		lock_release(&c->lock);
	}
	return any;
}

void mheap_set_resident(unsigned int nid, uintptr_t base, size_t size)
{
	struct mheap *h = &mheaps[nid];

	lock_acquire(&h->lock);
	page_alloc_set_resident(&h->pages, base, size >> HA_PAGE_SHIFT);
	mheap_unlock(h);
}

void mheap_close_front(unsigned int nid)
{
	struct mheap *h = &mheaps[nid];

	if (atomic_load_relaxed(&h->front.base) == atomic_load_relaxed(&h->front.end))
		return;
	lock_acquire(&h->lock);
	thp_front_close(&h->front);
	lock_release(&h->lock);
}

size_t mheap_again(unsigned int nid, bool take)
{
	struct mheap *h = &mheaps[nid];
	size_t again;

	lock_acquire(&h->lock);
	again = h->nr_again;
	if (take)
		h->nr_again = 0;
	lock_release(&h->lock);
	return again;
}

size_t mheap_take_peak(unsigned int nid)
{
	struct mheap *h = &mheaps[nid];
	size_t peak;

	lock_acquire(&h->lock);
	peak = h->peak;
	h->peak = pages_out(h);
	lock_release(&h->lock);
	return peak;
}

size_t mheap_resident_free(unsigned int nid)
{
	struct mheap *h = &mheaps[nid];
	size_t pages;

	lock_acquire(&h->lock);
	pages = mheap_at_hand(h);
	lock_release(&h->lock);
	return pages << HA_PAGE_SHIFT;
}

void mheap_stat(unsigned int nid, struct mheap_stat *st)
{
	struct mheap *h = &mheaps[nid];

	lock_acquire(&h->lock);
	st->pages = h->pages.nr_pages;
	/* what is on its way to the kernel is marked in use there, and is not */
	st->free = h->pages.nr_free + h->nr_going;
	st->returned = h->pages.nr_scav;
	st->donated = h->nr_donated;
	lock_release(&h->lock);
	/* Windows count as in use there; they are free to everyone else. */
	for (unsigned int i = 0; i < NR_HEAP_CACHES; i++) {
		struct heap_cache *c = &h->cache[i];

		lock_acquire(&c->lock);
		st->free += popcount64(c->pages.free);
		st->returned += popcount64(c->pages.scav);
		lock_release(&c->lock);
	}
	st->spans = atomic_load_relaxed(&h->nr_spans);
	st->large_bytes = atomic_load_relaxed(&h->large_bytes);
	st->large = atomic_load_relaxed(&h->nr_large_now);
	st->nr_large = atomic_load_relaxed(&h->nr_large);
	st->nr_spans_total = atomic_load_relaxed(&h->nr_spans_total);
}
