// SPDX-License-Identifier: MIT
/*
 * ha prof, ha leaks: heap profiles of running processes, and of files.
 *
 *	ha prof PID start|stop [-s SIGNAL]
 *	ha prof PID dump [-o FILE] [-s SIGNAL]
 *	ha prof PID|FILE [--text|--collapsed|--lifetimes|--svg] [--live|--alloc|--peak]
 *	ha leaks PID|FILE [-n N] [-s SIGNAL]
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <heaparena/heaparena.h>
#include "control.h"
#include "leaks.h"
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

/* A profile of a process, by number, or of a file; with names. */
static int profile_of(const char *what, int signal, struct profile *p)
{
	pid_t pid = parse_number(what, MAX_PID);
	const uint8_t *data;
	size_t size;
	int ret;

	if (pid && access(what, F_OK)) {
		ret = control_dump(pid, signal, &data, &size);
		if (!ret)
			ret = profile_parse(p, process_name(pid), data, size);
	} else {
		ret = profile_read(p, what);
	}
	if (ret)
		return ret;
	profile_symbolise(p);
	return 0;
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

static int dump(const char *what, const struct options *o)
{
	pid_t pid = parse_number(what, MAX_PID);
	const uint8_t *data;
	size_t size, done = 0;
	char name[64];
	const char *path = name;
	int ret, fd;

	snprintf(name, sizeof(name), "heaparena.%d.pb", (int)pid);
	if (o->out)
		path = o->out;
	/* before we may have to become another user */
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return fail("%s: %s", path, strerror(errno));
	ret = control_dump(pid, o->signal, &data, &size);
	while (!ret && done < size) {
		ssize_t n = write(fd, data + done, size - done);

		if (n <= 0)
			ret = fail("%s: %s", path, strerror(errno));
		else
			done += n;
	}
	close(fd);
	if (ret)
		unlink(path);
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
	if (!strcmp(verb, "start"))
		return control_send(pid, o.signal, HA_PROFILE_ORDER_START);
	if (!strcmp(verb, "stop"))
		return control_send(pid, o.signal, HA_PROFILE_ORDER_STOP);
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
