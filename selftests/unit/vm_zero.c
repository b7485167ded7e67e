// SPDX-License-Identifier: MIT
/*
 * vm_zero: ranges at any address, with pages that were written and pages that were
 * not, read as zero afterwards and nothing beside them is touched; also where the
 * kernel returns nothing, because the memory is locked or the call fails.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <util/align.h>
#include "conf.h"
#include "vm.h"

#include "fake/filter.h"

#define MIB		(1UL << 20)
#define AREA		(40 * MIB)
#define LOCKED		MIB	/* of it, at a time: what anybody may lock */
#define MARK		0x5a

static char *area(void)
{
	char *p;

	vm_init();
	p = vm_reserve(0, AREA, 4 * MIB);
	check(p && !vm_prepare(p, AREA));
	/* a page is one that came by itself, on any machine */
	vm_advise_huge(p, AREA, false);
	return p;
}

static bool reads_zero(const char *p, size_t size)
{
	return !size || (!p[0] && !memcmp(p, p + 1, size - 1));
}

/* Written in runs, page by page or all of it, with @one_in runs left out. */
static void dirty(struct unit_rand *r, char *p, size_t size, unsigned int one_in)
{
	for (size_t at = 0, run; at < size; at += run) {
		run = min_size(size - at, rand_log(r, 11) * vm_page_size);
		if (one_in != 1 && (!one_in || rand_below(r, one_in)))
			memset(p + at, MARK, run);
	}
}

enum { RETURNED, REFUSED };

static void round_of(struct unit_rand *r, char *p, unsigned int one_in, int kind)
{
	size_t from = rand_below(r, 3) ? rand_below(r, 3 * vm_page_size) : 0;
	size_t size = AREA - from - rand_below(r, 3 * vm_page_size);
	char left = MARK, right = MARK;

	if (!rand_below(r, 3))
		size = rand_log(r, 25);
	dirty(r, p + from, size, one_in);
	if (from)
		p[from - 1] = left;
	if (from + size < AREA)
		p[from + size] = right;
	errno = 77;
	vm_fail_nth(kind == REFUSED, true);
	vm_zero(p + from, size);
	vm_fail_nth(0, false);
	check(errno == 77);
	check(!from || p[from - 1] == left);
	check(from + size >= AREA || p[from + size] == right);
	check(reads_zero(p + from, size));
	check(!vm_return(p, AREA));
}

START_TEST(contents)
{
	struct unit_rand r = unit_rand(_i);
	char *p = area();

	for (unsigned int i = 0; i < 8; i++)
		round_of(&r, p, i % 4, _i);
}
END_TEST

/* What nobody has touched is not touched here either. */
START_TEST(untouched)
{
	char *p = area();
	size_t pages = AREA / vm_page_size;

	vm_zero(p, AREA);
	check(vm_count_resident(p, AREA) == 0);
	memset(p, MARK, MIB);
	p[30 * MIB] = MARK;
	vm_zero(p, AREA);
	check(vm_count_resident(p, AREA) <= pages / 40 + 1);
	check(reads_zero(p, AREA));
	check(!vm_return(p, AREA));
	memset(p, MARK, AREA);
	vm_zero(p, AREA);
	check(vm_count_resident(p, AREA) == pages);
	check(reads_zero(p, AREA));
}
END_TEST

/* Locked as it comes: pages that are not resident are not returned either. */
START_TEST(locked)
{
	char *p = area();

	check(!mlock2(p, LOCKED, MLOCK_ONFAULT));
	memset(p, MARK, LOCKED / 4);
	p[LOCKED - 1] = MARK;
	vm_zero(p, AREA);
	check(vm_count_resident(p, LOCKED) == LOCKED / vm_page_size);
	check(vm_count_resident(p + LOCKED, AREA - LOCKED) == 0);
	check(reads_zero(p, AREA));
}
END_TEST

START_TEST(filtered)
{
	char *p = area();
	size_t pages = AREA / vm_page_size, nr;

	/* to ask which pages are resident */
	check(forbid_call(SYS_mincore));
	conf.cgroup = true;
	for (size_t i = 0; i < pages; i += 3)
		p[i * vm_page_size] = MARK;
	errno = 77;
	nr = vm_count_resident(p, AREA);
	check(nr == (pages + 2) / 3 || !nr);
	check(vm_count_resident(p, vm_page_size) == !!nr);
	check(vm_count_resident(p + vm_page_size, 2 * vm_page_size) == 0);
	conf.cgroup = false;
	check(vm_count_resident(p, AREA) == 0 && errno == 77);
	vm_zero(p, AREA);
	check(reads_zero(p, AREA) && errno == 77);
}
END_TEST

static bool kernel_knows(void)
{
	char *p = area();
	size_t before = vm_count_resident(p, AREA);

	*(volatile char *)p = 0;
	/* who is filtered, or may be, is not asked by vm_zero() */
	return !before && vm_count_resident(p, AREA) == 1 && !prctl(PR_GET_SECCOMP);
}

static bool can_lock(void)
{
	return !mlock2(area(), LOCKED, MLOCK_ONFAULT);
}

int main(void)
{
	Suite *s = suite_create("vm_zero");
	TCase *tc = tcase_create("vm_zero");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, contents, RETURNED, REFUSED + 1);
	if (kernel_knows()) {
		tcase_add_test(tc, untouched);
		if (in_process(can_lock))
			tcase_add_test(tc, locked);
		else
			unit_skip("locked", "no MiB may be locked here");
	} else {
		unit_skip("untouched, locked", "it is not told here which pages are resident");
	}
	if (in_process(can_forbid))
		tcase_add_test(tc, filtered);
	else
		unit_skip("filtered", "no filter of system calls can be had");
	suite_add_tcase(s, tc);
	return unit_run(s);
}
