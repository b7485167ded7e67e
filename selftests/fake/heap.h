/* SPDX-License-Identifier: MIT */
/*
 * A heap for tests: how it is to be set up, the set-up of all layers below
 * lib/malloc.c, and a walk over everything that compares what the layers say of
 * each other.
 *
 * Linked by the programs that name it, not by all: those that test a lower layer
 * shall not pull in the higher ones.
 */
#ifndef SELFTESTS_FAKE_HEAP_H
#define SELFTESTS_FAKE_HEAP_H

#include "mcentral.h"

struct heap_mode {
	const char *name;
	bool locked;		/* no rseq: slots behind locks */
	bool unchecked;		/* check:off */
	bool strict;		/* numa:strict */
	unsigned int fake;	/* logical nodes; 0: the machine's */
};

/* percpu, locked, nodes, locked nodes, unchecked. */
#define NR_HEAP_MODES	5
extern const struct heap_mode heap_modes[NR_HEAP_MODES];

/* Write the mode into conf; before initialisation. */
void heap_mode_set(const struct heap_mode *mode);
/* Set the mode and initialise vm up to mcentral; once a process. */
void heap_layers_init(const struct heap_mode *mode);
/* This thread has an area that the kernel fills. */
bool heap_has_rseq(void);
/* Take it away from this thread, as if libc had never registered it. */
bool heap_drop_rseq(void);
/*
 * NULL when arenas can be short here, else why not: an emulator may not pass
 * RLIMIT_AS on, and a sanitizer's shadow may lie at the hint, so that an arena's
 * alignment needs more room than there is.
 */
const char *heap_no_short_arenas(void);
/* The address that the first arena is asked for is free. */
bool heap_hint_is_free(void);
/* Leave @room bytes of address space to the process. */
void heap_limit_as(size_t room);

/* What the walk found, all nodes together. */
struct heap_sum {
	size_t spans;			/* in use */
	size_t large;			/* of these, large ones */
	size_t used_pages;		/* in spans */
	size_t out[NR_SIZE_CLASSES];	/* objects that left their span */
	size_t live[NR_SIZE_CLASSES];	/* of these, live by their state */
};

/*
 * Compare page entries, spans, object bits and states, span sets, page_alloc,
 * windows and counters.  Nobody else may be at work.  NULL when all agree, else
 * what does not.
 */
const char *heap_walk(struct heap_sum *sum);
/*
 * The same in the child of a fork while threads of the parent were at work: what
 * such a thread had in its hands (a span on its way in or out, pages that were
 * being returned) belongs to nobody, and is passed over.
 */
const char *heap_walk_child(struct heap_sum *sum);
/* The classes whose objects out are not those live and cached: 0 when quiet. */
unsigned int heap_sum_mismatches(const struct heap_sum *sum);

#define heap_check(sum)		__heap_check(heap_walk(sum))
#define heap_check_child(sum)	__heap_check(heap_walk_child(sum))

#define __heap_check(walk)						\
do {									\
	const char *__bad = (walk);					\
									\
	if (__bad)							\
		ck_abort_msg("heap walk: %s", __bad);			\
} while (0)

#endif /* SELFTESTS_FAKE_HEAP_H */
