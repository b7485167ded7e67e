/* SPDX-License-Identifier: MIT */
/*
 * Tests that begin before the allocator does.
 *
 * The library sets itself up in a constructor, once.  Here the whole suite runs
 * in a constructor that comes before it, and the process ends there: each test,
 * which Check forks, starts with a heap that nobody has touched, and says itself
 * how it is to be set up and what goes wrong meanwhile.
 *
 * A program defines unit_suite() and has no main().
 */
#ifndef SELFTESTS_FAKE_EARLY_H
#define SELFTESTS_FAKE_EARLY_H

#include "fork.h"
#include "heap.h"
#include "malloc.h"
#include "numa.h"
#include "unit.h"

Suite *unit_suite(void);

__attribute__((constructor(101))) static void unit_early(void)
{
	unit_seed();
	exit(unit_run(unit_suite()));
}

int main(void)
{
	return EXIT_FAILURE;
}

/* What the library's constructor does, in the given mode. */
static inline __maybe_unused void heap_up(const struct heap_mode *mode)
{
	heap_mode_set(mode);
	check(heap_ready());
	topo_init_late();
	fork_init();
}

#endif /* SELFTESTS_FAKE_EARLY_H */
