// SPDX-License-Identifier: MIT
/*
 * HEAPARENA_CONF: an unknown key or a bad value is one line on stderr and
 * nothing else; a good one is silent. The program runs on either way.
 */
#include "conform.h"

static const char *const good[] = {
	"", "check:on", "check:off", "numa:off", "numa:advisory", "numa:strict",
	"numa:fake=1", "numa:fake=2", "numa:fake=4", "rseq:on", "rseq:off",
	"hugetlb:on", "thp:off", "thp:auto", "thp:always", "check:off,rseq:off",
	"check:on,numa:fake=4,rseq:on,thp:off", "report:/dev/null",
};

static const char *const bad[] = {
	"nosuchkey:1", "check:maybe", "check", "check:", ":", ":on", "numa:fake",
	"numa:fake=", "numa:fake=x", "numa:fake=0", "numa:fake=-1",
	"numa:fake=99999999999999999999", "numa:nowhere", "rseq:2", "rseq:ON!",
	"thp:sometimes", "CHECK:on", "check=on", "check:on;rseq:off", " check:on",
	"check:on ", "report:", "\xff\xfe", "%s%n%s", "check:on:off", "rseq:of",
	"rseq:offf", "check:on\n",
};

static unsigned int lines_of_ours(const char *err)
{
	unsigned int n = 0;

	for (const char *p = err; p && *p; p = strchr(p, '\n'), p += p != NULL)
		n += !strncmp(p, "heaparena: HEAPARENA_CONF: ", 27);
	return n;
}

/* Run with HEAPARENA_CONF=@value; @lines lines of ours, and no other. */
static void run(const char *value, unsigned int lines, const char *name)
{
	static struct run_result r;
	static char set[20000];
	const char *env[] = { set, NULL };
	bool pass;

	snprintf(set, sizeof(set), "HEAPARENA_CONF=%s", value);
	pass = run_self("@conf", env, 0, &r) && run_ok(&r) &&
	       !strcmp(r.out, "served\n") && lines_of_ours(r.err) == lines &&
	       count_lines(r.err) == lines;
	if (!ok(pass, "\"%s\": %u line%s on stderr, runs on", name, lines,
		lines == 1 ? "" : "s"))
		run_diag(&r);
}

static int child(void)
{
	void *volatile p[100];

	for (unsigned int i = 0; i < 100; i++)
		p[i] = memset(HIDE(malloc(i * 700)), 1, i * 700);
	for (unsigned int i = 0; i < 100; i++)
		free(p[i]);
	puts("served");
	return 0;
}

int main(int argc, char **argv)
{
	static char text[16000];

	if (child_mode(argc, argv))
		return child();
	tap_init(argc, argv);
	if (!can_run_self())
		tap_skip_all(NO_SELF);
	for (unsigned int i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		run(good[i], 0, good[i]);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		run(bad[i], 1, strpbrk(bad[i], "\xff\n") ? "(bytes)" : bad[i]);
	run("nosuchkey:1,check:on,thp:sometimes", 2, "nosuchkey:1,check:on,thp:sometimes");
	memset(text, 'x', sizeof(text) - 1);
	run(text, 1, "(16 kB of one unknown key)");
	memset(text, ':', sizeof(text) - 1);
	run(text, 1, "(16 kB of colons)");
	return tap_done();
}
