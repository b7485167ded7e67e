/* SPDX-License-Identifier: MIT */
/* Who called: return addresses of the stack.  See lib/unwind.c. */
#ifndef _LIB_UNWIND_H
#define _LIB_UNWIND_H

#include <util/compiler.h>

#define UNWIND_MAX_FRAMES	136	/* that are remembered, the library's own too */

/* Whatever the unwinder does for the first time, and where this library lies. */
void unwind_prime(void);

/*
 * Up to @max return addresses, innermost first, beginning with the caller of this
 * library.  Takes no lock of ours; does not allocate.
 */
unsigned int unwind_stack(uintptr_t *pc, unsigned int max) __noinline;

#endif /* _LIB_UNWIND_H */
