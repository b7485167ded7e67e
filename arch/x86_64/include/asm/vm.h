/* SPDX-License-Identifier: MIT */
/*
 * x86_64: address bits, arena hints, and the widths of the arena index.
 *
 * User space ends at 1 << 47 (with 57-bit hardware too, unless a mapping asks
 * for more, which the heap never does).
 */
#ifndef _ASM_VM_H
#define _ASM_VM_H

#define VM_ADDR_BITS		47
/* Far from where the kernel and the loader put anything by themselves. */
#define VM_ARENA_HINT		(0x00c0UL << 32)

#include <asm-generic/vm.h>

#endif /* _ASM_VM_H */
