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
#include "objcache.h"
#include "stats.h"
#include "uheap.h"

/* Bytes given back inside spans in use. */
static size_t stats_dropped(unsigned int nid)
{
	size_t bytes = 0;

	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
		bytes += atomic_load_relaxed(&mcentrals[nid][sc].dropped);
	return bytes + uheap_dropped(nid);
}

static __no_tsan void stats_node(unsigned int nid, struct ha_stats *st)
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
	st->large += hs.large_bytes;
	st->nr_large_live += hs.large;
	st->nr_spans += hs.spans;
	st->nr_large += hs.nr_large;
	st->nr_spans_total += hs.nr_spans_total;
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		struct mcentral *mc = &mcentrals[nid][sc];

		st->live += (size_t)READ_ONCE(mc->nr_out) * size_classes[sc].size;
		st->nr_refill += mcentral_nr_refill(mc);
		st->nr_refills += mcentral_nr_refills(mc);
		st->nr_flushes += atomic_load_relaxed(&mc->nr_flushes);
	}
}

void stats_collect(struct ha_stats *st)
{
	memset(st, 0, sizeof(*st));
	st->size = sizeof(*st);
	for (unsigned int n = 0; n < topo.nr_nodes; n++)
		stats_node(n, st);
	st->cached = mcache_cached_bytes() + objcache_kept_bytes();
	st->live -= min_size(st->cached, st->live);
	st->live += uheap_small_bytes();
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

static __no_tsan void class_collect(unsigned int sc, struct ha_class_stats *st)
{
	const struct size_class *k = &size_classes[sc];
	size_t out = 0;

	*st = (struct ha_class_stats){
		.object_size = k->size,
		.span_size = (size_t)k->pages << HA_PAGE_SHIFT,
		.nr_cached = mcache_nr_cached(sc),
	};
	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		struct mcentral *mc = &mcentrals[n][sc];

		out += READ_ONCE(mc->nr_out);
		st->nr_spans += READ_ONCE(mc->nr_spans);
		st->nr_refill += mcentral_nr_refill(mc);
		st->nr_refills += mcentral_nr_refills(mc);
		st->nr_flushes += atomic_load_relaxed(&mc->nr_flushes);
	}
	st->nr_objects = st->nr_spans * k->nelems;
	st->nr_live = out - min_size(st->nr_cached, out);
}

static void class_collect_large(struct ha_class_stats *st)
{
	struct mheap_stat hs;

	*st = (struct ha_class_stats){ 0 };
	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		mheap_stat(n, &hs);
		st->nr_spans += hs.large;
		st->nr_refill += hs.nr_large;
	}
	st->nr_objects = st->nr_spans;
	st->nr_live = st->nr_spans;
}

void stats_class(unsigned int sc, struct ha_class_stats *st)
{
	if (sc)
		class_collect(sc, st);
	else
		class_collect_large(st);
}

void stats_node_get(unsigned int nid, struct ha_node_stats *st)
{
	struct ha_stats all = { 0 };

	stats_node(nid, &all);
	*st = (struct ha_node_stats){
		.mapped = all.mapped,
		.in_use = all.in_use,
		.free = all.free,
		.returned = all.returned,
		.out = all.live,
		.large = all.large,
		.nr_spans = all.nr_spans,
	};
}

__export unsigned int ha_stats_classes(struct ha_class_stats *out, size_t out_size,
				       unsigned int nr)
{
	struct ha_class_stats st;

	if (!heap_ready())
		return 0;
	for (unsigned int sc = 0; sc < NR_SIZE_CLASSES && sc < nr; sc++) {
		stats_class(sc, &st);
		memcpy((char *)out + sc * out_size, &st, min_size(out_size, sizeof(st)));
	}
	return NR_SIZE_CLASSES;
}

__export unsigned int ha_stats_nodes(struct ha_node_stats *out, size_t out_size,
				     unsigned int nr)
{
	struct ha_node_stats st;

	if (!heap_ready())
		return 0;
	for (unsigned int n = 0; n < topo.nr_nodes && n < nr; n++) {
		stats_node_get(n, &st);
		memcpy((char *)out + n * out_size, &st, min_size(out_size, sizeof(st)));
	}
	return topo.nr_nodes;
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
	report_field(&l, "hugetlb", atomic_load_relaxed(&vm_stat.hugetlb));
	line_str(&l, ",\"rseq\":");
	line_str(&l, st.rseq ? "true" : "false");
	report_field(&l, "nodes", st.nr_nodes);
	line_char(&l, '}');
	line_write(&l, fd);
	close(fd);
}
