// SPDX-License-Identifier: MIT
/*
 * A load whose garbage swings: without a limit its resident memory goes far above
 * what lives, with a soft one it stays under that, and is not much slower.
 *
 *	small	objects among which long-lived ones are strewn; all but those die
 *	large	objects that do not fit into the holes
 *	... by turns, several times a second
 *
 * Both runs are processes of their own; each samples its resident memory at the
 * top of each phase. Then the same under half of the limit, which what lives
 * exceeds: nothing fails.
 */
#include "stress.h"
#include <sys/mman.h>
#include <sys/resource.h>

#define MIB		(1ul << 20)
#define LIVE		(24 * MIB)
#define SMALL		(60 * MIB)
#define LARGE		(56 * MIB)
#define LIMIT		(112 * MIB)
#define MAX_SMALL	200000
#define NR_LIVE		20000

struct result {
	long peak_kb;		/* above the start */
	long rounds;
	double seconds;
};

static struct obj small[MAX_SMALL], live[NR_LIVE];
static unsigned int next_live;
static size_t live_bytes;

static long rss_kb(long base)
{
	return tap_status_kb("VmRSS") - base;
}

static void top(struct result *r, long base)
{
	long now = rss_kb(base);

	if (now > r->peak_kb)
		r->peak_kb = now;
}

static void make(struct obj *o, size_t size)
{
	o->size = size;
	o->p = malloc(size);
	if (!o->p) {
		stress_fail("no memory for %zu bytes", size);
		_exit(9);
	}
	obj_fill(o);
}

/* One in 20 takes the place of a long-lived one. */
static void small_phase(struct result *r, long base, uint64_t *rng)
{
	size_t sum = 0;
	unsigned int n = 0;

	while (sum < SMALL && n < MAX_SMALL) {
		struct obj *o = &small[n];

		make(o, 64 + rnd_size(rng, 11));
		sum += o->size;
		if (rnd_below(rng, 20) == 0) {
			struct obj *l = &live[next_live++ % NR_LIVE];

			live_bytes += o->size - (l->p ? l->size : 0);
			obj_end(l, "long-lived");
			*l = *o;
			while (live_bytes > LIVE) {
				l = &live[next_live++ % NR_LIVE];
				live_bytes -= l->p ? l->size : 0;
				obj_end(l, "long-lived");
			}
		} else {
			n++;
		}
	}
	top(r, base);
	while (n--)
		obj_end(&small[n], "small");
}

static void large_phase(struct result *r, long base, uint64_t *rng)
{
	size_t size = 5 * MIB + rnd_below(rng, 3 * MIB), sum = 0;
	struct obj o[16];
	unsigned int n = 0;

	for (; sum + size < LARGE && n < 16; n++) {
		make(&o[n], size);
		memset(o[n].p, n, size);
		obj_fill(&o[n]);
		sum += size;
	}
	top(r, base);
	while (n--)
		obj_end(&o[n], "large");
}

static void load(struct result *r, double seconds)
{
	double start = now_seconds();
	uint64_t rng = tap_opts.seed;
	long base;

	/* what the program itself will have resident */
	memset(small, 1, sizeof(small));
	memset(small, 0, sizeof(small));
	memset(live, 1, sizeof(live));
	memset(live, 0, sizeof(live));
	base = tap_status_kb("VmRSS");
	do {
		small_phase(r, base, &rng);
		large_phase(r, base, &rng);
		r->rounds++;
		r->seconds = now_seconds() - start;
	} while (r->seconds < seconds);
}

/* In a process of its own, under @limit bytes (0: none). */
static struct result run(size_t limit, double seconds)
{
	int (*set)(size_t, size_t) = (int (*)(size_t, size_t))dlsym(RTLD_DEFAULT,
								    "ha_limit_set");
	struct result *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	pid_t pid;

	if (r == MAP_FAILED || !set)
		tap_bail("mmap, or no ha_limit_set");
	pid = fork();
	if (!pid) {
		if (set(limit, 0))
			_exit(7);
		load(r, seconds);
		_exit(stress_failures ? 6 : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		tap_bail("fork");
	diag("limit %zu MiB: peak %ld KiB, %.2f rounds a second (status 0x%x)", limit >> 20,
	     r->peak_kb, r->rounds / r->seconds, status);
	if (status)
		r->peak_kb = -1;
	return *r;
}

int main(int argc, char **argv)
{
	struct result without, with, half;

	tap_init(argc, argv);
	if (TAP_TSAN || tap_emulated())
		tap_skip_all("resident memory is not ours alone");
	watchdog(100);
	free(HIDE(malloc(1)));
	without = run(0, tap_opts.seconds);
	ok(without.peak_kb > (long)(LIMIT >> 10) * 11 / 10,
	   "without a limit the load peaks at %ld KiB", without.peak_kb);
	with = run(LIMIT, tap_opts.seconds);
	ok(with.peak_kb > 0 && with.peak_kb <= (long)(LIMIT + LIMIT / 20 + 4 * MIB) >> 10,
	   "under a soft limit of %lu KiB at %ld", LIMIT >> 10, with.peak_kb);
	ok(with.rounds * 4 > without.rounds, "%ld rounds of %ld: not much slower", with.rounds,
	   without.rounds);
	half = run(LIMIT / 2, tap_opts.seconds);
	ok(half.peak_kb > 0 && half.rounds, "what lives exceeds the limit: nothing fails");
	return tap_done();
}
