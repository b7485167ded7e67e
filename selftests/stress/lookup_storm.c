// SPDX-License-Identifier: MIT
/*
 * ha_lookup of every kind of address while spans come and go.
 *
 * A worker allocates objects of one size and frees them all, so that spans are
 * made and retired without end, each time for another class. It looks up the
 * insides of what it holds, where every answer is known; what others hold or have
 * held, where the answer must fit the address; and addresses that are nobody's.
 * A signal handler, which interrupts the allocator anywhere, does the same.
 */
#include <sys/time.h>

#include "api.h"
#include "stress.h"

#define MAX_THREADS	64
#define MINE		100
#define SHOWN		32

/* Addresses that each worker held a moment ago, or still does. */
static char *shown[MAX_THREADS][SHOWN];
static unsigned long nr_in_handler, nr_found;
static bool checked = true;

static bool fits(const struct ha_object *o, const char *addr)
{
	const char *start = o->start, *span = o->span;

	return start <= addr && (size_t)(addr - start) < o->usable && span <= start &&
	       start + o->usable <= span + o->span_size && o->index < o->nr_objects &&
	       span + o->index * o->usable == start && o->state <= HA_OBJECT_UNKNOWN &&
	       !o->heap && !o->reserved;
}

static void look_at_others(uint64_t *rng)
{
	char *p = __atomic_load_n(&shown[rnd_below(rng, MAX_THREADS)][rnd_below(rng, SHOWN)],
				  __ATOMIC_RELAXED);
	struct ha_object o = { .size = sizeof(o) };

	if (!p)
		return;
	p += rnd_size(rng, 18) - 1;
	if (ha_lookup(p, &o) == 0)
		return;
	__atomic_fetch_add(&nr_found, 1, __ATOMIC_RELAXED);
	if (!fits(&o, p))
		stress_fail("%p is told to be in %zu bytes at %p of span %p, number %u of %u",
			    (void *)p, o.usable, o.start, o.span, o.index, o.nr_objects);
}

static void look_at_mine(uint64_t *rng, char *p, size_t size)
{
	struct ha_object o = { .size = sizeof(o) };
	char *in = p + rnd_below(rng, size);

	if (ha_lookup(in, &o) != 1 || o.start != p || !fits(&o, in) || o.usable < size)
		stress_fail("%p of %zu bytes is not found from %p: %p of %zu", (void *)p,
			    size, (void *)in, o.start, o.usable);
	else if (checked && o.state != HA_OBJECT_LIVE)
		stress_fail("%p of %zu bytes is live, and said to be %u", (void *)p, size,
			    o.state);
}

static void handler(int sig)
{
	static uint64_t seed;
	uint64_t rng = __atomic_add_fetch(&seed, 7919, __ATOMIC_RELAXED) * (uint64_t)sig;
	int saved = errno;

	for (unsigned int i = 0; i < 20; i++)
		look_at_others(&rng);
	__atomic_fetch_add(&nr_in_handler, 1, __ATOMIC_RELAXED);
	errno = saved;
}

static size_t next_size(uint64_t *rng)
{
	return rnd_below(rng, 8) ? rnd_size(rng, 15) : rnd_size(rng, 20);
}

static void *run(struct worker *w)
{
	char *p[MINE];

	for (; !stress_stop(); w->ops++) {
		size_t size = next_size(&w->rng);
		struct ha_object o = { .size = sizeof(o) };
		unsigned int n = rnd_below(&w->rng, size > 1 << 16 ? 4 : MINE) + 1;

		for (unsigned int i = 0; i < n; i++) {
			p[i] = malloc(size);
			if (!p[i])
				stress_fail("no memory");
			__atomic_store_n(&shown[w->id % MAX_THREADS][i % SHOWN], p[i],
					 __ATOMIC_RELAXED);
		}
		for (unsigned int i = 0; i < n; i++) {
			look_at_mine(&w->rng, p[rnd_below(&w->rng, n)], size);
			look_at_others(&w->rng);
		}
		if (ha_lookup(&o, &o) || ha_lookup((void *)rnd(&w->rng), &o) > 1)
			stress_fail("an object on the stack");
		for (unsigned int i = 0; i < n; i++)
			free(p[i]);
		/* what is cached goes back, and spans with it */
		if (w->ops % 64 == 0)
			malloc_trim(0);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct itimerval every = { { 0, 997 }, { 0, 997 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART };
	const char *conf = getenv("HEAPARENA_CONF");
	struct worker w[MAX_THREADS];
	unsigned int nr;
	unsigned long ops;

	tap_init(argc, argv);
	watchdog(60);
	checked = !conf || !strstr(conf, "check:off");
	nr = tap_opts.threads < MAX_THREADS ? tap_opts.threads : MAX_THREADS;
	sigaction(SIGPROF, &sa, NULL);
	setitimer(ITIMER_PROF, &every, NULL);
	workers_start(w, nr, run);
	stress_run(1);
	setitimer(ITIMER_PROF, &never, NULL);
	ops = workers_join(w, nr);
	stress_end("%lu rounds of %u threads, %lu of others' objects met, %lu handlers",
		   ops, nr, nr_found, nr_in_handler);
	ok(nr_found && nr_in_handler, "objects were met, and handlers ran");
	return tap_done();
}
