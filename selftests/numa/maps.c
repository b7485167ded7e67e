// SPDX-License-Identifier: MIT
/*
 * Mappings are few, and running out of them (vm.max_map_count) is running out of
 * memory: NULL and ENOMEM, nothing lost, and on again once there are more.
 *
 * The nodes take turns, so that arenas of different policy lie side by side and
 * cannot share a mapping: the worst case.
 */
#include "numa.h"

#define LIMIT	"/proc/sys/vm/max_map_count"
#define SIZE	(1 << 20)
#define NR	1500

static void *objs[NR];

static unsigned int nr_maps(void)
{
	static char buf[1 << 20];
	unsigned int n = 0;

	if (!file_read(buf, sizeof(buf), "/proc/self/maps"))
		tap_bail("/proc/self/maps: %s", strerror(errno));
	for (char *p = buf; (p = strchr(p, '\n')); p++)
		n++;
	return n;
}

/* Objects of @SIZE, not touched, until one fails; how many there are. */
static unsigned int fill(void)
{
	unsigned int n;

	for (n = 0; n < NR; n++) {
		node_enter(n % nr_nodes);
		errno = 0;
		objs[n] = malloc(SIZE);
		if (!objs[n])
			break;
	}
	return n;
}

static void empty(unsigned int n)
{
	while (n)
		free(objs[--n]);
}

static bool small_ones(void)
{
	static struct obj o[2000];
	uint64_t rng = tap_opts.seed;
	unsigned int n;

	for (n = 0; n < 2000; n++) {
		o[n].size = 1 + rnd_below(&rng, 2000);
		o[n].p = malloc(o[n].size);
		if (!o[n].p)
			break;
		obj_fill(&o[n]);
	}
	for (unsigned int i = 0; i < n; i++)
		obj_end(&o[i], "small");
	return n == 2000 && !stress_failures;
}

/* With at most @max mappings: as much again as before, and small objects. */
static void at_limit(unsigned int max, bool none)
{
	unsigned int n, again;
	char text[32];

	snprintf(text, sizeof(text), "%u", max);
	if (!file_write(text, LIMIT))
		tap_bail("%s: %s", LIMIT, strerror(errno));
	/* what becomes metadata for want of a mapping does so for good: before it is counted */
	small_ones();
	n = fill();
	diag("%u mappings allowed, %u now, %u MiB", max, nr_maps(), n);
	ok(none ? n < NR && errno == ENOMEM : n == NR, "%u objects of 1 MiB, %s", n,
	   none ? "then NULL and ENOMEM" : "from those that can grow");
	empty(n);
	ok(small_ones(), "small objects at the limit");
	malloc_trim(0);
	again = fill();
	ok(again >= n, "%u objects of 1 MiB again", again);
	empty(again);
}

int main(int argc, char **argv)
{
	unsigned int before, after, n;
	char old[32];

	tap_init(argc, argv);
	vm_need();
	nodes_read();
	watchdog(60);
	if (!file_read(old, sizeof(old), LIMIT))
		tap_bail("no %s", LIMIT);
	small_ones();
	before = nr_maps();
	/* not one more than there are; room for a few arenas, which those have that can */
	at_limit(before - 1, true);
	at_limit(before + 10, false);
	file_write(old, LIMIT);
	n = fill();
	after = nr_maps();
	ok(n == NR, "%u objects with the limit back", n);
	/* an arena is 64 MiB: two mappings each at most, and tables of its own */
	ok(after - before <= 2 * (NR / 64 + nr_nodes) + 16, "%u mappings more for %u MiB",
	   after - before, n);
	empty(n);
	return tap_done();
}
