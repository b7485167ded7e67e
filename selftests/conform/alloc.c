// SPDX-License-Identifier: MIT
/*
 * malloc, calloc, realloc, reallocarray, free: what POSIX, C23 and users of
 * glibc expect at the edges: zero, huge, overflow, NULL, failure.
 */
#include "conform.h"

static void expect_enomem(void *p, const char *what)
{
	int err = errno;

	ok(!p && err == ENOMEM, "%s: NULL and ENOMEM (got %p, errno %d)",
	   what, p, err);
	errno = 0;
}

static const size_t huge[] = {
	SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 15, SIZE_MAX - 16, SIZE_MAX - 4095,
	SIZE_MAX - 4096, SIZE_MAX - 8191, SIZE_MAX - 8192, SIZE_MAX - 65535,
	SIZE_MAX - (64 << 20), (size_t)PTRDIFF_MAX + 1, (size_t)PTRDIFF_MAX + 2,
	(size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX - 4096, (size_t)1 << 62,
};
#define NR_HUGE (sizeof(huge) / sizeof(huge[0]))

static void test_zero(void)
{
	void *a = HIDE(malloc(HIDE((size_t)0)));
	void *b = HIDE(malloc(HIDE((size_t)0)));
	void *c = HIDE(calloc(HIDE((size_t)0), 8));
	void *d = HIDE(calloc(8, HIDE((size_t)0)));
	void *e = HIDE(realloc(NULL, HIDE((size_t)0)));

	ok(a && b && a != b, "malloc(0): unique objects");
	ok(c && d && c != d, "calloc of nothing: unique objects");
	ok(e && e != a && e != b, "realloc(NULL, 0): an object");
	ok(!((uintptr_t)a & 7), "malloc(0): aligned");
	free(a);
	free(b);
	free(c);
	free(d);
	free(e);
	free(NULL);
	ok(true, "free(NULL) does nothing");
}

static void test_huge(void)
{
	char what[80];

	errno = 0;
	for (unsigned int i = 0; i < NR_HUGE; i++) {
		snprintf(what, sizeof(what), "malloc(0x%zx)", huge[i]);
		expect_enomem(HIDE(malloc(HIDE(huge[i]))), what);
		snprintf(what, sizeof(what), "calloc(1, 0x%zx)", huge[i]);
		expect_enomem(HIDE(calloc(1, HIDE(huge[i]))), what);
		snprintf(what, sizeof(what), "calloc(0x%zx, 1)", huge[i]);
		expect_enomem(HIDE(calloc(HIDE(huge[i]), 1)), what);
		snprintf(what, sizeof(what), "realloc(NULL, 0x%zx)", huge[i]);
		expect_enomem(HIDE(realloc(NULL, HIDE(huge[i]))), what);
		snprintf(what, sizeof(what), "reallocarray(NULL, 1, 0x%zx)", huge[i]);
		expect_enomem(HIDE(reallocarray(NULL, 1, HIDE(huge[i]))), what);
	}
}

static void test_overflow(void)
{
	static const size_t pair[][2] = {
		{ SIZE_MAX, 2 }, { SIZE_MAX, SIZE_MAX }, { SIZE_MAX / 2 + 1, 2 },
		{ (size_t)1 << 32, (size_t)1 << 32 }, { SIZE_MAX / 16 + 1, 16 },
		{ SIZE_MAX / 16 + 2, 16 }, { SIZE_MAX / 100 + 1, 100 },
		{ ((size_t)1 << 32) + 1, (size_t)1 << 32 },
		{ SIZE_MAX / 3, 4 }, { (size_t)PTRDIFF_MAX, 3 },
	};
	char what[80];

	errno = 0;
	for (unsigned int i = 0; i < sizeof(pair) / sizeof(pair[0]); i++) {
		for (int swap = 0; swap < 2; swap++) {
			size_t n = HIDE(pair[i][swap]);
			size_t size = HIDE(pair[i][!swap]);
			unsigned char *p = HIDE(malloc(100));

			snprintf(what, sizeof(what), "calloc(0x%zx, 0x%zx)", n, size);
			expect_enomem(HIDE(calloc(n, size)), what);
			memset(p, 0x5a, 100);
			snprintf(what, sizeof(what),
				 "reallocarray(p, 0x%zx, 0x%zx)", n, size);
			expect_enomem(HIDE(reallocarray(HIDE(p), n, size)), what);
			for (int j = 0; j < 100; j++)
				if (p[j] != 0x5a) {
					ok(false, "%s keeps the block", what);
					break;
				}
			free(p);
		}
	}
}

/* realloc that fails leaves the old block, its content and its size. */
static void test_realloc_failure(size_t size)
{
	unsigned char *p = HIDE(malloc(size));
	size_t usable = malloc_usable_size(p), i;
	bool failed = true;

	memset(p, 0xa5, usable);
	for (i = 0; i < NR_HUGE; i++) {
		errno = 0;
		if (HIDE(realloc(HIDE(p), HIDE(huge[i]))) || errno != ENOMEM)
			failed = false;
	}
	for (i = 0; i < usable && p[i] == 0xa5; i++)
		;
	ok(failed && i == usable && malloc_usable_size(p) == usable,
	   "realloc of %zu to huge: ENOMEM, the block is kept", size);
	p = HIDE(realloc(HIDE(p), size * 2));
	for (i = 0; p && i < size && p[i] == 0xa5; i++)
		;
	ok(p && i == size, "and can be reallocated to %zu", size * 2);
	free(p);
}

static void test_realloc_zero(void)
{
	static const size_t sizes[] = { 1, 8, 64, 1000, 32768, 100000, 1 << 22 };
	bool null = true, same_errno = true;

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		void *p = HIDE(malloc(sizes[i]));

		errno = 4242;
		if (HIDE(realloc(HIDE(p), HIDE((size_t)0))))
			null = false;
		if (errno != 4242)
			same_errno = false;
	}
	ok(null, "realloc(p, 0) frees and returns NULL");
	ok(same_errno, "realloc(p, 0) keeps errno: it is not a failure");
	ok(!HIDE(reallocarray(HIDE(malloc(10)), HIDE((size_t)0), 8)),
	   "reallocarray(p, 0, 8) frees and returns NULL");
}

/* Freed by realloc(p, 0) means freed: the memory does not pile up. */
static void test_realloc_zero_frees(void)
{
	long before, after;

	for (int i = 0; i < 100; i++)
		(void)!HIDE(realloc(memset(HIDE(malloc(1 << 20)), 1, 1 << 20),
				    HIDE((size_t)0)));
	before = tap_status_kb("VmSize");
	for (int i = 0; i < 1000; i++)
		(void)!HIDE(realloc(memset(HIDE(malloc(1 << 20)), 1, 1 << 20),
				    HIDE((size_t)0)));
	after = tap_status_kb("VmSize");
	ok(after - before < 200 * 1024,
	   "realloc(p, 0) of 1000 MiB in turn adds %ld KiB", after - before);
}

static void test_realloc_sizes(void)
{
	unsigned char *p = NULL;
	size_t old = 0, bad = 0;

	for (size_t n = 1; n < 3000000; n += n / 7 + 1) {
		unsigned char *q = HIDE(realloc(HIDE(p), n));

		if (!q)
			break;
		p = q;
		for (size_t i = 0; i < old; i++)
			bad += p[i] != (unsigned char)(i * 7);
		for (size_t i = 0; i < n; i++)
			p[i] = i * 7;
		old = n;
	}
	ok(!bad && old > 2000000, "growing by realloc keeps the content");
	for (size_t n = old; n; n -= n / 7 + 1) {
		p = HIDE(realloc(HIDE(p), n));
		for (size_t i = 0; i < n; i++)
			bad += p[i] != (unsigned char)(i * 7);
	}
	ok(!bad, "shrinking by realloc keeps the content");
	free(p);
	p = HIDE(malloc(1 << 20));
	p = HIDE(realloc(HIDE(p), 1));
	ok(malloc_usable_size(p) < 65536,
	   "realloc from 1 MiB to 1 byte gives the rest back (%zu left)",
	   malloc_usable_size(p));
	free(p);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 1, 8, 100, 1000, 8192, 32768, 50000, 3 << 20 };

	tap_init(argc, argv);
	test_zero();
	test_huge();
	test_overflow();
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		test_realloc_failure(sizes[i]);
	test_realloc_zero();
	test_realloc_zero_frees();
	test_realloc_sizes();
	return tap_done();
}
