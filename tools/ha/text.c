// SPDX-License-Identifier: MIT
/* Figures in words; text of others, fit to be shown; failure in one line. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

void (*before_fail)(void);

int fail(const char *format, ...)
{
	va_list args;
	char *text;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	fflush(stdout);
	if (before_fail)
		before_fail();
	fprintf(stderr, "ha: %s\n", n < 0 ? "out of memory" : clean_text(text));
	if (n >= 0)
		free(text);
	return EXIT_FAILED;
}

/*
 * By the table of RFC 3629: no longer form than needed, no surrogates, nothing above
 * U+10FFFF.  Controls are those of ASCII, DEL, and U+0080 to U+009F.
 */
size_t char_length(const char *s)
{
	static const struct {
		unsigned char first, last;	/* of the first byte */
		unsigned char low, high;	/* of the second */
		unsigned char length;
	} forms[] = {
		{ 0xc2, 0xc2, 0xa0, 0xbf, 2 }, { 0xc3, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xee, 0x80, 0xbf, 3 },
		{ 0xef, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};
	const unsigned char *c = (const unsigned char *)s;

	if (c[0] < 0x80)
		return c[0] >= ' ' && c[0] != 0x7f;
	/* U+FFFE and U+FFFF are no characters, nor is XML with them any */
	if (c[0] == 0xef && c[1] == 0xbf && c[2] >= 0xbe)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		size_t n = 2;

		if (c[0] < forms[i].first || c[0] > forms[i].last)
			continue;
		if (c[1] < forms[i].low || c[1] > forms[i].high)
			return 0;
		while (n < forms[i].length && (c[n] & 0xc0) == 0x80)
			n++;
		return n == forms[i].length ? n : 0;
	}
	return 0;
}

char *clean_text(char *text)
{
	for (char *s = text; *s;) {
		size_t n = char_length(s);

		if (!n)
			*s = '?';
		s += n ? n : 1;
	}
	return text;
}

const char *clean_name(const char *name)
{
	const char *s = name;
	char *copy;

	while (*s && char_length(s))
		s += char_length(s);
	if (!*s)
		return name;
	copy = strdup(name);
	return copy ? clean_text(copy) : "?";
}

void *xalloc(size_t nr, size_t size)
{
	void *p = calloc(nr ? nr : 1, size ? size : 1);

	if (!p)
		exit(fail("out of memory"));
	return p;
}

/* Room for a power of two, so that the number alone says when there is none left. */
void *xgrow(void *list, size_t nr, size_t size)
{
	if (nr & (nr - 1))
		return list;
	list = realloc(list, (nr ? 2 * nr : 1) * size);
	if (!list)
		exit(fail("out of memory"));
	memset((char *)list + nr * size, 0, (nr ? nr : 1) * size);
	return list;
}

bool is_stdout(const char *path)
{
	return !strcmp(path, "-");
}

unsigned long parse_number(const char *text, unsigned long max)
{
	unsigned long n;

	if (!*text || text[strspn(text, "0123456789")])
		return 0;
	errno = 0;
	n = strtoul(text, NULL, 10);
	return errno || n > max ? 0 : n;
}

const char *size_text(char buf[SIZE_TEXT], uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double v = bytes;
	unsigned int i = 0;

	while (v >= 1024 && i + 1 < ARRAY_SIZE(units)) {
		v /= 1024;
		i++;
	}
	snprintf(buf, SIZE_TEXT, i ? "%.1f %s" : "%.0f %s", v, units[i]);
	return buf;
}

const char *bytes_text(char buf[SIZE_TEXT], uint64_t bytes)
{
	if (bytes >= 1UL << 20 && !(bytes % (1UL << 20)))
		snprintf(buf, SIZE_TEXT, "%" PRIu64 "M", bytes >> 20);
	else if (bytes >= 1UL << 10 && !(bytes % (1UL << 10)))
		snprintf(buf, SIZE_TEXT, "%" PRIu64 "K", bytes >> 10);
	else
		snprintf(buf, SIZE_TEXT, "%" PRIu64, bytes);
	return buf;
}
