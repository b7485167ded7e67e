// SPDX-License-Identifier: MIT
/*
 * latency.c - how long single calls take, to the rarest
 *
 * Source of the workload: the question of M. Masmano, I. Ripoll, A. Crespo and
 * J. Real, "TLSF: A New Dynamic Memory Allocator for Real-Time Systems" (ECRTS
 * 2004), asked of the operations of replace.c; the histogram is G. Tene's HDR
 * histogram: 16 steps in every power of two, so that no figure is off by more
 * than 1/16 whatever its size.
 *
 *	latency [-n live] [-a min] [-b max] [-o ops] [-t threads]
 *
 *	Each malloc and each free stands between two readings of the CPU's own
 *	counter. What the readings themselves take is not subtracted; it is
 *	measured alone and printed beside: timer_ns (median), timer_p99999.
 *
 * An operation is one free and one malloc. The curves "malloc" and "free" give ns
 * (the upper end of the histogram's step) at 50 90 99 99.9 99.99 99.999 and 100
 * percent of the calls. Interrupts and other programs show in the last ones.
 */
#include <stdio.h>
#include <string.h>

#include "bench.h"

#define SUB_SHIFT	4
#define NR_SUB		(1u << SUB_SHIFT)
#define NR_BUCKETS	(64 * NR_SUB)
#define NR_TIMER	(1000 * 1000)

struct histogram {
	uint64_t count[NR_BUCKETS];
	uint64_t max;
};

struct clocks {
	struct histogram malloc, free;
};

static uint64_t nr_live = 10 * 1000, size_min = 16, size_max = 1024;
static uint64_t nr_ops = 4 * 1000 * 1000, nr_threads = 1;
static struct clocks *clocks;
static double ns_per_tick;

/* Ordered after what comes before and before what comes after. */
static inline uint64_t ticks(void)
{
#if defined(__x86_64__)
	uint32_t lo, hi;

	asm volatile("lfence\n\trdtsc\n\tlfence" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
#elif defined(__aarch64__)
	uint64_t t;

	asm volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(t) : : "memory");
	return t;
#else
	return bench_now();
#endif
}

static unsigned int bucket_of(uint64_t t)
{
	unsigned int shift;

	if (t < NR_SUB)
		return t;
	shift = 63 - SUB_SHIFT - __builtin_clzll(t);
	return (shift + 1) * NR_SUB + (t >> shift) - NR_SUB;
}

/* The largest value that falls into it. */
static uint64_t bucket_end(unsigned int i)
{
	unsigned int shift = i / NR_SUB;

	if (!shift)
		return i;
	shift--;
	return ((uint64_t)(i % NR_SUB + NR_SUB + 1) << shift) - 1;
}

static void count(struct histogram *h, uint64_t t)
{
	h->count[bucket_of(t)]++;
	if (t > h->max)
		h->max = t;
}

/* In ns; the last step ends at the largest value that was seen. */
static double percentile(const struct histogram *h, double percent)
{
	uint64_t total = 0, seen = 0, want, end = 0;
	unsigned int i;

	for (i = 0; i < NR_BUCKETS; i++)
		total += h->count[i];
	want = total * (percent / 100);
	for (i = 0; i < NR_BUCKETS && seen <= want; i++) {
		seen += h->count[i];
		if (h->count[i])
			end = bucket_end(i);
		if (seen == total)
			break;
	}
	return (end < h->max ? end : h->max) * ns_per_tick;
}

static void fill(struct bench_worker *w)
{
	uint64_t i;

	for (i = 0; i < w->nr_slots; i++)
		w->slots[i] = bench_object(bench_size(bench_random(&w->rnd), BENCH_POWER,
						      size_min, size_max));
}

static void work(struct bench_worker *w)
{
	struct clocks *c = &clocks[w->idx];
	uint64_t i, t0, t1, t2, t3;

	for (i = 0; i < w->nr_ops; i++) {
		void **slot = &w->slots[bench_below(bench_random(&w->rnd), w->nr_slots)];
		size_t size = bench_size(bench_random(&w->rnd), BENCH_POWER,
					 size_min, size_max);
		void *old = *slot, *p;

		t0 = ticks();
		free(old);
		t1 = ticks();
		t2 = ticks();
		p = malloc(size);
		t3 = ticks();
		if (!p)
			bench_die("malloc(%zu) failed", size);
		bench_touch(p, size);
		*slot = p;
		count(&c->free, t1 - t0);
		count(&c->malloc, t3 - t2);
	}
}

static void add(struct histogram *to, const struct histogram *from)
{
	unsigned int i;

	for (i = 0; i < NR_BUCKETS; i++)
		to->count[i] += from->count[i];
	if (from->max > to->max)
		to->max = from->max;
}

/* Two readings with nothing between them; also how long a tick is. */
static void measure_timer(struct histogram *h)
{
	uint64_t i, t, from = ticks(), start = bench_now();

	for (i = 0; i < NR_TIMER; i++) {
		t = ticks();
		count(h, ticks() - t);
	}
	ns_per_tick = (double)(bench_now() - start) / (ticks() - from);
	bench_note("timer_ns", percentile(h, 50));
	bench_note("timer_p99999", percentile(h, 99.999));
}

static void print(const char *curve, const struct histogram *h)
{
	static const double percents[] = { 50, 90, 99, 99.9, 99.99, 99.999, 100 };
	unsigned int i;

	for (i = 0; i < sizeof(percents) / sizeof(*percents); i++)
		bench_series(curve, percents[i], percentile(h, percents[i]));
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = {
		{ 'n', "live", &nr_live, NULL },
		{ 'a', "min", &size_min, NULL },
		{ 'b', "max", &size_max, NULL },
		{ 'o', "ops", &nr_ops, NULL },
		{ 't', "threads", &nr_threads, NULL },
		{ 0 },
	};
	const struct bench_load load = { .name = "latency", .fill = fill, .work = work };
	const char *params = bench_options(argc, argv, options);
	uint64_t i;

	if (nr_live < nr_threads || size_max < size_min || size_max >> 30)
		bench_die("need threads <= live, min <= max < 2^30");
	clocks = bench_map((nr_threads + 1) * sizeof(*clocks));
	measure_timer(&clocks[nr_threads].malloc);
	bench_run(&load, params, nr_threads, nr_live, nr_ops);
	for (i = 1; i < nr_threads; i++) {
		add(&clocks[0].malloc, &clocks[i].malloc);
		add(&clocks[0].free, &clocks[i].free);
	}
	print("malloc", &clocks[0].malloc);
	print("free", &clocks[0].free);
	return 0;
}
