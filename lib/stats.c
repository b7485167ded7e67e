// SPDX-License-Identifier: MIT
/*
 * Statistics: an observer of all layers.
 *
 * Nothing is counted on the fast paths.  What is live follows from what left the
 * spans less what is cached; pages are counted by the page heaps.
 *
 *	mapped = in_use + free + returned       (pages, exact)
 *	in_use = live + cached + room in spans  (objects in whole classes)
 *
 * The report (option report:PATH) is one line of JSON appended at exit, by
 * write(2) alone, so that it can be had from any program.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <util/align.h>
#include <util/line.h>
#include "assist.h"
#include "conf.h"
#include "fixalloc.h"
#include "malloc.h"
#include "mcache.h"
#include "mcentral.h"
#include "mheap.h"
#include "numa.h"
#include "stats.h"

size_t stats_cached(void)
{
	size_t bytes = 0;

	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
		bytes += mcache_nr_cached(sc) * size_classes[sc].size;
	return bytes;
}

/* Bytes given back inside spans in use. */
static size_t stats_dropped(unsigned int nid)
{
	size_t bytes = 0;

	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
		bytes += atomic_load_relaxed(&mcentrals[nid][sc].dropped);
	return bytes;
}

static void stats_node(unsigned int nid, struct ha_stats *st)
{
	struct mheap_stat hs;
	size_t in_use, dropped;

	mheap_stat(nid, &hs);
	/* pages that became metadata are counted there */
	in_use = (hs.pages - hs.free - hs.donated) << HA_PAGE_SHIFT;
	dropped = min_size(stats_dropped(nid), in_use);
	st->mapped += (hs.pages - hs.donated) << HA_PAGE_SHIFT;
	st->in_use += in_use - dropped;
	st->free += (hs.free - hs.returned) << HA_PAGE_SHIFT;
	st->returned += (hs.returned << HA_PAGE_SHIFT) + dropped;
	st->live += hs.large_bytes;
	st->nr_spans += hs.spans;
	st->nr_large += hs.nr_large;
	st->nr_spans_total += hs.nr_spans_total;
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		struct mcentral *mc = &mcentrals[nid][sc];

		st->live += (size_t)READ_ONCE(mc->nr_out) * size_classes[sc].size;
		st->nr_refill += atomic_load_relaxed(&mc->nr_refill);
		st->nr_refills += atomic_load_relaxed(&mc->nr_refills);
		st->nr_flushes += atomic_load_relaxed(&mc->nr_flushes);
	}
}

void stats_collect(struct ha_stats *st)
{
	memset(st, 0, sizeof(*st));
	st->size = sizeof(*st);
	for (unsigned int n = 0; n < topo.nr_nodes; n++)
		stats_node(n, st);
	st->cached = stats_cached();
	st->live -= min_size(st->cached, st->live);
	st->metadata = meta_bytes();
	st->reserved = atomic_load_relaxed(&vm_stat.reserved[VM_HEAP]);
	st->nr_nodes = topo.nr_nodes;
	st->rseq = mcache_uses_rseq();
	ha_limit_get(&st->soft_limit, &st->hard_limit);
	st->nr_assists = atomic_load_relaxed(&assist_stat.nr);
	st->assist_bytes = atomic_load_relaxed(&assist_stat.bytes);
	st->nr_limited = atomic_load_relaxed(&assist_stat.nr_hard);
}

__export int ha_stats_get(struct ha_stats *out)
{
	struct ha_stats st;
	size_t size = out->size;

	if (size < sizeof(size_t) * 2) {
		errno = EINVAL;
		return -1;
	}
	if (!heap_ready())
		return -1;
	stats_collect(&st);
	st.size = min_size(size, sizeof(st));
	memcpy(out, &st, st.size);
	return 0;
}

/* PATH with each %p replaced by the process id; false when too long. */
static bool report_path(char *buf, size_t size)
{
	struct line l;

	line_start(&l);
	for (const char *p = conf.report; *p; p++) {
		if (p[0] == '%' && p[1] == 'p') {
			line_dec(&l, getpid());
			p++;
		} else {
			line_char(&l, *p);
		}
	}
	if (l.len >= size)
		return false;
	memcpy(buf, l.buf, l.len);
	buf[l.len] = '\0';
	return true;
}

static void report_field(struct line *l, const char *name, size_t value)
{
	line_str(l, ",\"");
	line_str(l, name);
	line_str(l, "\":");
	line_dec(l, value);
}

__attribute__((destructor)) static void stats_report(void)
{
	struct ha_stats st;
	char path[512];
	struct line l;
	int fd;

	if (!conf.report[0] || !report_path(path, sizeof(path)))
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	stats_collect(&st);
	line_start(&l);
	line_str(&l, "{\"heaparena\":1");
	report_field(&l, "pid", getpid());
	report_field(&l, "refill_objects", st.nr_refill);
	report_field(&l, "refills", st.nr_refills);
	report_field(&l, "flushes", st.nr_flushes);
	report_field(&l, "large_allocs", st.nr_large);
	report_field(&l, "spans", st.nr_spans_total);
	report_field(&l, "mapped", st.mapped);
	report_field(&l, "in_use", st.in_use);
	report_field(&l, "free", st.free);
	report_field(&l, "returned", st.returned);
	report_field(&l, "live", st.live);
	report_field(&l, "cached", st.cached);
	report_field(&l, "metadata", st.metadata);
	report_field(&l, "soft_limit", st.soft_limit);
	report_field(&l, "hard_limit", st.hard_limit);
	report_field(&l, "assists", st.nr_assists);
	report_field(&l, "limited", st.nr_limited);
	line_str(&l, ",\"rseq\":");
	line_str(&l, st.rseq ? "true" : "false");
	report_field(&l, "nodes", st.nr_nodes);
	line_char(&l, '}');
	line_write(&l, fd);
	close(fd);
}
