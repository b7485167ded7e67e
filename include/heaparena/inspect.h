/* SPDX-License-Identifier: MIT */
/*
 * What the library says about itself to who reads its memory from outside: the ha
 * command, a debugger, a tool on a core file.
 *
 *	heaparena_inspect
 *	+--------+------+--------+----------+     table            table
 *	| magic  | self | format | tables[] | --> | name value | ... ""
 *	+--------+------+--------+----------+     | name value |
 *
 * It is constant data, exported under that name, and found without any symbol as
 * well: aligned to HA_INSPECT_ALIGN in a private mapping of a file, it begins with
 * HA_INSPECT_MAGIC, and self is its own address, which a copy's is not. It lies in
 * memory that the dynamic linker has written, so that core files have it.
 *
 * Entries say where things are: a reader asks them by name, and relies on neither
 * the order nor the layout of the library's structures, which differ between
 * builds. A reader of a format finds all names of HA_INSPECT_NAMES for it; further
 * ones may be there. What a name means changes only with the format. Integers are
 * those of the process, all of 64-bit little-endian machines.
 *
 * One word is there to be written, profile_order: order_start or order_stop, as one
 * byte.  The library takes it when it allocates next in a slow path, unless conf_orders
 * is 0, and profile_session tells what came of it: 0 while there is no heap profile.
 *
 * Reading takes no lock and stops nobody. Counters are words that can be read at any
 * time. Everything reached by pointers is never unmapped and keeps its kind for
 * ever; it may be of another object by now. A span is one and the same between two
 * reads of its page entry (states) and its descriptor (seq) that give the same.
 */
#ifndef HEAPARENA_INSPECT_H
#define HEAPARENA_INSPECT_H

#include <stdint.h>

#define HA_INSPECT_FORMAT	2
#define HA_INSPECT_MAGIC	"heaparena:inspe"	/* and the null byte: 16 */
#define HA_INSPECT_ALIGN	64
#define HA_INSPECT_TABLES	16
#define HA_INSPECT_NAME		40
/* A table has fewer entries than this. */
#define HA_INSPECT_MAX		256

/**
 * enum ha_inspect_kind - what the value of an entry is
 * @HA_INSPECT_END: nothing: the table ends here
 * @HA_INSPECT_NUMBER: a constant of this build
 * @HA_INSPECT_OBJECT: the address of the first of @count objects of @size bytes
 * @HA_INSPECT_MEMBER: the offset, in a structure, of @count members of @size bytes
 */
enum ha_inspect_kind {
	HA_INSPECT_END,
	HA_INSPECT_NUMBER,
	HA_INSPECT_OBJECT,
	HA_INSPECT_MEMBER
};

/**
 * struct ha_inspect_entry - one thing that can be read
 * @name: "number", "object", or "structure.member"
 * @kind: enum ha_inspect_kind
 * @size: bytes of each
 * @count: how many, one after the other
 * @value: see @kind
 */
struct ha_inspect_entry {
	char name[HA_INSPECT_NAME];
	uint32_t kind;
	uint32_t size;
	uint32_t count;
	uint32_t reserved;
	uint64_t value;
};

/**
 * struct ha_inspect - where everything begins
 * @magic: HA_INSPECT_MAGIC
 * @self: address of this
 * @format: HA_INSPECT_FORMAT
 * @entry_size: bytes of an entry; longer ones begin as struct ha_inspect_entry
 * @version: of the library
 * @arch: of the build
 * @tables: addresses of arrays of entries; 0 behind the last
 */
struct ha_inspect {
	char magic[16];
	uint64_t self;
	uint32_t format;
	uint32_t entry_size;
	char version[16];
	char arch[16];
	uint64_t tables[HA_INSPECT_TABLES];
};

#ifdef __cplusplus
extern "C" {
#endif

/* The library's own, for who is in the same process. */
extern const struct ha_inspect heaparena_inspect;

#ifdef __cplusplus
}
#endif

/*
 * The names of this format: N(number), O(object), M(structure, member). What they
 * are is told where the library defines them, by the same words.
 */
#define HA_INSPECT_NAMES(N, O, M) \
	/* units */ \
	N(page_shift) N(chunk_shift) N(arena_shift) N(region_shift) N(addr_bits) \
	N(nr_classes) N(max_nodes) N(class_bits) N(route_shift) N(route_heap) \
	N(offset_mask) N(object_free) N(object_sampled) N(slot_units) N(rows_per_node) N(walk_block) \
	N(size_classes_medium) \
	/* sizes of structures */ \
	N(sizeof_heap_arena) N(sizeof_page_entry) N(sizeof_mspan) N(sizeof_mag_hdr) \
	N(sizeof_palloc_region) N(sizeof_ha_heap) N(sizeof_ha_cache) \
	/* size classes */ \
	O(size_classes) M(size_class, size) M(size_class, nelems) M(size_class, pages) \
	/* arenas, pages, spans */ \
	O(arenas_nr) O(arenas_walk) \
	M(heap_arena, page) M(heap_arena, start) M(heap_arena, base) \
	M(heap_arena, reserved) M(heap_arena, nid) \
	M(page_entry, states) M(page_entry, place) \
	M(mspan, start) M(mspan, nr_pages) M(mspan, object_state) M(mspan, size) \
	M(mspan, nelems) M(mspan, nr_alloc) M(mspan, state) M(mspan, sc) \
	M(mspan, nid) M(mspan, seq) M(mspan, heap) M(mspan, bits) \
	M(palloc_region, leaf) M(palloc_region, chunks) \
	M(palloc_data, alloc) M(palloc_data, scav) \
	/* page heaps, by node */ \
	O(mheaps) M(mheap, lock) M(mheap, nr_pages) M(mheap, nr_free) \
	M(mheap, nr_scav) M(mheap, nr_donated) M(mheap, nr_spans) \
	M(mheap, large_bytes) M(mheap, nr_large_now) M(mheap, nr_large) \
	M(mheap, nr_spans_total) M(mheap, regions) M(mheap, cache) \
	M(heap_cache, base) M(heap_cache, free) M(heap_cache, scav) \
	/* objects of a class, by node and class */ \
	O(mcentrals) M(mcentral, lock) M(mcentral, nr_refill) M(mcentral, nr_refills) \
	M(mcentral, nr_flushes) M(mcentral, nr_out) M(mcentral, nr_spans) \
	M(mcentral, dropped) M(mcentral, depot_objects) M(mcentral, depot_refill) \
	M(mcentral, depot_refills) \
	/* and those of the depot's stacks */ \
	O(depot_stacks) N(stacks_per_depot) M(depot_stack, nr_popped) M(depot_stack, nr_pops) \
	/* per-CPU caches, by slot */ \
	O(slot_hdrs) O(locked_slots) M(locked_slot, hdrs) O(rseq_usable) \
	M(mag_hdr, top) M(mag_hdr, base) M(mag_hdr, limit) \
	/* heaps of the user's, object caches */ \
	O(heaps_all) M(ha_heap, next) M(ha_heap, used) M(ha_heap, name) \
	M(ha_heap, limit) M(ha_heap, mapped) M(ha_heap, live) M(ha_heap, large) \
	M(ha_heap, nr_live) M(ha_heap, nr_allocs) M(ha_heap, nr_frees) \
	M(ha_heap, nr_tiny) \
	O(caches_all) M(ha_cache, next) M(ha_cache, used) M(ha_cache, name) \
	M(ha_cache, object_size) M(ha_cache, usable) M(ha_cache, fresh) \
	M(ha_cache, dropped) M(ha_cache, destroyed) M(ha_cache, stripe) \
	M(objcache_stripe, n) M(objcache_stripe, allocs) M(objcache_stripe, frees) \
	/* the heap profile: stacks, newest first, and samples, by a hash of the address */ \
	N(order_start) N(order_stop) O(profile_order) O(profile_session) O(profile_mean) \
	O(profile_started) O(profile_duration) N(profile_unit_shift) \
	N(sizeof_profile_stack) N(sizeof_profile_sample) \
	O(stacks_newest) O(stacks_lost) O(stacks_live) O(stacks_peak) \
	M(profile_stack, older) M(profile_stack, nr) M(profile_stack, count) \
	M(profile_stack, pc) \
	O(samples_buckets) O(samples_nr_buckets) O(samples_nr) O(samples_dropped) \
	M(profile_sample, next) M(profile_sample, addr) M(profile_sample, stack) \
	M(profile_sample, size) M(profile_sample, weight) O(pprof_drop) \
	/* what is the library's own, and none of the program's pointers */ \
	O(image) O(image_end) O(meta_maps) O(nr_meta_maps) M(meta_map, start) \
	M(meta_map, size) \
	/* of who has called exit(): its stack pointer, and the registers that it had */ \
	O(leaving_sp) O(leaving_regs) \
	/* the rest */ \
	O(nr_nodes) O(nodes_fake) O(kernel_page) O(vm_reserved) O(meta_bytes) \
	O(limit_soft) O(limit_hard) O(limit_outer) O(nr_assists) O(assist_bytes) \
	O(nr_limited) O(conf_check) O(conf_rseq) O(conf_numa) O(conf_thp) \
	O(conf_background) O(conf_orders)

#endif /* HEAPARENA_INSPECT_H */
