/* SPDX-License-Identifier: MIT */
/* arm64: hints to the core; its registers. */
#ifndef _ASM_CPU_H
#define _ASM_CPU_H

static inline void cpu_relax(void)
{
	/* yield is a no-op on most cores; isb waits about as long as pause */
	__asm__ __volatile__("isb" ::: "memory");
}

/* Registers that a call leaves as they were, by their numbers in unwind tables. */
#define CPU_KEPT_REGS	19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29

#endif /* _ASM_CPU_H */
