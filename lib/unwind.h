/* SPDX-License-Identifier: MIT */
/* Who called: return addresses of the stack.  See lib/unwind.c. */
#ifndef _LIB_UNWIND_H
#define _LIB_UNWIND_H

#include <stdbool.h>
#include <stdint.h>

#include <util/compiler.h>

#define UNWIND_MAX_FRAMES	136	/* that are remembered, the library's own too */
#define UNWIND_MAX_REGS		12

/* A frame at its call: the stack pointer, and what the call leaves as it was. */
struct unwind_caller {
	uintptr_t sp;				/* 0: there was none */
	uintptr_t regs[UNWIND_MAX_REGS];	/* 0 where there are fewer */
};

/* Whatever the unwinder does for the first time, and where this library lies. */
void unwind_prime(void);

/*
 * Up to @max return addresses, innermost first, beginning with the caller of this
 * library.  Takes no lock of ours; does not allocate.
 */
unsigned int unwind_stack(uintptr_t *pc, unsigned int max) __noinline;

/* Who called the function that begins at @entry, which we are called by; false: nobody. */
bool unwind_caller_of(const void *entry, struct unwind_caller *c);

#endif /* _LIB_UNWIND_H */
