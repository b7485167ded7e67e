// SPDX-License-Identifier: MIT
/*
 * Memory goes back while nobody calls the allocator.
 *
 * A burst of small objects, of which 97 in 100 die in random order. What must
 * stay are the kernel pages that still hold a byte of the others, counted here;
 * the rest has to be gone within seconds, also the pages inside spans that are
 * still in use. Then all die, and next to nothing may stay. The survivors keep
 * their contents throughout, and the memory is good for new objects afterwards.
 *
 * The waiting is done with mapped memory and system calls alone.
 */
#include <sys/mman.h>

#include "stress.h"

#define BURST		(96UL << 20)
#define MIN_SIZE	32
#define MAX_SIZE	470
#define MAX_OBJECTS	(BURST / MIN_SIZE)
#define WAIT_SECONDS	30

struct item {
	unsigned char *p;
	unsigned int size;
};

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		tap_bail("mmap");
	return p;
}

static bool intact(const struct item *it)
{
	return it->p[0] == (unsigned char)it->size && it->p[it->size - 1] == (unsigned char)it->size;
}

/* KiB of kernel pages that hold a byte of a living object; addresses ascend seldom. */
static long live_kb(const struct item *items, size_t n)
{
	size_t page = sysconf(_SC_PAGESIZE), slots = 1 << 20, used = 0;
	uintptr_t *seen = map(slots * sizeof(*seen));

	for (size_t i = 0; i < n; i++) {
		if (!items[i].p)
			continue;
		uintptr_t first = (uintptr_t)items[i].p / page;
		uintptr_t last = ((uintptr_t)items[i].p + items[i].size - 1) / page;

		for (uintptr_t a = first; a <= last; a++) {
			size_t h = a * 0x9E3779B97F4A7C15UL >> 44;

			while (seen[h] && seen[h] != a)
				h = (h + 1) % slots;
			used += !seen[h];
			seen[h] = a;
		}
	}
	munmap(seen, slots * sizeof(*seen));
	return used * (page / 1024);
}

/* Until no more than @kb are resident, or for long; what was reached at last. */
static long wait_for(long kb)
{
	double end = now_seconds() + WAIT_SECONDS;
	long now;

	while ((now = tap_status_kb("VmRSS")) > kb && now_seconds() < end)
		usleep(200 * 1000);
	return now;
}

int main(int argc, char **argv)
{
	struct item *items;
	long before, peak, live, now;
	size_t n = 0, bytes = 0;
	uint64_t rng;

	tap_init(argc, argv);
	if (TAP_TSAN || tap_emulated())
		tap_skip_all("resident memory is not ours alone");
	watchdog(100);
	rng = tap_opts.seed;
	free(HIDE(malloc(1)));
	items = map(MAX_OBJECTS * sizeof(*items));
	for (size_t i = 0; i < BURST / (MIN_SIZE + MAX_SIZE) * 2; i++)
		items[i].size = 1;	/* resident before the count begins */
	before = tap_status_kb("VmRSS");
	for (; bytes < BURST && n < MAX_OBJECTS; n++) {
		items[n].size = MIN_SIZE + rnd_below(&rng, MAX_SIZE - MIN_SIZE + 1);
		items[n].p = malloc(items[n].size);
		if (!items[n].p)
			tap_bail("malloc");
		memset(items[n].p, items[n].size, items[n].size);
		bytes += items[n].size;
	}
	peak = tap_status_kb("VmRSS");
	ok(peak - before > (long)(BURST >> 10), "a burst of %zu objects, %ld KiB resident", n,
	   peak - before);

	for (size_t i = 0; i < n; i++) {
		if (rnd_below(&rng, 100) < 97) {
			free(items[i].p);
			items[i].p = NULL;
		}
	}
	live = live_kb(items, n);
	/* a quarter, and what the allocator knows of the burst, on top */
	now = wait_for(before + live + live / 4 + (long)(BURST >> 15));
	ok(now <= before + live + live / 4 + (long)(BURST >> 15),
	   "idle with pages of %ld KiB alive: %ld KiB resident of %ld", live, now - before,
	   peak - before);

	bool good = true;

	for (size_t i = 0; i < n; i++)
		good &= !items[i].p || intact(&items[i]);
	ok(good, "the survivors are as they were");

	for (size_t i = 0; i < n; i++)
		free(items[i].p);
	now = wait_for(before + 6 * 1024);
	ok(now <= before + 6 * 1024, "all freed: %ld KiB more than at the start", now - before);

	for (size_t i = 0; i < n / 8; i++) {
		items[i].p = malloc(items[i].size);
		memset(items[i].p, items[i].size, items[i].size);
	}
	good = true;
	for (size_t i = 0; i < n / 8; i++) {
		good &= intact(&items[i]);
		free(items[i].p);
	}
	ok(good, "what went back is good for new objects");
	return tap_done();
}
