// SPDX-License-Identifier: MIT
/*
 * frag.c - what is lost to fragmentation after a long run
 *
 * Source of the workload: M. Johnstone and P. Wilson, "The Memory Fragmentation
 * Problem: Solved?" (ISMM 1998): what counts is memory held against memory live,
 * in programs whose sizes change from phase to phase while some objects of every
 * phase stay. A server sees such a change every few hours; here one comes every
 * second or less, so that a run is some days of them.
 *
 *	frag [-n live MiB] [-p phases] [-o ops] [-t threads] [-w ms]
 *
 *	Each phase has a band of sizes of its own, from 16-64 bytes to 8-32 KiB in an
 *	order that jumps. In it random objects die and new ones of the band come,
 *	within -n MiB live. Then nine tenths of the memory dies, at random (the night),
 *	and the next phase begins on what is left.
 *
 * An operation is one malloc and the free that goes with it; phases of large sizes have
 * fewer of them. At the end, in the last night: live_kb that the program holds, night_kb
 * resident, and night_ratio, the one through the other. The last
 * night is -w ms long, in which the program makes no call: then morning_kb and
 * morning_ratio.
 */
#include <unistd.h>

#include "bench.h"

static uint64_t live_mb = 32, nr_phases = 20, nr_ops = 8 * 1000 * 1000, nr_threads = 1;
static uint64_t night_ms = 1;
static uint64_t live_kb;	/* (a) in the last night, all threads */

/* What a thread holds, beside the slots with the objects themselves. */
struct stock {
	uint32_t *sizes;
	uint64_t bytes;
	uint64_t budget;
	uint64_t nr;		/* objects in slots [0, nr) */
};

static struct stock *stocks;

static void kill_at(struct bench_worker *w, struct stock *s, uint64_t i)
{
	free(w->slots[i]);
	s->bytes -= s->sizes[i];
	w->slots[i] = w->slots[--s->nr];
	s->sizes[i] = s->sizes[s->nr];
	w->slots[s->nr] = NULL;
}

static void kill_down_to(struct bench_worker *w, struct stock *s, uint64_t bytes)
{
	while (s->bytes > bytes)
		kill_at(w, s, bench_below(bench_random(&w->rnd), s->nr));
}

static void phase(struct bench_worker *w, struct stock *s, unsigned int band, uint64_t ops)
{
	uint32_t size, lo = 16u << band;
	uint64_t i;

	for (i = 0; i < ops; i++) {
		size = bench_size(bench_random(&w->rnd), BENCH_UNIFORM, lo, lo * 4);
		kill_down_to(w, s, s->budget - size);
		if (s->nr == w->nr_slots)
			kill_at(w, s, bench_below(bench_random(&w->rnd), s->nr));
		w->slots[s->nr] = bench_object(size);
		s->sizes[s->nr++] = size;
		s->bytes += size;
	}
}

/* 7 is prime to 10: every band has its turn, none beside its neighbour. */
static unsigned int phase_band(uint64_t i)
{
	return i * 7 % 10;
}

static unsigned int phase_weight(uint64_t i)
{
	return 8 >> phase_band(i) / 3;
}

static void work(struct bench_worker *w)
{
	struct stock *s = &stocks[w->idx];
	uint64_t i, weights = 0;

	for (i = 0; i < nr_phases; i++)
		weights += phase_weight(i);
	for (i = 0; i < nr_phases; i++) {
		phase(w, s, phase_band(i), w->nr_ops * phase_weight(i) / weights);
		kill_down_to(w, s, s->budget / 10);
	}
	__atomic_fetch_add(&live_kb, s->bytes / 1024, __ATOMIC_RELAXED);
}

static void look(void)
{
	uint64_t rss = bench_rss_kb();

	bench_note("live_kb", live_kb);
	bench_note("night_kb", rss);
	bench_note("night_ratio", (double)rss / live_kb);
	usleep(night_ms * 1000);
	rss = bench_rss_kb();
	bench_note("morning_kb", rss);
	bench_note("morning_ratio", (double)rss / live_kb);
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = {
		{ 'n', "live_mb", &live_mb, NULL },
		{ 'p', "phases", &nr_phases, NULL },
		{ 'o', "ops", &nr_ops, NULL },
		{ 't', "threads", &nr_threads, NULL },
		{ 'w', "night_ms", &night_ms, NULL },
		{ 0 },
	};
	const struct bench_load load = {
		.name = "frag", .work = work, .look = look,
	};
	const char *params = bench_options(argc, argv, options);
	uint64_t i, nr_slots = (live_mb << 20) / 32;

	stocks = bench_map(nr_threads * sizeof(*stocks));
	for (i = 0; i < nr_threads; i++) {
		stocks[i].sizes = bench_map(nr_slots / nr_threads * sizeof(uint32_t));
		stocks[i].budget = (live_mb << 20) / nr_threads;
	}
	bench_run(&load, params, nr_threads, nr_slots, nr_ops);
	return 0;
}
