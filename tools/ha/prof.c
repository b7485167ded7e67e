// SPDX-License-Identifier: MIT
/*
 * ha prof: heap profiles of running processes, of core files, and of files.
 *
 *	ha prof PID start|stop [-s SIGNAL]
 *	ha prof PID dump [-o FILE] [-s SIGNAL]
 *	ha prof PID|CORE|FILE [--text|--collapsed|--lifetimes|--svg]
 *		[--live|--alloc|--peak] [-o FILE]
 *
 * Profiles are read from the memory of the process, or of the core file, and orders are
 * left there; with -s, or where that is not allowed, by the process's own signal.
 */
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
#include "order.h"
#include "report.h"
#include "source.h"
#include "text.h"

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

static int show(const char *what, const struct options *o)
{
	struct profile p;
	struct view v;
	int ret = source_profile(what, o->signal, &p);

	if (ret)
		return ret;
	if (!view_of(&p, o->moment, &v))
		return fail("%s: is no profile of a heap", what);
	if (o->form != FORM_SVG && o->out && !is_stdout(o->out) && !freopen(o->out, "we", stdout))
		return fail("%s: %s", o->out, strerror(errno));
	switch (o->form) {
	case FORM_COLLAPSED:
		report_collapsed(&p, v.bytes);
		break;
	case FORM_LIFETIMES:
		ret = report_lifetimes(&p, o->rows);
		if (ret)
			return ret;
		break;
	case FORM_SVG:
		return report_flame(&p, &v, o->out ? o->out : "heap.svg");
	default:
		report_top(&p, &v, o->rows);
	}
	return 0;
}

static int write_file(const char *path, const uint8_t *data, size_t size)
{
	struct stat st;
	size_t done = 0;
	int fd, ret = 0;

	if (is_stdout(path)) {
		fwrite(data, 1, size, stdout);
		return 0;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
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
	if (source_by_signal(pid, o->signal)) {
		ret = control_dump(pid, o->signal, &data, &size);
	} else {
		ret = source_memory(what, &p);
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

	if (source_by_signal(pid, o->signal))
		return control_send(pid, o->signal, start ? HA_PROFILE_ORDER_START :
				    HA_PROFILE_ORDER_STOP);
	ret = layout_open(&t, what, &l);
	if (ret)
		return ret;
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
