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
#include <stdlib.h>
#include <unistd.h>

#include <util/align.h>
#include "malloc.h"
#include "objcache_api.h"
#include "print.h"
#include "scavenge.h"
#include "sizeclasses.h"
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
EXPORT_AS(ha_memalign, __libc_memalign);

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
EXPORT_AS(ha_posix_memalign, __posix_memalign);

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
EXPORT_AS(ha_valloc, __libc_valloc);

__export void *ha_pvalloc(size_t size)
{
	size_t page = page_size();

	if (size > PTRDIFF_MAX - page)
		return fail(ENOMEM);
	return heap_alloc_aligned(page, size ? align_up(size, page) : page);
}
EXPORT_AS(ha_pvalloc, pvalloc);
EXPORT_AS(ha_pvalloc, __libc_pvalloc);

/*
 * By the program's own realloc() and free(), where it has them and not these.
 */
__export void *ha_reallocarray(void *ptr, size_t nmemb, size_t size)
{
	size_t bytes;

	if (unlikely(__builtin_mul_overflow(nmemb, size, &bytes)))
		return fail(ENOMEM);
	return ha_realloc(ptr, bytes);
}

#ifdef CONFIG_INTERPOSE

__export void *reallocarray(void *ptr, size_t nmemb, size_t size)
{
	size_t bytes;

	if (unlikely(__builtin_mul_overflow(nmemb, size, &bytes)))
		return fail(ENOMEM);
	return realloc(ptr, bytes);
}

extern void cfree(void *ptr);
__export void cfree(void *ptr)
{
	free(ptr);
}

#endif /* CONFIG_INTERPOSE */

/*
 * Giving back, and figures.
 */
__export size_t ha_release(void)
{
	if (!heap_ready())
		return 0;
	objcache_shrink_all();
	return scavenge_all();
}

__export int ha_malloc_trim(size_t pad)
{
	return ha_release() > 0;
}
EXPORT_AS(ha_malloc_trim, malloc_trim);

extern int ha_mallopt(int param, int value);
__export int ha_mallopt(int param, int value)
{
	/* Nothing of glibc's tuning applies.  It says 1 to what it does not know, too. */
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
	mi.arena = st.mapped - st.large;
	mi.ordblks = st.nr_spans;
	mi.hblks = st.nr_large_live;
	mi.hblkhd = st.large;
	mi.uordblks = st.live - min_size(st.large, st.live);
	mi.fordblks = mi.arena - min_size(mi.uordblks, mi.arena);
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
		.hblks = clamp_int(m.hblks),
		.hblkhd = clamp_int(m.hblkhd),
		.uordblks = clamp_int(m.uordblks),
		.fordblks = clamp_int(m.fordblks),
		.fsmblks = clamp_int(m.fsmblks),
		.keepcost = clamp_int(m.keepcost),
	};

	return mi;
}
EXPORT_AS(ha_mallinfo, mallinfo);

static void info_class(FILE *f, unsigned int sc)
{
	struct ha_class_stats st;

	stats_class(sc, &st);
	if (!st.nr_spans)
		return;
	fprintf(f, "<class nr=\"%u\" size=\"%zu\" spans=\"%zu\" objects=\"%zu\" "
		"live=\"%zu\" cached=\"%zu\"/>\n", sc, st.object_size, st.nr_spans,
		st.nr_objects, st.nr_live, st.nr_cached);
}

static void info_node(FILE *f, unsigned int nid)
{
	struct ha_node_stats st;

	stats_node_get(nid, &st);
	fprintf(f, "<heap nr=\"%u\">\n"
		"<total type=\"out\" size=\"%zu\"/>\n"
		"<total type=\"large\" size=\"%zu\"/>\n"
		"<total type=\"in_use\" count=\"%zu\" size=\"%zu\"/>\n"
		"<total type=\"free\" size=\"%zu\"/>\n"
		"<total type=\"returned\" size=\"%zu\"/>\n"
		"<system type=\"current\" size=\"%zu\"/>\n"
		"</heap>\n", nid, st.out, st.large, st.nr_spans, st.in_use, st.free,
		st.returned, st.mapped);
}

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
	fputs("<malloc version=\"heaparena-1\">\n", stream);
	for (unsigned int nid = 0; nid < st.nr_nodes; nid++)
		info_node(stream, nid);
	fputs("<classes>\n", stream);
	for (unsigned int sc = 0; sc < NR_SIZE_CLASSES; sc++)
		info_class(stream, sc);
	fprintf(stream,
		"</classes>\n"
		"<total type=\"live\" size=\"%zu\"/>\n"
		"<total type=\"cached\" size=\"%zu\"/>\n"
		"<total type=\"in_use\" count=\"%zu\" size=\"%zu\"/>\n"
		"<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n"
		"<total type=\"free\" size=\"%zu\"/>\n"
		"<total type=\"returned\" size=\"%zu\"/>\n"
		"<system type=\"current\" size=\"%zu\"/>\n"
		"<system type=\"metadata\" size=\"%zu\"/>\n"
		"</malloc>\n",
		st.live, st.cached, st.nr_spans, st.in_use, st.nr_large_live, st.large,
		st.free, st.returned, st.mapped, st.metadata);
	return ferror(stream) ? -1 : 0;
}
EXPORT_AS(ha_malloc_info, malloc_info);

extern void ha_malloc_stats(void);
__export void ha_malloc_stats(void)
{
	if (heap_ready())
		print_to_fd(HA_FORMAT_TEXT, STDERR_FILENO);
}
EXPORT_AS(ha_malloc_stats, malloc_stats);
