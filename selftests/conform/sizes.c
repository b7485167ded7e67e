// SPDX-License-Identifier: MIT
/*
 * Every size from 0 to 70000: alignment, usable size, the whole of it
 * writable, nothing shared with a neighbour; calloc zero also when the
 * memory was dirty before.
 *
 * A window of objects stays live, each filled to its usable end, and is
 * checked before it is freed: an overlap shows in one of the two.
 */
#include <sys/sysinfo.h>

#include "conform.h"

#define MAX_SIZE	70000
#define WINDOW		64
#define FULL		4096

struct obj {
	unsigned char *p;
	size_t usable;
	unsigned char tag;
};

/* Large objects are filled at both ends and every 512 bytes between. */
static size_t step(size_t i, size_t usable)
{
	return i < FULL || i + 128 >= usable ? 1 : 512;
}

static void fill(struct obj *o)
{
	for (size_t i = 0; i < o->usable; i += step(i, o->usable))
		o->p[i] = o->tag;
	if (o->usable)
		o->p[o->usable - 1] = o->tag;
}

static bool check(const struct obj *o)
{
	for (size_t i = 0; i < o->usable; i += step(i, o->usable))
		if (o->p[i] != o->tag)
			return false;
	return !o->usable || o->p[o->usable - 1] == o->tag;
}

static void test_all_sizes(void)
{
	struct obj window[WINDOW] = { { NULL, 0, 0 } };
	unsigned long misaligned = 0, small = 0, overlap = 0, null = 0, waste = 0;

	for (size_t n = 0; n <= MAX_SIZE; n++) {
		struct obj *o = &window[n % WINDOW];

		if (o->p && !check(o))
			overlap++;
		free(o->p);
		o->p = HIDE(malloc(n));
		if (!o->p) {
			null++;
			continue;
		}
		o->usable = malloc_usable_size(o->p);
		o->tag = n * 37 + 1;
		misaligned += !!((uintptr_t)o->p & (n <= 8 ? 7 : 15));
		small += o->usable < n;
		waste += n > 64 && o->usable > n + n / 2;
		if (o->usable >= n)
			fill(o);
	}
	for (unsigned int i = 0; i < WINDOW; i++) {
		overlap += !check(&window[i]);
		free(window[i].p);
	}
	ok(!null, "malloc of 0 to %d bytes", MAX_SIZE);
	ok(!misaligned, "aligned to 16 bytes, to 8 up to 8 bytes (%lu are not)", misaligned);
	ok(!small, "usable size at least the size asked (%lu are not)", small);
	ok(!overlap, "the whole usable size belongs to the object (%lu overlap)", overlap);
	ok(!waste, "usable size at most half as much again (%lu more)", waste);
	ok(malloc_usable_size(NULL) == 0, "malloc_usable_size(NULL) is 0");
}

static bool zero(const unsigned char *p, size_t n)
{
	return !n || (!p[0] && !memcmp(p, p + 1, n - 1));
}

static void test_calloc_size(size_t n, unsigned long *dirty)
{
	unsigned char *p = HIDE(malloc(n)), *q;

	memset(p, 0xff, malloc_usable_size(p));
	free(p);
	q = HIDE(calloc(1, n));
	*dirty += !zero(q, n);
	memset(q, 0xee, malloc_usable_size(q));
	p = HIDE(calloc(n, 1));
	*dirty += !zero(p, n);
	memset(p, 0xdd, malloc_usable_size(p));
	free(q);
	free(p);
}

static void test_calloc(void)
{
	unsigned long dirty = 0;

	for (size_t n = 1; n <= 4096; n++)
		test_calloc_size(n, &dirty);
	for (size_t n = 4097; n <= MAX_SIZE; n += 61)
		test_calloc_size(n, &dirty);
	ok(!dirty, "calloc is zero after dirty reuse, 1 to %d bytes (%lu are not)",
	   MAX_SIZE, dirty);
	dirty = 0;
	for (size_t n = 1 << 17; n <= 32 << 20; n += n / 3)
		test_calloc_size(n, &dirty);
	ok(!dirty, "calloc is zero after dirty reuse, to 32 MiB (%lu are not)", dirty);
}

/* Spans change hands between classes: dirty pages must not show. */
static void test_calloc_across_classes(uint64_t *rng)
{
	static unsigned char *q[3000];
	unsigned long dirty = 0;

	for (int round = 0; round < 12; round++) {
		size_t size = rnd_size(rng, 14);

		for (unsigned int i = 0; i < 3000; i++) {
			q[i] = HIDE(calloc(1, size));
			dirty += !zero(q[i], size);
			memset(q[i], 0xcc, malloc_usable_size(q[i]));
		}
		for (unsigned int i = 0; i < 3000; i++)
			free(q[i]);
		if (round % 3 == 2)
			malloc_trim(0);
	}
	ok(!dirty, "calloc is zero when spans change their class (%lu are not)", dirty);
}

/* What a machine cannot have is refused, and not after a walk over tables for it. */
static void test_beyond_memory(void)
{
	struct sysinfo info;
	size_t most;
	FILE *f = fopen("/proc/sys/vm/overcommit_memory", "r");
	int mode = f ? fgetc(f) : '0';
	long kb;

	if (f)
		fclose(f);
	if (TAP_TSAN || mode == '1' || sysinfo(&info)) {
		tap_skip("more than there is", "this one promises everything");
		return;
	}
	most = (info.totalram + info.totalswap) * info.mem_unit;
	kb = tap_status_kb("VmRSS");
	for (unsigned int shift = 0; shift < 10 && most << shift < 1UL << 46; shift++) {
		errno = 0;
		if (HIDE(malloc((most << shift) + (1UL << 30))) || errno != ENOMEM ||
		    HIDE(calloc(most << shift, 2))) {
			ok(false, "more than there is: %zu MiB", most << shift >> 20);
			return;
		}
	}
	kb = tap_status_kb("VmRSS") - kb;
	ok(kb < 4096, "more than there is is refused, for %ld KiB of tables", kb);
}

int main(int argc, char **argv)
{
	tap_init(argc, argv);
	test_all_sizes();
	test_calloc();
	test_calloc_across_classes(&tap_opts.seed);
	test_beyond_memory();
	return tap_done();
}
