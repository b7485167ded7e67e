// SPDX-License-Identifier: MIT
/*
 * The rest of the malloc family: aligned forms, and what glibc adds.
 *
 * None of these is hot; each checks what its standard or its man page says and
 * ends in an entry point of lib/malloc.c.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <util/align.h>
#include <util/line.h>
#include "malloc.h"
#include "scavenge.h"
#include "stats.h"
#include "vm.h"

static void *fail(int err)
{
	errno = err;
	return NULL;
}

__export void *ha_aligned_alloc(size_t align, size_t size)
{
	if (!is_power_of_2(align))
		return fail(EINVAL);
	return heap_alloc_aligned(align, size);
}
EXPORT_AS(ha_aligned_alloc, aligned_alloc);

__export void *ha_memalign(size_t align, size_t size)
{
	if (align > (SIZE_MAX >> 1) + 1)
		return fail(EINVAL);
	if (align <= 1)
		align = 1;
	else if (!is_power_of_2(align))
		align = 1UL << (64 - __builtin_clzl(align));
	return heap_alloc_aligned(align, size);
}
EXPORT_AS(ha_memalign, memalign);

__export int ha_posix_memalign(void **memptr, size_t align, size_t size)
{
	int saved = errno;
	void *p;

	if (!is_power_of_2(align) || align % sizeof(void *))
		return EINVAL;
	p = heap_alloc_aligned(align, size);
	errno = saved;
	if (!p)
		return ENOMEM;
	*memptr = p;
	return 0;
}
EXPORT_AS(ha_posix_memalign, posix_memalign);

static size_t page_size(void)
{
	/* known only after the first call of any kind */
	return heap_ready() ? vm_page_size : 4096;
}

__export void *ha_valloc(size_t size)
{
	return heap_alloc_aligned(page_size(), size);
}
EXPORT_AS(ha_valloc, valloc);

__export void *ha_pvalloc(size_t size)
{
	size_t page = page_size();

	if (size > PTRDIFF_MAX - page)
		return fail(ENOMEM);
	return heap_alloc_aligned(page, size ? align_up(size, page) : page);
}
EXPORT_AS(ha_pvalloc, pvalloc);

/*
 * Giving back, and figures.
 */
__export size_t ha_release(void)
{
	return heap_ready() ? scavenge_all() : 0;
}

__export int ha_malloc_trim(size_t pad)
{
	return ha_release() > 0;
}
EXPORT_AS(ha_malloc_trim, malloc_trim);

extern int ha_mallopt(int param, int value);
__export int ha_mallopt(int param, int value)
{
	/* Nothing of glibc's tuning applies; success keeps its users going. */
	return 1;
}
EXPORT_AS(ha_mallopt, mallopt);

extern struct mallinfo2 ha_mallinfo2(void);
__export struct mallinfo2 ha_mallinfo2(void)
{
	struct mallinfo2 mi = { 0 };
	struct ha_stats st = { .size = sizeof(st) };

	if (ha_stats_get(&st))
		return mi;
	mi.arena = st.mapped;
	mi.ordblks = st.nr_spans;
	mi.uordblks = st.live;
	mi.fordblks = st.mapped - st.live;
	mi.fsmblks = st.cached;
	mi.keepcost = st.free;
	return mi;
}
EXPORT_AS(ha_mallinfo2, mallinfo2);

static int clamp_int(size_t v)
{
	return v > INT32_MAX ? INT32_MAX : v;
}

extern struct mallinfo ha_mallinfo(void);
__export struct mallinfo ha_mallinfo(void)
{
	struct mallinfo2 m = ha_mallinfo2();
	struct mallinfo mi = {
		.arena = clamp_int(m.arena),
		.ordblks = clamp_int(m.ordblks),
		.uordblks = clamp_int(m.uordblks),
		.fordblks = clamp_int(m.fordblks),
		.fsmblks = clamp_int(m.fsmblks),
		.keepcost = clamp_int(m.keepcost),
	};

	return mi;
}
EXPORT_AS(ha_mallinfo, mallinfo);

extern int ha_malloc_info(int options, FILE *stream);
__export int ha_malloc_info(int options, FILE *stream)
{
	struct ha_stats st = { .size = sizeof(st) };

	if (options) {
		errno = EINVAL;
		return -1;
	}
	if (ha_stats_get(&st))
		return -1;
	fprintf(stream,
		"<malloc version=\"heaparena-1\">\n"
		"<total type=\"live\" size=\"%zu\"/>\n"
		"<total type=\"cached\" size=\"%zu\"/>\n"
		"<total type=\"in_use\" count=\"%zu\" size=\"%zu\"/>\n"
		"<total type=\"free\" size=\"%zu\"/>\n"
		"<total type=\"returned\" size=\"%zu\"/>\n"
		"<system type=\"current\" size=\"%zu\"/>\n"
		"<system type=\"metadata\" size=\"%zu\"/>\n"
		"</malloc>\n",
		st.live, st.cached, st.nr_spans, st.in_use, st.free,
		st.returned, st.mapped, st.metadata);
	return ferror(stream) ? -1 : 0;
}
EXPORT_AS(ha_malloc_info, malloc_info);

static void stat_line(const char *name, size_t value)
{
	struct line l;

	line_start(&l);
	line_str(&l, name);
	for (size_t n = strlen(name); n < 18; n++)
		line_char(&l, ' ');
	line_str(&l, "= ");
	line_dec(&l, value);
	line_write(&l, STDERR_FILENO);
}

extern void ha_malloc_stats(void);
__export void ha_malloc_stats(void)
{
	struct ha_stats st = { .size = sizeof(st) };

	if (ha_stats_get(&st))
		return;
	stat_line("mapped bytes", st.mapped);
	stat_line("in use bytes", st.in_use);
	stat_line("live bytes", st.live);
	stat_line("cached bytes", st.cached);
	stat_line("free bytes", st.free);
	stat_line("returned bytes", st.returned);
	stat_line("metadata bytes", st.metadata);
	stat_line("spans", st.nr_spans);
}
EXPORT_AS(ha_malloc_stats, malloc_stats);
