// SPDX-License-Identifier: MIT
/*
 * One node allocates, another frees, through a ring that bounds what is in flight.
 * Neither side may bloat (memory stays bounded), objects stay on the node that
 * allocated them, what goes home goes in batches, and it is not much slower than
 * without nodes (the same in a process with numa:off).
 *
 *	producer, node a --> ring --> consumer, node b
 */
#include "numa.h"

#define RING		512
#define MAX_GROWTH_KB	(16 << 10)
/*
 * Where few real CPUs play four, the two sides may hardly ever run at the same time:
 * what is compared is of the same moment, the best of some comparisons counts, and
 * twice the time is noise still.
 */
#define MAX_SLOWER	3.0
#define TRIES		8

static void *ring[RING];
static unsigned int ring_put, ring_got;
static unsigned int from, to;
static unsigned long moved, sampled, elsewhere;

static void *produce(void)
{
	unsigned int put = 0;
	uint64_t rng = tap_opts.seed;

	node_enter(from);
	while (!stress_stop()) {
		size_t size = 16 + rnd_below(&rng, 1000);
		char *p;

		if (put - __atomic_load_n(&ring_got, __ATOMIC_ACQUIRE) == RING) {
			sched_yield();
			continue;
		}
		p = malloc(size);
		if (!p)
			tap_bail("no memory");
		memset(p, 1, size);
		if (put % 512 == 0) {
			sampled++;
			elsewhere += page_node(p) != (int)from;
		}
		ring[put++ % RING] = p;
		__atomic_store_n(&ring_put, put, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void *consume(void)
{
	unsigned int got = ring_got;

	node_enter(to);
	for (;;) {
		if (got == __atomic_load_n(&ring_put, __ATOMIC_ACQUIRE)) {
			if (stress_stop())
				return NULL;
			sched_yield();
			continue;
		}
		free(ring[got++ % RING]);
		moved++;
		__atomic_store_n(&ring_got, got, __ATOMIC_RELEASE);
	}
}

static void *side(struct worker *w)
{
	return w->id ? consume() : produce();
}

/* Objects a second. */
static double run(double share)
{
	struct worker w[2];
	double start = now_seconds();

	moved = sampled = elsewhere = 0;
	ring_put = ring_got = 0;
	stress_again();
	workers_start(w, 2, side);
	stress_run(share);
	workers_join(w, 2);
	return moved / (now_seconds() - start);
}

/* The rate of a process that knows of no nodes. */
static double rate_off(char **argv)
{
	char text[64] = "";
	int fds[2], status;
	pid_t pid;

	if (pipe(fds))
		tap_bail("pipe: %s", strerror(errno));
	pid = fork();
	if (!pid) {
		dup2(fds[1], 3);
		setenv("HEAPARENA_CONF", "numa:off", 1);
		setenv("HA_HANDOVER_CHILD", "1", 1);
		execv("/proc/self/exe", argv);
		_exit(3);
	}
	close(fds[1]);
	if (read(fds[0], text, sizeof(text) - 1) <= 0 || waitpid(pid, &status, 0) != pid || status)
		tap_bail("the child failed");
	close(fds[0]);
	return strtod(text, NULL);
}

static void pair(unsigned int a, unsigned int b, char **argv)
{
	struct ha_stats s0, s1;
	long before, after;
	double rate, off;

	from = a;
	to = b;
	run(0.1);
	before = tap_status_kb("VmRSS");
	if (!stats_get(&s0))
		tap_bail("no statistics");
	rate = run(0.25);
	if (!stats_get(&s1))
		tap_bail("no statistics");
	after = tap_status_kb("VmRSS");
	ok(!elsewhere && sampled, "node %u to %u: %lu of %lu looked at lie elsewhere", a, b,
	   elsewhere, sampled);
	ok(after - before < MAX_GROWTH_KB, "node %u to %u: %ld KiB more after %lu objects", a, b,
	   after - before, moved);
	ok(moved / 8 > s1.nr_refills - s0.nr_refills && moved / 8 > s1.nr_flushes - s0.nr_flushes,
	   "node %u to %u: %zu refills, %zu flushes to spans", a, b,
	   s1.nr_refills - s0.nr_refills, s1.nr_flushes - s0.nr_flushes);
	off = rate_off(argv);
	for (int i = 1; i < TRIES && rate * MAX_SLOWER <= off; i++) {
		rate = run(0.1);
		off = rate_off(argv);
	}
	ok(rate * MAX_SLOWER > off, "node %u to %u: %.0f objects a second, without nodes %.0f", a,
	   b, rate, off);
}

int main(int argc, char **argv)
{
	if (getenv("HA_HANDOVER_CHILD")) {
		nodes_read();
		to = 1;
		tap_opts.seconds = 2;
		run(0.1);
		return dprintf(3, "%f\n", run(0.25)) < 0;
	}
	tap_init(argc, argv);
	nodes_need(2);
	watchdog(60);
	pair(0, 1, argv);
	pair(nr_nodes - 1, 0, argv);
	return tap_done();
}
