/* SPDX-License-Identifier: MIT */
/*
 * Many CPUs on a machine that has few: a thread takes on one CPU after the other,
 * each for a burst of operations, and the library believes it.  See cpus.c.
 */
#ifndef SELFTESTS_FAKE_CPUS_H
#define SELFTESTS_FAKE_CPUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPUS_MAX	256

enum cpus_pattern {
	CPUS_LOCAL,		/* each CPU has objects of its own */
	CPUS_HANDOVER,		/* one half allocates, the other frees, on other nodes */
	CPUS_MIGRATE,		/* as many threads as CPUs move about with their objects */
	CPUS_EXCHANGE,		/* anyone frees anyone's: nothing is near */
	NR_CPUS_PATTERNS
};

extern const char *const cpus_pattern_names[NR_CPUS_PATTERNS];

/* What CPUs share, each a cache line or two. */
enum cpus_shared {
	CPUS_DEPOT,		/* stack of full batches, one a node and class */
	CPUS_POOL,		/* stacks of empty batches */
	CPUS_CENTRAL,		/* lock of the spans of a node and class */
	CPUS_WINDOW,		/* lock of a heap cache */
	CPUS_PAGES,		/* lock of a node's page heap */
	CPUS_OTHER,		/* of metadata, of the index, of making a cache */
	NR_CPUS_SHARED
};

extern const char *const cpus_shared_names[NR_CPUS_SHARED];

struct cpus_plan {
	enum cpus_pattern pattern;
	unsigned int nr_cpus;
	unsigned int nr_nodes;		/* CPU c is on node c % nr_nodes */
	unsigned int nr_threads;	/* real ones; with more than one nothing is counted */
	unsigned int per_cpu;		/* allocations of each CPU, after as many to warm up */
	uint64_t seed;
};

struct cpus_count {
	uint64_t uses;		/* locks taken, stacks pushed to or popped from */
	uint64_t handed;	/* of these: another CPU was there before */
	uint64_t remote;	/* the structure belongs to another node than the CPU */
};

struct cpus_result {
	uint64_t allocs;	/* of one thread: without the warming up */
	struct cpus_count count[NR_CPUS_SHARED];
	size_t cached;		/* bytes in all magazines, the most that was seen */
	size_t cached_one;	/* in those of one CPU, the most */
	size_t depots;		/* in depots, the most */
	size_t live;		/* bytes with the user when that was seen */
	size_t meta;		/* of metadata, at the end */
	size_t after_idle;	/* bytes in magazines when all have rested for two looks */
	size_t left;		/* pages in use after a drain: 0 when all went home */
};

/* What the kernel fills in of a thread: its CPU, and its node. */
struct cpus_area {
	uint32_t words[8];
} __attribute__((aligned(32)));

/* A heap for CPUs on @nr_nodes, once a process, before its first allocation. */
bool cpus_set_up(unsigned int nr_nodes);
/* The calling thread is @cpu from now on; it has @a to itself. */
void cpus_be(struct cpus_area *a, unsigned int cpu);
/* Bytes in the magazines of a CPU that has some. */
size_t cpus_cached(unsigned int cpu);

/* With a set-up of its own; false when there is no memory. */
bool cpus_run(const struct cpus_plan *plan, struct cpus_result *result);

#endif /* SELFTESTS_FAKE_CPUS_H */
