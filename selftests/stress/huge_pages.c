// SPDX-License-Identifier: MIT
/*
 * thp:auto beside thp:off, the same work in a process of its own each: a dense heap
 * of small objects, then one in 33 of them. Huge pages are the kernel's to give, so
 * that how many there are is only told; but what is left of a sparse heap, and what
 * a small process takes, may not be more than without them.
 *
 * The waiting is done by system calls alone.
 */
#include "../conform/conform.h"

#define MIB	(1ul << 20)
#define DENSE	(144 * MIB)
#define NR	(DENSE / 256)
#define KEPT	33
#define WAIT_SECONDS 20

static unsigned char *p[NR];

static long rollup_kb(const char *key)
{
	char buf[4096];
	int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	const char *s;

	if (fd >= 0)
		close(fd);
	buf[n > 0 ? n : 0] = 0;
	s = strstr(buf, key);
	return s ? atol(s + strlen(key)) : -1;
}

/* Prints resident KiB of a small process, KiB on huge pages, resident KiB at the end. */
static int child(const char *mode)
{
	long small, huge, now, last = 0;

	(void)mode;
	for (size_t i = 0; i < NR; i++)
		p[i] = (void *)1;	/* resident before it counts */
	now = rollup_kb("\nRss:");
	for (size_t i = 0; i < MIB / 256; i++)
		memset(p[i] = HIDE(malloc(256)), 1, 256);
	small = rollup_kb("\nRss:") - now;
	for (size_t i = 0; i < MIB / 256; i++)
		free(p[i]);
	for (size_t i = 0; i < NR; i++) {
		p[i] = HIDE(malloc(200 + i % 50));
		if (!p[i])
			return 2;
		memset(p[i], i % 251, 200);
	}
	huge = rollup_kb("\nAnonHugePages:");
	for (size_t i = 0; i < NR; i++)
		if (i % KEPT)
			free(p[i]);
	/* until it does not fall any more */
	for (int i = 0; i < WAIT_SECONDS; i++) {
		usleep(1000 * 1000);
		now = rollup_kb("\nRss:");
		if (i > 4 && now >= last)
			break;
		last = now;
	}
	for (size_t i = 0; i < NR; i += KEPT)
		if (p[i][0] != i % 251 || p[i][199] != i % 251)
			return 3;
	printf("%ld %ld %ld\n", small, huge, now);
	return 0;
}

static bool run(const char *conf, long *small, long *huge, long *sparse)
{
	static struct run_result r;
	const char *old = getenv("HEAPARENA_CONF");
	char env[600];
	const char *set[] = { env, NULL };

	snprintf(env, sizeof(env), "HEAPARENA_CONF=%s%s%s", old ? old : "", old && *old ? "," : "",
		 conf);
	if (!run_self("@heap", set, 0, &r))
		tap_bail("fork");
	if (!run_ok(&r)) {
		run_diag(&r);
		return false;
	}
	diag("%s: small, huge, sparse KiB: %s", conf, r.out);
	return sscanf(r.out, "%ld %ld %ld", small, huge, sparse) == 3;
}

int main(int argc, char **argv)
{
	const char *mode = child_mode(argc, argv);
	long small[2] = { 0 }, huge[2] = { 0 }, sparse[2] = { 0 };

	if (mode)
		return child(mode);
	tap_init(argc, argv);
	if (TAP_TSAN || tap_emulated() || !can_run_self())
		tap_skip_all("resident memory is not ours alone");
	ok(run("thp:off", &small[0], &huge[0], &sparse[0]), "works with thp:off");
	ok(run("thp:auto", &small[1], &huge[1], &sparse[1]), "works with thp:auto");
	ok(small[1] <= 4 * 1024 && small[1] <= small[0] + 1024,
	   "1 MiB takes %ld KiB, %ld without huge pages", small[1], small[0]);
	ok(sparse[1] <= sparse[0] + sparse[0] / 8 + 8 * 1024,
	   "sparse: %ld KiB, %ld without huge pages", sparse[1], sparse[0]);
	return tap_done();
}
