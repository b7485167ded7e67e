/* SPDX-License-Identifier: MIT */
/*
 * Address space from the kernel: the only mmap, munmap, mprotect, madvise and
 * mbind in the library.  The state machine is in lib/vm.c.
 */
#ifndef _LIB_VM_H
#define _LIB_VM_H

#include <sys/uio.h>

#include <util/compiler.h>

enum vm_kind {
	VM_HEAP,		/* arenas: user objects */
	VM_META,		/* everything the allocator knows */
	NR_VM_KINDS
};

enum vm_bind {
	VM_BIND_OFF,		/* leave placement to the kernel */
	VM_BIND_ADVISORY,	/* prefer the node, fall back silently */
	VM_BIND_STRICT,		/* only the node */
};

/* Bytes in each state, and mappings made; relaxed atomics. */
struct vm_stat {
	size_t reserved[NR_VM_KINDS];	/* PROT_NONE address space */
	size_t prepared[NR_VM_KINDS];	/* readable and writable */
	size_t hugetlb;			/* reserved or prepared, in pages of the pool */
	size_t nr_maps;			/* live mappings made here */
	size_t nr_calls;		/* system calls issued */
};

extern struct vm_stat vm_stat;

/* The kernel's page: 4, 16 or 64 KiB, known after vm_init(). */
extern size_t vm_page_size;

void vm_init(void);

/*
 * None -> Reserved: @size bytes at an address that is a multiple of @align,
 * preferably @hint (0: anywhere).  NULL when there is no address space.
 */
void *vm_reserve(uintptr_t hint, size_t size, size_t align);
/*
 * The same from the kernel's pool of huge pages, exactly at @addr, for which the pool
 * has pages now: a multiple of VM_HUGETLB_SIZE.  Such memory is never returned.
 */
bool vm_reserve_hugetlb(uintptr_t addr, size_t size);
#define VM_HUGETLB_SIZE		(2UL << 20)
/* Exactly at @addr or not at all. */
bool vm_reserve_at(uintptr_t addr, size_t size);
/*
 * Would the kernel promise @size bytes in one piece?  It asks whether there is as much
 * memory at all (vm.overcommit_memory 0), but not for what was reserved.
 */
bool vm_may_have(size_t size);
/* Reserved -> Prepared: 0 or -ENOMEM. */
int vm_prepare(void *addr, size_t size);
/* Ready -> Prepared: memory goes back, contents read as zero.  0 or -errno. */
int vm_return(void *addr, size_t size);
/* The same for ranges, few at a time: VM_RETURN_MAX.  How many went, the first ones. */
unsigned int vm_return_many(const struct iovec *ranges, unsigned int nr);
#define VM_RETURN_MAX		64
/* Any -> None.  @prepared: how much of it was not merely reserved. */
void vm_release(void *addr, size_t size, size_t prepared, enum vm_kind kind);

/* None -> Prepared in one step: zeroed metadata.  NULL when out of memory. */
void *vm_map_meta(size_t size);
/* The same exactly at @addr, or NULL. */
void *vm_map_meta_at(uintptr_t addr, size_t size);
/* The same on a huge page: @size is its size and its alignment. */
void *vm_map_meta_huge(size_t size);
/* None -> readable zeroes that cost no commit charge; vm_prepare_meta() opens. */
void *vm_map_meta_sparse(size_t size);
int vm_prepare_meta(void *addr, size_t size);

void vm_bind(void *addr, size_t size, unsigned int nid, enum vm_bind mode);
void vm_advise_huge(void *addr, size_t size, bool huge);
/*
 * Move what is resident there onto huge pages, now: 0 or -errno, -EINVAL where the
 * kernel cannot (before Linux 6.1).  The range counts as not advised afterwards.
 */
int vm_collapse(void *addr, size_t size);
/* How many kernel pages of the range are resident; 0 when the kernel does not say. */
size_t vm_count_resident(void *addr, size_t size);
/*
 * Make it read as zero.  Of steps of 16 MiB whose middle page is not resident, kernel
 * pages that are are written, others go back; other steps are written, and all of it
 * where calls are filtered.  Any address, any size; not hugetlb's pool.
 */
void vm_zero(void *addr, size_t size);
/* mremap of whole kernel pages is not used; growth is in place or by copy. */

/*
 * Fault injection, in test builds only: the @nth call from now that can fail
 * fails with ENOMEM, and all after it when @sticky.  0 switches it off.
 */
#ifdef CONFIG_FAULT_INJECTION
void vm_fail_nth(long nth, bool sticky);
/* What vm_collapse() returns then. */
extern int vm_collapse_fault;
/* How many have been made to fail so far. */
size_t vm_failed(void);
#endif

#endif /* _LIB_VM_H */
