/* SPDX-License-Identifier: MIT */
/*
 * Misuse reports: one line saying what, which pointer, which span and its state,
 * then abort().  Nothing allocates or locks on the way.  An observer: reads any
 * layer, and any layer may call it.
 */
#ifndef _LIB_DEBUG_H
#define _LIB_DEBUG_H

#include <util/compiler.h>

/*
 * A call refused @addr: find out why, say it, abort.  @op names the call: "free",
 * "realloc", "malloc_usable_size".
 */
void debug_bad_pointer(const char *op, uintptr_t addr) __cold __noreturn;
/* Freed with a size that the object cannot have. */
void debug_size_mismatch(uintptr_t addr, size_t said, size_t has) __cold __noreturn;
/* A live object was freed to @what, which it is not from. */
void debug_bad_owner(uintptr_t addr, const char *what) __cold __noreturn;
/* A call was given a @what that is not, or no longer, in use. */
void debug_bad_handle(const char *op, const char *what, const void *handle)
	__cold __noreturn;

/* This thread has a table of file descriptors of its own: 2 is not stderr in it. */
extern __tls bool debug_no_files __hidden;
/* The process's stderr, in any thread. */
int debug_stderr(void);

#endif /* _LIB_DEBUG_H */
