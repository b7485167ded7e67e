// SPDX-License-Identifier: MIT
/*
 * Objects are allocated by one set of threads and freed by another, through
 * a bounded ring: one to one, one to many, many to one. What is in flight is
 * bounded, so memory must be too: nobody may hoard what comes back.
 *
 *   producers -> ring[1024] of objects -> consumers
 */
#include "stress.h"

#define RING		1024
#define MAX_GROWTH_KB	(40 * 1024)

static struct obj ring[RING];
static unsigned int ring_head, ring_len;
static pthread_mutex_t ring_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int producers;

#define BATCH 16

static unsigned int ring_put(const struct obj *o, unsigned int n)
{
	unsigned int done = 0;

	pthread_mutex_lock(&ring_lock);
	while (done < n && ring_len < RING)
		ring[(ring_head + ring_len++) % RING] = o[done++];
	pthread_mutex_unlock(&ring_lock);
	return done;
}

static unsigned int ring_get(struct obj *o, unsigned int n)
{
	unsigned int done = 0;

	pthread_mutex_lock(&ring_lock);
	while (done < n && ring_len) {
		o[done++] = ring[ring_head];
		ring_head = (ring_head + 1) % RING;
		ring_len--;
	}
	pthread_mutex_unlock(&ring_lock);
	return done;
}

static void produce(struct worker *w)
{
	while (!stress_stop()) {
		struct obj batch[BATCH];
		unsigned int n = 0, put = 0;

		while (n < BATCH && obj_new(&batch[n], rnd_size(&w->rng, 11), rnd(&w->rng)))
			n++;
		while (put < n && !stress_stop()) {
			put += ring_put(batch + put, n - put);
			if (put < n)
				sched_yield();
		}
		w->ops += put;
		while (put < n)
			obj_end(&batch[put++], "never sent");
	}
}

static void consume(struct worker *w)
{
	while (!stress_stop()) {
		struct obj batch[BATCH];
		unsigned int n = ring_get(batch, BATCH);

		if (!n)
			sched_yield();
		for (unsigned int i = 0; i < n; i++)
			obj_end(&batch[i], "received");
	}
}

static void *run(struct worker *w)
{
	if (w->id < producers)
		produce(w);
	else
		consume(w);
	return NULL;
}

static void phase(unsigned int nr_producers, unsigned int nr_consumers)
{
	unsigned int n = nr_producers + nr_consumers;
	struct worker *w = calloc(n, sizeof(*w));
	struct obj o;
	unsigned long ops;
	long before, after;

	producers = nr_producers;
	workers_start(w, n, run);
	stress_run(0.08);
	if (__atomic_load_n(&stress_failures, __ATOMIC_RELAXED)) {
		workers_join(w, n);
		stress_end("%u to %u", nr_producers, nr_consumers);
		return;
	}
	workers_join(w, n);
	before = tap_status_kb("VmRSS");
	stress_again();
	workers_start(w, n, run);
	stress_run(0.25);
	ops = workers_join(w, n);
	after = tap_status_kb("VmRSS");
	while (ring_get(&o, 1))
		obj_end(&o, "left over");
	free(w);
	if (!TAP_TSAN && !tap_emulated() && after - before > MAX_GROWTH_KB)
		stress_fail("resident memory grew from %ld to %ld KiB", before, after);
	stress_end("%lu objects from %u to %u threads, %ld KiB more", ops, nr_producers,
		   nr_consumers, after - before);
	stress_again();
}

int main(int argc, char **argv)
{
	unsigned int half;

	tap_init(argc, argv);
	watchdog(60);
	half = tap_opts.threads > 1 ? tap_opts.threads / 2 : 1;
	phase(half, half);
	phase(1, tap_opts.threads);
	phase(tap_opts.threads, 1);
	return tap_done();
}
