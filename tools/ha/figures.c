// SPDX-License-Identifier: MIT
/*
 * Figures of a heap from its counters, as lib/stats.c and lib/print.c have them from
 * within: nothing is walked, so that the cost does not depend on the heap's size.
 *
 * Counters change while they are read. Those of pages belong together (free pages
 * are some of all pages): a node's are read until its lock was free before and after
 * and they had not changed, a bounded number of times. Others are independent words;
 * differences between them are cut off at 0, as the library does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "figures.h"

#define TRIES		100
#define MAX_LIST	100000
#define NO_LIMIT	UINT64_MAX

#define FIELD(type, f)	{ #f, offsetof(struct type, f) }

const struct field total_fields[] = {
	FIELD(totals, mapped), FIELD(totals, in_use), FIELD(totals, free),
	FIELD(totals, returned), FIELD(totals, live), FIELD(totals, cached),
	FIELD(totals, large), FIELD(totals, metadata), FIELD(totals, reserved),
	FIELD(totals, nr_spans), FIELD(totals, nr_spans_total),
	FIELD(totals, nr_large_live), FIELD(totals, nr_large),
	FIELD(totals, nr_refill), FIELD(totals, nr_refills), FIELD(totals, nr_flushes),
	FIELD(totals, soft_limit), FIELD(totals, hard_limit), FIELD(totals, nr_assists),
	FIELD(totals, assist_bytes), FIELD(totals, nr_limited),
	FIELD(totals, nr_nodes), FIELD(totals, rseq), { NULL, 0 }
};

const struct field process_fields[] = {
	FIELD(process_figures, rss), FIELD(process_figures, rss_peak),
	FIELD(process_figures, swap), FIELD(process_figures, heap_rss),
	FIELD(process_figures, minor_faults), FIELD(process_figures, major_faults),
	FIELD(process_figures, cpu_ms), FIELD(process_figures, threads), { NULL, 0 }
};

const struct field node_fields[] = {
	FIELD(node_figures, node), FIELD(node_figures, mapped), FIELD(node_figures, in_use),
	FIELD(node_figures, free), FIELD(node_figures, returned), FIELD(node_figures, out),
	FIELD(node_figures, large), FIELD(node_figures, nr_spans), { NULL, 0 }
};

const struct field class_fields[] = {
	{ "class", offsetof(struct class_figures, class_no) },
	FIELD(class_figures, object_size), FIELD(class_figures, span_size),
	FIELD(class_figures, nr_spans), FIELD(class_figures, nr_objects),
	FIELD(class_figures, nr_live), FIELD(class_figures, nr_cached),
	FIELD(class_figures, nr_refill), FIELD(class_figures, nr_refills),
	FIELD(class_figures, nr_flushes), { NULL, 0 }
};

const struct field heap_fields[] = {
	FIELD(heap_figures, limit), FIELD(heap_figures, mapped), FIELD(heap_figures, live),
	FIELD(heap_figures, nr_live), FIELD(heap_figures, nr_allocs),
	FIELD(heap_figures, nr_frees), FIELD(heap_figures, nr_tiny), { NULL, 0 }
};

const struct field cache_fields[] = {
	FIELD(cache_figures, object_size), FIELD(cache_figures, usable),
	FIELD(cache_figures, nr_live), FIELD(cache_figures, nr_kept),
	FIELD(cache_figures, nr_allocs), FIELD(cache_figures, nr_frees),
	FIELD(cache_figures, nr_constructed), FIELD(cache_figures, nr_destroyed), { NULL, 0 }
};

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* What is read of the library in one go; freed by the caller. */
struct raw {
	char *mheaps;		/* [nodes] */
	char *mcentrals;	/* [nodes][classes] */
	char *stacks;		/* [nodes][classes][stacks_per_depot] */
	char *classes;		/* size_classes */
	uint64_t *cached;	/* [nodes][classes] objects in magazines and depots */
	uint64_t nr_nodes;
	uint64_t nr_classes;
	bool settled;
};

/*
 * Pages.
 */

static const enum item page_counters[] = {
	M_mheap_nr_pages, M_mheap_nr_free, M_mheap_nr_scav, M_mheap_nr_donated,
};

static bool same_pages(const struct layout *l, const char *a, const char *b)
{
	if (member(l, M_mheap_lock, a) || member(l, M_mheap_lock, b))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(page_counters); i++)
		if (member(l, page_counters[i], a) != member(l, page_counters[i], b))
			return false;
	return true;
}

static bool read_mheaps(struct target *t, const struct layout *l, struct raw *r)
{
	size_t size = size_of(l, O_mheaps);
	char *again = xalloc(1, size);
	bool ok = true;

	for (uint64_t n = 0; n < r->nr_nodes && ok; n++) {
		uint64_t addr = value_of(l, O_mheaps) + n * size;
		char *h = r->mheaps + n * size;
		int i;

		ok = target_read(t, addr, h, size);
		for (i = 0; i < TRIES && ok && t->live; i++) {
			ok = target_read(t, addr, again, size);
			if (!ok || same_pages(l, h, again))
				break;
			memcpy(h, again, size);
			/* whoever has the lock wants to run */
			nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
		}
		if (i == TRIES || (!t->live && member(l, M_mheap_lock, h)))
			r->settled = false;
	}
	free(again);
	return ok;
}

/* Free pages in windows, which count as in use elsewhere. */
static void count_windows(const struct layout *l, const char *h, uint64_t *nr_free,
			  uint64_t *nr_scav)
{
	for (uint32_t i = 0; i < count_of(l, M_mheap_cache); i++) {
		const char *c = member_ptr(l, M_mheap_cache, h, i);

		*nr_free += __builtin_popcountll(member(l, M_heap_cache_free, c));
		*nr_scav += __builtin_popcountll(member(l, M_heap_cache_scav, c));
	}
}

/*
 * Caches.
 */

/* The headers of one slot: [rows of nodes][classes]. */
static void count_slot(const struct layout *l, const struct raw *r, uint64_t *cached,
		       const char *hdrs)
{
	size_t stride = value_of(l, N_sizeof_mag_hdr);
	uint64_t rows = r->nr_nodes * value_of(l, N_rows_per_node);

	for (uint64_t row = 0; row < rows; row++) {
		for (uint64_t sc = 1; sc < r->nr_classes; sc++) {
			const char *h = hdrs + (row << value_of(l, N_class_bits) | sc) * stride;
			uint64_t top = member(l, M_mag_hdr_top, h);
			uint64_t base = member(l, M_mag_hdr_base, h);
			uint64_t limit = member(l, M_mag_hdr_limit, h);

			if (top < base || top > limit)
				continue;
			cached[row % r->nr_nodes * r->nr_classes + sc] +=
				(top - base) / value_of(l, N_slot_units);
		}
	}
}

static bool count_magazines(struct target *t, const struct layout *l, struct raw *r)
{
	size_t size = (r->nr_nodes * value_of(l, N_rows_per_node) << value_of(l, N_class_bits)) *
		      value_of(l, N_sizeof_mag_hdr);
	uint32_t nr_slots = count_of(l, O_slot_hdrs), nr_locked = count_of(l, O_locked_slots);
	uint64_t *slots = xalloc(nr_slots, sizeof(*slots)), addr;
	char *locked = xalloc(nr_locked, size_of(l, O_locked_slots));
	char *hdrs = xalloc(1, size);
	bool ok;

	ok = size_of(l, O_slot_hdrs) == sizeof(*slots) &&
	     target_read(t, value_of(l, O_slot_hdrs), slots, nr_slots * sizeof(*slots)) &&
	     target_read(t, value_of(l, O_locked_slots), locked,
			 (size_t)nr_locked * size_of(l, O_locked_slots));
	for (uint32_t i = 0; i < nr_slots + nr_locked && ok; i++) {
		if (i < nr_slots)
			addr = slots[i];
		else
			addr = member(l, M_locked_slot_hdrs, locked + (size_t)(i - nr_slots) *
				      size_of(l, O_locked_slots));
		if (!addr)
			continue;
		ok = target_read(t, addr, hdrs, size);
		if (ok)
			count_slot(l, r, r->cached, hdrs);
	}
	free(slots);
	free(locked);
	free(hdrs);
	return ok;
}

static const char *mcentral_of(const struct layout *l, const struct raw *r, uint64_t nid,
			       uint64_t sc)
{
	return r->mcentrals + (nid * r->nr_classes + sc) * size_of(l, O_mcentrals);
}

static void raw_free(struct raw *r)
{
	free(r->mheaps);
	free(r->mcentrals);
	free(r->stacks);
	free(r->classes);
	free(r->cached);
}

static bool raw_read(struct target *t, const struct layout *l, struct raw *r)
{
	size_t nr = r->nr_nodes * r->nr_classes;
	size_t stacks = nr * value_of(l, N_stacks_per_depot);

	r->settled = true;
	r->mheaps = xalloc(r->nr_nodes, size_of(l, O_mheaps));
	r->mcentrals = xalloc(nr, size_of(l, O_mcentrals));
	r->stacks = xalloc(stacks, size_of(l, O_depot_stacks));
	r->classes = xalloc(r->nr_classes, size_of(l, O_size_classes));
	r->cached = xalloc(nr, sizeof(*r->cached));
	if (!read_mheaps(t, l, r) || !count_magazines(t, l, r) ||
	    !target_read(t, value_of(l, O_mcentrals), r->mcentrals,
			 nr * size_of(l, O_mcentrals)) ||
	    stacks > count_of(l, O_depot_stacks) ||
	    !target_read(t, value_of(l, O_depot_stacks), r->stacks,
			 stacks * size_of(l, O_depot_stacks)) ||
	    !target_read(t, value_of(l, O_size_classes), r->classes,
			 r->nr_classes * size_of(l, O_size_classes)))
		return false;
	for (uint64_t i = 0; i < nr; i++)
		r->cached[i] += member(l, M_mcentral_depot_objects,
				       r->mcentrals + i * size_of(l, O_mcentrals));
	return true;
}

static uint64_t class_member(const struct layout *l, const struct raw *r, uint64_t sc,
			     enum item i)
{
	return member(l, i, r->classes + sc * size_of(l, O_size_classes));
}

/*
 * Nodes, classes, totals.
 */

/* What the stacks of one depot have counted. */
static uint64_t stacks_sum(const struct layout *l, const struct raw *r, size_t depot,
			   enum item i)
{
	uint64_t nr = value_of(l, N_stacks_per_depot), sum = 0;

	for (uint64_t k = 0; k < nr; k++)
		sum += member(l, i, r->stacks + (depot * nr + k) * size_of(l, O_depot_stacks));
	return sum;
}

/* Objects handed to caches, and times: from spans and from depots. */
static uint64_t nr_refill(const struct layout *l, const struct raw *r, uint64_t nid,
			  uint64_t sc)
{
	const char *mc = mcentral_of(l, r, nid, sc);

	return member(l, M_mcentral_nr_refill, mc) + member(l, M_mcentral_depot_refill, mc) +
	       stacks_sum(l, r, nid * r->nr_classes + sc, M_depot_stack_nr_popped);
}

static uint64_t nr_refills(const struct layout *l, const struct raw *r, uint64_t nid,
			   uint64_t sc)
{
	const char *mc = mcentral_of(l, r, nid, sc);

	return member(l, M_mcentral_nr_refills, mc) + member(l, M_mcentral_depot_refills, mc) +
	       stacks_sum(l, r, nid * r->nr_classes + sc, M_depot_stack_nr_pops);
}

static void read_node(const struct layout *l, const struct raw *r, uint64_t nid,
		      struct figures *f)
{
	const char *h = r->mheaps + nid * size_of(l, O_mheaps);
	unsigned int shift = value_of(l, N_page_shift);
	uint64_t pages = member(l, M_mheap_nr_pages, h), nr_free = member(l, M_mheap_nr_free, h);
	uint64_t nr_scav = member(l, M_mheap_nr_scav, h), dropped = 0;
	uint64_t donated = member(l, M_mheap_nr_donated, h);
	struct node_figures *n = &f->nodes[nid];
	struct totals *s = &f->totals;

	count_windows(l, h, &nr_free, &nr_scav);
	n->node = nid;
	n->mapped = less(pages, donated) << shift;
	n->in_use = less(less(pages, nr_free), donated) << shift;
	n->free = less(nr_free, nr_scav) << shift;
	n->returned = nr_scav << shift;
	n->large = member(l, M_mheap_large_bytes, h);
	n->out = n->large;
	n->nr_spans = member(l, M_mheap_nr_spans, h);
	for (uint64_t sc = 1; sc < r->nr_classes; sc++) {
		const char *mc = mcentral_of(l, r, nid, sc);

		dropped += member(l, M_mcentral_dropped, mc);
		n->out += member(l, M_mcentral_nr_out, mc) *
			  class_member(l, r, sc, M_size_class_size);
		s->nr_refill += nr_refill(l, r, nid, sc);
		s->nr_refills += nr_refills(l, r, nid, sc);
		s->nr_flushes += member(l, M_mcentral_nr_flushes, mc);
	}
	dropped = min_u64(dropped, n->in_use);
	n->in_use -= dropped;
	n->returned += dropped;
	s->mapped += n->mapped;
	s->in_use += n->in_use;
	s->free += n->free;
	s->returned += n->returned;
	s->live += n->out;
	s->large += n->large;
	s->nr_spans += n->nr_spans;
	s->nr_large_live += member(l, M_mheap_nr_large_now, h);
	s->nr_large += member(l, M_mheap_nr_large, h);
	s->nr_spans_total += member(l, M_mheap_nr_spans_total, h);
}

static void read_class(const struct layout *l, const struct raw *r, uint64_t sc,
		       struct figures *f)
{
	struct class_figures *c = &f->classes[f->nr_classes];
	uint64_t out = 0;

	*c = (struct class_figures){ .class_no = sc };
	c->object_size = class_member(l, r, sc, M_size_class_size);
	c->span_size = class_member(l, r, sc, M_size_class_pages) << value_of(l, N_page_shift);
	for (uint64_t nid = 0; nid < r->nr_nodes; nid++) {
		const char *mc = mcentral_of(l, r, nid, sc);

		out += member(l, M_mcentral_nr_out, mc);
		c->nr_spans += member(l, M_mcentral_nr_spans, mc);
		c->nr_refill += nr_refill(l, r, nid, sc);
		c->nr_refills += nr_refills(l, r, nid, sc);
		c->nr_flushes += member(l, M_mcentral_nr_flushes, mc);
		c->nr_cached += r->cached[nid * r->nr_classes + sc];
	}
	c->nr_objects = c->nr_spans * class_member(l, r, sc, M_size_class_nelems);
	c->nr_live = less(out, c->nr_cached);
	f->totals.cached += c->nr_cached * c->object_size;
	f->nr_classes += c->nr_spans || c->nr_refill;
}

static void read_large(struct figures *f)
{
	f->classes[f->nr_classes] = (struct class_figures){
		.nr_spans = f->totals.nr_large_live,
		.nr_objects = f->totals.nr_large_live,
		.nr_live = f->totals.nr_large_live,
		.nr_refill = f->totals.nr_large,
	};
	f->nr_classes += f->totals.nr_large > 0;
}

/*
 * Lists of what the user has made: heaps and object caches.
 */

/* The name in it made fit to be printed. */
static void copy_name(const struct layout *l, enum item i, const void *from, char *to)
{
	size_t n = size_of(l, i), at;

	for (at = 0; at < n && at < NAME_SIZE - 1; at++) {
		char c = member_ptr(l, i, from, 0)[at];

		if (!c)
			break;
		to[at] = c < ' ' || c > '~' ? '?' : c;
	}
	to[at] = 0;
}

/* Those in use; *small: bytes of their objects that have no span of their own. */
static bool read_heaps(struct target *t, const struct layout *l, struct figures *f,
		       uint64_t *small)
{
	char *buf = xalloc(1, value_of(l, N_sizeof_ha_heap));
	uint64_t at;
	bool ok = object(t, l, O_heaps_all, &at);

	*small = 0;
	for (int i = 0; i < MAX_LIST && at && ok; i++, at = member(l, M_ha_heap_next, buf)) {
		struct heap_figures *h;

		ok = target_read(t, at, buf, value_of(l, N_sizeof_ha_heap));
		if (!ok || !member(l, M_ha_heap_used, buf))
			continue;
		f->heaps = xgrow(f->heaps, f->nr_heaps, sizeof(*f->heaps));
		h = &f->heaps[f->nr_heaps++];
		copy_name(l, M_ha_heap_name, buf, h->name);
		h->limit = member(l, M_ha_heap_limit, buf);
		if (h->limit == NO_LIMIT)
			h->limit = 0;
		h->mapped = member(l, M_ha_heap_mapped, buf);
		h->live = member(l, M_ha_heap_live, buf);
		h->nr_live = member(l, M_ha_heap_nr_live, buf);
		h->nr_allocs = member(l, M_ha_heap_nr_allocs, buf);
		h->nr_frees = member(l, M_ha_heap_nr_frees, buf);
		h->nr_tiny = member(l, M_ha_heap_nr_tiny, buf);
		*small += less(h->live, member(l, M_ha_heap_large, buf));
	}
	free(buf);
	return ok;
}

static bool read_caches(struct target *t, const struct layout *l, struct figures *f,
			uint64_t *kept)
{
	char *buf = xalloc(1, value_of(l, N_sizeof_ha_cache));
	uint64_t at;
	bool ok = object(t, l, O_caches_all, &at);

	*kept = 0;
	for (int i = 0; i < MAX_LIST && at && ok; i++, at = member(l, M_ha_cache_next, buf)) {
		struct cache_figures *c;

		ok = target_read(t, at, buf, value_of(l, N_sizeof_ha_cache));
		if (!ok || !member(l, M_ha_cache_used, buf))
			continue;
		f->caches = xgrow(f->caches, f->nr_caches, sizeof(*f->caches));
		c = &f->caches[f->nr_caches++];
		copy_name(l, M_ha_cache_name, buf, c->name);
		c->object_size = member(l, M_ha_cache_object_size, buf);
		c->usable = member(l, M_ha_cache_usable, buf);
		c->nr_constructed = member(l, M_ha_cache_fresh, buf);
		c->nr_destroyed = member(l, M_ha_cache_dropped, buf) +
				  member(l, M_ha_cache_destroyed, buf);
		c->nr_allocs = c->nr_constructed;
		c->nr_frees = member(l, M_ha_cache_dropped, buf);
		for (uint32_t s = 0; s < count_of(l, M_ha_cache_stripe); s++) {
			const char *p = member_ptr(l, M_ha_cache_stripe, buf, s);

			c->nr_kept += member(l, M_objcache_stripe_n, p);
			c->nr_allocs += member(l, M_objcache_stripe_allocs, p);
			c->nr_frees += member(l, M_objcache_stripe_frees, p);
		}
		c->nr_live = less(c->nr_allocs, c->nr_frees);
		*kept += c->nr_kept * c->usable;
	}
	free(buf);
	return ok;
}

/*
 * The rest.
 */

static uint64_t limit_of(uint64_t bytes)
{
	return bytes == NO_LIMIT ? 0 : bytes;
}

static bool read_words(struct target *t, const struct layout *l, struct figures *f)
{
	uint64_t soft, hard, outer, check;
	struct totals *s = &f->totals;

	if (!object(t, l, O_limit_soft, &soft) || !object(t, l, O_limit_hard, &hard) ||
	    !object(t, l, O_limit_outer, &outer) || !object(t, l, O_conf_check, &check) ||
	    !object(t, l, O_meta_bytes, &s->metadata) ||
	    !object(t, l, O_vm_reserved, &s->reserved) ||
	    !object(t, l, O_nr_assists, &s->nr_assists) ||
	    !object(t, l, O_assist_bytes, &s->assist_bytes) ||
	    !object(t, l, O_nr_limited, &s->nr_limited) ||
	    !object(t, l, O_rseq_usable, &s->rseq))
		return false;
	s->soft_limit = limit_of(min_u64(soft, min_u64(hard, outer)));
	s->hard_limit = limit_of(hard);
	f->check = check;
	return true;
}

static bool read_all(struct target *t, const struct layout *l, struct raw *r,
		     struct figures *f)
{
	uint64_t small, kept;

	if (!raw_read(t, l, r) || !read_words(t, l, f) || !read_heaps(t, l, f, &small) ||
	    !read_caches(t, l, f, &kept))
		return false;
	f->totals.nr_nodes = f->nr_nodes = r->nr_nodes;
	f->nodes = xalloc(r->nr_nodes, sizeof(*f->nodes));
	for (uint64_t n = 0; n < r->nr_nodes; n++)
		read_node(l, r, n, f);
	f->classes = xalloc(r->nr_classes + 1, sizeof(*f->classes));
	read_large(f);
	for (uint64_t sc = 1; sc < r->nr_classes; sc++)
		read_class(l, r, sc, f);
	f->settled = r->settled;
	f->totals.cached += kept;
	f->totals.live = less(f->totals.live, f->totals.cached) + small;
	return !t->live || process_read(t, l, &f->process);
}

int figures_read(struct target *t, const struct layout *l, struct figures *f)
{
	struct raw r = { .nr_classes = value_of(l, N_nr_classes) };
	uint64_t nr_arenas;
	bool ok;

	*f = (struct figures){ .pid = t->pid, .live = t->live };
	memcpy(f->command, t->command, sizeof(f->command));
	memcpy(f->version, l->version, sizeof(f->version));
	memcpy(f->arch, l->arch, sizeof(f->arch));
	if (!object(t, l, O_nr_nodes, &r.nr_nodes) ||
	    !object(t, l, O_arenas_nr, &nr_arenas))
		return target_failed(t, "the heap");
	if (!nr_arenas)
		return fail("%s: its heap has not been used yet", t->name);
	if (!r.nr_nodes || r.nr_nodes > value_of(l, N_max_nodes) ||
	    r.nr_nodes > count_of(l, O_mheaps))
		return fail("%s: the heap is damaged: %lu nodes", t->name,
			    (unsigned long)r.nr_nodes);
	ok = read_all(t, l, &r, f);
	raw_free(&r);
	if (ok && !target_gone(t))
		return 0;
	figures_free(f);
	return target_failed(t, "the heap");
}

void figures_free(struct figures *f)
{
	free(f->nodes);
	free(f->classes);
	free(f->heaps);
	free(f->caches);
	*f = (struct figures){ 0 };
}

int figures_of(const char *what, struct figures *f)
{
	struct layout l;
	struct target t;
	int ret = layout_open(&t, what, &l);

	if (ret)
		return ret;
	ret = figures_read(&t, &l, f);
	target_close(&t);
	return ret;
}
