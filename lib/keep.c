// SPDX-License-Identifier: MIT
/*
 * What depots keep beyond the little that each may always hold (its floor).
 *
 *	keep_note_empty		a refill finds a depot empty that had declined objects:
 *				wider, as long as there is room in the budget
 *	keep_trim, keep_drain	a second without need, a class that rests, a limit:
 *				narrower, and batches go home
 *	mheap_reclaim		pages are wanted: the same, as many as that
 *
 * There are two budgets.  Small objects in a depot keep their spans, and the pages of
 * those, from other classes, so that all together may hold little.  Objects of more than
 * half a page are as good as free pages: most spans of them are empty when they go home.
 * So they may be a larger part of the heap, and before the heap grows, or takes pages
 * that are with the kernel, they are asked for.  An object of 64 KiB costs 290 ns on its
 * way to the page heap and back, 100 by way of its depot.
 *
 * Who is asked is decided by a hand that goes round the classes, after the clock of page
 * replacement (F. J. Corbato, "A Paging Experiment with the Multics System", 1968):
 * depots that something was taken from since it came by last are passed over once.  The
 * same hand finds room for a class whose budget is spent: a depot that was not used.
 *
 * Holds no lock; any thread.  Two at once may both take from a depot, or both widen it:
 * each has a part of its own, and the budget is exact, as depot_widen() and
 * depot_narrow() say by how much.
 */
#include "keep.h"
#include "limit.h"
#include "mheap.h"

/* As long as all depots together stay below this, or a share of what is ready. */
#define SMALL_MIN		(1UL << 20)	/* half as much where floors are twice */
#define SMALL_SHARE_SHIFT	4
#define LARGE_MIN		(8UL << 20)
#define LARGE_SHARE_SHIFT	3

#define LARGE_SIZE		(HA_PAGE_SIZE / 2)
/* Of large objects, a swing in their number is so many at least. */
#define LARGE_SWING		4

/* Classes that the hand looks at for room. */
#define LOOKS			8
/* Given back at a time, at least. */
#define RECLAIM_MIN		(256UL << 10)

/* Of a depot that is stale, taken home with a refill. */
#define SHED_STALE		4

static size_t small_min = SMALL_MIN;		/* (c) */
static size_t small_kept;			/* (a) bytes of room; of large objects: mheap_kept */
static unsigned int hands[MAX_NODES];		/* (a) modulo the number of large classes */

static bool is_large(unsigned int sc)
{
	return size_classes[sc].size > LARGE_SIZE;
}

static unsigned int first_large(void)
{
	return small_class(LARGE_SIZE + 1);
}

static unsigned int nr_large(void)
{
	return NR_SIZE_CLASSES - first_large();
}

static size_t *kept_by(unsigned int sc)
{
	return is_large(sc) ? &mheap_kept : &small_kept;
}

/* Bytes of a batch in a depot, itself included. */
static size_t batch_bytes(unsigned int sc)
{
	return (size_t)size_classes[sc].size * size_classes[sc].batch +
	       sizeof(struct mag_batch);
}

static void narrow(unsigned int nid, unsigned int sc, uint32_t by)
{
	uint32_t done = depot_narrow(&mcentrals[nid][sc].depot, by);

	atomic_sub_relaxed(kept_by(sc), done * batch_bytes(sc));
}

/* Up to @nr batches go home: objects of them. */
static size_t send_home(unsigned int nid, unsigned int sc, uint32_t nr)
{
	struct mag_batch *b;
	size_t sent = 0;

	while (nr-- && (b = depot_pop(&mcentrals[nid][sc].depot, 0))) {
		mcentral_free(nid, sc, b->slots, b->n);
		sent += b->n;
		batch_put(0, b);
	}
	return sent;
}

static unsigned int next_large(unsigned int nid)
{
	unsigned int i = atomic_fetch_add_relaxed(&hands[nid], 1);

	return first_large() + i % nr_large();
}

/* Bytes that went home. */
static size_t give_up(unsigned int nid, unsigned int sc, uint32_t batches, uint32_t room)
{
	size_t sent = send_home(nid, sc, batches);

	/* this was no use of it */
	depot_take_popped(&mcentrals[nid][sc].depot);
	narrow(nid, sc, room);
	return sent * size_classes[sc].size;
}

/* Room of depots that nobody used, until there are @bytes. */
static void take_room(unsigned int nid, size_t bytes)
{
	size_t found = 0;

	for (unsigned int i = 0; i < LOOKS && found < bytes; i++) {
		unsigned int sc = next_large(nid);
		struct depot *d = &mcentrals[nid][sc].depot;
		uint32_t room = depot_extra(d);

		if (!room || depot_take_popped(d))
			continue;
		give_up(nid, sc, depot_surplus(d), room);
		found += room * batch_bytes(sc);
	}
}

static bool reclaim(unsigned int nid, size_t bytes)
{
	size_t done = 0;

	bytes = max_size(bytes, RECLAIM_MIN);
	for (unsigned int i = 0; i < 2 * nr_large() && done < bytes; i++) {
		unsigned int sc = next_large(nid);
		struct depot *d = &mcentrals[nid][sc].depot;
		uint32_t n = depot_surplus(d);

		if (!n || depot_take_popped(d))
			continue;
		n = min_size(n, (bytes - done) / batch_bytes(sc) + 1);
		done += give_up(nid, sc, n, n);
	}
	return done;
}

void keep_init(unsigned int nr_nodes)
{
	small_min = nr_nodes > 1 ? SMALL_MIN / 2 : SMALL_MIN;
	mheap_reclaim = reclaim;
}

static size_t less(size_t bytes, size_t by)
{
	return bytes - min_size(bytes, by);
}

/*
 * Not near a limit, where what lies in depots is missed elsewhere; and caches that have a
 * bound share it.
 */
static size_t budget(unsigned int sc)
{
	size_t share = is_large(sc) ? max_size(LARGE_MIN, limit_total() >> LARGE_SHARE_SHIFT) :
		       max_size(small_min, limit_total() >> SMALL_SHARE_SHIFT);
	size_t others = atomic_load_relaxed(is_large(sc) ? &small_kept : &mheap_kept);

	return limit_close() ? 0 : min_size(share, less(limit_cache_max(), others));
}

static size_t room_left(unsigned int sc, size_t max)
{
	return less(max, atomic_load_relaxed(kept_by(sc)));
}

static void widen(unsigned int nid, unsigned int sc)
{
	size_t bytes = batch_bytes(sc), max = budget(sc);

	if (is_large(sc) && max >= bytes && room_left(sc, max) < bytes)
		take_room(nid, bytes);
	bytes *= depot_widen(&mcentrals[nid][sc].depot, room_left(sc, max) / bytes,
			     size_classes[sc].batch, is_large(sc) ? LARGE_SWING : 1);
	atomic_add_relaxed(kept_by(sc), bytes);
}

void keep_note_empty(unsigned int nid, unsigned int sc)
{
	struct depot *d = &mcentrals[nid][sc].depot;

	if (unlikely(atomic_load_relaxed(&d->missed)) && !depot_count(d))
		widen(nid, sc);
}

void keep_drain(unsigned int nid, unsigned int sc)
{
	send_home(nid, sc, UINT32_MAX);
	narrow(nid, sc, UINT32_MAX);
}

void keep_drain_one(unsigned int nid, unsigned int sc)
{
	send_home(nid, sc, 1);
	narrow(nid, sc, 1);
}

void keep_trim(unsigned int nid, unsigned int sc)
{
	struct depot *d = &mcentrals[nid][sc].depot;
	uint32_t low = depot_take_low(d);

	/* a class that only grows: nobody puts any in, and its room is missed by others */
	if (!is_large(sc) && !depot_take_popped(d) && !depot_count(d))
		low = depot_extra(d);
	if (!low)
		return;
	send_home(nid, sc, low);
	narrow(nid, sc, low);
}

void keep_shrunk(unsigned int nid, unsigned int sc)
{
	struct mcentral *mc = &mcentrals[nid][sc];

	atomic_store_relaxed(&mc->stale, depot_count(&mc->depot));
}

bool keep_shed(unsigned int nid, unsigned int sc)
{
	struct mcentral *mc = &mcentrals[nid][sc];
	uint32_t stale = atomic_load_relaxed(&mc->stale), n = min_size(stale, SHED_STALE);

	/* who else is at it has this part */
	if (likely(!stale) || !try_cmpxchg_acquire(&mc->stale, stale, stale - n))
		return stale;
	/* somebody else has taken them home meanwhile */
	if (!send_home(nid, sc, n))
		atomic_store_relaxed(&mc->stale, 0);
	return true;
}

void keep_fork_child(unsigned int nr_nodes)
{
	small_kept = mheap_kept = 0;
	for (unsigned int n = 0; n < nr_nodes; n++)
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
			*kept_by(sc) += depot_extra(&mcentrals[n][sc].depot) *
					batch_bytes(sc);
}
