/* SPDX-License-Identifier: MIT */
/*
 * How much memory the heap may hold, how much it holds, and who is asked to do
 * something about it.  See lib/limit.c.
 */
#ifndef _LIB_LIMIT_H
#define _LIB_LIMIT_H

#include <util/compiler.h>

#define LIMIT_NONE	SIZE_MAX
/* A hard limit below this is a mistake in the unit. */
#define LIMIT_MIN	(1UL << 20)

/*
 * Set once, before the first allocation of pages that could pass a limit.  Both
 * are called without a lock; both may free and allocate.
 */
struct limit_ops {
	/* The heap has grown past what limit_wake_at() was told. */
	void (*wake)(void);
	/* @bytes more are wanted above the soft limit: give back what is cheap. */
	void (*assist)(size_t bytes);
	/* ... above the hard one: whatever it costs; false when it was in vain. */
	bool (*make_room)(size_t bytes);
};

extern const struct limit_ops *limit_ops;	/* (c) once set */

/*
 * The account, bytes.  Under a heap's lock: what is ready of its pages changed by
 * @change, and @charged of an earlier limit_charge() ends.
 */
void limit_settle(size_t change, size_t charged);
/*
 * Set @bytes aside before pages are taken; false when that would pass the hard
 * limit.  *charged: what was set aside, for limit_settle().
 */
bool limit_charge(size_t bytes, size_t *charged);
/* Bytes inside spans were given back; modulo 2^64, so that minus is used again. */
void limit_dropped(size_t bytes);

/* Resident, or so as soon as it is touched: pages and metadata. */
size_t limit_total(void);
/* @bytes more would stay within the hard limit. */
bool limit_fits(size_t bytes);
/* Bytes above 95 % of the soft limit, 0 when below. */
size_t limit_excess(void);
/* The soft limit is passed. */
bool limit_passed(void);
/* Less than an eighth below it? */
bool limit_close(void);
/* Less than an eighth of it, or there is none? */
bool limit_far(void);

/* Before @bytes of pages are asked for, no lock held: may assist. */
void limit_check(size_t bytes);
/* They could not be had: true when it is worth trying again. */
bool limit_retry(size_t bytes);

/* Limits of the program's own, LIMIT_NONE for none. */
void limit_set(size_t soft, size_t hard);
void limit_get(size_t *soft, size_t *hard);
/*
 * A soft limit from outside, and the size from which on the process is in danger of
 * being killed; LIMIT_NONE for none.
 */
void limit_set_outer(size_t soft, size_t danger);
/* @bytes more would bring it there. */
bool limit_in_danger(size_t bytes);
/* The soft limit that is in force: the least of all. */
size_t limit_soft(void);
/*
 * Bytes that per-CPU caches and depots may hold together: an eighth of the soft
 * limit, or what was set, if that is less.
 */
size_t limit_cache_max(void);
void limit_set_cache_max(size_t bytes);
/* Call limit_ops->wake once the total passes @bytes; LIMIT_NONE: do not. */
void limit_wake_at(size_t bytes);

/*
 * A leaky bucket: CPU time that goes in as it is spent on assists, and leaks at
 * half of the clock's rate.  Assists are made while it is not full.
 */
struct limit_bucket {
	uint64_t fill_ns;	/* (a) */
	uint64_t leaked_at;	/* (a) clock of the last leak, ns */
};

#define LIMIT_BUCKET_NS	100000000ULL

bool limit_bucket_open(struct limit_bucket *b, uint64_t now_ns);
void limit_bucket_add(struct limit_bucket *b, uint64_t cpu_ns);

/* @percent of @bytes, for any bytes. */
size_t limit_percent(size_t bytes, unsigned int percent);
/*
 * The heap's share of what is left outside: it holds @total, and @room more could
 * be used (negative: less has to be).
 */
size_t limit_of_room(size_t total, int64_t room);

#endif /* _LIB_LIMIT_H */
