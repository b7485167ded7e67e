// SPDX-License-Identifier: MIT
/*
 * rss_swing.c - a load that rises and falls
 *
 * Source of the workload: the programs whose memory an allocator gives back and takes
 * again at each turn, with a page fault and a zeroing for every page of it; what an
 * allocator can do about it is discussed in J. Evans, "Scalable memory allocation
 * using jemalloc" (2011), on dirty pages.
 *
 *	rss_swing [-l live] [-m swing] [-p period_ms] [-n periods] [-r replaced]
 *
 *	"live" MiB of objects always, sizes by a power law of 32 to 8192 bytes, of which
 *	"replaced" in 100 are replaced in each period. For the first half of a period
 *	"swing" MiB more live. One more thread makes and frees objects all the time, a
 *	few each millisecond, and has the clock read around each malloc.
 *
 * Marks: high, low (value: page faults so far), and trough, at the end of the low
 * half; end; p50 p99 p999 p9999 max of malloc, ns; live: KiB of objects.
 */
#include <string.h>

#include "rss.h"

#define NR_BUCKETS	(1u << 20)	/* of 8 ns */
#define PROBES		40
#define OBJECT_MIN	32
#define OBJECT_MAX	8192
#define MEAN_SIZE	100		/* less than it is, for the size of tables */

static uint64_t live_mib = 100, swing_mib = 200, period_ms = 1000, nr_periods = 20;
static uint64_t replaced = 1;
static void **base, **swing;
static uint64_t nr_base, nr_swing, live_bytes;
static uint64_t rnd;
static uint32_t *took;		/* calls of so many times 8 ns */
static uint64_t longest, nr_took;
static int stop;

static void *object(uint64_t *bytes)
{
	uint32_t size = bench_size(bench_random(&rnd), BENCH_POWER, OBJECT_MIN, OBJECT_MAX);
	void *p = bench_object(size);

	memset(p, 1, size);
	*bytes += size;
	return p;
}

static void probe(uint64_t *random)
{
	void *p[PROBES];
	unsigned int i;

	for (i = 0; i < PROBES; i++) {
		uint32_t size = bench_size(bench_random(random), BENCH_POWER, 16, 1024);
		uint64_t t = bench_now();

		p[i] = malloc(size);
		t = bench_now() - t;
		if (!p[i])
			bench_die("no memory");
		took[t / 8 < NR_BUCKETS ? t / 8 : NR_BUCKETS - 1]++;
		longest = t > longest ? t : longest;
		nr_took++;
		bench_touch(p[i], size);
	}
	while (i)
		free(p[--i]);
}

static void *prober(void *unused)
{
	uint64_t random = bench_seed(5, 0);

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		probe(&random);
		rss_wait(0.001);
	}
	return unused;
}

static void percentile(const char *name, double part)
{
	uint64_t want = nr_took * part, sum = 0, i;

	for (i = 0; i < NR_BUCKETS && sum <= want; i++)
		sum += took[i];
	rss_mark(name, i * 8);
}

/* Half a period, with its share of replacements. */
static void half(void)
{
	double end = bench_now() / 1e9 + period_ms / 2e3, left;
	uint64_t n = nr_base * replaced / 200, unused = 0, i;

	for (i = 0; i < n; i++) {
		uint32_t k = bench_below(bench_random(&rnd), nr_base);

		free(base[k]);
		base[k] = object(&unused);
	}
	left = end - bench_now() / 1e9;
	if (left > 0)
		rss_wait(left);
}

static void period(void)
{
	uint64_t bytes = 0, i;

	rss_mark("high", rss_faults());
	for (nr_swing = 0; bytes < swing_mib << 20; nr_swing++)
		swing[nr_swing] = object(&bytes);
	half();
	rss_mark("low", rss_faults());
	for (i = nr_swing; i > 1; i--) {
		uint32_t k = bench_below(bench_random(&rnd), i);
		void *t = swing[i - 1];

		swing[i - 1] = swing[k];
		swing[k] = t;
	}
	for (i = 0; i < nr_swing; i++)
		free(swing[i]);
	half();
	rss_mark("trough", bench_rss_kb());
}

int main(int argc, char **argv)
{
	const struct bench_option table[] = {
		{ 'l', "live", &live_mib, NULL }, { 'm', "swing", &swing_mib, NULL },
		{ 'p', "period_ms", &period_ms, NULL }, { 'n', "periods", &nr_periods, NULL },
		{ 'r', "replaced", &replaced, NULL }, { .letter = 0 },
	};
	pthread_t thread;
	uint64_t i;

	bench_options(argc, argv, table);
	if (live_mib > 4096 || swing_mib > 4096)
		bench_die("4096 MiB each at most");
	rnd = bench_seed(4, 0);
	base = bench_map((live_mib << 20) / MEAN_SIZE * sizeof(void *));
	swing = bench_map((swing_mib << 20) / MEAN_SIZE * sizeof(void *));
	took = bench_map(NR_BUCKETS * sizeof(*took));
	rss_start();
	for (nr_base = 0; live_bytes < live_mib << 20; nr_base++)
		base[nr_base] = object(&live_bytes);
	rss_mark("live", live_bytes / 1024);
	if (pthread_create(&thread, NULL, prober, NULL))
		bench_die("no thread");
	for (i = 0; i < nr_periods; i++)
		period();
	rss_mark("end", rss_faults());
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	percentile("p50", .5);
	percentile("p99", .99);
	percentile("p999", .999);
	percentile("p9999", .9999);
	rss_mark("max", longest);
	return 0;
}
