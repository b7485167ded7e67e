// SPDX-License-Identifier: MIT
/*
 * When all of a large burst has been freed, what is left of it is next to nothing: not
 * its pages, and neither what the allocator knew of them (descriptors, states, page
 * entries, batches), which is a fortieth of the burst.
 *
 *	by malloc_trim(), at once
 *	in the child of a fork, which has no background thread, by malloc_trim(): of its
 *	own burst, and of what its parent had
 *	by the background thread within 15 s, in a process that makes no call
 *
 * The burst is of 600 MB in objects of 32 to 470 bytes, of which 97 in 100 die in random
 * order and the rest later. What goes comes again: there are several bursts.
 */
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "stress.h"

#define BURST		600000000UL
#define MIN_SIZE	32
#define MAX_SIZE	470
#define MAX_OBJECTS	(BURST / ((MIN_SIZE + MAX_SIZE) / 2) * 9 / 8)
#define LEFT_KB		(4000000 / 1024)
#define WAIT_SECONDS	15

static unsigned char **object;
static uint32_t *order;
static uint64_t rng;

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		tap_bail("mmap");
	return p;
}

static size_t burst(void)
{
	size_t n = 0, bytes = 0;

	for (; bytes < BURST && n < MAX_OBJECTS; n++) {
		size_t size = MIN_SIZE + rnd_below(&rng, MAX_SIZE - MIN_SIZE + 1);

		object[n] = malloc(size);
		if (!object[n])
			tap_bail("malloc");
		memset(object[n], 1, size);
		bytes += size;
	}
	return n;
}

static void free_all(size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t j = rnd_below(&rng, i + 1);

		order[i] = order[j];
		order[j] = i;
	}
	for (size_t i = 0; i < n / 100 * 97; i++)
		free(object[order[i]]);
	for (size_t i = n / 100 * 97; i < n; i++)
		free(object[order[i]]);
}

static void burst_and_free(void)
{
	free_all(burst());
}

/* By the thread alone: what was reached at last, more than @before. */
static long wait_idle(long before)
{
	double end = now_seconds() + WAIT_SECONDS;
	long now;

	while ((now = tap_status_kb("VmRSS") - before) > LEFT_KB && now_seconds() < end)
		usleep(200 * 1000);
	return now;
}

/* With its parent's @n objects, when there was @before; or with its own. */
static int child(size_t n, long before)
{
	long left;

	free_all(n ? n : burst());
	malloc_trim(0);
	left = tap_status_kb("VmRSS") - before;
	diag("%ld KiB in the child", left);
	return left > LEFT_KB;
}

static bool child_ok(size_t n, long before)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid)
		_exit(child(n, n ? before : tap_status_kb("VmRSS")));
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

int main(int argc, char **argv)
{
	long before, left;
	size_t n;

	tap_init(argc, argv);
	if (TAP_TSAN || tap_emulated())
		tap_skip_all("resident memory is not ours alone");
	watchdog(150);
	rng = tap_opts.seed;
	object = map(MAX_OBJECTS * sizeof(*object));
	order = map(MAX_OBJECTS * sizeof(*order));
	free(HIDE(malloc(1)));

	before = tap_status_kb("VmRSS");
	burst_and_free();
	malloc_trim(0);
	left = tap_status_kb("VmRSS") - before;
	ok(left <= LEFT_KB, "malloc_trim: %ld KiB more than at the start", left);
	ok(child_ok(0, 0), "in the child of a fork");
	n = burst();
	ok(child_ok(n, before), "and one that frees what its parent had");
	free_all(n);
	left = wait_idle(before);
	ok(left <= LEFT_KB, "idle: %ld KiB more than at the start", left);
	return tap_done();
}
