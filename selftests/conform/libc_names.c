// SPDX-License-Identifier: MIT
/*
 * malloc by glibc's other names, at the versions of glibc that a program asks for: a
 * program that counts what passes and hands it on to __libc_malloc() has the library
 * behind it, and may mix both.
 */
#include <malloc.h>

#include "conform.h"

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t align, size_t size);
extern void *__libc_valloc(size_t size);
extern void *__libc_pvalloc(size_t size);
extern void __libc_free(void *p);

static size_t nr_calls;

void *malloc(size_t size)
{
	__atomic_add_fetch(&nr_calls, 1, __ATOMIC_RELAXED);
	return __libc_malloc(size);
}

void free(void *p)
{
	__libc_free(p);
}

void *realloc(void *p, size_t size)
{
	__atomic_add_fetch(&nr_calls, 1, __ATOMIC_RELAXED);
	return __libc_realloc(p, size);
}

static size_t (*ours)(void *);

/* misuse, which ends the program, unless the object is the library's */
static bool is_ours(void *p, size_t size)
{
	return p && ours(p) >= size;
}

static void test_pair(const char *what, void *p, size_t size)
{
	void *q = HIDE(__libc_malloc(size));
	bool good = is_ours(p, size) && is_ours(q, size) && malloc_usable_size(p) >= size;

	free(q);
	__libc_free(p);
	ok(good, "%s", what);
}

int main(int argc, char **argv)
{
	int (*posix)(void **, size_t, size_t) = dlsym(RTLD_DEFAULT, "__posix_memalign");
	void *p = NULL;

	/* malloc is the program's own, on purpose */
	setenv("HA_ALLOW_ANY", "1", 1);
	tap_init(argc, argv);
	ours = dlsym(RTLD_DEFAULT, "ha_malloc_usable_size");
	if (!ours)
		tap_bail("heaparena is not there");
	test_pair("malloc by __libc_malloc", HIDE(malloc(100)), 100);
	ok(nr_calls, "%zu calls were counted", nr_calls);
	test_pair("realloc by __libc_realloc", HIDE(realloc(HIDE(malloc(10)), 1000)), 1000);
	test_pair("reallocarray", HIDE(reallocarray(NULL, 10, 1000)), 10000);
	test_pair("calloc", HIDE(calloc(10, 10)), 100);
	test_pair("aligned_alloc", HIDE(aligned_alloc(64, 128)), 128);
	test_pair("strdup", HIDE(strdup("what libc allocates")), 20);
	test_pair("__libc_calloc", HIDE(__libc_calloc(10, 10)), 100);
	test_pair("__libc_memalign", HIDE(__libc_memalign(64, 100)), 100);
	test_pair("__libc_valloc", HIDE(__libc_valloc(100)), 100);
	test_pair("__libc_pvalloc", HIDE(__libc_pvalloc(100)), 4096);
	ok(posix && !posix(&p, 64, 100) && is_ours(p, 100), "__posix_memalign");
	free(p);
	return tap_done();
}
