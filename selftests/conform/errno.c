// SPDX-License-Identifier: MIT
/*
 * free, and every call that succeeds, leave errno alone: also where they go
 * to the kernel (large objects, spans given back, the first of a class).
 */
#include "conform.h"

#define MARK 4242

static unsigned long changed;

static void look(void)
{
	if (errno != MARK)
		changed++;
	errno = MARK;
}

static void test_sizes(const char *what, size_t from, size_t to, size_t step)
{
	changed = 0;
	errno = MARK;
	for (size_t n = from; n < to; n += step) {
		void *p = HIDE(malloc(n));
		void *q = HIDE(calloc(1, n));
		void *r = HIDE(aligned_alloc(64, n)), *s = NULL;

		look();
		if (posix_memalign(&s, 4096, n))
			changed++;
		look();
		p = HIDE(realloc(HIDE(p), n * 2 + 1));
		look();
		(void)malloc_usable_size(p);
		look();
		free(p);
		look();
		free(q);
		look();
		free(r);
		look();
		free(s);
		look();
	}
	ok(!changed, "%s keep errno", what);
}

static void test_many(size_t size, unsigned int nr)
{
	void **all = HIDE(calloc(nr, sizeof(*all)));

	changed = 0;
	errno = MARK;
	for (unsigned int i = 0; i < nr; i++) {
		all[i] = HIDE(malloc(size));
		look();
	}
	for (unsigned int i = 0; i < nr; i++) {
		free(all[i]);
		look();
	}
	ok(!changed, "%u objects of %zu bytes, and their frees, keep errno", nr, size);
	errno = MARK;
	malloc_trim(0);
	free(NULL);
	ok(errno == MARK, "malloc_trim and free(NULL) keep errno");
	free(all);
}

int main(int argc, char **argv)
{
	errno = MARK;
	free(HIDE(malloc(1)));
	look();
	if (changed)
		tap_bail("the first malloc changed errno");
	tap_init(argc, argv);
	ok(true, "the first malloc keeps errno");
	test_sizes("small objects", 1, 34000, 97);
	test_sizes("large objects", 34000, 2 << 20, 30011);
	test_sizes("huge objects", 60 << 20, 300 << 20, 70 << 20);
	test_many(16, 100000);
	test_many(1024, 20000);
	test_many(100000, 300);
	return tap_done();
}
