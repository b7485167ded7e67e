/* SPDX-License-Identifier: MIT */
/* x86_64: the compiler's builtins already give the best code. */
#ifndef _ASM_BARRIER_H
#define _ASM_BARRIER_H

#include <asm-generic/barrier.h>

#endif /* _ASM_BARRIER_H */
