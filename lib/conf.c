// SPDX-License-Identifier: MIT
/*
 * Options, and where they come from.
 *
 *	text   = option { "," option }
 *	option = key ":" value
 *
 *	1  make CONF=text			into the library
 *	2  const char *heaparena_conf = text;	the program's
 *	3  /etc/heaparena.conf			the machine's: lines of text, blanks
 *						around options, comments behind #
 *	4  HEAPARENA_CONF=text			the environment
 *
 * A later one overrides an earlier one, key by key.  A set-user-ID program has
 * 1 and 2 alone.
 *
 * One table says what exists; each key has a function that takes the value or
 * declines it.  Nothing here allocates: it runs inside the first malloc.
 *
 * The file costs one openat, by a system call of its own: libc's open is a
 * cancellation point, and others' versions of it may allocate.  It comes at the
 * program's start, before main(), where the dynamic loader opens files, and in a
 * static program libnuma's constructor: a filter that would not have it ends the
 * program anyway.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <heaparena/heaparena.h>
#include <util/line.h>
#include "conf.h"
#include "limit.h"
#include "poisson.h"
#include "profile_session.h"

#define MAX_FAKE_NODES	16
#define SIGNAL_MAX	64
/* Longer files are cut. */
#define FILE_MAX	4096

#ifndef CONF_BUILTIN
#define CONF_BUILTIN	""
#endif
#ifndef CONF_FILE
#define CONF_FILE	"/etc/heaparena.conf"
#endif

extern const char *heaparena_conf __weak;

struct heap_conf conf = {
	.check = true,
	.rseq = true,
	.numa = VM_BIND_ADVISORY,
	.numa_on = true,
	.thp = THP_AUTO,
	.background = true,
	.orders = true,
	.cgroup = true,
	.headroom = 5,
};

/* A piece of the text: not terminated. */
struct word {
	const char *s;
	size_t len;
};

static bool word_is(struct word w, const char *s)
{
	return w.len == strlen(s) && memcmp(w.s, s, w.len) == 0;
}

static bool word_number(struct word w, unsigned long max, unsigned long *out)
{
	unsigned long v = 0;

	if (!w.len)
		return false;
	for (size_t i = 0; i < w.len; i++) {
		if (w.s[i] < '0' || w.s[i] > '9')
			return false;
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, w.s[i] - '0', &v) || v > max)
			return false;
	}
	*out = v;
	return true;
}

static bool word_bool(struct word w, bool *out)
{
	if (word_is(w, "on"))
		*out = true;
	else if (word_is(w, "off"))
		*out = false;
	else
		return false;
	return true;
}

static bool set_check(struct heap_conf *c, struct word v)
{
	return word_bool(v, &c->check);
}

static bool set_rseq(struct heap_conf *c, struct word v)
{
	return word_bool(v, &c->rseq);
}

static bool set_background(struct heap_conf *c, struct word v)
{
	return word_bool(v, &c->background);
}

static bool set_orders(struct heap_conf *c, struct word v)
{
	return word_bool(v, &c->orders);
}

static void conf_set_numa(struct heap_conf *c, bool on, enum vm_bind bind,
			  unsigned int fake)
{
	c->numa_on = on;
	c->numa = bind;
	c->numa_fake = fake;
}

static bool set_numa(struct heap_conf *c, struct word v)
{
	unsigned long n;

	if (word_is(v, "off")) {
		conf_set_numa(c, false, VM_BIND_OFF, 0);
	} else if (word_is(v, "advisory")) {
		conf_set_numa(c, true, VM_BIND_ADVISORY, 0);
	} else if (word_is(v, "strict")) {
		conf_set_numa(c, true, VM_BIND_STRICT, 0);
	} else if (v.len > 5 && memcmp(v.s, "fake=", 5) == 0) {
		struct word num = { v.s + 5, v.len - 5 };

		if (!word_number(num, MAX_FAKE_NODES, &n) || n == 0)
			return false;
		conf_set_numa(c, true, VM_BIND_OFF, n);
	} else {
		return false;
	}
	return true;
}

static bool set_thp(struct heap_conf *c, struct word v)
{
	if (word_is(v, "off"))
		c->thp = THP_OFF;
	else if (word_is(v, "auto"))
		c->thp = THP_AUTO;
	else if (word_is(v, "always"))
		c->thp = THP_ALWAYS;
	else
		return false;
	return true;
}

/* A number of bytes with a unit of K, M, G or T. */
static bool word_bytes(struct word w, uint64_t max, uint64_t *out)
{
	static const char units[] = "KMGT";
	unsigned int shift = 0;
	const char *unit;

	if (!w.len)
		return false;
	unit = strchr(units, w.s[w.len - 1] & ~0x20);
	if (unit && *unit) {
		shift = 10 * (unit - units + 1);
		w.len--;
	}
	if (!word_number(w, max >> shift, out))
		return false;
	*out <<= shift;
	return true;
}

/* The same, at least LIMIT_MIN; 1% to 100%; or none, which undoes what came before. */
static bool word_size(struct word w, struct conf_size *out)
{
	uint64_t v;

	if (!w.len)
		return false;
	if (word_is(w, "none")) {
		*out = (struct conf_size){ 0 };
		return true;
	}
	if (w.s[w.len - 1] == '%') {
		w.len--;
		if (!word_number(w, 100, &v) || !v)
			return false;
		*out = (struct conf_size){ .percent = v };
		return true;
	}
	if (!word_bytes(w, SIZE_MAX >> 1, &v) || v < LIMIT_MIN)
		return false;
	*out = (struct conf_size){ .bytes = v };
	return true;
}

static bool set_limit(struct heap_conf *c, struct word v)
{
	return word_size(v, &c->limit);
}

static bool set_soft(struct heap_conf *c, struct word v)
{
	return word_size(v, &c->soft);
}

static bool set_hugetlb(struct heap_conf *c, struct word v)
{
	return word_bool(v, &c->hugetlb);
}

static bool set_cgroup(struct heap_conf *c, struct word v)
{
	return word_bool(v, &c->cgroup);
}

static bool set_headroom(struct heap_conf *c, struct word v)
{
	unsigned long percent;

	if (!word_number(v, 90, &percent))
		return false;
	c->headroom = percent;
	return true;
}

static bool word_path(struct word v, char *to, size_t size)
{
	if (!v.len || v.len >= size)
		return false;
	memcpy(to, v.s, v.len);
	to[v.len] = '\0';
	return true;
}

static bool set_report(struct heap_conf *c, struct word v)
{
	return word_path(v, c->report, sizeof(c->report));
}

/* on, off, or bytes with a unit. */
static bool set_prof(struct heap_conf *c, struct word v)
{
	bool on;

	if (word_bool(v, &on)) {
		c->prof_mean = on ? PROFILE_MEAN : 0;
		return true;
	}
	return word_bytes(v, POISSON_MEAN_MAX, &c->prof_mean) && c->prof_mean;
}

/* Not those that libc keeps for itself, nor those that cannot be caught. */
static bool set_prof_signal(struct heap_conf *c, struct word v)
{
	unsigned long nr;

	if (!word_number(v, SIGNAL_MAX, &nr) || nr == SIGKILL || nr == SIGSTOP ||
	    (nr >= 32 && (int)nr < SIGRTMIN))
		return false;
	c->prof_signal = nr;
	return true;
}

static bool set_prof_file(struct heap_conf *c, struct word v)
{
	return word_path(v, c->prof_file, sizeof(c->prof_file));
}

static bool set_prof_hold(struct heap_conf *c, struct word v)
{
	return word_path(v, c->prof_hold, sizeof(c->prof_hold));
}

static const struct {
	const char *key;
	bool (*set)(struct heap_conf *c, struct word value);
} options[] = {
	{ "check", set_check },
	{ "rseq", set_rseq },
	{ "numa", set_numa },
	{ "thp", set_thp },
	{ "background", set_background },
	{ "orders", set_orders },
	{ "limit", set_limit },
	{ "soft", set_soft },
	{ "hugetlb", set_hugetlb },
	{ "cgroup", set_cgroup },
	{ "headroom", set_headroom },
	{ "report", set_report },
	{ "prof", set_prof },
	{ "prof_signal", set_prof_signal },
	{ "prof_file", set_prof_file },
	{ "prof_hold", set_prof_hold },
};

static void warn_start(struct line *l, const struct conf_source *from)
{
	line_start(l);
	line_str(l, "heaparena: ");
	line_str(l, from->name);
	if (from->line) {
		line_char(l, ':');
		line_dec(l, from->line);
	}
	line_str(l, ": ");
}

static void conf_warn(const struct conf_source *from, const char *what, struct word w)
{
	struct line l;

	warn_start(&l, from);
	line_str(&l, what);
	line_str(&l, " \"");
	line_mem(&l, w.s, w.len < 200 ? w.len : 200);
	line_str(&l, "\" ignored");
	line_write(&l, STDERR_FILENO);
}

static void conf_option(struct heap_conf *c, struct word w,
			const struct conf_source *from)
{
	const char *colon = memchr(w.s, ':', w.len);
	struct word key = { w.s, colon ? (size_t)(colon - w.s) : w.len };
	struct word value;

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (!word_is(key, options[i].key))
			continue;
		value.s = colon ? colon + 1 : w.s + w.len;
		value.len = w.s + w.len - value.s;
		if (!options[i].set(c, value))
			conf_warn(from, "bad value in", w);
		return;
	}
	conf_warn(from, "unknown key in", w);
}

/* What stands in front of the next @c, which is left out; *rest is what follows. */
static struct word word_cut(struct word *rest, char c)
{
	const char *end = memchr(rest->s, c, rest->len);
	struct word w = { rest->s, end ? (size_t)(end - rest->s) : rest->len };
	size_t used = w.len + (end != NULL);

	*rest = (struct word){ rest->s + used, rest->len - used };
	return w;
}

void conf_parse(struct heap_conf *c, const char *text, const char *name)
{
	const struct conf_source from = { .name = name };
	struct word rest = { text, strlen(text) };

	while (rest.len) {
		struct word w = word_cut(&rest, ',');

		if (w.len)
			conf_option(c, w, &from);
	}
}

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct word word_trim(struct word w)
{
	while (w.len && blank(w.s[0])) {
		w.s++;
		w.len--;
	}
	while (w.len && blank(w.s[w.len - 1]))
		w.len--;
	return w;
}

/* Without its comment: # at the beginning or behind a blank. */
static struct word line_text(struct word w)
{
	for (size_t i = 0; i < w.len; i++)
		if (w.s[i] == '#' && (i == 0 || blank(w.s[i - 1])))
			w.len = i;
	return w;
}

void conf_parse_file(struct heap_conf *c, const char *text, size_t len,
		     const char *name)
{
	struct conf_source from = { .name = name };
	struct word rest = { text, len };

	while (rest.len) {
		struct word line = line_text(word_cut(&rest, '\n'));

		from.line++;
		while (line.len) {
			struct word w = word_trim(word_cut(&line, ','));

			if (w.len)
				conf_option(c, w, &from);
		}
	}
}

/* No file, or none that may be read, is as good as an empty one. */
static void conf_read_file(struct heap_conf *c)
{
	static char text[FILE_MAX + 1];
	size_t len = 0;
	long fd, n = 0;

	if (IS_ENABLED(CONFIG_NO_CONF_FILE))
		return;
	/* O_NONBLOCK: whatever it is, nobody is waited for */
	fd = syscall(SYS_openat, AT_FDCWD, CONF_FILE,
		     O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return;
	while (len < sizeof(text) &&
	       (n = syscall(SYS_read, fd, text + len, sizeof(text) - len)) > 0)
		len += n;
	syscall(SYS_close, fd);
	if (len > FILE_MAX) {
		struct line l;

		warn_start(&l, &(struct conf_source){ .name = CONF_FILE });
		line_str(&l, "what is beyond " stringify(FILE_MAX) " bytes is ignored");
		line_write(&l, STDERR_FILENO);
		for (len = FILE_MAX; len && text[len - 1] != '\n'; len--)
			;
	}
	conf_parse_file(c, text, len, CONF_FILE);
}

/* A profile needs the states that check:off leaves out. */
static void conf_agree(struct heap_conf *c)
{
	static const struct conf_source from = { .name = "options" };
	static const struct word off = { "check:off", 9 };

	if (c->check || !(c->prof_mean || c->prof_signal))
		return;
	c->check = true;
	conf_warn(&from, "under a profile", off);
}

/* The loader's view of the initial stack: argc, argv, NULL, envp. */
extern void *__libc_stack_end __weak;

static char **conf_environ(void)
{
	long *stack;

	if (environ)
		return environ;
	if (!&__libc_stack_end || !__libc_stack_end)
		return NULL;
	stack = __libc_stack_end;
	return (char **)(stack + 1 + stack[0] + 1);
}

static void conf_sources(void)
{
	static const char name[] = "HEAPARENA_CONF=";
	char **env;

	conf_parse(&conf, CONF_BUILTIN, "built-in options");
	if (&heaparena_conf && heaparena_conf)
		conf_parse(&conf, heaparena_conf, "heaparena_conf");
	if (getauxval(AT_SECURE))
		return;
	conf_read_file(&conf);
	for (env = conf_environ(); env && *env; env++) {
		if (strncmp(*env, name, sizeof(name) - 1) == 0) {
			conf_parse(&conf, *env + sizeof(name) - 1, "HEAPARENA_CONF");
			return;
		}
	}
}

void conf_init(void)
{
	conf_sources();
	conf_agree(&conf);
}
