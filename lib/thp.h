/* SPDX-License-Identifier: MIT */
/*
 * Huge pages for objects, under thp:auto.  See lib/thp.c; what is moved onto them
 * later is lib/collapse.c.
 */
#ifndef _LIB_THP_H
#define _LIB_THP_H

#include "heap_arena.h"

/*
 * Advised memory at the end of a heap that grows; empty when base and end are equal.
 * A trial says whether the next chunks are worth it.
 */
struct thp_front {
	uintptr_t base, end;		/* (l) the heap's lock; (a) for a glance */
	unsigned int until_trial;	/* (l) chunks */
	unsigned int refused;		/* (l) chunks from the last trial to the next, if that failed */
};

/*
 * What a huge page is here; 0 as long as that is not known, where the kernel has
 * none to give, or when objects are not to have any.
 */
size_t thp_size(void);
/* In front of /sys: a folder of a test's own. */
extern const char *thp_root __hidden;
/* Look it up; once, by a thread that may open files. */
void thp_init(void);

/* CPU time of this thread, ns; a test has a clock of its own. */
extern uint64_t (*thp_clock)(void) __hidden;

/*
 * [base, base + size), whole chunks never touched, is about to be used densely.  How
 * many bytes of it, from its beginning on, are resident by now or will be with the
 * first page of theirs that is touched.
 */
size_t thp_front_grow(struct thp_front *f, uintptr_t base, size_t size);
/* From here on nothing of it becomes a huge page by itself. */
void thp_front_close(struct thp_front *f);

/* Is the chunk of @addr on huge pages, as far as is known? */
bool thp_is_huge(uintptr_t addr);
void thp_set_huge(uintptr_t base, size_t size, bool huge);
/* Are most objects of the chunk of @addr gone?  By a sample of its spans. */
bool thp_is_sparse(uintptr_t addr);

#endif /* _LIB_THP_H */
