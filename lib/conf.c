// SPDX-License-Identifier: MIT
/*
 * HEAPARENA_CONF.
 *
 *	text   = option { "," option }
 *	option = key ":" value
 *
 * One table says what exists; each key has a function that takes the value or
 * declines it.  Nothing here allocates: it runs inside the first malloc.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <util/line.h>
#include "conf.h"
#include "limit.h"

#define MAX_FAKE_NODES	16

struct heap_conf conf = {
	.check = true,
	.rseq = true,
	.numa = VM_BIND_ADVISORY,
	.numa_on = true,
	.thp = THP_AUTO,
	.background = true,
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

static bool set_numa(struct heap_conf *c, struct word v)
{
	unsigned long n;

	if (word_is(v, "off")) {
		c->numa_on = false;
		c->numa = VM_BIND_OFF;
	} else if (word_is(v, "advisory")) {
		c->numa_on = true;
		c->numa = VM_BIND_ADVISORY;
	} else if (word_is(v, "strict")) {
		c->numa_on = true;
		c->numa = VM_BIND_STRICT;
	} else if (v.len > 5 && memcmp(v.s, "fake=", 5) == 0) {
		struct word num = { v.s + 5, v.len - 5 };

		if (!word_number(num, MAX_FAKE_NODES, &n) || n == 0)
			return false;
		c->numa_fake = n;
		c->numa = VM_BIND_OFF;
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

/* A number of bytes with a unit of K, M, G or T, at least LIMIT_MIN; or 1% to 100%. */
static bool word_size(struct word w, struct conf_size *out)
{
	static const char units[] = "KMGT";
	unsigned long v, max = SIZE_MAX >> 1;
	unsigned int shift = 0;
	const char *unit;

	if (!w.len)
		return false;
	if (w.s[w.len - 1] == '%') {
		w.len--;
		if (!word_number(w, 100, &v) || !v)
			return false;
		*out = (struct conf_size){ .percent = v };
		return true;
	}
	unit = strchr(units, w.s[w.len - 1] & ~0x20);
	if (unit && *unit) {
		shift = 10 * (unit - units + 1);
		w.len--;
	}
	if (!word_number(w, max >> shift, &v) || v << shift < LIMIT_MIN)
		return false;
	*out = (struct conf_size){ .bytes = v << shift };
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

static bool set_report(struct heap_conf *c, struct word v)
{
	if (!v.len || v.len >= sizeof(c->report))
		return false;
	memcpy(c->report, v.s, v.len);
	c->report[v.len] = '\0';
	return true;
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
	{ "limit", set_limit },
	{ "soft", set_soft },
	{ "cgroup", set_cgroup },
	{ "headroom", set_headroom },
	{ "report", set_report },
};

static void conf_warn(const char *env, const char *what, struct word w)
{
	struct line l;

	line_start(&l);
	line_str(&l, "heaparena: ");
	line_str(&l, env);
	line_str(&l, ": ");
	line_str(&l, what);
	line_str(&l, " \"");
	line_mem(&l, w.s, w.len < 200 ? w.len : 200);
	line_str(&l, "\" ignored");
	line_write(&l, STDERR_FILENO);
}

static void conf_option(struct heap_conf *c, struct word w, const char *env)
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
			conf_warn(env, "bad value in", w);
		return;
	}
	conf_warn(env, "unknown key in", w);
}

void conf_parse(struct heap_conf *c, const char *text, const char *env)
{
	while (*text) {
		const char *end = strchr(text, ',');
		struct word w = { text, end ? (size_t)(end - text) : strlen(text) };

		if (w.len)
			conf_option(c, w, env);
		text += w.len + (end != NULL);
	}
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

void conf_init(void)
{
	static const char name[] = "HEAPARENA_CONF=";
	char **env = conf_environ();

	if (!env || getauxval(AT_SECURE))
		return;
	for (; *env; env++) {
		if (strncmp(*env, name, sizeof(name) - 1) == 0) {
			conf_parse(&conf, *env + sizeof(name) - 1, "HEAPARENA_CONF");
			return;
		}
	}
}
