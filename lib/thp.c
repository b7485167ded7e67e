// SPDX-License-Identifier: MIT
/*
 * Huge pages for objects: where, and where not.
 *
 *	reserved: MADV_NOHUGEPAGE         the heap's end, where it grows
 *	+--------+--------+--------+--------+--------+ - - - - - - -
 *	| used   | used   | used   | front: advised  |  reserved
 *	+--------+--------+--------+--------+--------+ - - - - - - -
 *	                           ^base             ^end
 *
 * A heap that is large, has next to nothing free and grows for small objects will
 * fill the next chunk: it is advised before its first touch, so that it comes by one
 * fault of 2 MiB instead of 512.  The advice is taken back some chunks later, and
 * before anything is returned: MADV_NOHUGEPAGE leaves huge pages that are there as
 * they are.  So no mapping stays advised, which is why neither a page fault nor
 * khugepaged can bring back what was given back; and advised ranges do not pile up as
 * mappings: one a node, two for a moment.
 *
 * Whether the kernel's huge pages are worth it is measured, where the heap grows: it
 * may have to compact memory for one, and the host of a virtual machine may never
 * have touched it.  See trial().
 *
 * What is not in huge pages by then, and full and resident for some time, is moved
 * there by lib/collapse.c.
 *
 * Invariants:
 *  1. huge bits of an arena are hints: where one is wrong, memory goes back later or
 *     a huge page is split, nothing else.
 *  2. A front is inside of one heap's grown pages; outside of it all is NOHUGEPAGE.
 */
#include <string.h>
#include <time.h>

#include <util/line.h>
#include "cgroup.h"
#include "conf.h"
#include "mspan.h"
#include "thp.h"

/* The front, when it is cut, and what is left of it. */
#define FRONT_MAX	(64UL << 20)
#define FRONT_KEPT	(32UL << 20)
/* Every so many pages of a chunk a span is looked at. */
#define SAMPLE_PAGES	32

/*
 * Chunks between two trials: after one that went well; after the first that did not,
 * and twice as many after each further one, up to so many.
 */
#define TRIAL_WELL	32
#define TRIAL_BAD	8
#define TRIAL_BAD_MAX	256
/* Small pages that a trial touches. */
#define TRIAL_TOUCH	16

#define SYS_THP		"/sys/kernel/mm/transparent_hugepage/"

const char *thp_root = "";

static size_t pmd_size;			/* (a) */

size_t thp_size(void)
{
	return atomic_load_relaxed(&pmd_size);
}

static bool read_file(const char *name, char *buf, size_t size)
{
	struct line path;

	line_start(&path);
	line_str(&path, thp_root);
	line_str(&path, SYS_THP);
	line_str(&path, name);
	line_char(&path, '\0');
	return file_read(path.buf, buf, size) > 0;
}

void thp_init(void)
{
	char buf[128];
	size_t size = 0;

	if (conf.thp != THP_AUTO)
		return;
	if (!read_file("enabled", buf, sizeof(buf)) || strstr(buf, "[never]"))
		return;
	if (!read_file("hpage_pmd_size", buf, sizeof(buf)))
		return;
	for (const char *p = buf; *p >= '0' && *p <= '9'; p++)
		size = size * 10 + (*p - '0');
	if (is_power_of_2(size) && size > vm_page_size)
		atomic_store_relaxed(&pmd_size, size);
}

static struct heap_arena *chunk_bit(uintptr_t addr, uint32_t *bit)
{
	*bit = 1U << (addr % ARENA_SIZE >> CHUNK_SHIFT);
	return arena_lookup(addr);
}

bool thp_is_huge(uintptr_t addr)
{
	uint32_t bit;
	struct heap_arena *ha = chunk_bit(addr, &bit);

	return ha && atomic_load_relaxed(&ha->huge) & bit;
}

void thp_set_huge(uintptr_t base, size_t size, bool huge)
{
	for (uintptr_t addr = base; addr < base + size; addr += CHUNK_SIZE) {
		uint32_t bit;
		struct heap_arena *ha = chunk_bit(addr, &bit);

		if (!ha)
			continue;
		if (huge)
			__atomic_fetch_or(&ha->huge, bit, __ATOMIC_RELAXED);
		else
			__atomic_fetch_and(&ha->huge, ~bit, __ATOMIC_RELAXED);
	}
}

static void front_set(struct thp_front *f, uintptr_t base, uintptr_t end)
{
	atomic_store_relaxed(&f->base, base);
	atomic_store_relaxed(&f->end, end);
}

void thp_front_close(struct thp_front *f)
{
	if (f->end == f->base)
		return;
	vm_advise_huge((void *)f->base, f->end - f->base, false);
	front_set(f, 0, 0);
}

static uint64_t thread_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

uint64_t (*thp_clock)(void) = thread_ns;

/* What it costs to touch @nr kernel pages from @addr on, ns. */
static uint64_t touch_ns(uintptr_t addr, unsigned int nr)
{
	uint64_t from = thp_clock();

	for (unsigned int i = 0; i < nr; i++)
		*(volatile unsigned char *)(addr + i * vm_page_size) = 0;
	return thp_clock() - from;
}

/*
 * Are huge pages worth their price at present?  The first of a chunk comes as a huge
 * page, the first pages behind it as small ones; all of them will be used next.  Time
 * of the CPU, because the kernel's work counts and other threads' does not.
 *
 * One that came may cost 3/2 of what small ones instead of it would, because reading
 * is cheaper afterwards; one that did not was tried for in vain.
 */
static bool trial(uintptr_t base)
{
	size_t size = thp_size();
	uint64_t huge, small;
	bool came;

	vm_advise_huge((void *)base, size, true);
	huge = touch_ns(base, 1);
	vm_advise_huge((void *)base, size, false);
	came = vm_count_resident((void *)(base + size - vm_page_size), vm_page_size);
	small = touch_ns(base + size, TRIAL_TOUCH) * (size / vm_page_size) / TRIAL_TOUCH;
	return huge <= (came ? small + small / 2 : small / 8);
}

/* Is the next chunk, at @base, to be advised?  *touched: bytes of it that have been. */
static bool front_worth(struct thp_front *f, uintptr_t base, size_t *touched)
{
	*touched = 0;
	if (CHUNK_SIZE < 2 * thp_size())
		return true;
	if (f->until_trial) {
		f->until_trial--;
		return !f->refused;
	}
	if (trial(base))
		f->refused = 0;
	else if (f->refused < TRIAL_BAD_MAX)
		f->refused = f->refused ? 2 * f->refused : TRIAL_BAD;
	f->until_trial = f->refused ? f->refused : TRIAL_WELL;
	*touched = thp_size() + TRIAL_TOUCH * vm_page_size;
	/* half of this one is small pages already */
	return false;
}

size_t thp_front_grow(struct thp_front *f, uintptr_t base, size_t size)
{
	size_t touched;

	if (!front_worth(f, base, &touched)) {
		thp_front_close(f);
		return touched;
	}
	if (f->end != base) {
		thp_front_close(f);
		front_set(f, base, base);
	}
	vm_advise_huge((void *)base, size, true);
	thp_set_huge(base, size, true);
	front_set(f, f->base, base + size);
	if (f->end - f->base > FRONT_MAX) {
		uintptr_t cut = f->end - FRONT_KEPT;

		vm_advise_huge((void *)f->base, cut - f->base, false);
		front_set(f, cut, f->end);
	}
	return size;
}

/*
 * Spans are read without their locks: the numbers are of some moment, and a
 * descriptor that has been recycled meanwhile is one of sixteen.
 */
__no_tsan bool thp_is_sparse(uintptr_t addr)
{
	uintptr_t base = align_down(addr, CHUNK_SIZE);
	size_t all = 0, used = 0;

	for (size_t i = 0; i < CHUNK_PAGES; i += SAMPLE_PAGES) {
		struct page_entry *e = arena_entry(base + i * HA_PAGE_SIZE);
		struct mspan *s = e ? page_entry_span(e) : NULL;
		unsigned int sc = s ? READ_ONCE(s->sc) : 0;

		/* the rest of a large span has no entries: counts for nothing */
		if (!sc)
			continue;
		all += READ_ONCE(s->nelems);
		used += READ_ONCE(s->nr_alloc);
	}
	return used < all / 2;
}
