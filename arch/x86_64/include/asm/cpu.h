/* SPDX-License-Identifier: MIT */
/* x86_64: hints to the core. */
#ifndef _ASM_CPU_H
#define _ASM_CPU_H

static inline void cpu_relax(void)
{
	__builtin_ia32_pause();
}

#endif /* _ASM_CPU_H */
