// SPDX-License-Identifier: MIT
/*
 * posix_memalign, aligned_alloc, memalign, valloc, pvalloc: alignment from 8
 * bytes to 1 GiB, for sizes on both sides of it, and every way to be wrong.
 */
#include "conform.h"

static const size_t sizes[] = {
	0, 1, 7, 8, 9, 16, 24, 48, 100, 192, 1000, 1024, 4000, 4096, 4097, 8192,
	10000, 16384, 32768, 32769, 65536, 100000, 1 << 20, (1 << 20) + 1,
};
#define NR_SIZES (sizeof(sizes) / sizeof(sizes[0]))

struct obj {
	unsigned char *p;
	size_t size;
	unsigned char tag;
};

static void *get(unsigned int how, size_t align, size_t size)
{
	void *p = NULL;

	switch (how) {
	case 0:
		return posix_memalign(&p, align, size) ? NULL : p;
	case 1:
		return aligned_alloc(align, size);
	default:
		return memalign(align, size);
	}
}

static bool intact(const struct obj *o)
{
	for (size_t i = 0; i < o->size; i++)
		if (o->p[i] != o->tag)
			return false;
	return true;
}

/* All sizes at one alignment live together, filled to the usable end. */
static void test_alignment(size_t align)
{
	static const char *const name[] = { "posix_memalign", "aligned_alloc", "memalign" };
	unsigned int limit = align > (64 << 20) ? 3 : NR_SIZES;

	for (unsigned int how = 0; how < 3; how++) {
		struct obj o[NR_SIZES];
		bool good = true;

		for (unsigned int i = 0; i < limit; i++) {
			size_t usable;

			o[i].p = get(how, align, sizes[i]);
			if (!o[i].p) {
				diag("%s(%zu, %zu): errno %d", name[how], align,
				     sizes[i], errno);
				o[i].size = 0;
				good = false;
				continue;
			}
			usable = malloc_usable_size(o[i].p);
			o[i].size = usable < (4 << 20) ? usable : sizes[i];
			o[i].tag = 1 + i + how * 64;
			memset(o[i].p, o[i].tag, o[i].size);
			if ((uintptr_t)o[i].p & (align - 1) || usable < sizes[i]) {
				diag("%s(%zu, %zu): %p, usable %zu", name[how],
				     align, sizes[i], o[i].p, usable);
				good = false;
			}
		}
		for (unsigned int i = 0; i < limit; i++) {
			good &= intact(&o[i]);
			free(o[i].p);
		}
		ok(good, "%s at %zu bytes", name[how], align);
	}
}

static void test_posix_memalign_errors(void)
{
	static const size_t bad[] = { 0, 1, 2, 3, 4, 5, 7, 9, 12, 15, 17, 24, 48,
				      100, 4095, 4097, SIZE_MAX, SIZE_MAX - 7,
				      ((size_t)1 << 62) + 8 };
	void *mark = &mark;
	void *p = mark;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int ret;

		errno = 4242;
		ret = posix_memalign(&p, HIDE(bad[i]), 64);
		ok(ret == EINVAL && p == mark && errno == 4242,
		   "posix_memalign at 0x%zx: EINVAL, pointer and errno untouched "
		   "(ret %d, errno %d)", bad[i], ret, errno);
	}
	for (size_t align = 8; align; align <<= 4) {
		int ret;

		errno = 4242;
		ret = posix_memalign(&p, align, HIDE(SIZE_MAX - 64));
		ok(ret == ENOMEM && p == mark && errno == 4242,
		   "posix_memalign(0x%zx, huge): ENOMEM, pointer and errno untouched "
		   "(ret %d, errno %d)", align, ret, errno);
	}
	for (unsigned int shift = 60; shift < 64; shift++) {
		int ret = posix_memalign(&p, HIDE((size_t)1 << shift), 64);

		ok(ret == ENOMEM && p == mark,
		   "posix_memalign at 2^%u: ENOMEM (ret %d)", shift, ret);
	}
	ok(!posix_memalign(&p, 64, HIDE((size_t)0)), "posix_memalign of 0 bytes");
	free(p);
}

static void test_aligned_alloc_errors(void)
{
	static const size_t bad[] = { 0, 3, 5, 6, 7, 9, 12, 24, 48, 100, 4095,
				      SIZE_MAX, SIZE_MAX - 1, ((size_t)1 << 62) + 8 };
	void *p;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		errno = 0;
		p = HIDE(aligned_alloc(HIDE(bad[i]), 64));
		ok(!p && errno == EINVAL, "aligned_alloc at 0x%zx: EINVAL (%p, %d)",
		   bad[i], p, errno);
		free(p);
	}
	for (size_t align = 1; align < 16; align <<= 1) {
		p = HIDE(aligned_alloc(HIDE(align), 64));
		ok(p && !((uintptr_t)p & 15), "aligned_alloc(%zu, 64): 16-byte aligned",
		   align);
		free(p);
	}
	p = HIDE(aligned_alloc(64, HIDE((size_t)65)));
	ok(p && malloc_usable_size(p) >= 65,
	   "aligned_alloc takes a size that is no multiple of the alignment");
	free(p);
	for (unsigned int shift = 4; shift < 64; shift += 7) {
		errno = 0;
		p = HIDE(aligned_alloc(HIDE((size_t)1 << shift), HIDE(SIZE_MAX - 4096)));
		ok(!p && errno == ENOMEM, "aligned_alloc(2^%u, huge): ENOMEM", shift);
	}
	errno = 0;
	p = HIDE(aligned_alloc(HIDE((size_t)1 << 63), 16));
	ok(!p && errno == ENOMEM, "aligned_alloc at 2^63: ENOMEM (errno %d)", errno);
}

static void test_memalign_rounding(void)
{
	static const size_t odd[] = { 0, 1, 3, 5, 8, 12, 17, 24, 48, 65, 100, 1000,
				      4095, 4097, 10000, 70000 };
	void *p;

	for (unsigned int i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		size_t up = 1;

		while (up < odd[i])
			up <<= 1;
		p = HIDE(memalign(HIDE(odd[i]), 100));
		ok(p && !((uintptr_t)p & (up - 1)), "memalign(%zu) is rounded up to %zu",
		   odd[i], up);
		free(p);
	}
	errno = 0;
	p = HIDE(memalign(HIDE(SIZE_MAX), 1));
	ok(!p && (errno == EINVAL || errno == ENOMEM), "memalign at SIZE_MAX fails (%d)", errno);
	errno = 0;
	p = HIDE(memalign(HIDE(((size_t)1 << 63) + 1), 1));
	ok(!p && (errno == EINVAL || errno == ENOMEM), "memalign above 2^63 fails (%d)", errno);
	errno = 0;
	p = HIDE(memalign(64, HIDE(SIZE_MAX)));
	ok(!p && errno == ENOMEM, "memalign(64, SIZE_MAX): ENOMEM");
}

static void test_pages(void)
{
	size_t page = sysconf(_SC_PAGESIZE);
	bool good = true;

	for (unsigned int i = 0; i < NR_SIZES; i++) {
		unsigned char *p = HIDE(valloc(sizes[i]));
		unsigned char *q = HIDE(pvalloc(sizes[i]));
		size_t up = (sizes[i] + page - 1) & -page;

		good &= p && q && !((uintptr_t)p & (page - 1)) &&
			!((uintptr_t)q & (page - 1)) && p != q;
		if (!good)
			break;
		good &= malloc_usable_size(p) >= sizes[i] &&
			malloc_usable_size(q) >= up;
		memset(p, 1, sizes[i]);
		memset(q, 2, up);
		for (size_t j = 0; j < sizes[i]; j++)
			good &= p[j] == 1;
		free(p);
		free(q);
	}
	ok(good, "valloc and pvalloc: at a page, pvalloc whole pages");
	for (size_t n = SIZE_MAX; n > SIZE_MAX - 3 * page; n -= page / 2) {
		void *p;

		errno = 0;
		p = HIDE(pvalloc(HIDE(n)));
		good = !p && errno == ENOMEM;
		errno = 0;
		p = HIDE(valloc(HIDE(n)));
		good &= !p && errno == ENOMEM;
		ok(good, "valloc and pvalloc of 0x%zx: ENOMEM", n);
	}
}

int main(int argc, char **argv)
{
	tap_init(argc, argv);
	for (unsigned int shift = 3; shift <= 30; shift++)
		test_alignment((size_t)1 << shift);
	test_posix_memalign_errors();
	test_aligned_alloc_errors();
	test_memalign_rounding();
	test_pages();
	return tap_done();
}
