// SPDX-License-Identifier: MIT
/*
 * thp:auto beside thp:off, the same work in a process of its own each: a dense heap
 * of small objects, then one in 33 of them. Huge pages are the kernel's to give, so
 * that how many there are is only told; but what is left of a sparse heap, and what
 * a small process takes, may not be more than without them.
 *
 * The waiting is done by system calls alone.
 */
#include <sys/mman.h>
#include <sys/wait.h>

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

/* Of one run, in memory that both processes have. */
struct sizes {
	bool ok;
	long small, huge, sparse;
};

static void run(const char *conf, struct sizes *s)
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
		return;
	}
	diag("%s: small, huge, sparse KiB: %s", conf, r.out);
	s->ok = sscanf(r.out, "%ld %ld %ld", &s->small, &s->huge, &s->sparse) == 3;
}

/* Both at once: they wait more than they work. */
static void run_both(struct sizes *off, struct sizes *automatic)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		tap_bail("fork");
	if (!pid) {
		run("thp:off", off);
		fflush(stdout);
		_exit(0);
	}
	run("thp:auto", automatic);
	off->ok &= waitpid(pid, &status, 0) == pid && status == 0;
}

int main(int argc, char **argv)
{
	const char *mode = child_mode(argc, argv);
	struct sizes *off, *automatic;

	if (mode)
		return child(mode);
	tap_init(argc, argv);
	if (TAP_TSAN || tap_emulated() || !can_run_self())
		tap_skip_all("resident memory is not ours alone");
	off = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (off == MAP_FAILED)
		tap_bail("mmap");
	automatic = off + 1;
	run_both(off, automatic);
	ok(off->ok, "works with thp:off");
	ok(automatic->ok, "works with thp:auto");
	ok(automatic->small <= 4 * 1024 && automatic->small <= off->small + 1024,
	   "1 MiB takes %ld KiB, %ld without huge pages", automatic->small, off->small);
	ok(automatic->sparse <= off->sparse + off->sparse / 8 + 8 * 1024,
	   "sparse: %ld KiB, %ld without huge pages", automatic->sparse, off->sparse);
	return tap_done();
}
