// SPDX-License-Identifier: MIT
/*
 * rss_service.c - a service whose threads make garbage by turns
 *
 * Source of the workload: the server of Larson and Krishnan, "Memory Allocation for
 * Long-Running Server Applications" (ISMM 1998), with requests that come in waves,
 * each to other threads and of another size; what an allocator keeps for a thread
 * or for a size after the wave is what E. Berger and others, "Hoard" (ASPLOS 2000),
 * call blowup.
 *
 *	rss_service [-l live] [-g garbage] [-t threads] [-w wave_ms] [-n waves]
 *
 *	"live" MiB of objects of 64 to 4096 bytes that stay, and are read. Each wave is
 *	one thread's: it makes "garbage" MiB of objects of about one size, then frees
 *	them in random order, but for one in 200, which lives until that thread's next
 *	wave. So live memory never passes live + garbage + threads x garbage / 200.
 *
 * Marks: full; wave (which size) for each; end. Exit status 0 when all live objects
 * are as they were.
 */
#include <string.h>

#include "rss.h"

#define STAYS	200
#define MAX_THREADS	64

static uint64_t live_mib = 300, garbage_mib = 80, nr_threads = 8, wave_ms = 1000;
static uint64_t nr_waves = 18;
static void **live;
static void **objects;		/* of the wave */
static uint64_t nr_live;

struct server {
	pthread_t thread;
	pthread_mutex_t turn;	/* held while it is another's turn */
	uint64_t rnd;
	void **stay;
	uint64_t nr_stay;
	uint32_t size;		/* of this wave, 0: no more */
};

static struct server servers[MAX_THREADS];
static pthread_mutex_t done = PTHREAD_MUTEX_INITIALIZER;

static void fill_live(void)
{
	uint64_t rnd = bench_seed(2, 0), bytes = 0;

	while (bytes < live_mib << 20) {
		uint32_t size = bench_size(bench_random(&rnd), BENCH_UNIFORM, 64, 4096);
		uint32_t *p = bench_object(size);

		memset(p, 1, size);
		p[0] = nr_live;
		live[nr_live++] = p;
		bytes += size;
	}
}

static void wave(struct server *s)
{
	uint64_t n = (garbage_mib << 20) / s->size, i, k;

	for (i = 0; i < n; i++) {
		uint32_t size = s->size + bench_below(bench_random(&s->rnd), s->size / 8);

		objects[i] = bench_object(size);
		memset(objects[i], 2, size);
	}
	/* half a wave to do its work */
	rss_wait(wave_ms / 2e3);
	for (i = n; i > 1; i--) {
		void *t = objects[i - 1];

		k = bench_below(bench_random(&s->rnd), i);
		objects[i - 1] = objects[k];
		objects[k] = t;
	}
	for (i = 0; i < s->nr_stay; i++)
		free(s->stay[i]);
	for (i = 0, k = 0; i < n; i++) {
		if (i % STAYS == 0)
			s->stay[k++] = objects[i];
		else
			free(objects[i]);
	}
	s->nr_stay = k;
}

static void *serve(void *arg)
{
	struct server *s = arg;

	for (;;) {
		pthread_mutex_lock(&s->turn);
		if (!s->size)
			return NULL;
		wave(s);
		pthread_mutex_unlock(&done);
	}
}

/* Sizes of the waves, in an order that is no order. */
static const uint32_t wave_size[] = { 320, 2200, 700, 3600, 150, 1400, 2800, 480 };

#define NR_SIZES	(sizeof(wave_size) / sizeof(wave_size[0]))

static void run_wave(uint64_t i)
{
	struct server *s = &servers[i % nr_threads];

	s->size = wave_size[i % NR_SIZES];
	rss_mark("wave", s->size);
	pthread_mutex_unlock(&s->turn);
	pthread_mutex_lock(&done);
	rss_wait(wave_ms / 2e3);
}

static void start_servers(void)
{
	uint64_t max = (garbage_mib << 20) / 150 + 1, i;

	objects = bench_map(max * sizeof(void *));
	pthread_mutex_lock(&done);
	for (i = 0; i < nr_threads; i++) {
		struct server *s = &servers[i];

		s->rnd = bench_seed(3, i);
		s->stay = bench_map((max / STAYS + 1) * sizeof(void *));
		pthread_mutex_init(&s->turn, NULL);
		pthread_mutex_lock(&s->turn);
		if (pthread_create(&s->thread, NULL, serve, s))
			bench_die("no thread");
	}
}

int main(int argc, char **argv)
{
	const struct bench_option table[] = {
		{ 'l', "live", &live_mib, NULL }, { 'g', "garbage", &garbage_mib, NULL },
		{ 't', "threads", &nr_threads, NULL }, { 'w', "wave_ms", &wave_ms, NULL },
		{ 'n', "waves", &nr_waves, NULL }, { .letter = 0 },
	};
	uint64_t i;

	bench_options(argc, argv, table);
	if (nr_threads > MAX_THREADS || live_mib > 4096 || garbage_mib > 4096)
		bench_die("64 threads, 4096 MiB each at most");
	live = bench_map(((live_mib << 20) / 1500 + 10000) * sizeof(void *));
	start_servers();
	rss_start();
	fill_live();
	rss_mark("full", nr_live);
	for (i = 0; i < nr_waves; i++)
		run_wave(i);
	rss_mark("end", rss_faults());
	for (i = 0; i < nr_live; i++)
		if (*(uint32_t *)live[i] != i)
			bench_die("object %llu is not what it was", (unsigned long long)i);
	return 0;
}
