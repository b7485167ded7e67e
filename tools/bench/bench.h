/* SPDX-License-Identifier: MIT */
/*
 * bench.h - what every benchmark program shares
 *
 * A benchmark is one process running one workload under one allocator. It
 * prints one line that a script can read:
 *
 *	name params ns_per_op peak_rss_kb minor_faults cpu_ns_per_op
 *
 *	name		the program
 *	params		key=value,key=value: everything that decides the work
 *	ns_per_op	wall time x min(threads, CPUs) / operations: the time a
 *			CPU spends on one operation, so that figures of one
 *			thread and of many compare
 *	peak_rss_kb	highest resident memory of the process
 *	minor_faults	page faults served without I/O, whole process
 *	cpu_ns_per_op	CPU time of all threads / operations: the same figure
 *			less the time other processes held the CPU
 *
 * Invariants:
 *  1. The work is a count of operations, not a time: every allocator does
 *     the same work, so peak memory compares as well.
 *  2. What the program itself needs comes from bench_map(), never from
 *     malloc: the allocator holds the objects of the workload and only them.
 *  3. The peak is read while the objects still live.
 *
 * Any program in this folder includes it; it is not for use elsewhere.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

/* A measurement under way. */
struct bench {
	uint64_t wall;		/* ns, at bench_start(), then elapsed */
	uint64_t cpu;		/* ns, at bench_start(), then used */
};

void bench_start(struct bench *b);
void bench_stop(struct bench *b);

/* Prints the line; call it while the objects still live. */
void bench_report(const struct bench *b, const char *name, const char *params,
		  uint64_t nr_ops, unsigned int nr_threads);

/* Zeroed memory straight from the kernel; never fails, never freed. */
void *bench_map(size_t size);

/* Prints the message and ends the process with status 1. */
void bench_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* "1000", "64k", "1e6": the value, or death. */
uint64_t bench_number(const char *s);

/* Peak resident memory in KiB, read without malloc. */
uint64_t bench_peak_rss_kb(void);

uint64_t bench_now(void);

/* xorshift64: two cycles, so that the allocator dominates. */
static inline uint64_t bench_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x;
}

/* A seed for stream @i that is never the all-zero state. */
static inline uint64_t bench_seed(uint64_t seed, uint64_t i)
{
	uint64_t x = (seed + i + 1) * 0x9e3779b97f4a7c15ull;

	x ^= x >> 29;
	return x ? x : 1;
}

/* Uniform in [0, n) for n < 2^32, from the high half: no division. */
static inline uint32_t bench_below(uint64_t r, uint32_t n)
{
	return (uint32_t)(((r >> 32) * n) >> 32);
}

enum bench_dist {
	BENCH_POWER,		/* each octave half as likely as the one below */
	BENCH_UNIFORM,		/* each size equally likely */
};

/*
 * A size in [lo, hi] from one random word. The power law draws the octave
 * from the low bits (trailing zeros are geometric) and the place inside the
 * octave from the high half.
 */
static inline uint32_t bench_size(uint64_t r, enum bench_dist dist,
				  uint32_t lo, uint32_t hi)
{
	uint32_t base, nr_octaves, octave, size;

	if (dist == BENCH_UNIFORM || hi < 2 * lo)
		return lo + bench_below(r, hi - lo + 1);
	nr_octaves = 31 - __builtin_clz(hi / lo);
	octave = __builtin_ctz((uint32_t)r | 1u << 31) % nr_octaves;
	base = lo << octave;
	size = base + bench_below(r, base + 1);
	return size < hi ? size : hi;
}

/* The first and the last byte, as the least that any user touches. */
static inline void bench_touch(void *p, size_t size)
{
	volatile char *c = p;

	c[0] = 1;
	c[size - 1] = 1;
}

#endif
