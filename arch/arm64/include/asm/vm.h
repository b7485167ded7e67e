/* SPDX-License-Identifier: MIT */
/*
 * arm64: address bits, arena hints, and the widths of the arena index.
 *
 * 48 bits covers 4K and 16K kernels and 64K ones without LVA; kernels built for
 * 39, 42 or 47 bits answer a hint out of their range with another address, which
 * the arena code accepts.
 */
#ifndef _ASM_VM_H
#define _ASM_VM_H

#define VM_ADDR_BITS		48
#define VM_ARENA_HINT		(0x0040UL << 32)

#include <asm-generic/vm.h>

#endif /* _ASM_VM_H */
