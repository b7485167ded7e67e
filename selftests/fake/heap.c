// SPDX-License-Identifier: MIT
/*
 * The walk goes from the page entries outwards: each page of each arena belongs to
 * one span, to a window, or is free, and each of them is counted once:
 *
 *	pages of spans + pages in windows + free in page_alloc
 *	               + pages that became metadata            = grown pages
 *	objects out of spans, by class and node                = mcentral.nr_out
 *	spans with room, by class and node                     = mcentral.partial
 *
 * Everything is recomputed from the words and bits; the counters that the layers
 * keep are only compared with.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <stdlib.h>
#include <stdio.h>
#include <unistd.h>

#include "conf.h"
#include "fixalloc.h"
#include "keep.h"
#include "limit.h"
#include "mcache.h"
#include "mheap.h"
#include "numa.h"

#include "heap.h"

extern const ptrdiff_t __rseq_offset __weak;
extern const unsigned int __rseq_size __weak;

const struct heap_mode heap_modes[NR_HEAP_MODES] = {
	{ .name = "percpu" },
	{ .name = "locked", .locked = true },
	{ .name = "nodes", .fake = 4 },
	{ .name = "locked nodes", .locked = true, .fake = 3 },
	{ .name = "unchecked", .unchecked = true },
};

void heap_mode_set(const struct heap_mode *mode)
{
	conf.rseq = !mode->locked;
	conf.check = !mode->unchecked;
	conf.numa_fake = mode->fake;
	conf.numa = mode->strict ? VM_BIND_STRICT :
		    mode->fake ? VM_BIND_OFF : VM_BIND_ADVISORY;
}

void heap_layers_init(const struct heap_mode *mode)
{
	heap_mode_set(mode);
	vm_init();
	topo_init(conf.numa_fake, conf.numa_on);
	if (heap_arena_init() || mheap_init(topo.nr_nodes) || mcache_init())
		abort();
	mcentral_init(topo.nr_nodes);
	keep_init(topo.nr_nodes);
}

static char *rseq_area(void)
{
	if (!&__rseq_size || !__rseq_size)
		return NULL;
	return (char *)__builtin_thread_pointer() + __rseq_offset;
}

bool heap_has_rseq(void)
{
	char *rs = rseq_area();

	return rs && *(volatile int32_t *)(rs + RSEQ_OFF_CPU_ID) >= 0;
}

bool heap_drop_rseq(void)
{
	/* 1: RSEQ_FLAG_UNREGISTER; 32: what libc registers, whatever it says */
	return heap_has_rseq() &&
	       syscall(SYS_rseq, rseq_area(), 32, 1, RSEQ_SIGNATURE) == 0;
}

static size_t address_space(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%lu", &pages) != 1)
		abort();
	fclose(f);
	return pages * sysconf(_SC_PAGESIZE);
}

void heap_limit_as(size_t room)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_AS, &rl))
		abort();
	rl.rlim_cur = address_space() + room;
	if (setrlimit(RLIMIT_AS, &rl))
		abort();
}

bool heap_hint_is_free(void)
{
	void *hint = (void *)VM_ARENA_HINT;
	void *p = mmap(hint, ARENA_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p != MAP_FAILED)
		munmap(p, ARENA_SIZE);
	return p == hint;
}

static bool as_limit_holds(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		heap_limit_as(16UL << 20);
		_exit(mmap(NULL, 64UL << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0) == MAP_FAILED);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid &&
	       WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

const char *heap_no_short_arenas(void)
{
	if (!as_limit_holds())
		return "RLIMIT_AS does not hold here";
	return heap_hint_is_free() ? NULL : "the first arena's address is taken";
}

/* By node and class, while the walk goes on. */
struct walk {
	struct heap_sum *sum;
	bool orphans;		/* passed over: spans that are in nobody's hands */
	size_t pages[MAX_NODES];
	size_t spans[MAX_NODES];
	size_t large_bytes[MAX_NODES];
	size_t out[MAX_NODES][NR_SIZE_CLASSES];
	size_t room[MAX_NODES][NR_SIZE_CLASSES];
	size_t dropped[MAX_NODES][NR_SIZE_CLASSES];
};

static const struct page_entry none;

static bool same_entry(const struct page_entry *a, const struct page_entry *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static bool start_at(uintptr_t addr)
{
	struct heap_arena *ha = arena_lookup(addr);

	return ha && bitmap_test(ha->start,
				 (addr >> HA_PAGE_SHIFT) & (ARENA_PAGES - 1));
}

/* The pages of a span, the first one apart. */
static const char *walk_pages(struct mspan *s, const struct page_entry *first)
{
	for (size_t i = 1; i < s->nr_pages; i++) {
		uintptr_t addr = s->start + i * HA_PAGE_SIZE;
		const struct page_entry *e = arena_entry(addr);

		if (!e || !same_entry(e, i < span_entries(s->nr_pages, s->sc) ? first : &none))
			return "a page entry inside a span";
		if (start_at(addr))
			return "a start bit inside a span";
		if (heap_arena_find_span(addr) != s)
			return "a page of a span that is not found";
	}
	return NULL;
}

/* An object that is out has all of its memory. */
static bool touches_dropped(const struct mspan *s, unsigned int idx)
{
	size_t from = (size_t)idx * s->size / vm_page_size;
	size_t last = ((size_t)(idx + 1) * s->size - 1) / vm_page_size;

	for (; from <= last && from < 32; from++)
		if (s->dropped >> from & 1)
			return true;
	return false;
}

static const char *walk_small(struct walk *w, struct mspan *s, bool heap)
{
	unsigned int n = s->nid, sc = s->sc;

	if (s->state != MSPAN_SMALL || s->nr_pages != size_classes[sc].pages ||
	    s->size != size_classes[sc].size || s->nelems != size_classes[sc].nelems)
		return "a small span's header";
	/* check:off leaves states as they are when objects are freed */
	if (conf.check && !mspan_validate(s))
		return "a small span's bits";
	/* a heap of the user's has its objects and lists to itself */
	if (heap)
		return mspan_validate(s) ? NULL : "the bits of a span of a heap";
	w->out[n][sc] += s->nr_alloc;
	w->room[n][sc] += !mspan_full(s);
	w->sum->out[sc] += s->nr_alloc;
	w->dropped[n][sc] += popcount64(s->dropped) * vm_page_size;
	for (unsigned int i = 0; i < s->nelems; i++) {
		w->sum->live[sc] += s->object_state[i] != OBJECT_FREE;
		if (bitmap_test(s->bits, i) && touches_dropped(s, i))
			return "an object out on a page that was given back";
	}
	return NULL;
}

static const char *walk_span(struct walk *w, struct heap_arena *ha,
			     uintptr_t addr, const struct page_entry *e)
{
	bool heap = page_entry_route(e) == ROUTE_HEAP;
	struct mspan *s = page_entry_span(e);
	const char *bad;

	if (w->orphans && (s->start != addr || s->state == MSPAN_DEAD || walk_pages(s, e)))
		return NULL;
	if (s->start != addr || s->object_state != e->states)
		return "a page entry that leads to another span";
	if (s->nid != ha->nid)
		return "a span in another node's arena";
	if (!heap && page_entry_route(e) != (s->sc ? route_make(s->nid, s->sc) : 0))
		return "a route";
	if (e->magic != (s->sc && !heap ? size_classes[s->sc].magic : 0) ||
	    place_offset(e->place, addr))
		return "a page entry's arithmetic";
	if (page_alloc_count_free(&mheaps[s->nid].pages, addr, s->nr_pages))
		return "a page of a span that is free in page_alloc";
	bad = walk_pages(s, e);
	if (bad)
		return bad;
	w->pages[s->nid] += s->nr_pages;
	w->spans[s->nid]++;
	w->sum->spans++;
	w->sum->used_pages += s->nr_pages;
	if (s->sc)
		return walk_small(w, s, heap);
	w->sum->large++;
	w->large_bytes[s->nid] += mspan_size(s);
	return s->state == MSPAN_LARGE ? NULL : "a large span's state";
}

/* Each entry is a span's first page, or one that walk_pages() looks at. */
static const char *walk_entry(struct walk *w, struct heap_arena *ha, size_t i)
{
	uintptr_t addr = ha->base + i * HA_PAGE_SIZE;
	const struct page_entry *e = &ha->page[i];
	struct mspan *s;

	if (w->orphans && !(e->states && bitmap_test(ha->start, i)))
		return NULL;
	if (arena_entry(addr) != e)
		return "two entries of a page";
	if (same_entry(e, &none))
		return bitmap_test(ha->start, i) ? "a start bit without a page entry" : NULL;
	if (bitmap_test(ha->start, i))
		return walk_span(w, ha, addr, e);
	s = page_entry_span(e);
	if (s->start == addr || !mspan_contains(s, addr) || !start_at(s->start))
		return "a page entry of no span";
	return NULL;
}

static const char *walk_arenas(struct walk *w)
{
	const char *bad = NULL;
	struct heap_arena *ha;

	for (size_t n = 0; (ha = heap_arena_nth(n)) && !bad; n++) {
		if (arena_lookup(ha->base) != ha)
			return "an arena that is not in the index";
		for (size_t i = 0; i < ARENA_PAGES && !bad; i++)
			bad = walk_entry(w, ha, i);
	}
	return bad;
}

static const char *walk_windows(unsigned int nid, size_t *nr)
{
	struct mheap *h = &mheaps[nid];

	*nr = 0;
	for (unsigned int c = 0; c < NR_HEAP_CACHES; c++) {
		const struct page_cache *pc = &h->cache[c].pages;

		if (h->cache[c].lock.word)
			return "a page cache's lock that is held";
		if (pc->scav & ~pc->free)
			return "a window's scavenged pages";
		for (unsigned int i = 0; i < PAGE_CACHE_PAGES; i++) {
			uintptr_t addr = pc->base + i * HA_PAGE_SIZE;

			if (!(pc->free >> i & 1))
				continue;
			(*nr)++;
			if (!same_entry(arena_entry(addr), &none))
				return "a page entry of a page in a window";
			if (page_alloc_count_free(&h->pages, addr, 1))
				return "a page in a window that is free in page_alloc";
		}
	}
	return NULL;
}

static const char *walk_set(const struct span_set *set, unsigned int nid,
			    unsigned int sc, size_t room, size_t *missing)
{
	size_t nr = 0;

	for (unsigned int i = 0; i < SPAN_SET_LISTS; i++) {
		struct list_head *pos;

		if (list_empty(&set->lists[i]) != !(set->nonempty >> i & 1))
			return "a span set's mask";
		list_for_each(pos, &set->lists[i]) {
			struct mspan *s = list_entry(pos, struct mspan, link);

			if (s->nid != nid || s->sc != sc || s->set_idx != i ||
			    s->state != MSPAN_SMALL)
				return "a span on a set of others";
			if (s->nr_alloc * SPAN_SET_LISTS / s->nelems != i)
				return "a span on a list of another fill";
			nr++;
		}
	}
	if (nr != set->nr_spans)
		return "a span set's count";
	*missing = room - nr;
	return nr <= room ? NULL : "more spans in the partial set than have room";
}

static const char *walk_centrals(struct walk *w, unsigned int nid)
{
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		struct mcentral *mc = &mcentrals[nid][sc];
		const char *bad;
		size_t missing;

		if (mc->lock.word)
			return "an mcentral lock that is held";
		if (mc->nr_out != (int64_t)w->out[nid][sc])
			return "mcentral's count of objects out";
		if (mc->dropped != w->dropped[nid][sc])
			return "mcentral's bytes dropped";
		bad = walk_set(&mc->partial, nid, sc, w->room[nid][sc], &missing);
		if (bad)
			return bad;
		if (missing && !w->orphans)
			return "a span with room that is not in the partial set";
	}
	return NULL;
}

static const char *walk_node(struct walk *w, unsigned int nid)
{
	struct mheap *h = &mheaps[nid];
	size_t windows, sum;
	const char *bad = walk_windows(nid, &windows);

	if (bad)
		return bad;
	if (h->lock.word)
		return "a heap's lock that is held";
	if (!page_alloc_validate(&h->pages))
		return "page_alloc";
	sum = w->pages[nid] + windows + h->pages.nr_free + h->nr_donated;
	if (sum > h->pages.nr_pages)
		return "pages that are used and free";
	if (sum < h->pages.nr_pages && !w->orphans)
		return "pages that are neither used nor free";
	if (h->nr_spans != w->spans[nid] && !w->orphans)
		return "the heap's count of spans";
	if (h->large_bytes != w->large_bytes[nid] && !w->orphans)
		return "the heap's large bytes";
	return walk_centrals(w, nid);
}

/* What the limit's account has, against the pages themselves. */
static const char *walk_account(const struct walk *w)
{
	size_t ready = 0, dropped = 0;

	for (unsigned int n = 0; n < topo.nr_nodes; n++) {
		const struct mheap *h = &mheaps[n];

		if (h->charged)
			return "a charge that has not ended";
		if (h->ready != (h->pages.nr_pages - h->pages.nr_scav - h->nr_going)
				<< HA_PAGE_SHIFT)
			return "a heap's account of what is ready";
		ready += h->ready;
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
			dropped += w->dropped[n][sc];
	}
	if (limit_total() != ready + meta_bytes() - dropped)
		return "the limit's account";
	return NULL;
}

static const char *walk(struct heap_sum *sum, bool orphans)
{
	static struct walk w;
	size_t bytes = 0;
	const char *bad;

	memset(&w, 0, sizeof(w));
	memset(sum, 0, sizeof(*sum));
	w.sum = sum;
	w.orphans = orphans;
	bad = walk_arenas(&w);
	for (unsigned int n = 0; n < topo.nr_nodes && !bad; n++) {
		bad = walk_node(&w, n);
		bytes += mheaps[n].pages.nr_pages << HA_PAGE_SHIFT;
		/* prepared, but page_alloc had no metadata for it yet */
		bytes += mheaps[n].ready_end - mheaps[n].grow_base;
	}
	if (!bad && vm_stat.prepared[VM_HEAP] != bytes)
		bad = "prepared memory that no heap has";
	return bad ? bad : walk_account(&w);
}

const char *heap_walk(struct heap_sum *sum)
{
	return walk(sum, false);
}

const char *heap_walk_child(struct heap_sum *sum)
{
	return walk(sum, true);
}

unsigned int heap_sum_mismatches(const struct heap_sum *sum)
{
	unsigned int nr = 0;

	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
		nr += sum->out[sc] != sum->live[sc] + mcache_nr_cached(sc);
	return nr;
}
