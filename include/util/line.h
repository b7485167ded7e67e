/* SPDX-License-Identifier: MIT */
/*
 * One line of text built on the stack and written with one write(2): for last
 * words, warnings and reports, where stdio (which may allocate, and locks) must
 * not be touched.  Overlong text is cut; nothing here allocates or fails.
 */
#ifndef _UTIL_LINE_H
#define _UTIL_LINE_H

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <util/compiler.h>

struct line {
	size_t len;
	char buf[1000];
};

static inline void line_start(struct line *l)
{
	l->len = 0;
}

static inline void line_char(struct line *l, char c)
{
	if (l->len < sizeof(l->buf) - 1)
		l->buf[l->len++] = c;
}

static inline void line_str(struct line *l, const char *s)
{
	while (*s)
		line_char(l, *s++);
}

/* Bytes from outside: what is not printable must not break the line. */
static inline void line_mem(struct line *l, const char *s, size_t n)
{
	for (; n--; s++)
		line_char(l, *s >= ' ' && *s <= '~' ? *s : '?');
}

static inline void line_num(struct line *l, uint64_t v, unsigned int base)
{
	char tmp[24];
	int i = 0;

	do {
		tmp[i++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	while (i)
		line_char(l, tmp[--i]);
}

static inline void line_dec(struct line *l, uint64_t v)
{
	line_num(l, v, 10);
}

static inline void line_ptr(struct line *l, uintptr_t v)
{
	line_str(l, "0x");
	line_num(l, v, 16);
}

/* Ends the line and writes it to @fd; errno is kept. */
static inline void line_write(struct line *l, int fd)
{
	size_t done = 0;
	int saved = errno;

	l->buf[l->len++] = '\n';
	while (done < l->len) {
		ssize_t n = write(fd, l->buf + done, l->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += n;
	}
	errno = saved;
}

/* A name given by the user, NULL for none, made fit to stand in any output. */
static inline void name_copy(char *to, size_t size, const char *name)
{
	size_t i;

	for (i = 0; name && name[i] && i < size - 1; i++)
		to[i] = name[i] < ' ' || name[i] > '~' || strchr("\"\\<>&", name[i]) ?
			'?' : name[i];
	to[i] = '\0';
}

#endif /* _UTIL_LINE_H */
