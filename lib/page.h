/* SPDX-License-Identifier: MIT */
/*
 * The constants of the heap's geometry.
 *
 *	arena (64 MiB) = 16 chunks = 8192 pages
 *	chunk  (4 MiB) = 512 pages		bitmaps and summaries (palloc_bits)
 *	page   (8 KiB)				whatever the kernel's page is
 *
 * Addresses here are user addresses: at most VM_ADDR_BITS (47 or 48) bits.
 */
#ifndef _LIB_PAGE_H
#define _LIB_PAGE_H

#include <asm/vm.h>
#include <util/align.h>
#include <util/bug.h>

#define HA_PAGE_SHIFT		13
#define HA_PAGE_SIZE		(1UL << HA_PAGE_SHIFT)

#define CHUNK_PAGES_SHIFT	9
#define CHUNK_PAGES		(1U << CHUNK_PAGES_SHIFT)
#define CHUNK_SHIFT		(HA_PAGE_SHIFT + CHUNK_PAGES_SHIFT)
#define CHUNK_SIZE		(1UL << CHUNK_SHIFT)

#define ARENA_SHIFT		26
#define ARENA_SIZE		(1UL << ARENA_SHIFT)
#define ARENA_PAGES		(ARENA_SIZE >> HA_PAGE_SHIFT)
#define ARENA_CHUNKS		(ARENA_SIZE >> CHUNK_SHIFT)

static_assert(ARENA_CHUNKS * CHUNK_PAGES == ARENA_PAGES, "arena = whole chunks");

static inline size_t size_to_pages(size_t size)
{
	return div_round_up(size, HA_PAGE_SIZE);
}

#endif /* _LIB_PAGE_H */
