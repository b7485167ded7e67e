// SPDX-License-Identifier: MIT
/*
 * malloc_trim, mallopt, mallinfo, mallinfo2, malloc_info, malloc_stats: the
 * calls by which programs written for glibc ask and tune.
 */
#include "conform.h"

#define HELD	(16u << 20)

static void *held[HELD / 1024];

static void test_mallinfo(void)
{
	struct mallinfo2 before = mallinfo2(), with, after;
	struct mallinfo old;
	size_t grown;
	void *large;

	for (unsigned int i = 0; i < HELD / 1024; i++)
		held[i] = memset(HIDE(malloc(1024)), 1, 1024);
	with = mallinfo2();
	grown = with.uordblks + with.hblkhd - before.uordblks - before.hblkhd;
	ok(with.uordblks + with.hblkhd >= HELD,
	   "mallinfo2 counts at least what is held (%zu + %zu)", with.uordblks,
	   with.hblkhd);
	ok(grown >= HELD - HELD / 8 && grown <= 2 * HELD,
	   "mallinfo2 grows by what was allocated (%zu of %u)", grown, HELD);
	ok(with.arena + with.hblkhd >= with.uordblks,
	   "mallinfo2: no more in use than taken from the kernel");
	old = ((struct mallinfo (*)(void))dlsym(RTLD_DEFAULT, "mallinfo"))();
	ok((unsigned int)old.uordblks + (unsigned int)old.hblkhd >= HELD,
	   "mallinfo agrees (%d + %d)", old.uordblks, old.hblkhd);
	large = HIDE(malloc(HELD));
	grown = mallinfo2().hblkhd - with.hblkhd;
	ok(grown == HELD && mallinfo2().hblks == with.hblks + 1,
	   "mallinfo2 counts a large object as one of its own (%zu)", grown);
	free(large);
	ok(mallinfo2().hblkhd == with.hblkhd, "until it is freed");
	for (unsigned int i = 0; i < HELD / 1024; i++)
		free(held[i]);
	after = mallinfo2();
	ok(after.uordblks + after.hblkhd + HELD / 2 < with.uordblks + with.hblkhd,
	   "mallinfo2 shrinks when it is freed (%zu)", after.uordblks + after.hblkhd);
}

static void test_trim(void)
{
	void *p = HIDE(malloc(64 << 20));
	long rss, trimmed;
	int ret;

	ret = malloc_trim(0);
	ok(ret == 0 || ret == 1, "malloc_trim(0) returns 0 or 1 (%d)", ret);
	memset(p, 1, 64 << 20);
	free(p);
	for (unsigned int i = 0; i < HELD / 1024; i++)
		held[i] = memset(HIDE(malloc(1024)), 1, 1024);
	for (unsigned int i = 0; i < HELD / 1024; i++)
		free(held[i]);
	rss = tap_status_kb("VmRSS");
	ret = malloc_trim(0);
	trimmed = tap_status_kb("VmRSS");
	ok(ret == 0 || ret == 1, "malloc_trim(0) after frees returns 0 or 1 (%d)", ret);
	ok(trimmed < 24 * 1024, "malloc_trim gives free memory back (%ld -> %ld KiB)",
	   rss, trimmed);
	ret = malloc_trim(HIDE(SIZE_MAX));
	ok(ret == 0 || ret == 1, "malloc_trim(SIZE_MAX) returns 0 or 1 (%d)", ret);
}

static void test_mallopt(void)
{
	static const struct {
		const char *name;
		int param, value;
	} opt[] = {
		{ "M_MMAP_THRESHOLD", M_MMAP_THRESHOLD, 1 << 20 },
		{ "M_TRIM_THRESHOLD", M_TRIM_THRESHOLD, 1 << 20 },
		{ "M_TOP_PAD", M_TOP_PAD, 65536 },
		{ "M_MMAP_MAX", M_MMAP_MAX, 0 },
		{ "M_ARENA_MAX", M_ARENA_MAX, 1 },
		{ "M_MXFAST", M_MXFAST, 0 },
		{ "M_CHECK_ACTION", M_CHECK_ACTION, 3 },
	};

	for (unsigned int i = 0; i < sizeof(opt) / sizeof(opt[0]); i++)
		ok(mallopt(opt[i].param, opt[i].value) == 1, "mallopt(%s) returns 1",
		   opt[i].name);
	free(HIDE(malloc(1 << 21)));
	ok(true, "malloc works as before");
}

static void test_malloc_info(void)
{
	static char text[1 << 20];
	FILE *f = tmpfile();
	size_t n;
	char *end;

	if (!f) {
		tap_skip("malloc_info", "no temporary file");
		return;
	}
	ok(malloc_info(0, f) == 0, "malloc_info(0) returns 0");
	rewind(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	end = strstr(text, "</malloc>");
	ok(!strncmp(text, "<malloc version=", 16) && end && strspn(end + 9, "\n") == strlen(end + 9),
	   "malloc_info writes one XML element malloc (%zu bytes)", n);
	ok(strstr(text, "<heap nr=\"0\">") && strstr(text, "<class nr=") &&
	   strstr(text, "<system type=\"current\" size=\""), "by node, by class, and in all");
	f = fopen("/dev/null", "w");
	ok(f && malloc_info(1, f) != 0, "malloc_info with options it does not know fails");
	if (f)
		fclose(f);
}

static void test_malloc_stats(void)
{
	static char text[65536];
	int fd = memfd_create("stats", 0), keep = dup(STDERR_FILENO);
	ssize_t n;

	if (fd < 0 || keep < 0) {
		tap_skip("malloc_stats", "no memfd");
		return;
	}
	dup2(fd, STDERR_FILENO);
	malloc_stats();
	fflush(stderr);
	dup2(keep, STDERR_FILENO);
	n = pread(fd, text, sizeof(text) - 1, 0);
	ok(n > 0 && text[n - 1] == '\n', "malloc_stats writes lines to stderr (%zd bytes)", n);
	close(fd);
	close(keep);
}

int main(int argc, char **argv)
{
	tap_init(argc, argv);
	test_mallinfo();
	test_trim();
	test_mallopt();
	test_malloc_info();
	test_malloc_stats();
	return tap_done();
}
