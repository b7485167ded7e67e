/* SPDX-License-Identifier: MIT */
/* arm64: hints to the core. */
#ifndef _ASM_CPU_H
#define _ASM_CPU_H

static inline void cpu_relax(void)
{
	/* yield is a no-op on most cores; isb waits about as long as pause */
	__asm__ __volatile__("isb" ::: "memory");
}

#endif /* _ASM_CPU_H */
