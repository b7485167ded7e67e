/* SPDX-License-Identifier: MIT */
/* x86_64: hints to the core; its registers. */
#ifndef _ASM_CPU_H
#define _ASM_CPU_H

static inline void cpu_relax(void)
{
	__builtin_ia32_pause();
}

/* Registers that a call leaves as they were, by their numbers in unwind tables. */
#define CPU_KEPT_REGS	3 /* rbx */, 6 /* rbp */, 12, 13, 14, 15

#endif /* _ASM_CPU_H */
