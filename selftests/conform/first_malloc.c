// SPDX-License-Identifier: MIT
/*
 * What the first malloc of a process costs: at most 512 KiB of resident
 * memory and 160 MiB of address space. The program runs itself with and
 * without the library and looks at the kernel's own figures, exact ones,
 * with raw reads into a static buffer: the probe allocates nothing.
 */
#include "conform.h"

#define MAX_RSS_KB	512
#define MAX_SIZE_KB	(160 * 1024)

struct usage {
	long size, anon, rss;
};

static char buf[8192];

static long field(const char *file, const char *name)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	char *p;

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return -1;
	buf[n] = 0;
	p = strstr(buf, name);
	return p ? strtol(p + strlen(name), NULL, 10) : -1;
}

static struct usage look(void)
{
	struct usage u = {
		.size = field("/proc/self/status", "\nVmSize:"),
		.anon = field("/proc/self/smaps_rollup", "\nAnonymous:"),
		.rss = field("/proc/self/smaps_rollup", "\nRss:"),
	};

	return u;
}

static int child(void)
{
	static char line[256];
	struct usage a, b;
	void *volatile p;
	int n;

	(void)look();
	a = look();
	p = HIDE(malloc(100));
	b = look();
	if (!p)
		return 1;
	n = snprintf(line, sizeof(line), "%ld %ld %ld %ld %ld %ld\n", a.size, a.anon,
		     a.rss, b.size, b.anon, b.rss);
	return write(STDOUT_FILENO, line, n) != n;
}

static bool measure(const char *const *env, struct usage *a, struct usage *b)
{
	static struct run_result r;

	return run_self("@probe", env, 0, &r) && run_ok(&r) &&
	       sscanf(r.out, "%ld %ld %ld %ld %ld %ld", &a->size, &a->anon, &a->rss,
		      &b->size, &b->anon, &b->rss) == 6 && a->anon >= 0;
}

int main(int argc, char **argv)
{
	static const char *const without[] = { "LD_PRELOAD", NULL };
	static const char *const options[] = { "", "rseq:off", "check:off", "numa:fake=4" };
	struct usage p0, p1, a, b;
	char set[64];
	const char *with[] = { set, NULL };

	if (child_mode(argc, argv))
		return child();
	tap_init(argc, argv);
	if (!can_run_self())
		tap_skip_all(NO_SELF);
	if (!measure(without, &p0, &p1))
		tap_skip_all("no /proc/self/smaps_rollup");
	diag("without: %ld KiB of address space, %ld KiB anonymous, %ld KiB resident",
	     p1.size, p1.anon, p1.rss);
	for (unsigned int i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		snprintf(set, sizeof(set), "HEAPARENA_CONF=%s", options[i]);
		if (!ok(measure(with, &a, &b), "\"%s\": runs", options[i]))
			continue;
		diag("with \"%s\": %ld KiB of address space, %ld KiB anonymous, %ld KiB resident",
		     options[i], b.size, b.anon, b.rss);
		ok(b.rss - a.rss <= MAX_RSS_KB,
		   "\"%s\": the first malloc in main adds %ld KiB resident", options[i],
		   b.rss - a.rss);
		ok(b.size - a.size <= MAX_SIZE_KB,
		   "\"%s\": the first malloc in main adds %ld KiB of address space",
		   options[i], b.size - a.size);
		/* Whatever ran before main counts too, the library itself included. */
		ok(b.anon - p1.anon <= MAX_RSS_KB,
		   "\"%s\": the process has %ld KiB more anonymous memory", options[i],
		   b.anon - p1.anon);
		ok(b.size - p1.size <= MAX_SIZE_KB,
		   "\"%s\": the process has %ld KiB more address space", options[i],
		   b.size - p1.size);
	}
	return tap_done();
}
