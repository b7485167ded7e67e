// SPDX-License-Identifier: MIT
/*
 * The library as readers from outside see it: where everything begins, and the
 * entries for what headers of lib/ declare. What is private to a file has its
 * table in that file. The form is that of include/heaparena/inspect.h.
 *
 * Constant data, made by the compiler from the structures themselves, so that it is
 * true in every build. An observer: nothing of the library reads it.
 */
#include "assist.h"
#include "conf.h"
#include "heap_arena.h"
#include "inspect.h"
#include "mcentral.h"
#include "mheap.h"
#include "mspan.h"
#include "numa.h"
#include "palloc_bits.h"
#include "sizeclasses.h"
#include "vm.h"

/* The linker's. */
extern const char __ehdr_start __hidden, _end __hidden;

#ifdef __x86_64__
#define ARCH_NAME	"x86_64"
#else
#define ARCH_NAME	"arm64"
#endif

static INSPECT_TABLE(lib) = {
	INSPECT_NUMBER(page_shift, HA_PAGE_SHIFT),
	INSPECT_NUMBER(chunk_shift, CHUNK_SHIFT),
	INSPECT_NUMBER(arena_shift, ARENA_SHIFT),
	INSPECT_NUMBER(region_shift, PALLOC_REGION_SHIFT),
	INSPECT_NUMBER(addr_bits, VM_ADDR_BITS),
	INSPECT_NUMBER(nr_classes, NR_SIZE_CLASSES),
	INSPECT_NUMBER(max_nodes, MAX_NODES),
	INSPECT_NUMBER(class_bits, ROUTE_CLASS_BITS),
	INSPECT_NUMBER(route_shift, PLACE_ROUTE_SHIFT + PAGE_ENTRY_SHIFT),
	INSPECT_NUMBER(route_heap, ROUTE_HEAP),
	INSPECT_NUMBER(offset_mask, PLACE_OFFSET_MASK),
	INSPECT_NUMBER(object_free, OBJECT_FREE),
	INSPECT_NUMBER(object_sampled, OBJECT_SAMPLED),
	INSPECT_NUMBER(slot_units, MAG_SLOT_UNITS),
	INSPECT_NUMBER(size_classes_medium, FIRST_MEDIUM_CLASS),
	INSPECT_SIZEOF(heap_arena),
	INSPECT_SIZEOF(page_entry),
	INSPECT_SIZEOF(mspan),
	INSPECT_SIZEOF(mag_hdr),

	INSPECT_ARRAY(size_classes, size_classes),
	INSPECT_MEMBER(size_class, size),
	INSPECT_MEMBER(size_class, nelems),
	INSPECT_MEMBER(size_class, pages),

	INSPECT_MEMBER(heap_arena, page),
	INSPECT_MEMBERS(heap_arena, start),
	INSPECT_MEMBER(heap_arena, base),
	INSPECT_MEMBER(heap_arena, reserved),
	INSPECT_MEMBER(heap_arena, nid),
	INSPECT_MEMBER(page_entry, states),
	INSPECT_MEMBER(page_entry, place),

	INSPECT_MEMBER(mspan, start),
	INSPECT_MEMBER(mspan, nr_pages),
	INSPECT_MEMBER(mspan, object_state),
	INSPECT_MEMBER(mspan, size),
	INSPECT_MEMBER(mspan, nelems),
	INSPECT_MEMBER(mspan, nr_alloc),
	INSPECT_MEMBER(mspan, state),
	INSPECT_MEMBER(mspan, sc),
	INSPECT_MEMBER(mspan, nid),
	INSPECT_MEMBER(mspan, seq),
	INSPECT_MEMBER(mspan, heap),
	/* as many words as the span has objects */
	{ .name = "mspan.bits", .kind = HA_INSPECT_MEMBER, .size = sizeof(uint64_t),
	  .count = MAX_SPAN_OBJECTS / 64, .value = offsetof(struct mspan, bits) },
	INSPECT_MEMBERS(palloc_data, alloc),
	INSPECT_MEMBERS(palloc_data, scav),

	INSPECT_ARRAY(mheaps, mheaps),
	INSPECT_MEMBER_AS(mheap, lock, struct mheap, lock.word),
	INSPECT_MEMBER_AS(mheap, nr_pages, struct mheap, pages.nr_pages),
	INSPECT_MEMBER_AS(mheap, nr_free, struct mheap, pages.nr_free),
	INSPECT_MEMBER_AS(mheap, nr_scav, struct mheap, pages.nr_scav),
	INSPECT_MEMBER_AS(mheap, regions, struct mheap, pages.regions),
	INSPECT_MEMBER(mheap, nr_donated),
	INSPECT_MEMBER(mheap, nr_spans),
	INSPECT_MEMBER(mheap, large_bytes),
	INSPECT_MEMBER(mheap, nr_large_now),
	INSPECT_MEMBER(mheap, nr_large),
	INSPECT_MEMBER(mheap, nr_spans_total),
	INSPECT_MEMBERS(mheap, cache),
	INSPECT_MEMBER_AS(heap_cache, base, struct heap_cache, pages.base),
	INSPECT_MEMBER_AS(heap_cache, free, struct heap_cache, pages.free),
	INSPECT_MEMBER_AS(heap_cache, scav, struct heap_cache, pages.scav),

	/* [node][class] in one row */
	{ .name = "mcentrals", .kind = HA_INSPECT_OBJECT, .size = sizeof(struct mcentral),
	  .count = MAX_NODES * NR_SIZE_CLASSES, .value = (uintptr_t)&mcentrals[0][0] },
	INSPECT_MEMBER_AS(mcentral, lock, struct mcentral, lock.word),
	INSPECT_MEMBER(mcentral, nr_refill),
	INSPECT_MEMBER(mcentral, nr_refills),
	INSPECT_MEMBER(mcentral, nr_flushes),
	INSPECT_MEMBER(mcentral, nr_out),
	INSPECT_MEMBER(mcentral, nr_spans),
	INSPECT_MEMBER(mcentral, dropped),
	INSPECT_MEMBER_AS(mcentral, depot_refill, struct mcentral, depot.nr_open_popped),
	INSPECT_MEMBER_AS(mcentral, depot_refills, struct mcentral, depot.nr_open_pops),
	/* [node][class][stack] in one row */
	{ .name = "depot_stacks", .kind = HA_INSPECT_OBJECT, .size = sizeof(struct depot_stack),
	  .count = MAX_NODES * NR_SIZE_CLASSES * DEPOT_STACKS,
	  .value = (uintptr_t)&depot_stacks[0][0][0] },
	INSPECT_NUMBER(stacks_per_depot, DEPOT_STACKS),
	INSPECT_MEMBER(depot_stack, nr_popped),
	INSPECT_MEMBER(depot_stack, nr_pops),
	/* the lower half of the word, which is its first */
	{ .name = "mcentral.depot_objects", .kind = HA_INSPECT_MEMBER, .size = 4, .count = 1,
	  .value = offsetof(struct mcentral, depot.held) },
	INSPECT_MEMBER(mag_hdr, top),
	INSPECT_MEMBER(mag_hdr, base),
	INSPECT_MEMBER(mag_hdr, limit),

	INSPECT_OBJECT(nr_nodes, topo.nr_nodes),
	INSPECT_OBJECT(nodes_fake, topo.fake),
	INSPECT_OBJECT(kernel_page, vm_page_size),
	INSPECT_OBJECT(vm_reserved, vm_stat.reserved[VM_HEAP]),
	INSPECT_OBJECT(nr_assists, assist_stat.nr),
	INSPECT_OBJECT(assist_bytes, assist_stat.bytes),
	INSPECT_OBJECT(nr_limited, assist_stat.nr_hard),
	INSPECT_OBJECT(conf_check, conf.check),
	INSPECT_OBJECT(conf_rseq, conf.rseq),
	INSPECT_OBJECT(conf_numa, conf.numa),
	INSPECT_OBJECT(conf_thp, conf.thp),
	INSPECT_OBJECT(conf_background, conf.background),
	INSPECT_OBJECT(conf_orders, conf.orders),
	/* the program that the library is linked into, or the library itself */
	INSPECT_OBJECT(image, __ehdr_start),
	INSPECT_OBJECT(image_end, _end),
	INSPECT_END
};

#define TABLE(module)	(uintptr_t)inspect_##module

/* A linker that drops unused sections keeps this one: the size classes are in it. */
__export const struct ha_inspect heaparena_inspect __in_core __aligned(HA_INSPECT_ALIGN) = {
	.magic = HA_INSPECT_MAGIC,
	.self = (uintptr_t)&heaparena_inspect,
	.format = HA_INSPECT_FORMAT,
	.entry_size = sizeof(struct ha_inspect_entry),
	.version = HEAPARENA_VERSION,
	.arch = ARCH_NAME,
	.tables = {
		TABLE(lib), TABLE(heap_arena), TABLE(page_alloc), TABLE(fixalloc),
		TABLE(limit), TABLE(mcache_slot), TABLE(uheap), TABLE(objcache),
		TABLE(profile), TABLE(profile_table), TABLE(vm), TABLE(pprof),
		TABLE(profile_api),
	},
};
