// SPDX-License-Identifier: MIT
/*
 * The library's description of itself (heaparena/inspect.h), read and checked.
 *
 * It comes from a process or a file that may be anything. After layout_read():
 *  - all names of the format are there;
 *  - numbers that sizes are made of are small, shifts are shifts;
 *  - each member lies inside of its structure, whose size is known, so that a
 *    structure that was read whole can be looked at without a further check;
 *  - what is read as a number has 1, 2, 4 or 8 bytes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"
#include "text.h"

#define MAX_STRUCT	(64UL << 20)
#define MAX_COUNT	(1UL << 20)

static const struct {
	const char *name;
	enum ha_inspect_kind kind;
} names[NR_ITEMS] = {
#define N(n)		{ #n, HA_INSPECT_NUMBER },
#define O(n)		{ #n, HA_INSPECT_OBJECT },
#define M(t, n)		{ #t "." #n, HA_INSPECT_MEMBER },
	HA_INSPECT_NAMES(N, O, M)
#undef N
#undef O
#undef M
};

/* Numbers and what they may be. */
static const struct {
	enum item item;
	uint64_t min;
	uint64_t max;
} bounds[] = {
	{ N_page_shift, 12, 20 }, { N_chunk_shift, 16, 30 }, { N_arena_shift, 20, 36 },
	{ N_region_shift, 24, 44 }, { N_addr_bits, 40, 57 }, { N_nr_classes, 2, 1024 },
	{ N_max_nodes, 1, 1024 }, { N_class_bits, 1, 10 }, { N_route_shift, 1, 31 },
	{ N_route_heap, 1, 65535 }, { N_offset_mask, 1, UINT32_MAX },
	{ N_object_free, 0, 255 }, { N_slot_units, 1, 64 }, { N_rows_per_node, 1, 8 },
	{ N_walk_block, 1, 1 << 20 }, { N_size_classes_medium, 1, 1024 },
	{ N_sizeof_heap_arena, 16, 1 << 20 }, { N_sizeof_page_entry, 8, 256 },
	{ N_sizeof_mspan, 16, 4096 }, { N_sizeof_mag_hdr, 8, 256 },
	{ N_sizeof_palloc_region, 4096, MAX_STRUCT }, { N_sizeof_ha_heap, 16, 1 << 20 },
	{ N_sizeof_ha_cache, 16, 1 << 20 }, { N_object_sampled, 0, 255 },
	{ N_stacks_per_depot, 1, 4096 }, { N_order_start, 1, 255 }, { N_order_stop, 1, 255 }, { N_profile_unit_shift, 0, 32 },
	{ N_sizeof_profile_stack, 16, 4096 }, { N_sizeof_profile_sample, 16, 4096 },
};

/* How large a structure is, by the name in front of the dot. */
static const struct {
	const char *name;
	enum item item;		/* a number, or what has elements of it */
} structs[] = {
	{ "size_class", O_size_classes }, { "heap_arena", N_sizeof_heap_arena },
	{ "page_entry", N_sizeof_page_entry }, { "mspan", N_sizeof_mspan },
	{ "palloc_region", N_sizeof_palloc_region },
	{ "palloc_data", M_palloc_region_chunks }, { "mheap", O_mheaps },
	{ "heap_cache", M_mheap_cache }, { "mcentral", O_mcentrals },
	{ "locked_slot", O_locked_slots }, { "mag_hdr", N_sizeof_mag_hdr },
	{ "ha_heap", N_sizeof_ha_heap }, { "ha_cache", N_sizeof_ha_cache },
	{ "objcache_stripe", M_ha_cache_stripe },
	{ "profile_stack", N_sizeof_profile_stack },
	{ "profile_sample", N_sizeof_profile_sample }, { "meta_map", O_meta_maps },
	{ "depot_stack", O_depot_stacks },
};

uint64_t member_at(const struct layout *l, enum item i, const void *p, uint32_t n)
{
	const char *from = member_ptr(l, i, p, n);
	uint64_t v = 0;

	switch (size_of(l, i)) {
	case 1:
	case 2:
	case 4:
	case 8:
		memcpy(&v, from, size_of(l, i));
	}
	return v;
}

bool item_is_object(enum item i)
{
	return names[i].kind == HA_INSPECT_OBJECT;
}

bool object(struct target *t, const struct layout *l, enum item i, uint64_t *value)
{
	*value = 0;
	return size_of(l, i) <= sizeof(*value) &&
	       target_read(t, value_of(l, i), value, size_of(l, i));
}

static void take_entry(struct layout *l, const struct ha_inspect_entry *e)
{
	for (int i = 0; i < NR_ITEMS; i++) {
		if (e->kind != names[i].kind || strcmp(e->name, names[i].name))
			continue;
		l->item[i].value = e->value;
		l->item[i].size = e->size;
		l->item[i].count = e->count;
		l->item[i].known = true;
	}
}

static bool read_table(struct target *t, struct layout *l, uint64_t addr, uint32_t stride)
{
	struct ha_inspect_entry e;

	for (int n = 0; n < HA_INSPECT_MAX; n++, addr += stride) {
		if (!target_read(t, addr, &e, sizeof(e)))
			return false;
		if (e.kind == HA_INSPECT_END)
			return true;
		e.name[sizeof(e.name) - 1] = 0;
		take_entry(l, &e);
	}
	return true;
}

static uint64_t struct_size(const struct layout *l, const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(structs); i++) {
		enum item item = structs[i].item;

		if (strlen(structs[i].name) != len || memcmp(structs[i].name, name, len))
			continue;
		return names[item].kind == HA_INSPECT_NUMBER ? value_of(l, item) :
							       size_of(l, item);
	}
	return 0;
}

/* The name of what does not make sense, or NULL. */
static const char *layout_check(const struct layout *l)
{
	for (size_t i = 0; i < ARRAY_SIZE(bounds); i++) {
		uint64_t v = value_of(l, bounds[i].item);

		if (v < bounds[i].min || v > bounds[i].max)
			return names[bounds[i].item].name;
	}
	for (int i = 0; i < NR_ITEMS; i++) {
		const char *name = names[i].name;
		uint64_t size = size_of(l, i), count = count_of(l, i), room;

		if (!l->item[i].known)
			return name;
		if (names[i].kind == HA_INSPECT_NUMBER)
			continue;
		if (!size || size > MAX_STRUCT || !count || count > MAX_COUNT ||
		    size * count > MAX_STRUCT)
			return name;
		if (names[i].kind == HA_INSPECT_OBJECT)
			continue;
		room = struct_size(l, name, strcspn(name, "."));
		/* the bits of a span, the frames of a stack stand behind its structure */
		if (i == M_mspan_bits || i == M_profile_stack_pc)
			room += size * count;
		if (value_of(l, i) > room || size * count > room - value_of(l, i))
			return name;
	}
	if (value_of(l, N_page_shift) >= value_of(l, N_chunk_shift) ||
	    value_of(l, N_chunk_shift) >= value_of(l, N_arena_shift) ||
	    value_of(l, N_arena_shift) > value_of(l, N_region_shift) ||
	    value_of(l, N_region_shift) >= value_of(l, N_addr_bits) ||
	    value_of(l, N_nr_classes) > 1UL << value_of(l, N_class_bits) ||
	    value_of(l, N_nr_classes) > count_of(l, O_size_classes) ||
	    value_of(l, N_nr_classes) * count_of(l, O_mheaps) > count_of(l, O_mcentrals))
		return "its geometry";
	return NULL;
}

int layout_read(struct target *t, struct layout *l)
{
	struct ha_inspect head;
	const char *odd;

	memset(l, 0, sizeof(*l));
	if (!target_read(t, t->inspect, &head, sizeof(head)))
		return target_failed(t, "heaparena's description");
	if (head.format != HA_INSPECT_FORMAT)
		return fail("%s: its heaparena describes itself in format %u, and this command "
			    "reads %u: use the ha of that version (%.16s)", t->name,
			    head.format, HA_INSPECT_FORMAT, head.version);
	memcpy(l->version, head.version, sizeof(head.version));
	memcpy(l->arch, head.arch, sizeof(head.arch));
	clean_text(l->version);
	clean_text(l->arch);
	for (int i = 0; i < HA_INSPECT_TABLES && head.tables[i]; i++)
		if (head.entry_size < sizeof(struct ha_inspect_entry) ||
		    !read_table(t, l, head.tables[i], head.entry_size))
			return target_failed(t, "heaparena's description");
	odd = layout_check(l);
	if (odd)
		return fail("%s: heaparena's description is damaged: %s", t->name, odd);
	return 0;
}

int layout_open(struct target *t, const char *what, struct layout *l)
{
	int ret = target_open(t, what);

	if (ret)
		return ret;
	ret = layout_read(t, l);
	if (ret)
		target_close(t);
	return ret;
}
