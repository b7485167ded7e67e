// SPDX-License-Identifier: MIT
/* Figures in words; failure in one line. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

int fail(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("ha: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return EXIT_FAILED;
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
