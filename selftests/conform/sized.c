// SPDX-License-Identifier: MIT
/*
 * free_sized and free_aligned_sized of C23, and cfree of old: looked up by
 * name, because the headers of this C library do not have them.
 */
#include "conform.h"

int main(int argc, char **argv)
{
	void (*sized)(void *, size_t) =
		(void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized");
	void (*aligned)(void *, size_t, size_t) =
		(void (*)(void *, size_t, size_t))dlsym(RTLD_DEFAULT, "free_aligned_sized");
	void (*old)(void *) = (void (*)(void *))dlsym(RTLD_DEFAULT, "cfree");
	long before;

	tap_init(argc, argv);
	if (!ok(sized && aligned, "free_sized and free_aligned_sized exist"))
		return tap_done();

	errno = 4242;
	sized(NULL, 0);
	sized(NULL, 100);
	aligned(NULL, 64, 100);
	ok(errno == 4242, "of NULL they do nothing");

	for (size_t n = 0; n <= 70000; n++) {
		sized(memset(HIDE(malloc(n)), 1, n), n);
		if (n % 16 == 0)
			sized(memset(HIDE(calloc(n / 16, 16)), 1, n), n);
	}
	for (size_t n = 70001; n < 100 << 20; n += n / 3)
		sized(HIDE(malloc(n)), n);
	ok(errno == 4242, "free_sized of all sizes to 70000, and to 100 MiB");

	for (size_t align = 8; align <= 1 << 20; align <<= 1)
		for (size_t n = 1; n < 1 << 20; n += n / 2 + 1)
			aligned(memset(HIDE(aligned_alloc(align, n)), 1, n), align, n);
	ok(errno == 4242, "free_aligned_sized at 8 bytes to 1 MiB");

	sized(HIDE(realloc(HIDE(malloc(10)), 5000)), 5000);
	sized(HIDE(realloc(HIDE(malloc(5000)), 10)), 10);
	sized(HIDE(realloc(HIDE(malloc(1 << 20)), 3 << 20)), 3 << 20);
	sized(HIDE(realloc(HIDE(malloc(3 << 20)), 1 << 19)), 1 << 19);
	ok(true, "free_sized takes the size given to realloc");

	before = tap_status_kb("VmSize");
	for (int i = 0; i < 2000; i++) {
		sized(HIDE(malloc(1 << 20)), 1 << 20);
		aligned(HIDE(aligned_alloc(4096, 1 << 20)), 4096, 1 << 20);
	}
	ok(tap_status_kb("VmSize") - before < 200 * 1024, "what they free is used again");

	if (old) {
		for (size_t n = 0; n < 40000; n += 13)
			old(HIDE(malloc(n)));
		old(NULL);
		ok(true, "cfree frees");
	} else {
		tap_skip("cfree", "this C library never had it");
	}
	return tap_done();
}
