// SPDX-License-Identifier: MIT
/*
 * Limits: the account and the arithmetic.
 *
 *	       total = ready pages + metadata - pages dropped inside spans
 *	  |-----------------------------|--------|---------------|------>
 *	  0                           95 %      soft            hard
 *	       nobody is asked          |        |                |
 *	       the background thread goes on     |                |
 *	       down to here                      |                |
 *	       allocation of pages assists: gives free pages     |
 *	       back first, for at most half of a CPU; in danger  |
 *	       of being killed from outside, whatever it takes   |
 *	       allocation gives everything back, then fails with ENOMEM
 *
 * A page is ready from the moment it may be touched without asking the page heap:
 * in a span, in a window, or free and not returned.  So the total is an upper
 * bound of what is resident, and the hard limit holds whenever memory is touched
 * first.  Only the page level looks: what magazines and spans with room serve
 * costs nothing.
 *
 * Invariants:
 *  1. ready is the sum over heaps of what each last settled, plus what is charged;
 *     a charge begins and ends under one hold of the heap's lock.
 *  2. ready + metadata never passes the hard limit by pages (metadata may, and
 *     what was there when the limit was set).
 *  3. What is dropped inside a span counts for the soft limit alone, because it
 *     comes back without asking.
 *
 * No locks: single words, read and written relaxed.  A reader may see a limit a
 * moment late.  Not here: what is given back (lib/assist.c), and where limits come
 * from (lib/conf.c, lib/pressure.c).
 */
#include <errno.h>

#include <asm/atomic.h>
#include <util/align.h>
#include "fixalloc.h"
#include "inspect.h"
#include "limit.h"

/* Of the soft limit, what caches may hold. */
#define CACHE_SHARE_SHIFT	3

static struct {
	size_t ready;		/* (a) */
	size_t dropped;		/* (a) */
	size_t soft;		/* (a) the program's */
	size_t hard;		/* (a) */
	size_t outer;		/* (a) soft, from outside */
	size_t danger;		/* (a) of being killed from there */
	size_t wake;		/* (a) */
	size_t cache_max;	/* (a) */
} limit = {
	.soft = LIMIT_NONE,
	.hard = LIMIT_NONE,
	.outer = LIMIT_NONE,
	.danger = LIMIT_NONE,
	.wake = LIMIT_NONE,
	.cache_max = LIMIT_NONE,
};

const struct limit_ops *limit_ops;

void limit_settle(size_t change, size_t charged)
{
	if (change != charged)
		atomic_add_relaxed(&limit.ready, change - charged);
}

bool limit_charge(size_t bytes, size_t *charged)
{
	size_t hard = atomic_load_relaxed(&limit.hard), now;

	if (likely(hard == LIMIT_NONE))
		return true;
	now = atomic_fetch_add_relaxed(&limit.ready, bytes) + bytes;
	if (now + meta_bytes() > hard) {
		atomic_sub_relaxed(&limit.ready, bytes);
		return false;
	}
	*charged += bytes;
	return true;
}

void limit_dropped(size_t bytes)
{
	atomic_add_relaxed(&limit.dropped, bytes);
}

size_t limit_total(void)
{
	return atomic_load_relaxed(&limit.ready) + meta_bytes() -
	       atomic_load_relaxed(&limit.dropped);
}

bool limit_fits(size_t bytes)
{
	size_t hard = atomic_load_relaxed(&limit.hard);
	size_t now = atomic_load_relaxed(&limit.ready) + meta_bytes();

	return hard == LIMIT_NONE || (now <= hard && bytes <= hard - now);
}

size_t limit_soft(void)
{
	return min_size(min_size(atomic_load_relaxed(&limit.soft),
				 atomic_load_relaxed(&limit.hard)),
			atomic_load_relaxed(&limit.outer));
}

size_t limit_excess(void)
{
	size_t soft = limit_soft(), goal = soft - soft / 20, total = limit_total();

	return soft != LIMIT_NONE && total > goal ? total - goal : 0;
}

bool limit_passed(void)
{
	return limit_total() > limit_soft();
}

bool limit_far(void)
{
	size_t soft = limit_soft();

	return soft == LIMIT_NONE || limit_total() < soft / 8;
}

bool limit_close(void)
{
	size_t soft = limit_soft();

	return soft != LIMIT_NONE && limit_total() > soft - soft / 8;
}

static void limit_check_slow(size_t bytes, size_t total) __noinline;
static void limit_check_slow(size_t bytes, size_t total)
{
	int saved = errno;

	/* once: whoever is woken says when to be woken again */
	if (total > atomic_load_relaxed(&limit.wake)) {
		atomic_store_relaxed(&limit.wake, LIMIT_NONE);
		limit_ops->wake();
	}
	if (total > limit_soft())
		limit_ops->assist(bytes);
	errno = saved;
}

void limit_check(size_t bytes)
{
	size_t total = limit_total() + bytes;

	if (likely(total <= limit_soft() &&
		   total <= atomic_load_relaxed(&limit.wake)))
		return;
	if (limit_ops)
		limit_check_slow(bytes, total);
}

bool limit_retry(size_t bytes)
{
	size_t hard = atomic_load_relaxed(&limit.hard);

	/* beyond any hope: not worth emptying the caches for */
	if (hard == LIMIT_NONE || bytes > hard || !limit_ops)
		return false;
	return limit_ops->make_room(bytes);
}

void limit_set(size_t soft, size_t hard)
{
	atomic_store_relaxed(&limit.soft, soft);
	atomic_store_relaxed(&limit.hard, hard);
}

void limit_get(size_t *soft, size_t *hard)
{
	*soft = atomic_load_relaxed(&limit.soft);
	*hard = atomic_load_relaxed(&limit.hard);
}

void limit_set_outer(size_t soft, size_t danger)
{
	atomic_store_relaxed(&limit.danger, danger);
	atomic_store_relaxed(&limit.outer, soft);
}

bool limit_in_danger(size_t bytes)
{
	return limit_total() + bytes > atomic_load_relaxed(&limit.danger);
}

size_t limit_cache_max(void)
{
	return min_size(limit_soft() >> CACHE_SHARE_SHIFT,
			atomic_load_relaxed(&limit.cache_max));
}

void limit_set_cache_max(size_t bytes)
{
	atomic_store_relaxed(&limit.cache_max, bytes);
}

void limit_wake_at(size_t bytes)
{
	atomic_store_relaxed(&limit.wake, bytes);
}

/* Let out what the clock allows since the last time. */
static void bucket_leak(struct limit_bucket *b, uint64_t now_ns)
{
	uint64_t last = atomic_load_relaxed(&b->leaked_at);
	uint64_t fill, leak, left;

	if (now_ns <= last || !try_cmpxchg_acquire(&b->leaked_at, last, now_ns))
		return;
	leak = (now_ns - last) / 2;
	do {
		fill = atomic_load_relaxed(&b->fill_ns);
		left = fill > leak ? fill - leak : 0;
	} while (!try_cmpxchg_acquire(&b->fill_ns, fill, left));
}

bool limit_bucket_open(struct limit_bucket *b, uint64_t now_ns)
{
	bucket_leak(b, now_ns);
	return atomic_load_relaxed(&b->fill_ns) < LIMIT_BUCKET_NS;
}

void limit_bucket_add(struct limit_bucket *b, uint64_t cpu_ns)
{
	atomic_add_relaxed(&b->fill_ns, cpu_ns);
}

size_t limit_percent(size_t bytes, unsigned int percent)
{
	return bytes / 100 * percent + bytes % 100 * percent / 100;
}

size_t limit_of_room(size_t total, int64_t room)
{
	if (room >= 0)
		return (size_t)room < LIMIT_NONE - total ? total + room : LIMIT_NONE - 1;
	return total > -(uint64_t)room ? total - -(uint64_t)room : 0;
}

INSPECT_TABLE(limit) = {
	INSPECT_OBJECT(limit_soft, limit.soft),
	INSPECT_OBJECT(limit_hard, limit.hard),
	INSPECT_OBJECT(limit_outer, limit.outer),
	INSPECT_END
};
