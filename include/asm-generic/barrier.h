/* SPDX-License-Identifier: MIT */
/* Fences between plain accesses; prefer the paired forms in <asm/atomic.h>. */
#ifndef _ASM_GENERIC_BARRIER_H
#define _ASM_GENERIC_BARRIER_H

#define smp_mb()	__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_rmb()	__atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_wmb()	__atomic_thread_fence(__ATOMIC_RELEASE)

#endif /* _ASM_GENERIC_BARRIER_H */
