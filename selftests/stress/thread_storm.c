// SPDX-License-Identifier: MIT
/*
 * Thousands of short threads: each takes over what one before it left,
 * checks and frees it, leaves objects of its own, and is gone. What threads
 * leave behind must not add up: after a warm-up, resident memory stays.
 */
#include "stress.h"

#define BATCH		16
#define MAIL		64
#define OBJECTS		100
#define MAX_GROWTH_KB	(12 * 1024)

struct parcel {
	struct obj o[OBJECTS];
};

static struct parcel *mail[MAIL];

static void parcel_end(struct parcel *p)
{
	if (!p)
		return;
	for (unsigned int i = 0; i < OBJECTS; i++)
		obj_end(&p->o[i], "handed over");
	free(p);
}

static void *run(struct worker *w)
{
	struct parcel *p = calloc(1, sizeof(*p));
	unsigned int box = rnd_below(&w->rng, MAIL);

	for (unsigned int i = 0; p && i < OBJECTS; i++)
		obj_new(&p->o[i], rnd_size(&w->rng, 12), rnd(&w->rng));
	parcel_end(__atomic_exchange_n(&mail[box], p, __ATOMIC_ACQ_REL));
	return NULL;
}

int main(int argc, char **argv)
{
	struct worker w[BATCH];
	unsigned long threads = 0;
	long before = 0, after;
	double begin, end;
	uint64_t seed;

	tap_init(argc, argv);
	watchdog(60);
	seed = tap_opts.seed;
	begin = now_seconds();
	end = begin + tap_opts.seconds;
	while (!stress_stop() && now_seconds() < end) {
		tap_opts.seed = seed + threads;
		workers_start(w, BATCH, run);
		workers_join(w, BATCH);
		threads += BATCH;
		if (!before && now_seconds() > begin + tap_opts.seconds / 3)
			before = tap_status_kb("VmRSS");
	}
	after = tap_status_kb("VmRSS");
	for (unsigned int i = 0; i < MAIL; i++)
		parcel_end(mail[i]);
	if (!TAP_TSAN && !tap_emulated() && after - before > MAX_GROWTH_KB)
		stress_fail("resident memory grew from %ld to %ld KiB", before, after);
	stress_end("%lu threads came and went, %ld KiB more (%ld resident)", threads,
		   after - before, after);
	return tap_done();
}
