/* SPDX-License-Identifier: MIT */
/*
 * Who owns which address: a byte for every 8 bytes of address space, so that
 * an object handed out twice is seen at once, whatever was written in it.
 *
 *   address 47..26 -> table[22 bits] -> map[8 Mi bytes]: one byte per 8 bytes
 *
 * Invariants
 *  1. A byte is 1 while a test holds the object that starts there, else 0.
 *     It changes by atomic exchange alone: of two takers, one sees the other.
 *  2. The maps are mapped, not allocated: the test does not disturb what it
 *     watches. Untouched parts cost no memory.
 *
 * owner_take() after malloc, owner_drop() before free, by any thread. It
 * does not know sizes: an overlap of different start addresses is for the
 * patterns of stress.h to find.
 */
#ifndef SELFTESTS_STRESS_OWNER_H
#define SELFTESTS_STRESS_OWNER_H

#include "tap.h"
#include <sys/mman.h>

#define OWNER_ARENA_SHIFT	26
#define OWNER_GRAIN_SHIFT	3
#define OWNER_NR_ARENAS		(1ul << (48 - OWNER_ARENA_SHIFT))
#define OWNER_MAP_SIZE		(1ul << (OWNER_ARENA_SHIFT - OWNER_GRAIN_SHIFT))

static unsigned char **owner_table;
static unsigned long owner_bad;

static __maybe void *owner_map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		tap_bail("no memory for the map of owners");
	return p;
}

static __maybe void owner_init(void)
{
	owner_table = owner_map(OWNER_NR_ARENAS * sizeof(*owner_table));
}

static inline unsigned char *owner_byte(const void *p)
{
	uintptr_t a = (uintptr_t)p;
	unsigned char **entry = &owner_table[a >> OWNER_ARENA_SHIFT];
	unsigned char *map = __atomic_load_n(entry, __ATOMIC_ACQUIRE);

	if (!map) {
		unsigned char *fresh = owner_map(OWNER_MAP_SIZE);

		/* Pairs with the acquire above: the map before its address. */
		if (__atomic_compare_exchange_n(entry, &map, fresh, false,
						__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			map = fresh;
		else
			munmap(fresh, OWNER_MAP_SIZE);
	}
	return &map[(a & ((1ul << OWNER_ARENA_SHIFT) - 1)) >> OWNER_GRAIN_SHIFT];
}

static inline bool owner_take(const void *p)
{
	if (!__atomic_exchange_n(owner_byte(p), 1, __ATOMIC_RELAXED))
		return true;
	if (!__atomic_fetch_add(&owner_bad, 1, __ATOMIC_RELAXED))
		diag("%p was handed out while it was live", p);
	return false;
}

static inline bool owner_drop(const void *p)
{
	if (__atomic_exchange_n(owner_byte(p), 0, __ATOMIC_RELAXED))
		return true;
	if (!__atomic_fetch_add(&owner_bad, 1, __ATOMIC_RELAXED))
		diag("%p had two owners: the other one freed it", p);
	return false;
}

/* How many marks are set. Only when nobody takes or drops. */
static __maybe unsigned long owner_live(void)
{
	unsigned long n = 0;

	for (unsigned long i = 0; i < OWNER_NR_ARENAS; i++)
		for (unsigned long k = 0; owner_table[i] && k < OWNER_MAP_SIZE; k += 8)
			if (*(uint64_t *)(owner_table[i] + k))
				for (unsigned int b = 0; b < 8; b++)
					n += owner_table[i][k + b];
	return n;
}

static __maybe unsigned long owner_errors(void)
{
	return __atomic_load_n(&owner_bad, __ATOMIC_RELAXED);
}

#endif /* SELFTESTS_STRESS_OWNER_H */
