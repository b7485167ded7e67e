// SPDX-License-Identifier: MIT
/*
 * conf: texts, what they set, and the lines they cause; then any bytes at all.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf.h"

#include "fake/unit.h"

#define PREFIX		"heaparena: WHERE:"

/* What conf starts with; each test works on a copy. */
static const struct heap_conf plain = {
	.check = true,
	.rseq = true,
	.background = true,
	.orders = true,
	.numa = VM_BIND_ADVISORY,
	.numa_on = true,
	.thp = THP_AUTO,
	.cgroup = true,
	.headroom = 5,
};

/* A text, the lines it causes, and how conf differs after it. */
#define ROW(t, n, ...)	{ .text = (t), .warnings = (n), .want = {		\
			  .check = true, .rseq = true, .background = true,	\
			  .orders = true,					\
			  .numa = VM_BIND_ADVISORY, .numa_on = true,		\
			  .thp = THP_AUTO, .cgroup = true, .headroom = 5,	\
			  __VA_ARGS__ } }
#define BYTES(n)	{ .bytes = (n) }
#define PERCENT(n)	{ .percent = (n) }
#define LONG50		"12345678901234567890123456789012345678901234567890"
#define LONG250		LONG50 LONG50 LONG50 LONG50 LONG50

#pragma GCC diagnostic ignored "-Woverride-init"
static const struct {
	const char *text;
	struct heap_conf want;
	unsigned int warnings;
} table[] = {
	ROW("", 0),
	ROW(",", 0),
	ROW(",,,", 0),
	ROW("check:on", 0),
	ROW("check:off", 0, .check = false),
	ROW("check:off,check:on", 0),
	ROW("check:off,rseq:off", 0, .check = false, .rseq = false),
	ROW(",check:off,,rseq:off,", 0, .check = false, .rseq = false),
	ROW("rseq:off,rseq:on", 0),
	ROW("background:off", 0, .background = false),
	ROW("background:off,background:on", 0),
	ROW("background:yes", 1),
	ROW("orders:off", 0, .orders = false),
	ROW("prof_hold:/tmp/a/hold", 0, .prof_hold = "/tmp/a/hold"),
	ROW("prof_hold:", 1),
	ROW("prof_hold:/" LONG50 LONG50, 0, .prof_hold = "/" LONG50 LONG50),
	ROW("prof_hold:/" LONG50 LONG50 "123", 1),
	ROW("orders:off,orders:on", 0),
	ROW("orders:1", 1),
	ROW("numa:off", 0, .numa_on = false, .numa = VM_BIND_OFF),
	ROW("numa:advisory", 0),
	ROW("numa:off,numa:advisory", 0),
	ROW("numa:strict", 0, .numa = VM_BIND_STRICT),
	ROW("numa:fake=1", 0, .numa_fake = 1, .numa = VM_BIND_OFF),
	ROW("numa:fake=4", 0, .numa_fake = 4, .numa = VM_BIND_OFF),
	ROW("numa:fake=16", 0, .numa_fake = 16, .numa = VM_BIND_OFF),
	ROW("thp:off", 0, .thp = THP_OFF),
	ROW("thp:auto", 0),
	ROW("thp:always", 0, .thp = THP_ALWAYS),
	ROW("limit:1048576", 0, .limit = BYTES(1UL << 20)),
	ROW("limit:1024K", 0, .limit = BYTES(1UL << 20)),
	ROW("limit:64M", 0, .limit = BYTES(64UL << 20)),
	ROW("limit:3g", 0, .limit = BYTES(3UL << 30)),
	ROW("limit:2T", 0, .limit = BYTES(2UL << 40)),
	ROW("limit:80%", 0, .limit = PERCENT(80)),
	ROW("limit:1%", 0, .limit = PERCENT(1)),
	ROW("limit:100%", 0, .limit = PERCENT(100)),
	ROW("limit:8M,limit:50%", 0, .limit = PERCENT(50)),
	ROW("limit:9223372036854775807", 0, .limit = BYTES(SIZE_MAX >> 1)),
	ROW("soft:300M,limit:400M", 0, .soft = BYTES(300UL << 20), .limit = BYTES(400UL << 20)),
	ROW("soft:9%", 0, .soft = PERCENT(9)),
	ROW("hugetlb:on", 0, .hugetlb = true),
	ROW("limit:2G,soft:1G,limit:none,soft:none", 0),
	ROW("limit:none,limit:2G", 0, .limit = BYTES(2UL << 30)),
	ROW("numa:fake=4,numa:advisory", 0),
	ROW("numa:fake=4,numa:strict", 0, .numa = VM_BIND_STRICT),
	ROW("numa:off,numa:fake=2", 0, .numa_fake = 2, .numa = VM_BIND_OFF),
	ROW("cgroup:off", 0, .cgroup = false),
	ROW("headroom:0", 0, .headroom = 0),
	ROW("headroom:90", 0, .headroom = 90),
	ROW("prof:on", 0, .prof_mean = 512 << 10),
	ROW("prof:on,prof:off", 0, .prof_mean = 0),
	ROW("prof:1", 0, .prof_mean = 1),
	ROW("prof:64K", 0, .prof_mean = 64 << 10),
	ROW("prof:1T", 0, .prof_mean = 1UL << 40),
	ROW("prof_signal:12", 0, .prof_signal = 12),
	ROW("prof_signal:64,prof_signal:45", 0, .prof_signal = 45),
	ROW("prof_signal:45,prof_signal:0", 0),
	ROW("prof_file:a.%p", 0, .prof_file = "a.%p"),
	ROW("report:/a/b.%p", 0, .report = "/a/b.%p"),
	ROW("report:a:b", 0, .report = "a:b"),
	ROW("report:" LONG250, 0, .report = LONG250),

	ROW("x", 1),
	ROW("x:y", 1),
	ROW(":", 1),
	ROW(":on", 1),
	ROW("check", 1),
	ROW("check:", 1),
	ROW("check:On", 1),
	ROW("check:offf", 1),
	ROW("check:of", 1),
	ROW("check=off", 1),
	ROW(" check:off", 1),
	ROW("check:off ", 1),
	ROW("chec:off", 1),
	ROW("checks:off", 1),
	ROW("rseq:no", 1),
	ROW("numa:", 1),
	ROW("numa:fake", 1),
	ROW("numa:fake=", 1),
	ROW("numa:fake=0", 1),
	ROW("numa:fake=17", 1),
	ROW("numa:fake=-1", 1),
	ROW("numa:fake=4x", 1),
	ROW("numa:fake=99999999999999999999999999", 1),
	ROW("numa:fake=18446744073709551617", 1),
	ROW("thp:maybe", 1),
	ROW("limit:", 1),
	ROW("limit:0", 1),
	ROW("limit:1048575", 1),
	ROW("limit:1023k", 1),
	ROW("limit:512", 1),
	ROW("limit:-1", 1),
	ROW("limit:nones", 1),
	ROW("limit:64 M", 1),
	ROW("limit:64MB", 1),
	ROW("limit:M", 1),
	ROW("limit:%", 1),
	ROW("limit:0%", 1),
	ROW("limit:101%", 1),
	ROW("limit:1.5G", 1),
	ROW("limit:9223372036854775808", 1),
	ROW("limit:8388608T", 1),
	ROW("limit:99999999999999999999999999999", 1),
	ROW("limit:36893488147419103233M", 1),
	ROW("soft:many", 1),
	ROW("hugetlb:auto", 1),
	ROW("cgroup:maybe", 1),
	ROW("prof:1x", 1),
	ROW("prof:0", 1),
	ROW("prof:2T", 1),
	ROW("prof_signal:0x1", 1),
	ROW("prof_signal:9", 1),
	ROW("prof_signal:33", 1),
	ROW("prof_signal:65", 1),
	ROW("prof_file:", 1),
	ROW("headroom:91", 1),
	ROW("headroom:5%", 1),
	ROW("headroom:", 1),
	ROW("report:", 1),
	ROW("report", 1),
	ROW("report:" LONG250 "123456", 1),
	ROW("a:b,c:d,check:off,e", 3, .check = false),
	ROW("check:off,check:maybe", 1, .check = false),
	ROW("numa:fake=4,numa:fake=99", 1, .numa_fake = 4, .numa = VM_BIND_OFF),
	ROW("rseq:off\n", 1),
	ROW("\n,\x1b[31m,\xff", 3),
};

/* As a file or an option's text, with stderr caught. */
static char *parse_as(bool file, struct heap_conf *c, const char *text, size_t *len)
{
	static char buf[1 << 16];
	int fd = memfd_create("stderr", 0), saved = dup(STDERR_FILENO);
	ssize_t n;

	check(fd >= 0 && saved >= 0 && dup2(fd, STDERR_FILENO) >= 0);
	if (file) {
		/* a copy without a byte behind it, for the address sanitizer */
		char *copy = memcpy(malloc(strlen(text) + !*text), text, strlen(text));

		conf_parse_file(c, copy, strlen(text), "WHERE");
		free(copy);
	} else {
		conf_parse(c, text, "WHERE");
	}
	check(dup2(saved, STDERR_FILENO) >= 0);
	n = pread(fd, buf, sizeof(buf) - 1, 0);
	check(n >= 0);
	buf[n] = '\0';
	*len = n;
	close(saved);
	close(fd);
	return buf;
}

static char *parse(struct heap_conf *c, const char *text, size_t *len)
{
	return parse_as(false, c, text, len);
}

static bool conf_same(const struct heap_conf *a, const struct heap_conf *b)
{
	return a->check == b->check && a->rseq == b->rseq &&
	       a->background == b->background && a->orders == b->orders &&
	       a->numa == b->numa &&
	       a->numa_on == b->numa_on && a->numa_fake == b->numa_fake &&
	       a->limit.bytes == b->limit.bytes && a->limit.percent == b->limit.percent &&
	       a->soft.bytes == b->soft.bytes && a->soft.percent == b->soft.percent &&
	       a->hugetlb == b->hugetlb && a->cgroup == b->cgroup && a->headroom == b->headroom &&
	       a->prof_mean == b->prof_mean && a->prof_signal == b->prof_signal &&
	       strcmp(a->prof_file, b->prof_file) == 0 &&
	       strcmp(a->prof_hold, b->prof_hold) == 0 &&
	       a->thp == b->thp && strcmp(a->report, b->report) == 0;
}

/* The number of lines; each one begins with the prefix and is printable. */
static unsigned int lines(const char *s, size_t len)
{
	unsigned int nr = 0;

	check(strlen(s) == len);
	while (*s) {
		check(strncmp(s, PREFIX, strlen(PREFIX)) == 0);
		for (; *s != '\n'; s++)
			check(*s >= ' ' && *s <= '~');
		s++;
		nr++;
	}
	return nr;
}

START_TEST(texts)
{
	struct heap_conf c = plain;
	size_t len;
	char *err = parse(&c, table[_i].text, &len);

	ck_assert_uint_eq(lines(err, len), table[_i].warnings);
	if (!conf_same(&c, &table[_i].want))
		ck_abort_msg("\"%s\"", table[_i].text);
}
END_TEST

/* The part that is wrong is in the line. */
START_TEST(warning_names_it)
{
	struct heap_conf c = plain;
	size_t len;

	check(strstr(parse(&c, "check:on,colour:red,rseq:on", &len), "colour:red"));
	check(strstr(parse(&c, "check:on,rseq:perhaps", &len), "rseq:perhaps"));
	check(!strstr(parse(&c, "check:on,rseq:perhaps", &len), "check"));
}
END_TEST

/* Files, and what they say on stderr. */
static const struct {
	const char *text;
	const char *err;
	struct heap_conf want;
} files[] = {
#define FILE_ROW(t, e, ...)	{ .text = (t), .err = (e), .want = {		\
				  .check = true, .rseq = true, .background = true, \
				  .orders = true,				\
				  .numa = VM_BIND_ADVISORY, .numa_on = true,	\
				  .thp = THP_AUTO, .cgroup = true, .headroom = 5, \
				  __VA_ARGS__ } }
	FILE_ROW("", ""),
	FILE_ROW("\n\n", ""),
	FILE_ROW("check:off", "", .check = false),
	FILE_ROW("check:off\n", "", .check = false),
	FILE_ROW("check:off\r\nrseq:off\r\n", "", .check = false, .rseq = false),
	FILE_ROW("  check:off , \t rseq:off\t,,\n", "", .check = false, .rseq = false),
	FILE_ROW("# check:off\nrseq:off # thp:off\n", "", .rseq = false),
	FILE_ROW("#", ""),
	FILE_ROW(" #\n\t# x:y", ""),
	FILE_ROW("report:/a#b # c\n", "", .report = "/a#b"),
	FILE_ROW("limit:2G\nlimit:3G\n", "", .limit = BYTES(3UL << 30)),
	FILE_ROW("check: off\n", "heaparena: WHERE:1: bad value in \"check: off\" ignored\n"),
	FILE_ROW("\n# x\ncolour:red,check:off\nthp:?",
		 "heaparena: WHERE:3: unknown key in \"colour:red\" ignored\n"
		 "heaparena: WHERE:4: bad value in \"thp:?\" ignored\n", .check = false),
};

START_TEST(file_texts)
{
	struct heap_conf c = plain;
	size_t len;

	ck_assert_str_eq(parse_as(true, &c, files[_i].text, &len), files[_i].err);
	if (!conf_same(&c, &files[_i].want))
		ck_abort_msg("\"%s\"", files[_i].text);
}
END_TEST

START_TEST(any_bytes)
{
	static const char *const words[] = {
		"check", "rseq", "numa", "thp", "report", "limit", "soft", "headroom",
		":", ":", ",", "=", "%", "K",
		"fake=", "on", "off", "7", "\n", "\x7f", "\xc3",
	};
	struct unit_rand r = unit_rand(1);
	char text[600], *err;
	size_t len;

	for (unsigned int round = 0; round < 3000; round++) {
		struct heap_conf c = plain;
		unsigned int parts = rand_below(&r, 24);
		size_t n = 0;

		while (parts--) {
			if (rand_below(&r, 3)) {
				const char *w = words[rand_below(&r, ARRAY_SIZE(words))];

				memcpy(text + n, w, strlen(w));
				n += strlen(w);
			} else {
				text[n++] = 1 + rand_below(&r, 255);
			}
		}
		text[n] = '\0';
		err = parse_as(true, &c, text, &len);
		lines(err, len);
		err = parse(&c, text, &len);
		lines(err, len);
		check(c.numa_fake <= 16 && c.limit.percent <= 100 && c.headroom <= 90 &&
		      memchr(c.report, 0, sizeof(c.report)));
	}
}
END_TEST

/* A value that goes on for ever is cut in the line, not in the parser. */
START_TEST(endless)
{
	static char text[20000];
	struct heap_conf c = plain;
	size_t len;
	char *err;

	memset(text, 'a', sizeof(text) - 1);
	memcpy(text, "report:", 7);
	memcpy(text + sizeof(text) - 12, ",check:off", 11);
	err = parse(&c, text, &len);
	check(lines(err, len) == 1 && len < 1000);
	check(!c.check && !c.report[0]);
}
END_TEST

/* conf as it is without an environment: plain, where the machine has no file. */
static struct heap_conf base(void)
{
	conf_init();
	if (access("/etc/heaparena.conf", F_OK))
		check(conf_same(&conf, &plain));
	return conf;
}

START_TEST(environment)
{
	struct heap_conf want;

	check(unsetenv("HEAPARENA_CONF") == 0);
	want = base();
	check(setenv("HEAPARENA_CONFX", "check:off", 1) == 0);
	check(setenv("XHEAPARENA_CONF", "check:off", 1) == 0);
	conf_init();
	check(conf_same(&conf, &want));
	check(setenv("HEAPARENA_CONF", "thp:always,numa:fake=3", 1) == 0);
	conf_init();
	check(conf.thp == THP_ALWAYS && conf.numa_fake == 3 && conf.check == want.check);
}
END_TEST

START_TEST(no_environment)
{
	check(clearenv() == 0);
	base();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("conf");
	TCase *tc = tcase_create("conf");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, texts, 0, ARRAY_SIZE(table));
	tcase_add_loop_test(tc, file_texts, 0, ARRAY_SIZE(files));
	tcase_add_test(tc, warning_names_it);
	tcase_add_test(tc, any_bytes);
	tcase_add_test(tc, endless);
	tcase_add_test(tc, environment);
	tcase_add_test(tc, no_environment);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
