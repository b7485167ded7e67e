// SPDX-License-Identifier: MIT
/*
 * A program that replaces malloc, as glibc's manual says, but not what glibc made of
 * it later: reallocarray() of its objects is its realloc(), cfree() its free().
 */
#include <malloc.h>

#include "conform.h"

static char pool[4 << 20] __attribute__((__aligned__(4096)));
static size_t used;
static unsigned long nr_frees, nr_reallocs;

void *memalign(size_t align, size_t size)
{
	size_t at = __atomic_load_n(&used, __ATOMIC_RELAXED), start;

	do {
		start = (at + 16 + align - 1) & -align;
		if (start > sizeof(pool) || size > sizeof(pool) - start) {
			errno = ENOMEM;
			return NULL;
		}
	} while (!__atomic_compare_exchange_n(&used, &at, start + size, false,
					      __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	((size_t *)(pool + start))[-1] = size;
	return pool + start;
}

void *malloc(size_t size)
{
	return memalign(16, size);
}

void free(void *p)
{
	if (p && ((char *)p < pool || (char *)p >= pool + sizeof(pool)))
		_exit(9);
	nr_frees += p != NULL;
}

void *calloc(size_t n, size_t size)
{
	return malloc(n * size);
}

void *realloc(void *p, size_t size)
{
	void *q = malloc(size);

	nr_reallocs++;
	if (p && q) {
		size_t old = ((size_t *)p)[-1];

		memcpy(q, p, old < size ? old : size);
	}
	return q;
}

void *aligned_alloc(size_t align, size_t size)
{
	return memalign(align, size);
}

int posix_memalign(void **p, size_t align, size_t size)
{
	*p = memalign(align, size);
	return *p ? 0 : ENOMEM;
}

size_t malloc_usable_size(void *p)
{
	return p ? ((size_t *)p)[-1] : 0;
}

static bool mine(void *p)
{
	return (char *)p >= pool && (char *)p < pool + sizeof(pool);
}

int main(int argc, char **argv)
{
	void *(*ha_reallocarray)(void *, size_t, size_t) = dlsym(RTLD_DEFAULT, "ha_reallocarray");
	void (*ha_free)(void *) = dlsym(RTLD_DEFAULT, "ha_free");
	void (*old_free)(void *) = dlsym(RTLD_DEFAULT, "cfree");
	char *p, *q;

	/* malloc is not heaparena's, on purpose */
	setenv("HA_ALLOW_ANY", "1", 1);
	tap_init(argc, argv);
	if (!ha_reallocarray || !ha_free || !old_free)
		tap_bail("heaparena is not there");
	p = HIDE(malloc(10));
	strcpy(p, "hello");
	nr_reallocs = 0;
	p = HIDE(reallocarray(p, 10, 10));
	ok(mine(p) && nr_reallocs == 1 && !strcmp(p, "hello"), "reallocarray");
	ok(mine(HIDE(reallocarray(NULL, 4, 4))), "reallocarray of NULL");
	errno = 0;
	q = HIDE(p);
	ok(!HIDE(reallocarray(p, HIDE(SIZE_MAX / 2), 4)) && errno == ENOMEM && nr_reallocs == 2,
	   "reallocarray that overflows");
	nr_frees = 0;
	old_free(q);
	ok(nr_frees == 1, "cfree");
	p = ha_reallocarray(NULL, 4, 4);
	ok(p && !mine(p), "ha_reallocarray is the library's");
	ha_free(ha_reallocarray(p, 4, 400));
	return tap_done();
}
