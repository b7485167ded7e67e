/* SPDX-License-Identifier: MIT */
/*
 * bench.h - what every benchmark program shares
 *
 * A benchmark is one process running one workload under one allocator. It
 * prints one line that a script can read:
 *
 *	name params ns_per_op peak_rss_kb minor_faults cpu_ns_per_op \
 *		after_rss_kb voluntary involuntary operations [key=value ...]
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
 *	after_rss_kb	resident memory when every object of the workload has
 *			been freed, at once, the threads of bench_run() still
 *			there; - where there is no such moment
 *	voluntary	context switches of the timed section: it waited
 *	involuntary	and those where it was put aside
 *	operations	of the timed section
 *	key=value	figures of this program alone
 *
 * and then, where there is more to tell, lines of these forms:
 *
 *	series CURVE X VALUE	a point of a curve of this run
 *	idle KB			resident memory after $BENCH_IDLE seconds in
 *				which the process did nothing
 *
 * Invariants:
 *  1. The work is a count of operations, not a time: every allocator does
 *     the same work, so peak memory compares as well. $BENCH_SCALE multiplies
 *     that count, for runs that are watched and slow.
 *  2. What the program itself needs comes from bench_map(), never from
 *     malloc: the allocator holds the objects of the workload and only them.
 *     That memory is resident from the start, and all resident figures are
 *     printed without it.
 *  3. The peak is read while the objects still live.
 *  4. Random numbers start from fixed seeds: all allocators see the same
 *     requests in each thread.
 *
 * Any program in this folder includes it; it is not for use elsewhere.
 */
#ifndef BENCH_H
#define BENCH_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* A measurement under way. */
struct bench {
	uint64_t wall;		/* ns, at bench_start(), then elapsed */
	uint64_t cpu;		/* ns, at bench_start(), then used */
	long voluntary;		/* context switches, likewise */
	long involuntary;
	uint64_t peak_kb;	/* bench_peak() */
};

void bench_start(struct bench *b);
void bench_stop(struct bench *b);

/* Reads the peak: call it while the objects still live. */
void bench_peak(struct bench *b);

/* A key=value for the end of the line; at most 8, before the report. */
void bench_note(const char *key, double value);

/* Prints the lines; call it when all objects are freed. */
void bench_report(const struct bench *b, const char *name, const char *params,
		  uint64_t nr_ops, unsigned int nr_threads);

/* One point of a curve, after the report. */
void bench_series(const char *curve, double x, double value);

/* Zeroed, resident memory straight from the kernel; never fails, never freed. */
void *bench_map(size_t size);

/* Prints the message and ends the process with status 1. */
void bench_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* "1000", "64k", "1e6": the value, or death. */
uint64_t bench_number(const char *s);

/* A count of operations times $BENCH_SCALE, at least 1. */
uint64_t bench_scaled(uint64_t nr_ops);

/* Resident memory in KiB without that of bench_map(), read without malloc. */
uint64_t bench_rss_kb(void);
uint64_t bench_peak_rss_kb(void);
/* KiB of bench_map() so far. */
uint64_t bench_mapped_kb(void);

uint64_t bench_now(void);

/* ---- options ---------------------------------------------------------------- */

/*
 * A row of a program's options; the table ends with a row of zeroes. A value
 * is a number, or the index of the word given.
 */
struct bench_option {
	int letter;
	const char *name;		/* as it stands in params */
	uint64_t *value;
	const char *const *words;	/* NULL-terminated, or NULL: a number */
};

/* Reads the options; the one named "ops" is scaled. Returns params. */
const char *bench_options(int argc, char **argv, const struct bench_option *table);

/* ---- threads ---------------------------------------------------------------- */

/* One thread of a load, and what it owns. */
struct bench_worker {
	unsigned int	idx;
	unsigned int	nr;		/* threads of the load */
	uint64_t	rnd;		/* state of its random numbers */
	void		**slots;	/* nr_slots pointers, NULL at first */
	uint64_t	nr_slots;
	uint64_t	nr_ops;		/* that it shall do in work() */
	pthread_t	thread;		/* the rest is bench.c's */
	const struct bench_load *load;
} __attribute__((aligned(128)));

/*
 * A workload as steps of its threads; between two steps all wait for all.
 *
 *	fill	work	    peak is read	drain	    rest is read, idle
 *	     |timed |                   |             |
 *
 * All but work may be NULL; without drain, every slot that is not NULL is
 * freed. One thread alone is the process's first: then the program has no
 * second one, as most programs have none.
 */
struct bench_load {
	const char *name;
	void (*fill)(struct bench_worker *w);
	void (*work)(struct bench_worker *w);
	void (*drain)(struct bench_worker *w);
	void (*look)(void);		/* once, after the peak: for notes */
};

/*
 * Runs and reports it. nr_slots and nr_ops are of all threads together and are
 * split evenly; nr_ops of each is at least 1.
 */
void bench_run(const struct bench_load *load, const char *params,
	       unsigned int nr_threads, uint64_t nr_slots, uint64_t nr_ops);

/* ---- random numbers and objects ----------------------------------------------- */

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

/* malloc or death, the object touched. */
static inline void *bench_object(size_t size)
{
	void *p = malloc(size);

	if (!p)
		bench_die("malloc(%zu) failed", size);
	bench_touch(p, size);
	return p;
}

#endif
