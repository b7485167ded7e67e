// SPDX-License-Identifier: MIT
/*
 * HEAPARENA_CONF=report:PATH: at exit one line of JSON with the counters is
 * appended to PATH, "%p" in it is the pid, and the counters are those of
 * this process.
 */
#include "conform.h"

static char path[64], text[65536];

static bool read_report(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = 0;
	if (fd >= 0)
		close(fd);
	return n > 0;
}

/* The number that follows "key": in the line, -1 where there is none. */
static long long value(const char *key)
{
	char quoted[64];
	const char *p;

	snprintf(quoted, sizeof(quoted), "\"%s\":", key);
	p = strstr(text, quoted);
	return p ? strtoll(p + strlen(quoted), NULL, 10) : -1;
}

static int child(const char *mode)
{
	static void *all[20000];

	for (unsigned int i = 0; i < 20000; i++)
		all[i] = HIDE(malloc(100));
	for (unsigned int i = 0; i < 20000; i++)
		free(all[i]);
	if (strcmp(mode, "@hold"))
		return 0;
	for (unsigned int i = 0; i < 8; i++)
		all[i] = memset(HIDE(malloc(2 << 20)), 1, 2 << 20);
	return HIDE(all[0]) == NULL;
}

static void test_line(void)
{
	static const char *const keys[] = { "heaparena", "pid", "refill_objects",
		"refills", "flushes", "large_allocs", "spans", "mapped", "in_use",
		"nodes" };
	static struct run_result r;
	char set[160];
	const char *env[] = { set, NULL };

	snprintf(set, sizeof(set), "HEAPARENA_CONF=report:%s", path);
	ok(run_self("@report", env, 0, &r) && run_ok(&r) && !r.err[0], "runs, silently");
	ok(read_report(path) && count_lines(text) == 1 && text[0] == '{' &&
	   !strcmp(text + strlen(text) - 2, "}\n"), "one line of JSON");
	for (unsigned int i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		ok(value(keys[i]) >= 0, "has %s (%lld)", keys[i], value(keys[i]));
	ok(strstr(text, "\"rseq\":true") || strstr(text, "\"rseq\":false"), "has rseq");
	ok(value("heaparena") == 1 && value("nodes") >= 1, "version and nodes");
	ok(value("refill_objects") >= 15000 && value("refills") > 0,
	   "counts what it has served (%lld objects)", value("refill_objects"));
	ok(value("in_use") < 2000000 && value("mapped") >= value("in_use"),
	   "counts what is in use");
	ok(run_self("@hold", env, 0, &r) && run_ok(&r) && read_report(path) &&
	   count_lines(text) == 2, "a second process appends");
	memmove(text, strchr(text, '\n') + 1, strlen(strchr(text, '\n') + 1) + 1);
	ok(value("in_use") >= 16 << 20 && value("large_allocs") >= 8,
	   "counts large objects that are held (%lld)", value("in_use"));
	unlink(path);
}

static void test_options(void)
{
	static struct run_result r;
	char set[160], name[160];
	const char *env[] = { set, NULL };

	snprintf(set, sizeof(set), "HEAPARENA_CONF=rseq:off,numa:fake=4,report:%s", path);
	ok(run_self("@report", env, 0, &r) && run_ok(&r) && read_report(path) &&
	   strstr(text, "\"rseq\":false"), "rseq:off shows in the report");
	ok(value("nodes") == 4, "numa:fake=4 shows in the report (%lld)", value("nodes"));
	ok(value("refill_objects") >= 15000, "and it has served (%lld)",
	   value("refill_objects"));
	unlink(path);
	snprintf(set, sizeof(set), "HEAPARENA_CONF=report:%s.%%p", path);
	ok(run_self("@report", env, 0, &r) && run_ok(&r), "report to a path with %%p");
	snprintf(name, sizeof(name), "%s.%d", path, r.pid);
	ok(read_report(name) && count_lines(text) == 1 && value("pid") == r.pid,
	   "%%p is the pid (%d)", r.pid);
	unlink(name);
	snprintf(set, sizeof(set), "HEAPARENA_CONF=report:/nonexistent/dir/file");
	ok(run_self("@report", env, 0, &r) && run_ok(&r), "a path that cannot be opened harms nobody");
}

int main(int argc, char **argv)
{
	const char *mode = child_mode(argc, argv);

	if (mode)
		return child(mode);
	tap_init(argc, argv);
	if (!can_run_self())
		tap_skip_all(NO_SELF);
	snprintf(path, sizeof(path), P_tmpdir "/heaparena-report-%d", getpid());
	unlink(path);
	test_line();
	test_options();
	return tap_done();
}
