/* SPDX-License-Identifier: MIT */
/*
 * What every <asm/vm.h> provides, and the parts that follow from it.
 *
 *   VM_ADDR_BITS     width of a user address
 *   VM_ARENA_HINT    where the first arena is asked for
 *   ARENA_L1_BITS    width of the first level of the arena index; 0 = flat
 *
 * The index covers VM_ADDR_BITS - 26 bits: 2^21 entries on x86_64, 2^22 on
 * arm64.  The flat shape costs 16 or 32 MiB of address space, of which only the
 * pages that hold arenas become resident, and saves a dependent load a lookup.
 */
#ifndef _ASM_GENERIC_VM_H
#define _ASM_GENERIC_VM_H

#ifdef CONFIG_ARENA_L1_BITS
#define ARENA_L1_BITS		CONFIG_ARENA_L1_BITS
#else
#define ARENA_L1_BITS		0
#endif
#define ARENA_L2_BITS		(VM_ADDR_BITS - 26 - ARENA_L1_BITS)

#endif /* _ASM_GENERIC_VM_H */
