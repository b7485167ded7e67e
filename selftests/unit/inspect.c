// SPDX-License-Identifier: MIT
/*
 * inspect: the description that readers from outside go by, against the truth. All
 * names are there, once; and a reader who knows nothing but the description finds the
 * counters, the caches and the spans that the library itself reports.
 */
#include <string.h>

#include "conf.h"
#include "fixalloc.h"
#include "inspect.h"
#include "limit.h"
#include "mcache.h"
#include "mheap.h"
#include "stats.h"

#include "fake/early.h"

static const struct {
	const char *name;
	enum ha_inspect_kind kind;
} names[] = {
#define N(n)	{ #n, HA_INSPECT_NUMBER },
#define O(n)	{ #n, HA_INSPECT_OBJECT },
#define M(t, n)	{ #t "." #n, HA_INSPECT_MEMBER },
	HA_INSPECT_NAMES(N, O, M)
#undef N
#undef O
#undef M
};

/* The entry of a name, which stands in one table, once. */
static const struct ha_inspect_entry *entry(const char *name)
{
	const struct ha_inspect_entry *found = NULL;

	for (int i = 0; i < HA_INSPECT_TABLES && heaparena_inspect.tables[i]; i++) {
		const struct ha_inspect_entry *e =
			(const void *)(uintptr_t)heaparena_inspect.tables[i];

		for (int n = 0; e[n].kind != HA_INSPECT_END; n++) {
			check(n < HA_INSPECT_MAX - 1 && e[n].name[HA_INSPECT_NAME - 1] == 0);
			if (strcmp(e[n].name, name))
				continue;
			check(!found);
			found = &e[n];
		}
	}
	check(found);
	return found;
}

static uint64_t value(const char *name)
{
	return entry(name)->value;
}

static uint64_t number_at(const void *p, const struct ha_inspect_entry *e)
{
	uint64_t v = 0;

	check(e->size == 1 || e->size == 2 || e->size == 4 || e->size == 8);
	memcpy(&v, p, e->size);
	return v;
}

static uint64_t object(const char *name)
{
	const struct ha_inspect_entry *e = entry(name);

	check(e->kind == HA_INSPECT_OBJECT);
	return number_at((const void *)(uintptr_t)e->value, e);
}

/* Member @i of @name in the structure at @p. */
static uint64_t member(const char *name, uintptr_t p, unsigned int i)
{
	const struct ha_inspect_entry *e = entry(name);

	check(e->kind == HA_INSPECT_MEMBER && i < e->count);
	return number_at((const char *)p + e->value + i * e->size, e);
}

static uintptr_t element(const char *name, unsigned int i)
{
	const struct ha_inspect_entry *e = entry(name);

	check(i < e->count);
	return e->value + i * e->size;
}

START_TEST(head)
{
	const struct ha_inspect *in = &heaparena_inspect;

	check((uintptr_t)in % HA_INSPECT_ALIGN == 0 && in->self == (uintptr_t)in);
	check(!memcmp(in->magic, HA_INSPECT_MAGIC, sizeof(in->magic)));
	check(in->format == HA_INSPECT_FORMAT);
	check(in->entry_size == sizeof(struct ha_inspect_entry));
	check(!strcmp(in->version, HEAPARENA_VERSION) && in->arch[0]);
	check(in->tables[0] && !in->tables[HA_INSPECT_TABLES - 1]);
}
END_TEST

START_TEST(all_names)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const struct ha_inspect_entry *e = entry(names[i].name);

		check(e->kind == names[i].kind);
		if (e->kind == HA_INSPECT_NUMBER)
			continue;
		check(e->size && e->count);
		check(e->kind == HA_INSPECT_MEMBER || e->value);
	}
}
END_TEST

START_TEST(words)
{
	struct ha_stats st = { .size = sizeof(st) };
	size_t soft, hard, nr = 0;

	check(object("arenas_nr") == 0);
	heap_up(&heap_modes[_i]);
	ha_limit_set(100 << 20, 200 << 20);
	ha_free(ha_malloc(10));
	check(ha_stats_get(&st) == 0);
	while (heap_arena_nth(nr))
		nr++;
	limit_get(&soft, &hard);
	check(nr && object("arenas_nr") == nr);
	check(object("nr_nodes") == topo.nr_nodes && object("nodes_fake") == topo.fake);
	check(object("meta_bytes") == meta_bytes() && object("kernel_page") == vm_page_size);
	check(object("vm_reserved") == st.reserved);
	check(object("limit_soft") == soft && soft == 100 << 20);
	check(object("limit_hard") == hard && hard == 200 << 20);
	check(object("limit_outer") == LIMIT_NONE);
	check(object("rseq_usable") == mcache_uses_rseq());
	check(object("conf_check") == conf.check && object("conf_numa") == conf.numa);
	check(object("nr_assists") == st.nr_assists && object("nr_limited") == st.nr_limited);
}
END_TEST

/* Objects of class @sc in magazines and depots. */
static uint64_t cached_outside(unsigned int sc)
{
	uint64_t rows = object("nr_nodes") * value("rows_per_node"), n = 0;
	uint64_t stride = value("sizeof_mag_hdr");
	unsigned int nr_slots = entry("slot_hdrs")->count;
	unsigned int nr_locked = entry("locked_slots")->count;

	for (unsigned int i = 0; i < nr_slots + nr_locked; i++) {
		uintptr_t hdrs = i < nr_slots ?
			number_at((void *)element("slot_hdrs", i), entry("slot_hdrs")) :
			member("locked_slot.hdrs", element("locked_slots", i - nr_slots), 0);

		for (uint64_t row = 0; hdrs && row < rows; row++) {
			uintptr_t h = hdrs + (row << value("class_bits") | sc) * stride;

			n += (member("mag_hdr.top", h, 0) - member("mag_hdr.base", h, 0)) /
			     value("slot_units");
		}
		/* Looking for the name of each of 4096 slots takes its time. */
		if (i == 64 && i < nr_slots)
			i = nr_slots - 1;
	}
	for (uint64_t nid = 0; nid < object("nr_nodes"); nid++)
		n += member("mcentral.depot_objects",
			    element("mcentrals", nid * value("nr_classes") + sc), 0);
	return n;
}

START_TEST(counters)
{
	static void *p[20000];
	struct ha_class_stats cs;
	struct mheap_stat hs;
	uint64_t out = 0;

	heap_up(&heap_modes[_i]);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = ha_malloc(100);
	for (size_t i = 0; i < ARRAY_SIZE(p); i += 2)
		ha_free(p[i]);
	check(ha_malloc(3 << 20) != NULL);
	for (unsigned int nid = 0; nid < topo.nr_nodes; nid++) {
		uintptr_t h = element("mheaps", nid);
		uint64_t nr_free = member("mheap.nr_free", h, 0);

		mheap_stat(nid, &hs);
		for (unsigned int i = 0; i < entry("mheap.cache")->count; i++)
			nr_free += popcount64(member("heap_cache.free", h +
				value("mheap.cache") + i * entry("mheap.cache")->size, 0));
		check(member("mheap.nr_pages", h, 0) == hs.pages && nr_free == hs.free);
		check(member("mheap.nr_spans", h, 0) == hs.spans);
		check(member("mheap.large_bytes", h, 0) == hs.large_bytes);
		check(member("mheap.lock", h, 0) == 0);
		out += member("mcentral.nr_out", element("mcentrals",
			      nid * value("nr_classes") + 8), 0);
	}
	stats_class(8, &cs);
	check(cs.object_size == 112);
	check(member("size_class.size", element("size_classes", 8), 0) == 112);
	check(cached_outside(8) == mcache_nr_cached(8) && cs.nr_cached == cached_outside(8));
	check(out - cached_outside(8) == ARRAY_SIZE(p) / 2 && cs.nr_live == ARRAY_SIZE(p) / 2);
}
END_TEST

/* Metadata is in what is listed as such: @size bytes at @addr. */
static bool is_listed(uintptr_t addr, size_t size)
{
	for (uint64_t i = 0; i < object("nr_meta_maps"); i++) {
		uintptr_t map = element("meta_maps", i);
		uintptr_t start = member("meta_map.start", map, 0);

		if (addr >= start && addr + size <= start + member("meta_map.size", map, 0))
			return true;
	}
	return false;
}

/* What there is at @addr, found by the description alone. */
static void check_outside(uintptr_t addr)
{
	struct ha_object o = { .size = sizeof(o) };
	uint64_t page_shift = value("page_shift"), arena_shift = value("arena_shift");
	uintptr_t arena = 0, page, states, span, first;
	unsigned int idx;

	check(ha_lookup((void *)addr, &o) == 1);
	first = (uintptr_t)o.span;
	for (uint64_t i = 0; i < object("arenas_nr"); i++) {
		uintptr_t *const *blocks = (void *)(uintptr_t)object("arenas_walk");
		uintptr_t a = blocks[i / value("walk_block")][i % value("walk_block")];

		if (first - member("heap_arena.base", a, 0) < 1UL << arena_shift)
			arena = a;
	}
	check(arena && is_listed(arena, value("sizeof_heap_arena")) && !is_listed(addr, 1));
	page = (first - member("heap_arena.base", arena, 0)) >> page_shift;
	check(member("heap_arena.start", arena, page / 64) >> (page % 64) & 1);
	page = member("heap_arena.page", arena, 0) + page * value("sizeof_page_entry");
	states = member("page_entry.states", page, 0);
	check(states && is_listed(page, value("sizeof_page_entry")));
	span = ((uintptr_t *)states)[-1];
	check(is_listed(states - 8, 8 + o.nr_objects));
	check(is_listed(span, value("sizeof_mspan")));
	check(member("mspan.start", span, 0) == first);
	check(member("mspan.object_state", span, 0) == states);
	check(member("mspan.sc", span, 0) == o.size_class);
	check(member("mspan.nid", span, 0) == o.node);
	check(member("mspan.nr_pages", span, 0) << page_shift == o.span_size);
	check(member("mspan.nelems", span, 0) == o.nr_objects);
	if (o.heap) {
		check(member("page_entry.place", page, 0) >> value("route_shift") ==
		      value("route_heap"));
		check(member("mspan.heap", span, 0) == (uintptr_t)o.heap);
	}
	idx = o.index;
	check((((uint8_t *)states)[idx] != value("object_free")) ==
	      (o.state == HA_OBJECT_LIVE));
	if (o.size_class)
		check((member("mspan.bits", span, idx / 64) >> (idx % 64) & 1) ==
		      (o.state != HA_OBJECT_FREE));
}

START_TEST(spans)
{
	struct unit_rand r = unit_rand(_i);
	struct ha_heap *h;

	heap_up(&heap_modes[_i]);
	h = ha_heap_create("mine", 0);
	for (int i = 0; i < 300; i++) {
		size_t size = rand_log(&r, 22);
		char *p = ha_malloc(size), *q = ha_heap_alloc(h, size, 0, 0);

		check(p && q);
		check_outside((uintptr_t)p);
		check_outside((uintptr_t)q);
		if (size <= MAX_MEDIUM_SIZE) {
			ha_free(p);
			check_outside((uintptr_t)p);
		}
	}
	check(object("heaps_all") == (uintptr_t)h && member("ha_heap.used", (uintptr_t)h, 0));
	check(!strcmp((char *)h + value("ha_heap.name"), "mine"));
	check(member("ha_heap.nr_live", (uintptr_t)h, 0) == 300);
}
END_TEST

/* A profile of all objects, by its description. */
START_TEST(profile)
{
	uint64_t nr = 0, live = 0, size = 0, stack, shift = value("profile_unit_shift");
	void *p[50];

	heap_up(&heap_modes[_i]);
	check(object("profile_session") == 0 && object("stacks_newest") == 0);
	if (!conf.check) {
		check(ha_profile_start(1) == -1 && object("profile_mean") == 0);
		return;
	}
	check(ha_profile_start(1) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = ha_malloc(i * 100 + 1);
	check(object("profile_session") != 0 && object("profile_mean") == 1);
	for (stack = object("stacks_newest"); stack; stack = member("profile_stack.older", stack, 0)) {
		live += member("profile_stack.count", stack, 2) >> shift;
		size += member("profile_stack.count", stack, 3);
		/* the one for stacks without room is the library's own data */
		check(member("profile_stack.nr", stack, 0) <= entry("profile_stack.pc")->count);
		check(is_listed(stack, value("sizeof_profile_stack") +
				8 * member("profile_stack.nr", stack, 0)) ||
		      !member("profile_stack.older", stack, 0));
	}
	check(live == ARRAY_SIZE(p) && object("samples_nr") == ARRAY_SIZE(p));
	check(size == object("stacks_live"));
	for (uint64_t b = 0; b < object("samples_nr_buckets"); b++) {
		uintptr_t s = ((uintptr_t *)(uintptr_t)object("samples_buckets"))[b];

		for (; s; s = member("profile_sample.next", s, 0)) {
			struct ha_object o = { .size = sizeof(o) };
			uintptr_t addr = member("profile_sample.addr", s, 0);

			check(is_listed(s, value("sizeof_profile_sample")));
			check(ha_lookup((void *)addr, &o) == 1 && o.state == HA_OBJECT_LIVE);
			check(member("profile_sample.size", s, 0) == ha_malloc_usable_size((void *)addr));
			check(member("profile_sample.weight", s, 0) == 1UL << shift);
			nr++;
		}
	}
	check(nr == ARRAY_SIZE(p));
	ha_profile_stop();
	check(object("profile_session") == 0 && object("profile_mean") == 1);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		ha_free(p[i]);
	check(object("samples_nr") == 0 && object("stacks_live") == 0);
}
END_TEST

START_TEST(pages)
{
	uintptr_t p, region, chunk;
	uint64_t shift = value("page_shift"), in_region;
	unsigned int page;

	heap_up(&heap_modes[0]);
	p = (uintptr_t)ha_malloc(5 << 20);
	region = ((uintptr_t *)member("mheap.regions", element("mheaps", 0), 0))
		 [p >> value("region_shift")];
	in_region = p & ((1UL << value("region_shift")) - 1);
	chunk = region + value("palloc_region.chunks") +
		(in_region >> value("chunk_shift")) * entry("palloc_region.chunks")->size;
	page = (p & ((1UL << value("chunk_shift")) - 1)) >> shift;
	check(member("palloc_data.alloc", chunk, page / 64) >> (page % 64) & 1);
	ha_free((void *)p);
	check(!(member("palloc_data.alloc", chunk, page / 64) >> (page % 64) & 1));
	check(!(member("palloc_data.scav", chunk, page / 64) >> (page % 64) & 1));
	ha_release();
	check(member("palloc_data.scav", chunk, page / 64) >> (page % 64) & 1);
	check(member("palloc_region.leaf", region, in_region >> value("chunk_shift")));
}
END_TEST

Suite *unit_suite(void)
{
	Suite *s = suite_create("inspect");
	TCase *tc = tcase_create("description");

	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_test(tc, head);
	tcase_add_test(tc, all_names);
	tcase_add_loop_test(tc, words, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, counters, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, spans, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, profile, 0, NR_HEAP_MODES);
	tcase_add_test(tc, pages);
	suite_add_tcase(s, tc);
	return s;
}
