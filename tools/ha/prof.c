// SPDX-License-Identifier: MIT
/*
 * ha prof, ha leaks: heap profiles of running processes, and of files.
 *
 *	ha prof PID start|stop [-s SIGNAL]
 *	ha prof PID dump [-o FILE] [-s SIGNAL]
 *	ha prof PID|CORE|FILE [--text|--collapsed|--lifetimes|--svg]
 *		[--live|--alloc|--peak]
 *	ha leaks PID|CORE|FILE [-n N] [-s SIGNAL]
 *
 * Profiles are read from the memory of the process, or of the core file, and orders are
 * left there; with -s, or where that is not allowed, by the process's own signal.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <heaparena/heaparena.h>
#include "control.h"
#include "leaks.h"
#include "order.h"
#include "outside.h"
#include "report.h"
#include "text.h"

#define MAX_PID		(1UL << 22)
#define DEFAULT_ROWS	30

enum form {
	FORM_TEXT,
	FORM_COLLAPSED,
	FORM_LIFETIMES,
	FORM_SVG,
};

enum moment {
	MOMENT_LIVE,
	MOMENT_ALLOC,
	MOMENT_PEAK,
};

struct options {
	int form;
	int moment;
	int signal;
	unsigned long rows;
	const char *out;
};

static const struct {
	const char *title, *bytes, *objects;
} moments[] = {
	[MOMENT_LIVE] = { "live", "inuse_space", "inuse_objects" },
	[MOMENT_ALLOC] = { "allocated", "alloc_space", "alloc_objects" },
	[MOMENT_PEAK] = { "at its peak", "peak_space", "peak_objects" },
};

/* False when the profile is of something else. */
static bool view_of(const struct profile *p, int moment, struct view *v)
{
	v->title = moments[moment].title;
	v->bytes = profile_type(p, moments[moment].bytes);
	v->objects = profile_type(p, moments[moment].objects);
	return v->bytes >= 0 && v->objects >= 0;
}

static const char *process_name(pid_t pid)
{
	char *s;

	return asprintf(&s, "process %d", (int)pid) < 0 ? "process" : s;
}

static bool is_core(const char *path)
{
	char magic[SELFMAG] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, magic, sizeof(magic));

	if (fd >= 0)
		close(fd);
	return n == sizeof(magic) && !memcmp(magic, ELFMAG, SELFMAG);
}

/* The memory of the process is ours to read: else there is its signal. */
static bool is_readable(pid_t pid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0 || (errno != EACCES && errno != EPERM);
}

/* By its signal, because the user says so, or for want of a better way. */
static bool by_signal(pid_t pid, int signal)
{
	return pid && (signal || !is_readable(pid));
}

static int of_memory(const char *what, struct profile *p)
{
	bool on, never;
	struct layout l;
	struct target t;
	int ret = target_open(&t, what);

	if (ret)
		return ret;
	ret = layout_read(&t, &l);
	if (!ret)
		ret = outside_profile(&t, &l, p, NULL);
	if (!ret && outside_session(&t, &l, &on, &never) && never)
		fprintf(stderr, "ha: %s: no heap profile was started%s%s%s\n", what,
			t.live ? ": ha prof " : "", t.live ? what : "", t.live ? " start" : "");
	target_close(&t);
	return ret;
}

static int of_signal(pid_t pid, int signal, struct profile *p)
{
	const uint8_t *data;
	size_t size;
	int ret = control_dump(pid, signal, &data, &size);

	return ret ? ret : profile_parse(p, process_name(pid), data, size);
}

/* A profile of a process, by number, of a core file, or of a file. */
static int profile_raw(const char *what, int signal, struct profile *p)
{
	pid_t pid = access(what, F_OK) ? parse_number(what, MAX_PID) : 0;

	if (by_signal(pid, signal))
		return of_signal(pid, signal, p);
	if (pid || is_core(what))
		return of_memory(what, p);
	return profile_read(p, what);
}

/* The same with names. */
static int profile_of(const char *what, int signal, struct profile *p)
{
	int ret = profile_raw(what, signal, p);

	if (!ret)
		profile_symbolise(p);
	return ret;
}

static int show(const char *what, const struct options *o)
{
	struct profile p;
	struct view v;
	int ret = profile_of(what, o->signal, &p);

	if (ret)
		return ret;
	if (!view_of(&p, o->moment, &v))
		return fail("%s: is no profile of a heap", what);
	switch (o->form) {
	case FORM_COLLAPSED:
		report_collapsed(&p, v.bytes);
		break;
	case FORM_LIFETIMES:
		report_lifetimes(&p, o->rows);
		break;
	case FORM_SVG:
		return report_flame(&p, &v, o->out ? o->out : "heap.svg");
	default:
		report_top(&p, &v, o->rows);
	}
	return fflush(stdout) || ferror(stdout) ? fail("stdout: %s", strerror(errno)) : 0;
}

static int write_file(const char *path, const uint8_t *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), ret = 0;
	struct stat st;
	size_t done = 0;

	if (fd < 0)
		return fail("%s: %s", path, strerror(errno));
	while (!ret && done < size) {
		ssize_t n = write(fd, data + done, size - done);

		if (n <= 0)
			ret = fail("%s: %s", path, strerror(errno));
		else
			done += n;
	}
	if (ret && !fstat(fd, &st) && S_ISREG(st.st_mode))
		unlink(path);
	if (close(fd) && !ret)
		ret = fail("%s: %s", path, strerror(errno));
	return ret;
}

static int dump(const char *what, const struct options *o)
{
	pid_t pid = parse_number(what, MAX_PID);
	const uint8_t *data;
	struct profile p;
	uint8_t *encoded;
	char name[64];
	size_t size;
	int ret;

	snprintf(name, sizeof(name), "heaparena.%d.pb", (int)pid);
	if (by_signal(pid, o->signal)) {
		ret = control_dump(pid, o->signal, &data, &size);
	} else {
		ret = of_memory(what, &p);
		if (!ret)
			profile_encode(&p, &encoded, &size);
		data = encoded;
	}
	return ret ? ret : write_file(o->out ? o->out : name, data, size);
}

static int order(const char *what, const struct options *o, bool start)
{
	pid_t pid = parse_number(what, MAX_PID);
	struct layout l;
	struct target t;
	int ret;

	if (by_signal(pid, o->signal))
		return control_send(pid, o->signal, start ? HA_PROFILE_ORDER_START :
				    HA_PROFILE_ORDER_STOP);
	ret = target_open(&t, what);
	if (ret)
		return ret;
	ret = layout_read(&t, &l);
	if (!ret)
		ret = order_profile(&t, &l, start);
	target_close(&t);
	return ret;
}

static bool parse_options(int argc, char **argv, struct options *o)
{
	const struct option words[] = {
		{ "text", no_argument, &o->form, FORM_TEXT },
		{ "collapsed", no_argument, &o->form, FORM_COLLAPSED },
		{ "lifetimes", no_argument, &o->form, FORM_LIFETIMES },
		{ "svg", no_argument, &o->form, FORM_SVG },
		{ "flame", no_argument, &o->form, FORM_SVG },
		{ "live", no_argument, &o->moment, MOMENT_LIVE },
		{ "alloc", no_argument, &o->moment, MOMENT_ALLOC },
		{ "peak", no_argument, &o->moment, MOMENT_PEAK },
		{ NULL },
	};
	int c;

	*o = (struct options){ .rows = DEFAULT_ROWS };
	while ((c = getopt_long(argc, argv, "n:o:s:", words, NULL)) != -1) {
		if (c == 'n' && (o->rows = parse_number(optarg, 1UL << 30)))
			continue;
		if (c == 's' && (o->signal = parse_number(optarg, 64)))
			continue;
		if (c == 'o')
			o->out = optarg;
		else if (c)
			return false;
	}
	return true;
}

int cmd_prof(int argc, char **argv)
{
	const char *what, *verb;
	struct options o;
	pid_t pid;

	if (!parse_options(argc, argv, &o) || optind == argc || argc - optind > 2)
		return EXIT_USAGE;
	what = argv[optind];
	if (argc - optind == 1)
		return show(what, &o);
	verb = argv[optind + 1];
	pid = parse_number(what, MAX_PID);
	if (!pid)
		return EXIT_USAGE;
	if (!strcmp(verb, "start") || !strcmp(verb, "stop"))
		return order(what, &o, !strcmp(verb, "start"));
	return strcmp(verb, "dump") ? EXIT_USAGE : dump(what, &o);
}

int leaks_report(struct profile *p, size_t rows, FILE *f)
{
	char size[SIZE_TEXT];
	struct view v;
	int64_t all;

	if (!view_of(p, MOMENT_LIVE, &v))
		return fail("%s: is no profile of a heap", p->path);
	all = report_stacks(p, &v, rows, f);
	fprintf(f, "%s live, ", size_text(size, all));
	if (p->period == 1)
		fputs("of all that was allocated\n", f);
	else
		fprintf(f, "an estimate by a sample in %s\n", size_text(size, p->period));
	if (p->comment)
		fprintf(f, "%s\n", p->comment);
	return 0;
}

int cmd_leaks(int argc, char **argv)
{
	struct options o;
	struct profile p;
	int ret;

	if (!parse_options(argc, argv, &o) || argc - optind != 1)
		return EXIT_USAGE;
	ret = profile_of(argv[optind], o.signal, &p);
	return ret ? ret : leaks_report(&p, o.rows, stdout);
}
