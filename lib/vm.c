// SPDX-License-Identifier: MIT
/*
 * Address space as a state machine, after Go's src/runtime/mem.go.
 *
 *	        vm_reserve           vm_prepare          first touch
 *	 None -------------> Reserved ----------> Prepared ----------> Ready
 *	   ^                 PROT_NONE            read/write           resident
 *	   |                                          ^                  |
 *	   +-------------- vm_release ---------------------  vm_return --+
 *
 * Linux makes a page Ready by itself when it is touched, so only the way back is
 * a call.  Reserved space has MAP_NORESERVE and no access: it costs nothing under
 * any overcommit mode; vm_prepare() is where commit charge is taken, and where
 * overcommit=2 or a limit may say no.
 *
 * Invariants:
 *  1. Every range handed in is page aligned (the kernel's page).
 *  2. errno is left as it was by every function here: a caller that fails sets
 *     its own.
 *  3. Statistics are bytes asked of the kernel, not resident bytes.
 *
 * Any thread, any time after vm_init(), no locks.  Not here: what a range is for.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <asm/atomic.h>
#include <util/align.h>
#include "conf.h"
#include "inspect.h"
#include "vm.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE	0x100000
#endif
/* ThreadSanitizer drops the address of a call with a flag that it does not know. */
#ifdef __SANITIZE_THREAD__
#define VM_MAP_EXACT		0
#else
#define VM_MAP_EXACT		MAP_FIXED_NOREPLACE
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise	440
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA		0x53564d41
#define PR_SET_VMA_ANON_NAME	0
#endif

/* This process itself, where a pidfd is asked for (Linux 6.14). */
#define VM_PIDFD_SELF		(-10000)

struct vm_stat vm_stat;

/*
 * Where metadata is, for readers from outside who look for the program's pointers.
 * What there is no room for here they take for the program's.
 */
static struct meta_map {
	uintptr_t start;		/* (a) */
	size_t size;			/* (a) */
} meta_maps[4096];
#define META_MAP_GONE	1UL		/* a start that is none */
static uint32_t nr_meta_maps;		/* (a) in use, or were */
size_t vm_page_size = 4096;

static bool vm_no_names;	/* the kernel said EINVAL once */
static bool vm_no_many;		/* (a) no way to return ranges in one call */

#ifdef CONFIG_FAULT_INJECTION
static long vm_fail_at;
static bool vm_fail_sticky;
static size_t vm_nr_failed;
int vm_collapse_fault = -ENOMEM;

void vm_fail_nth(long nth, bool sticky)
{
	atomic_store_relaxed(&vm_fail_sticky, sticky);
	atomic_store_relaxed(&vm_fail_at, nth);
}

size_t vm_failed(void)
{
	return atomic_load_relaxed(&vm_nr_failed);
}

static bool vm_fault(void)
{
	long n = atomic_load_relaxed(&vm_fail_at);
	bool fails;

	if (n <= 0)
		return false;
	fails = (n == 1 && atomic_load_relaxed(&vm_fail_sticky)) ||
		atomic_fetch_add_relaxed(&vm_fail_at, -1) == 1;
	atomic_add_relaxed(&vm_nr_failed, fails);
	return fails;
}
#else
#define vm_collapse_fault	(-ENOMEM)

static inline bool vm_fault(void)
{
	return false;
}
#endif

static void vm_count_call(void)
{
	atomic_add_relaxed(&vm_stat.nr_calls, 1);
}

/*
 * A filter of system calls may end a process for a call that it does not know, and is
 * not asked to find out: one that is not needed is not made then.
 */
static bool vm_is_filtered(void)
{
	int saved = errno, mode = prctl(PR_GET_SECCOMP);

	errno = saved;
	return mode != 0;
}

void vm_init(void)
{
	vm_page_size = getauxval(AT_PAGESZ);
}

static void vm_name(void *addr, size_t size, const char *name)
{
	if (vm_no_names)
		return;
	vm_count_call();
	/* anything else concerns this range alone */
	if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, size, name) && errno == EINVAL)
		vm_no_names = true;
}

static void *vm_mmap(uintptr_t addr, size_t size, int prot, int flags)
{
	int saved = errno;
	void *p;

	if (vm_fault())
		return NULL;
	vm_count_call();
	p = mmap((void *)addr, size, prot,
		 MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	errno = saved;
	return p == MAP_FAILED ? NULL : p;
}

static void vm_munmap(void *addr, size_t size)
{
	int saved = errno;

	vm_count_call();
	munmap(addr, size);
	errno = saved;
}

static int vm_mprotect(void *addr, size_t size)
{
	int saved = errno, err = 0;

	if (vm_fault())
		return -ENOMEM;
	vm_count_call();
	if (mprotect(addr, size, PROT_READ | PROT_WRITE))
		err = -ENOMEM;
	errno = saved;
	return err;
}

static void vm_reserved(void *p, size_t size)
{
	int saved = errno;

	atomic_add_relaxed(&vm_stat.reserved[VM_HEAP], size);
	atomic_add_relaxed(&vm_stat.nr_maps, 1);
	vm_name(p, size, "heaparena heap");
	errno = saved;
}

bool vm_reserve_at(uintptr_t addr, size_t size)
{
	void *p = vm_mmap(addr, size, PROT_NONE, MAP_NORESERVE | VM_MAP_EXACT);

	if (!p)
		return false;
	/* Before Linux 4.17 the flag is unknown and the address only a hint. */
	if ((uintptr_t)p != addr) {
		vm_munmap(p, size);
		return false;
	}
	vm_reserved(p, size);
	return true;
}

/*
 * Without MAP_NORESERVE: the pool sets the pages aside here, or says no, and a touch
 * never fails.  That is why they are not returned either (arena_is_pool()): the pool would
 * not set them aside again, and since Linux 5.18 says that a part of a page has gone.
 */
bool vm_reserve_hugetlb(uintptr_t addr, size_t size)
{
	void *p;

	if (!is_aligned(addr, VM_HUGETLB_SIZE) || !is_aligned(size, VM_HUGETLB_SIZE))
		return false;
	p = vm_mmap(addr, size, PROT_NONE, MAP_HUGETLB | MAP_HUGE_2MB | VM_MAP_EXACT);
	if (!p)
		return false;
	if ((uintptr_t)p != addr) {
		vm_munmap(p, size);
		return false;
	}
	atomic_add_relaxed(&vm_stat.hugetlb, size);
	vm_reserved(p, size);
	return true;
}

void *vm_reserve(uintptr_t hint, size_t size, size_t align)
{
	uintptr_t p, start, end;

	if (hint && is_aligned(hint, align) && vm_reserve_at(hint, size))
		return (void *)hint;
	p = (uintptr_t)vm_mmap(0, size, PROT_NONE, MAP_NORESERVE);
	if (!p)
		return NULL;
	if (is_aligned(p, align)) {
		vm_reserved((void *)p, size);
		return (void *)p;
	}
	/* Over-reserve by the alignment, then trim both ends. */
	vm_munmap((void *)p, size);
	if (size + align < size)
		return NULL;
	p = (uintptr_t)vm_mmap(0, size + align, PROT_NONE, MAP_NORESERVE);
	if (!p)
		return NULL;
	start = align_up(p, align);
	end = p + size + align;
	if (start > p)
		vm_munmap((void *)p, start - p);
	if (end > start + size)
		vm_munmap((void *)(start + size), end - (start + size));
	vm_reserved((void *)start, size);
	return (void *)start;
}

bool vm_may_have(size_t size)
{
	void *p = vm_mmap(0, size, PROT_READ | PROT_WRITE, 0);

	if (p)
		vm_munmap(p, size);
	return p != NULL;
}

int vm_prepare(void *addr, size_t size)
{
	int err = vm_mprotect(addr, size);

	if (err)
		return err;
	atomic_sub_relaxed(&vm_stat.reserved[VM_HEAP], size);
	atomic_add_relaxed(&vm_stat.prepared[VM_HEAP], size);
	return 0;
}

int vm_return(void *addr, size_t size)
{
	int saved = errno, err = 0;

	if (vm_fault())
		return -ENOMEM;
	vm_count_call();
	/* DONTNEED, not FREE: resident memory falls now and zero is certain. */
	if (madvise(addr, size, MADV_DONTNEED))
		err = -errno;
	errno = saved;
	return err;
}

/*
 * Many ranges in one call: one hold of the kernel's lock and one flush of the TLB
 * for all of them, a third of the time.
 */
static bool vm_may_many(void)
{
	return !atomic_load_relaxed(&vm_no_many) && !vm_is_filtered();
}

unsigned int vm_return_many(const struct iovec *ranges, unsigned int nr)
{
	int saved = errno;
	unsigned int done = 0;
	ssize_t left;

	if (nr > 1 && vm_may_many()) {
		if (vm_fault())
			return 0;
		vm_count_call();
		left = syscall(SYS_process_madvise, VM_PIDFD_SELF, ranges, (size_t)nr,
			       MADV_DONTNEED, 0);
		/* or one of the ranges is not to be had back */
		if (left < 0 && errno != EINVAL && errno != ENOMEM)
			atomic_store_relaxed(&vm_no_many, true);
		for (; left > 0 && done < nr && ranges[done].iov_len <= (size_t)left; done++)
			left -= ranges[done].iov_len;
	}
	errno = saved;
	while (done < nr && !vm_return(ranges[done].iov_base, ranges[done].iov_len))
		done++;
	return done;
}

static void meta_map_add(void *p, size_t size)
{
	uint32_t i = atomic_load_relaxed(&nr_meta_maps);

	/* what is only tried is given up at once, and leaves its place */
	if (!i || i > ARRAY_SIZE(meta_maps) ||
	    !try_cmpxchg_acquire(&meta_maps[--i].start, META_MAP_GONE, (uintptr_t)p))
		i = atomic_fetch_add_relaxed(&nr_meta_maps, 1);
	if (i >= ARRAY_SIZE(meta_maps))
		return;
	atomic_store_relaxed(&meta_maps[i].start, (uintptr_t)p);
	atomic_store_relaxed(&meta_maps[i].size, size);
}

static void meta_map_del(void *p)
{
	uint32_t i = atomic_load_relaxed(&nr_meta_maps);

	i = i < ARRAY_SIZE(meta_maps) ? i : ARRAY_SIZE(meta_maps);
	while (i--)
		if (atomic_load_relaxed(&meta_maps[i].start) == (uintptr_t)p) {
			atomic_store_relaxed(&meta_maps[i].size, (size_t)0);
			smp_store_release(&meta_maps[i].start, META_MAP_GONE);
			break;
		}
}

void vm_release(void *addr, size_t size, size_t prepared, enum vm_kind kind)
{
	if (kind == VM_META)
		meta_map_del(addr);
	vm_munmap(addr, size);
	atomic_sub_relaxed(&vm_stat.prepared[kind], prepared);
	atomic_sub_relaxed(&vm_stat.reserved[kind], size - prepared);
	atomic_sub_relaxed(&vm_stat.nr_maps, 1);
}

static void vm_mapped_meta(void *p, size_t size)
{
	int saved = errno;

	atomic_add_relaxed(&vm_stat.prepared[VM_META], size);
	atomic_add_relaxed(&vm_stat.nr_maps, 1);
	meta_map_add(p, size);
	vm_name(p, size, "heaparena meta");
	errno = saved;
}

void *vm_map_meta(size_t size)
{
	void *p = vm_mmap(0, size, PROT_READ | PROT_WRITE, 0);

	if (p)
		vm_mapped_meta(p, size);
	return p;
}

void *vm_map_meta_at(uintptr_t addr, size_t size)
{
	void *p = vm_mmap(addr, size, PROT_READ | PROT_WRITE, VM_MAP_EXACT);

	if (p && (uintptr_t)p != addr) {
		vm_munmap(p, size);
		p = NULL;
	}
	if (p)
		vm_mapped_meta(p, size);
	return p;
}

void *vm_map_meta_huge(size_t size)
{
	int saved = errno;
	uintptr_t p, start;

	p = (uintptr_t)vm_mmap(0, 2 * size, PROT_READ | PROT_WRITE, 0);
	if (!p)
		return vm_map_meta(size);
	start = align_up(p, size);
	if (start > p)
		vm_munmap((void *)p, start - p);
	if (p + size > start)
		vm_munmap((void *)(start + size), p + size - start);
	atomic_add_relaxed(&vm_stat.prepared[VM_META], size);
	atomic_add_relaxed(&vm_stat.nr_maps, 1);
	meta_map_add((void *)start, size);
	vm_name((void *)start, size, "heaparena meta");
	errno = saved;
	vm_advise_huge((void *)start, size, true);
	return (void *)start;
}

void *vm_map_meta_sparse(size_t size)
{
	int saved = errno;
	void *p = vm_mmap(0, size, PROT_READ, MAP_NORESERVE);

	if (!p)
		return NULL;
	atomic_add_relaxed(&vm_stat.reserved[VM_META], size);
	atomic_add_relaxed(&vm_stat.nr_maps, 1);
	meta_map_add(p, size);
	vm_name(p, size, "heaparena index");
	errno = saved;
	return p;
}

int vm_prepare_meta(void *addr, size_t size)
{
	int err = vm_mprotect(addr, size);

	if (err)
		return err;
	atomic_sub_relaxed(&vm_stat.reserved[VM_META], size);
	atomic_add_relaxed(&vm_stat.prepared[VM_META], size);
	return 0;
}

void vm_bind(void *addr, size_t size, unsigned int nid, enum vm_bind mode)
{
	unsigned long mask[16] = { 0 };
	int saved = errno;

	if (mode == VM_BIND_OFF || nid >= 64 * ARRAY_SIZE(mask) || vm_fault())
		return;
	mask[nid / 64] |= 1UL << (nid % 64);
	vm_count_call();
	/*
	 * Placement is best effort: a refused policy leaves first touch.  Static: or a
	 * cpuset that takes the node away and gives it back would leave the memory
	 * bound to what was there meanwhile, for ever.
	 */
	syscall(SYS_mbind, addr, size, MPOL_F_STATIC_NODES |
		(mode == VM_BIND_STRICT ? MPOL_BIND : MPOL_PREFERRED),
		mask, 64 * ARRAY_SIZE(mask) + 1, 0);
	errno = saved;
}

void vm_advise_huge(void *addr, size_t size, bool huge)
{
	int saved = errno;

	if (vm_fault())
		return;
	vm_count_call();
	madvise(addr, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	errno = saved;
}

int vm_collapse(void *addr, size_t size)
{
	int saved = errno, err = 0;

	if (vm_fault())
		return vm_collapse_fault;
	vm_advise_huge(addr, size, true);
	vm_count_call();
	if (madvise(addr, size, MADV_COLLAPSE))
		err = -errno;
	vm_advise_huge(addr, size, false);
	errno = saved;
	return err;
}

/* Which kernel pages are resident, a byte each, of at most RESIDENT_PAGES. */
#define RESIDENT_PAGES		1024

static bool vm_resident(void *addr, size_t size, unsigned char *map)
{
	int saved = errno;
	bool ok;

	vm_count_call();
	ok = !mincore(addr, size, map);
	errno = saved;
	return ok;
}

/*
 * The same where calls are filtered: systemd's @system-service has no mincore, and kills.
 * Files may be read, unless the user says otherwise.
 */
static size_t vm_count_present(uintptr_t addr, size_t nr)
{
	uint64_t entry[128];
	int saved = errno, fd = -1;
	size_t done = 0, count = 0;
	ssize_t got = 1;

	/* bare calls: malloc is no place to be cancelled */
	if (conf.cgroup)
		fd = syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/pagemap",
			     O_RDONLY | O_CLOEXEC);
	for (; fd >= 0 && done < nr && got > 0; done += got) {
		got = syscall(SYS_pread64, fd, entry,
			      min_size(nr - done, ARRAY_SIZE(entry)) * sizeof(*entry),
			      (addr / vm_page_size + done) * sizeof(*entry));
		got /= (ssize_t)sizeof(*entry);
		for (ssize_t i = 0; i < got; i++)
			count += entry[i] >> 63;
	}
	if (fd >= 0)
		syscall(SYS_close, fd);
	errno = saved;
	return count;
}

size_t vm_count_resident(void *addr, size_t size)
{
	unsigned char map[RESIDENT_PAGES];
	size_t step = sizeof(map) * vm_page_size, nr = 0;

	if (vm_is_filtered())
		return vm_count_present((uintptr_t)addr, size / vm_page_size);
	for (size_t at = 0; at < size; at += step) {
		size_t part = min_size(size - at, step);

		if (!vm_resident((char *)addr + at, part, map))
			break;
		for (size_t i = 0; i < part / vm_page_size; i++)
			nr += map[i] & 1;
	}
	return nr;
}

/* Runs of pages of one kind.  Memory that is locked is not returned: written then. */
static void vm_zero_pages(char *p, const unsigned char *map, size_t nr)
{
	for (size_t i = 0, end; i < nr; i = end) {
		char *run = p + i * vm_page_size;
		size_t size;

		for (end = i + 1; end < nr && (map[end] & 1) == (map[i] & 1); end++)
			;
		size = (end - i) * vm_page_size;
		if (map[i] & 1 || vm_return(run, size))
			memset(run, 0, size);
	}
}

/* Asked page by page, RESIDENT_PAGES at a time. */
static void vm_zero_exact(char *p, size_t size)
{
	unsigned char map[RESIDENT_PAGES];
	size_t step = sizeof(map) * vm_page_size;

	for (size_t at = 0; at < size; at += step) {
		size_t part = min_size(size - at, step);

		if (vm_resident(p + at, part, map))
			vm_zero_pages(p + at, map, part / vm_page_size);
		else
			memset(p + at, 0, part);
	}
}

/*
 * One page in the middle stands for all of a step: where it is resident, nothing else is
 * asked.  What a system call costs here is mostly that the TLB is empty afterwards, so
 * that steps of one kind that follow each other are written at once.
 */
#define ZERO_STEP		(16UL << 20)

static bool vm_step_resident(char *p, const char *end)
{
	size_t part = min_size(end - p, ZERO_STEP);
	unsigned char middle;

	p += align_down(part / 2, vm_page_size);
	return !vm_resident(p, vm_page_size, &middle) || middle & 1;
}

void vm_zero(void *addr, size_t size)
{
	char *p = addr, *end = p + size, *next;
	char *first = (char *)align_up((uintptr_t)p, vm_page_size);
	char *last = (char *)align_down((uintptr_t)end, vm_page_size);
	bool resident;

	if (first >= last || vm_is_filtered()) {
		memset(p, 0, size);
		return;
	}
	memset(p, 0, first - p);
	for (p = first; p < last; p = next) {
		resident = vm_step_resident(p, last);
		next = p + min_size(last - p, ZERO_STEP);
		while (next < last && vm_step_resident(next, last) == resident)
			next += min_size(last - next, ZERO_STEP);
		if (resident)
			memset(p, 0, next - p);
		else
			vm_zero_exact(p, next - p);
	}
	memset(last, 0, end - last);
}

INSPECT_TABLE(vm) = {
	INSPECT_ARRAY(meta_maps, meta_maps),
	INSPECT_OBJECT(nr_meta_maps, nr_meta_maps),
	INSPECT_MEMBER(meta_map, start),
	INSPECT_MEMBER(meta_map, size),
	INSPECT_END
};
