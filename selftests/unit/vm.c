// SPDX-License-Identifier: MIT
/*
 * vm: each range against a state per block of pages, the bytes of all mappings
 * as the kernel lists them, and each call that can fail, failing.
 *
 * Whether memory can be read or written is asked by system calls, which say
 * EFAULT where a load or a store would end the test.
 */
#include <linux/mempolicy.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <util/align.h>
#include "inspect.h"
#include "page.h"
#include "vm.h"

#include "fake/filter.h"

#define MIB		(1UL << 20)
#define NR_RANGES	8
#define NR_BLOCKS	16	/* of a range: prepared and returned one by one */

static int fds[2];		/* a pipe: bytes go in from memory and out to it */

static bool readable(const void *p)
{
	char c;

	if (write(fds[1], p, 1) != 1) {
		check(errno == EFAULT);
		return false;
	}
	check(read(fds[0], &c, 1) == 1);
	return true;
}

static bool writable(void *p)
{
	char keep, was;
	ssize_t n;

	if (!readable(p))
		return false;
	was = *(volatile char *)p;
	check(write(fds[1], &was, 1) == 1);
	n = read(fds[0], p, 1);
	if (n == 1)
		return true;
	check(n < 0 && errno == EFAULT && read(fds[0], &keep, 1) == 1);
	return false;
}

/* Bytes of all mappings of the process, as /proc lists them. */
static size_t mapped_bytes(void)
{
	static char buf[1 << 20];
	int fd = open("/proc/self/maps", O_RDONLY);
	size_t len = 0, sum = 0;
	ssize_t n;

	check(fd >= 0);
	while ((n = read(fd, buf + len, sizeof(buf) - 1 - len)) > 0)
		len += n;
	close(fd);
	buf[len] = '\0';
	for (char *p = buf; *p; p = strchr(p, '\n') + 1) {
		unsigned long start, end;

		check(sscanf(p, "%lx-%lx", &start, &end) == 2);
		/* what grows by itself */
		if (memcmp(strchr(p, '\n') - 7, "[stack]", 7))
			sum += end - start;
	}
	return sum;
}

static bool all_zero(const char *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

static void begin(void)
{
	vm_init();
	check(pipe(fds) == 0);
	check(vm_page_size == (size_t)sysconf(_SC_PAGESIZE));
	mapped_bytes();
	/* the call that may be tried once only */
	vm_release(vm_reserve(0, MIB, vm_page_size), MIB, 0, VM_HEAP);
	errno = 77;
}

struct range {
	char *p;
	size_t size;
	unsigned char block[NR_BLOCKS];	/* 0 reserved, 1 zero, else its bytes */
};

static void range_new(struct range *g, struct unit_rand *r)
{
	size_t align = vm_page_size << rand_below(r, 11), before = mapped_bytes();
	uintptr_t hint = 0;

	g->size = vm_page_size * NR_BLOCKS * rand_log(r, 6);
	if (rand_below(r, 2))
		hint = VM_ARENA_HINT + align * rand_below(r, 50);
	g->p = vm_reserve(hint, g->size, align);
	check(g->p && is_aligned((uintptr_t)g->p, align));
	check(mapped_bytes() == before + g->size);
	check(!readable(g->p) && !readable(g->p + g->size - 1));
	memset(g->block, 0, sizeof(g->block));
}

static void range_step(struct range *g, struct unit_rand *r)
{
	size_t size = g->size / NR_BLOCKS, i = rand_below(r, NR_BLOCKS);
	char *p = g->p + i * size;

	if (!g->block[i]) {
		check(vm_prepare(p, size) == 0);
		check(all_zero(p, size));
		g->block[i] = 1;
	} else if (rand_below(r, 2)) {
		g->block[i] = 2 + rand_below(r, 200);
		memset(p, g->block[i], size);
	} else {
		check(vm_return(p, size) == 0);
		check(all_zero(p, size));
		g->block[i] = 1;
	}
	check(writable(p) && writable(p + size - 1));
}

static size_t range_prepared(const struct range *g)
{
	size_t n = 0;

	for (unsigned int i = 0; i < NR_BLOCKS; i++)
		n += g->block[i] != 0;
	return g->p ? n * (g->size / NR_BLOCKS) : 0;
}

static void range_check(const struct range *g)
{
	size_t size = g->size / NR_BLOCKS;

	for (unsigned int i = 0; i < NR_BLOCKS && g->p; i++) {
		char *p = g->p + i * size, want = g->block[i] > 1 ? g->block[i] : 0;

		if (!g->block[i])
			check(!readable(p));
		else
			check(p[0] == want && memcmp(p, p + 1, size - 1) == 0);
	}
}

START_TEST(states)
{
	struct range range[NR_RANGES] = { 0 };
	struct unit_rand r = unit_rand(1);
	struct vm_stat base;

	begin();
	base = vm_stat;
	for (unsigned int step = 0; step < 3000; step++) {
		struct range *g = &range[rand_below(&r, NR_RANGES)];
		size_t size = 0, prepared = 0, maps = 0;

		if (!g->p) {
			range_new(g, &r);
		} else if (rand_below(&r, 20) == 0) {
			size_t before = mapped_bytes();

			range_check(g);
			vm_release(g->p, g->size, range_prepared(g), VM_HEAP);
			check(mapped_bytes() == before - g->size);
			g->p = NULL;
		} else {
			range_step(g, &r);
		}
		check(errno == 77 || errno == EFAULT);
		errno = 77;
		for (unsigned int i = 0; i < NR_RANGES; i++) {
			size += range[i].p ? range[i].size : 0;
			prepared += range_prepared(&range[i]);
			maps += range[i].p != NULL;
		}
		check(vm_stat.prepared[VM_HEAP] == base.prepared[VM_HEAP] + prepared);
		check(vm_stat.reserved[VM_HEAP] ==
		      base.reserved[VM_HEAP] + size - prepared);
		check(vm_stat.nr_maps == base.nr_maps + maps);
		check(vm_stat.nr_calls > base.nr_calls);
	}
}
END_TEST

static const struct ha_inspect_entry *shown(const char *name)
{
	for (const struct ha_inspect_entry *e = inspect_vm; e->kind != HA_INSPECT_END; e++)
		if (!strcmp(e->name, name))
			return e;
	check(0);
	return NULL;
}

/* Bytes that are shown as metadata; how many of them are at @p. */
static size_t meta_shown(const void *p, size_t *here)
{
	const struct ha_inspect_entry *maps = shown("meta_maps");
	uint32_t nr = *(uint32_t *)(uintptr_t)shown("nr_meta_maps")->value;
	size_t all = 0;

	*here = 0;
	check(nr <= maps->count);
	for (uint32_t i = 0; i < nr; i++) {
		const char *m = (char *)(uintptr_t)maps->value + i * maps->size;
		uintptr_t start = *(uintptr_t *)(m + shown("meta_map.start")->value);
		size_t size = *(size_t *)(m + shown("meta_map.size")->value);

		all += size;
		if (start == (uintptr_t)p)
			*here += size;
	}
	return all;
}

/* All metadata is shown to readers from outside, and nothing else. */
START_TEST(metadata)
{
	struct unit_rand r = unit_rand(3);
	struct { void *p; size_t size; } map[20] = { 0 };
	size_t base, here, sum = 0, big = 2 << 20;
	uint32_t nr;
	void *p;

	begin();
	base = meta_shown(NULL, &here);
	for (unsigned int step = 0; step < 2000; step++) {
		unsigned int i = rand_below(&r, ARRAY_SIZE(map));

		if (map[i].p) {
			vm_release(map[i].p, map[i].size, map[i].size, VM_META);
			sum -= map[i].size;
			check(meta_shown(map[i].p, &here) == base + sum && !here);
			map[i].p = NULL;
			continue;
		}
		map[i].size = vm_page_size * (1 + rand_below(&r, 20));
		map[i].p = vm_map_meta(map[i].size);
		sum += map[i].size;
		check(meta_shown(map[i].p, &here) == base + sum && here == map[i].size);
	}
	/* what is tried and given up over and over takes one place */
	nr = *(uint32_t *)(uintptr_t)shown("nr_meta_maps")->value;
	for (unsigned int i = 0; i < 10000; i++) {
		p = vm_map_meta(vm_page_size);
		vm_release(p, vm_page_size, vm_page_size, VM_META);
	}
	check(*(uint32_t *)(uintptr_t)shown("nr_meta_maps")->value <= nr + 1);
	p = vm_map_meta_huge(big);
	check(meta_shown(p, &here) == base + sum + big && here == big);
	p = vm_map_meta_sparse(vm_page_size);
	check(meta_shown(p, &here) == base + sum + big + vm_page_size && here == vm_page_size);
}
END_TEST

/* What lies beside an aligned reservation goes back. */
START_TEST(trims)
{
	struct unit_rand r = unit_rand(2);

	begin();
	for (unsigned int i = 0; i < 40; i++) {
		size_t size = vm_page_size * (1 + rand_below(&r, 200)), before, odd;
		size_t align = vm_page_size << (4 + rand_below(&r, 9));
		char *p, *q;

		/* so that the kernel's next answer is not aligned by chance */
		odd = vm_page_size * (1 + rand_below(&r, 7));
		q = vm_reserve(0, odd, vm_page_size);
		before = mapped_bytes();
		p = vm_reserve(0, size, align);
		check(p && q && is_aligned((uintptr_t)p, align));
		check(mapped_bytes() == before + size);
		vm_release(p, size, 0, VM_HEAP);
		check(mapped_bytes() == before);
		vm_release(q, odd, 0, VM_HEAP);
	}
	check(!vm_reserve(0, ~0UL - MIB + 1, vm_page_size));
	check(!vm_reserve(0, 1UL << 62, ARENA_SIZE));
	check(errno == 77);
}
END_TEST

/* An address in use is left to who has it. */
START_TEST(collision)
{
	size_t size = 64 * vm_page_size, calls;
	struct vm_stat before;
	char *p, *q;

	begin();
	p = vm_map_meta(size);
	check(p);
	memset(p, 5, size);
	before = vm_stat;
	check(!vm_reserve_at((uintptr_t)p, size));
	check(!vm_reserve_at((uintptr_t)p + size / 2, size));
	check(!vm_reserve_at((uintptr_t)p - size / 2, size));
	check(memcmp(before.reserved, vm_stat.reserved, sizeof(before.reserved)) == 0);
	check(before.nr_maps == vm_stat.nr_maps);
	calls = vm_stat.nr_calls;
	q = vm_reserve((uintptr_t)p, size, vm_page_size);
	check(q && q != p && vm_stat.nr_calls > calls);
	for (size_t i = 0; i < size; i++)
		check(p[i] == 5);
	vm_release(q, size, 0, VM_HEAP);
	check(vm_reserve_at((uintptr_t)q, size));
	check(errno == 77);
}
END_TEST

START_TEST(meta)
{
	size_t size = 128 * vm_page_size;
	struct vm_stat base;
	char *p;

	begin();
	base = vm_stat;
	p = vm_map_meta(size);
	check(p && all_zero(p, size) && writable(p) && writable(p + size - 1));
	check(vm_stat.prepared[VM_META] == base.prepared[VM_META] + size);
	vm_release(p, size, size, VM_META);
	check(vm_stat.prepared[VM_META] == base.prepared[VM_META]);

	p = vm_map_meta_sparse(size);
	check(p && readable(p) && readable(p + size - 1) && !writable(p));
	check(vm_stat.reserved[VM_META] == base.reserved[VM_META] + size);
	check(vm_prepare_meta(p + vm_page_size, vm_page_size) == 0);
	check(!writable(p) && writable(p + vm_page_size) && !writable(p + 2 * vm_page_size));
	check(all_zero(p, size));
	p[vm_page_size] = 1;
	check(vm_stat.reserved[VM_META] == base.reserved[VM_META] + size - vm_page_size);
	check(vm_stat.prepared[VM_META] == base.prepared[VM_META] + vm_page_size);
	vm_release(p, size, vm_page_size, VM_META);

	p = vm_map_meta_huge(2 * MIB);
	check(p && is_aligned((uintptr_t)p, 2 * MIB) && writable(p));
	check(vm_stat.prepared[VM_META] == base.prepared[VM_META] + 2 * MIB);
	vm_release(p, 2 * MIB, 2 * MIB, VM_META);
	check(vm_stat.nr_maps == base.nr_maps);
	check(vm_stat.reserved[VM_META] == base.reserved[VM_META]);
}
END_TEST

/* Operations of one call each, on a range that is prepared, and on a sparse one. */
static char *heap_range, *sparse_range;
static uintptr_t free_addr;		/* where nothing is mapped */

static bool op_reserve_at(void)
{
	return vm_reserve_at(free_addr, MIB);
}

static bool op_prepare(void)
{
	return vm_prepare(heap_range + MIB, MIB) == 0;
}

static bool op_return(void)
{
	return vm_return(heap_range, MIB) == 0;
}

static bool op_map_meta(void)
{
	return vm_map_meta(MIB) != NULL;
}

static bool op_map_sparse(void)
{
	return vm_map_meta_sparse(MIB) != NULL;
}

static bool op_prepare_meta(void)
{
	return vm_prepare_meta(sparse_range, vm_page_size) == 0;
}

static bool op_reserve(void)
{
	return vm_reserve(0, MIB, vm_page_size) != NULL;
}

static bool (*const ops[])(void) = {
	op_reserve_at, op_prepare, op_return, op_map_meta, op_map_sparse,
	op_prepare_meta, op_reserve,
};

static bool stat_same(const struct vm_stat *a)
{
	return !memcmp(a->reserved, vm_stat.reserved, sizeof(a->reserved)) &&
	       !memcmp(a->prepared, vm_stat.prepared, sizeof(a->prepared)) &&
	       a->nr_maps == vm_stat.nr_maps && a->nr_calls == vm_stat.nr_calls;
}

/* An address that was given out just now, and taken back. */
static uintptr_t find_free(size_t size)
{
	void *p = vm_reserve(0, size, vm_page_size);

	check(p);
	vm_release(p, size, 0, VM_HEAP);
	return (uintptr_t)p;
}

static void fault_begin(void)
{
	begin();
	free_addr = find_free(4 * MIB);
	heap_range = vm_reserve(0, 2 * MIB, MIB);
	sparse_range = vm_map_meta_sparse(MIB);
	check(heap_range && sparse_range && vm_prepare(heap_range, MIB) == 0);
	memset(heap_range, 9, MIB);
}

START_TEST(fault_once)
{
	struct vm_stat before;
	size_t bytes;

	fault_begin();
	bytes = mapped_bytes();
	before = vm_stat;
	for (long sticky = 0; sticky < 2; sticky++) {
		vm_fail_nth(1, sticky);
		check(!ops[_i]());
		if (sticky)
			check(!ops[_i]() && !ops[_i]());
		check(stat_same(&before) && errno == 77);
		check(mapped_bytes() == bytes && heap_range[0] == 9);
		check(!readable(heap_range + MIB) && !writable(sparse_range));
		errno = 77;
	}
	vm_fail_nth(0, true);
	check(ops[_i]());
	check(errno == 77);
}
END_TEST

START_TEST(fault_counts)
{
	fault_begin();
	for (long n = 1; n < 10; n++) {
		vm_fail_nth(n, false);
		for (long i = 1; i < 20; i++)
			check(op_return() == (i != n));
		vm_fail_nth(n, true);
		for (long i = 1; i < 20; i++)
			check(op_return() == (i < n));
	}
	vm_fail_nth(0, false);
	check(op_return());
}
END_TEST

/* Every second page, in one call or, behind a filter of calls, in as many. */
START_TEST(return_many)
{
	struct iovec v[VM_RETURN_MAX];
	unsigned int done;
	char *p;

	begin();
	/* process_madvise */
	check(_i == 0 || forbid_call(440));
	p = vm_reserve(0, 2 * VM_RETURN_MAX * vm_page_size, MIB);
	check(p && !vm_prepare(p, 2 * VM_RETURN_MAX * vm_page_size));
	for (unsigned int nr = 0; nr <= VM_RETURN_MAX; nr += 1 + nr / 2) {
		memset(p, 3, 2 * VM_RETURN_MAX * vm_page_size);
		for (unsigned int i = 0; i < nr; i++)
			v[i] = (struct iovec){ p + 2 * i * vm_page_size, vm_page_size };
		vm_fail_nth(1, true);
		check(vm_return_many(v, nr) == 0 && p[0] == 3);
		vm_fail_nth(0, false);
		check(vm_return_many(v, nr) == nr);
		for (unsigned int i = 0; i < 2 * VM_RETURN_MAX; i++) {
			char want = i % 2 == 0 && i < 2 * nr ? 0 : 3;

			check(p[i * vm_page_size] == want &&
			      p[(i + 1) * vm_page_size - 1] == want);
		}
		check(errno == 77);
	}
	/* one that the kernel refuses in the middle: those before it are gone */
	memset(p, 3, 2 * VM_RETURN_MAX * vm_page_size);
	for (unsigned int i = 0; i < 9; i++)
		v[i] = (struct iovec){ p + 2 * i * vm_page_size + (i == 5), vm_page_size };
	done = vm_return_many(v, 9);
	check(done <= 5 && p[10 * vm_page_size + 1] == 3 && errno == 77);
	for (unsigned int i = 0; i < done; i++)
		check(p[2 * i * vm_page_size] == 0);
}
END_TEST

/* Two or three attempts inside: failing some leaves nothing behind. */
START_TEST(fault_reserve)
{
	size_t before;
	char *p = NULL;

	begin();
	before = mapped_bytes();
	free_addr = find_free(MIB);
	check(vm_reserve_at(free_addr, MIB));
	for (long n = 1; n < 5; n++) {
		vm_fail_nth(n, true);
		p = vm_reserve(free_addr, MIB, 64 * MIB);
		check(mapped_bytes() == before + (p ? 2 : 1) * MIB);
		if (p)
			vm_release(p, MIB, 0, VM_HEAP);
	}
	check(p);
	for (long n = 1; n < 3; n++) {
		struct vm_stat st = vm_stat;

		vm_fail_nth(n, true);
		p = vm_map_meta_huge(2 * MIB);
		check(!p == (n == 1) && errno == 77);
		if (p)
			vm_release(p, 2 * MIB, 2 * MIB, VM_META);
		check(st.nr_maps == vm_stat.nr_maps);
		check(mapped_bytes() == before + MIB);
	}
}
END_TEST

/*
 * The policy of a bound range without its flags, or -1: it has none that one can
 * ask for.
 */
static int policy(void *p)
{
	int mode;

	return syscall(SYS_get_mempolicy, &mode, NULL, 0, p, MPOL_F_ADDR) ?
	       -1 : mode & ~MPOL_MODE_FLAGS;
}

START_TEST(bind_modes)
{
	size_t calls;
	char *p;

	begin();
	p = vm_reserve(0, 3 * MIB, MIB);
	check(p);
	calls = vm_stat.nr_calls;
	vm_bind(p, MIB, 0, VM_BIND_OFF);
	vm_bind(p, MIB, 1 << 20, VM_BIND_STRICT);
	check(vm_stat.nr_calls == calls && policy(p) == 0);
	vm_bind(p, MIB, 0, VM_BIND_ADVISORY);
	vm_bind(p + MIB, MIB, 0, VM_BIND_STRICT);
	/* a node that does not exist is refused, and that is all */
	vm_bind(p + 2 * MIB, MIB, 1023, VM_BIND_STRICT);
	check(vm_stat.nr_calls == calls + 3);
	check(policy(p) == 1 && policy(p + MIB) == 2 && policy(p + 2 * MIB) == 0);
	vm_advise_huge(p, 3 * MIB, true);
	vm_advise_huge(p, 3 * MIB, false);
	check(vm_stat.nr_calls == calls + 5 && errno == 77);
	calls = vm_stat.nr_calls;
	vm_fail_nth(1, true);
	vm_bind(p, MIB, 0, VM_BIND_STRICT);
	vm_advise_huge(p, MIB, true);
	check(vm_stat.nr_calls == calls && policy(p) == 1 && errno == 77);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vm");
	TCase *tc = tcase_create("vm");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_test(tc, states);
	tcase_add_test(tc, metadata);
	tcase_add_test(tc, trims);
	tcase_add_test(tc, collision);
	tcase_add_test(tc, meta);
	tcase_add_loop_test(tc, fault_once, 0, ARRAY_SIZE(ops));
	tcase_add_test(tc, fault_counts);
	tcase_add_test(tc, fault_reserve);
	tcase_add_loop_test(tc, return_many, 0, in_process(can_forbid) ? 2 : 1);
	if (!in_process(can_forbid))
		unit_skip("return_many, filtered", "no filter of system calls can be had");
	if (policy(&s) >= 0)
		tcase_add_test(tc, bind_modes);
	else
		unit_skip("bind_modes", "no memory policies here");
	suite_add_tcase(s, tc);
	return unit_run(s);
}
