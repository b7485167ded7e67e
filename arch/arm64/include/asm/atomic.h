/* SPDX-License-Identifier: MIT */
/* arm64: the compiler's builtins already give the best code. */
#ifndef _ASM_ATOMIC_H
#define _ASM_ATOMIC_H

#include <asm-generic/atomic.h>

#endif /* _ASM_ATOMIC_H */
