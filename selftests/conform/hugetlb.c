// SPDX-License-Identifier: MIT
/*
 * hugetlb:on, with the pool of huge pages as it is found: with pages for an arena or
 * two the heap is in them, and the report says so; else all is as ever. Whether there
 * are any is up to the machine: nothing is changed in it.
 */
#include "conform.h"

#define MIB	(1ul << 20)
#define USED	(40 * MIB)

static char text[4096];

/* The number behind @key in a file, or -1. */
static long long number(const char *path, const char *key)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	const char *p;

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	p = strstr(text, key);
	return p ? strtoll(p + strlen(key), NULL, 10) : -1;
}

/* What was freed and is handed out anew is zero for calloc, given back or not. */
static bool zero_again(void)
{
	char *p[20];
	bool zero = true;

	for (unsigned int i = 0; i < 20; i++) {
		p[i] = HIDE(malloc(MIB));
		if (p[i])
			memset(p[i], 0xaa, MIB);
	}
	for (unsigned int i = 0; i < 20; i++)
		free(p[i]);
	malloc_trim(0);
	for (unsigned int i = 0; i < 20; i++) {
		p[i] = HIDE(calloc(1, MIB));
		zero &= p[i] && !p[i][0] && memcmp(p[i], p[i] + 1, MIB - 1) == 0;
	}
	for (unsigned int i = 0; i < 20; i++)
		free(p[i]);
	return zero;
}

static int child(const char *mode)
{
	static char *p[USED / 4096];
	size_t n = sizeof(p) / sizeof(p[0]);

	(void)mode;
	if (!zero_again())
		return 4;
	for (int turn = 0; turn < 3; turn++) {
		for (size_t i = 0; i < n; i++) {
			p[i] = HIDE(i % 8 ? malloc(4096) : calloc(1, 4096));
			if (!p[i] || (i % 8 == 0 && (p[i][0] || p[i][4095])))
				return 2;
			memset(p[i], i, 4096);
		}
		for (size_t i = 0; i < n; i++) {
			if (p[i][0] != (char)i || p[i][4095] != (char)i)
				return 3;
			free(p[i]);
		}
		malloc_trim(0);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = child_mode(argc, argv);
	static struct run_result r;
	char report[64], conf[200];
	const char *set[] = { conf, NULL };
	long long room, used;

	if (mode)
		return child(mode);
	tap_init(argc, argv);
	if (!can_run_self())
		tap_skip_all("this program cannot start itself here");
	snprintf(report, sizeof(report), "/tmp/ha-hugetlb.%d", getpid());
	snprintf(conf, sizeof(conf), "HEAPARENA_CONF=%s%shugetlb:on,report:%s",
		 getenv("HEAPARENA_CONF") ? : "", getenv("HEAPARENA_CONF") ? "," : "", report);
	room = number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "");
	if (!run_self("@use", set, 0, &r))
		tap_bail("fork");
	if (!ok(run_ok(&r), "works, whatever the pool has"))
		run_diag(&r);
	used = number(report, "\"hugetlb\":");
	unlink(report);
	diag("%lld pages in the pool, %lld MiB used", room, used >> 20);
	if (room < 64)
		ok(used >= 0 && (used >> 21) <= (room < 0 ? 0 : room),
		   "the report says what the pool gave");
	else
		ok(used >= (long long)(64 * MIB), "the heap is in the pool's pages");
	return tap_done();
}
