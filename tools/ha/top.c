// SPDX-License-Identifier: MIT
/*
 * ha top: a heap's figures, live. The screen is written anew each time, with the few
 * control sequences that every terminal knows; the terminal is set to hand over
 * single keys, and back to what it was, however the command ends.
 *
 * Where stdout is no terminal, or with -n, it is text, one page after the other.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "figures.h"
#include "text.h"

#define HOME		"\033[H"
#define CLEAR_LINE	"\033[K"
#define CLEAR_BELOW	"\033[J"
#define ALT_SCREEN	"\033[?1049h\033[?25l"
#define MAIN_SCREEN	"\033[?25h\033[?1049l"
#define INVERSE		"\033[7m"
#define PLAIN		"\033[0m"

static struct termios saved;
static volatile sig_atomic_t ended;
static bool on_terminal;

static void on_signal(int sig)
{
	ended = sig;
}

/* Also before a failure is told of: the screen that it would be on goes. */
static void terminal_restore(void)
{
	if (!on_terminal)
		return;
	on_terminal = false;
	before_fail = NULL;
	fputs(MAIN_SCREEN, stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
}

static void terminal_set(void)
{
	struct termios raw;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &saved))
		return;
	raw = saved;
	raw.c_lflag &= ~(ICANON | ECHO);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	/* stopped, it would leave the terminal like this */
	raw.c_cc[VSUSP] = _POSIX_VDISABLE;
	signal(SIGTSTP, SIG_IGN);
	on_terminal = true;
	before_fail = terminal_restore;
	atexit(terminal_restore);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
	fputs(ALT_SCREEN, stdout);
}

/* Rows of what is written to, as many as fit. */
struct page {
	int rows;		/* left */
	unsigned int cols;
};

static struct page page_begin(void)
{
	struct page p = { INT32_MAX, 200 };
	struct winsize ws;

	if (!on_terminal)
		return p;
	p.rows = 24;
	p.cols = 80;
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) && ws.ws_row && ws.ws_col) {
		p.rows = ws.ws_row;
		p.cols = ws.ws_col;
	}
	fputs(HOME, stdout);
	return p;
}

static void row(struct page *p, bool inverse, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void row(struct page *p, bool inverse, const char *format, ...)
{
	char line[256];
	va_list args;

	if (p->rows <= 0)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (p->cols < sizeof(line)) {
		unsigned int end = p->cols;

		/* not inside of a character */
		while (end && (line[end] & 0xc0) == 0x80)
			end--;
		line[end] = 0;
	}
	if (on_terminal)
		printf("%s%s%s%s", inverse ? INVERSE : "", line, inverse ? PLAIN : "", CLEAR_LINE);
	else
		fputs(line, stdout);
	/* no newline on the last row: it would scroll */
	if (--p->rows > 0)
		putchar('\n');
}

/* Two readings, and the time between them. */
struct pair {
	const struct figures *now;
	const struct figures *before;	/* NULL: the first */
	double seconds;
};

static double rate(const struct pair *p, uint64_t now, uint64_t before)
{
	return p->before && p->seconds > 0 && now >= before ? (now - before) / p->seconds : 0;
}

#define RATE(p, f)	rate(p, (p)->now->f, (p)->before ? (p)->before->f : 0)

static void print_head(struct page *out, const struct pair *p)
{
	const struct figures *f = p->now;
	const struct totals *s = &f->totals;
	char a[SIZE_TEXT], b[SIZE_TEXT], c[SIZE_TEXT], d[SIZE_TEXT], e[SIZE_TEXT];
	unsigned int frag = 1000 - per_mille(s->live < s->in_use ? s->live : s->in_use, s->in_use);
	time_t now = time(NULL);
	char clock[16];

	strftime(clock, sizeof(clock), "%H:%M:%S", localtime(&now));
	row(out, false, "%s  %s (%d)  heaparena %s  %" PRIu64 " threads  CPU %.0f %%%s", clock,
	    f->command, f->pid, f->version, f->process.threads,
	    RATE(p, process.cpu_ms) / 10, on_terminal ? "  (q: quit)" : "");
	row(out, false, "resident %s (heap %s, peak %s)  faults %.0f/s, major %.0f/s",
	    size_text(a, f->process.rss), size_text(b, f->process.heap_rss),
	    size_text(c, f->process.rss_peak), RATE(p, process.minor_faults),
	    RATE(p, process.major_faults));
	row(out, false, "in use %s: live %s, cached %s   free %s, returned %s",
	    size_text(a, s->in_use), size_text(b, s->live), size_text(c, s->cached),
	    size_text(d, s->free), size_text(e, s->returned));
	row(out, false, "fragmentation %u.%u %%   metadata %s   limits: soft %s, hard %s",
	    frag / 10, frag % 10, size_text(a, s->metadata),
	    s->soft_limit ? size_text(b, s->soft_limit) : "none",
	    s->hard_limit ? size_text(c, s->hard_limit) : "none");
	row(out, false, "per second: %.0f objects to caches in %.0f refills, %.0f flushes; "
	    "%.0f spans made, %.0f large", RATE(p, totals.nr_refill),
	    RATE(p, totals.nr_refills), RATE(p, totals.nr_flushes),
	    RATE(p, totals.nr_spans_total), RATE(p, totals.nr_large));
}

static void print_nodes(struct page *out, const struct figures *f)
{
	char a[SIZE_TEXT], b[SIZE_TEXT], c[SIZE_TEXT], d[SIZE_TEXT];

	for (size_t i = 0; i < f->nr_nodes && f->nr_nodes > 1; i++) {
		const struct node_figures *n = &f->nodes[i];

		row(out, false, "node %" PRIu64 ": in use %s, out of spans %s, free %s, "
		    "returned %s", n->node, size_text(a, n->in_use), size_text(b, n->out),
		    size_text(c, n->free), size_text(d, n->returned));
	}
}

static uint64_t class_bytes(const struct figures *f, const struct class_figures *c)
{
	return c->class_no ? c->nr_live * c->object_size : f->totals.large;
}

static const struct class_figures *class_before(const struct pair *p, uint64_t class_no)
{
	for (size_t i = 0; p->before && i < p->before->nr_classes; i++)
		if (p->before->classes[i].class_no == class_no)
			return &p->before->classes[i];
	return NULL;
}

struct ranked {
	const struct class_figures *c;
	uint64_t bytes;
};

static int by_bytes(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return x->c->class_no < y->c->class_no ? -1 : x->c->class_no > y->c->class_no;
}

static void print_classes(struct page *out, const struct pair *p)
{
	const struct figures *f = p->now;
	struct ranked *order = xalloc(f->nr_classes, sizeof(*order));

	for (size_t i = 0; i < f->nr_classes; i++)
		order[i] = (struct ranked){ &f->classes[i], class_bytes(f, &f->classes[i]) };
	qsort(order, f->nr_classes, sizeof(*order), by_bytes);
	row(out, true, "%7s%11s%11s%9s%8s%8s%12s%11s", "size", "live", "objects", "cached",
	    "spans", "fill", "refilled/s", "change");
	for (size_t i = 0; i < f->nr_classes; i++) {
		const struct class_figures *c = order[i].c, *b = class_before(p, c->class_no);
		unsigned int fill = per_mille(c->nr_live, c->nr_objects);
		char size[SIZE_TEXT], live[SIZE_TEXT];

		row(out, false, "%7s%11s%11" PRIu64 "%9" PRIu64 "%8" PRIu64 "%4u.%u %%%12.0f"
		    "%+11" PRId64, c->class_no ? bytes_text(size, c->object_size) : "large",
		    size_text(live, order[i].bytes), c->nr_live, c->nr_cached, c->nr_spans,
		    fill / 10, fill % 10, b ? rate(p, c->nr_refill, b->nr_refill) : 0,
		    b ? (int64_t)(c->nr_live - b->nr_live) : 0);
	}
	free(order);
}

static bool print_page(const struct pair *p)
{
	struct page out = page_begin();

	print_head(&out, p);
	print_nodes(&out, p->now);
	print_classes(&out, p);
	if (on_terminal)
		fputs(CLEAR_BELOW, stdout);
	else
		putchar('\n');
	if (!fflush(stdout))
		return true;
	/* a signal that ends it, while who reads does not: the rest of the page goes */
	if (ended) {
		__fpurge(stdout);
		clearerr(stdout);
		return true;
	}
	return false;
}

static double clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* False when it is over: a signal, or a key that says so. */
static bool wait_until(double end)
{
	struct pollfd in = { .fd = on_terminal ? STDIN_FILENO : -1, .events = POLLIN };
	double left;
	char key;

	while (!ended && (left = end - clock_now()) > 0) {
		if (poll(&in, 1, (int)(left * 1000) + 1) <= 0)
			continue;
		/* the terminal has gone, or someone has typed */
		if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q' || key == 4)
			return false;
	}
	return !ended;
}

static int top(struct target *t, const struct layout *l, double delay, unsigned long pages)
{
	struct figures now, before = { 0 };
	double at = 0, last;
	int ret = 0;

	for (unsigned long i = 0; !ended && (!pages || i < pages); i++) {
		last = at;
		at = clock_now();
		ret = figures_read(t, l, &now);
		if (ret)
			break;
		if (!print_page(&(struct pair){ &now, i ? &before : NULL, at - last }))
			ret = fail("cannot write: %s", strerror(errno));
		figures_free(&before);
		before = now;
		if (ret || (i + 1 != pages && !wait_until(at + delay)))
			break;
	}
	figures_free(&before);
	return ret;
}

int cmd_top(int argc, char **argv)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction sa = { .sa_handler = on_signal };
	unsigned long pages = 0;
	double delay = 1;
	struct layout l;
	struct target t;
	char *end;
	int c, ret;

	while ((c = getopt(argc, argv, "n:d:")) != -1) {
		if (c == 'n') {
			pages = parse_number(optarg, INT32_MAX);
			if (!pages)
				return EXIT_USAGE;
		} else if (c == 'd') {
			delay = strtod(optarg, &end);
			if (*end || end == optarg || !(delay >= 0.01 && delay <= 86400))
				return EXIT_USAGE;
		} else {
			return EXIT_USAGE;
		}
	}
	if (argc != optind + 1)
		return EXIT_USAGE;
	ret = target_open(&t, argv[optind]);
	if (ret)
		return ret;
	if (!t.live) {
		target_close(&t);
		return fail("%s: a core file does not change: see ha stat", argv[optind]);
	}
	ret = layout_read(&t, &l);
	if (!ret) {
		for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
			sigaction(ends[i], &sa, NULL);
		terminal_set();
		ret = top(&t, &l, delay, pages);
		terminal_restore();
	}
	target_close(&t);
	/* that one asks for a core file */
	if (ended == SIGQUIT) {
		signal(SIGQUIT, SIG_DFL);
		raise(SIGQUIT);
	}
	return ret;
}
