/* SPDX-License-Identifier: MIT */
/*
 * What the public entry points share: the helpers of lib/malloc.c that
 * lib/compat.c (aligned forms, C++ operators, glibc's extras) builds on.
 */
#ifndef _LIB_MALLOC_H
#define _LIB_MALLOC_H

#include <heaparena/heaparena.h>
#include <util/compiler.h>

/*
 * In the library itself each ha_NAME is also exported as NAME: an alias, not a
 * call.  Test builds have the ha_ names only.
 */
#ifdef CONFIG_INTERPOSE
#define EXPORT_AS(ha_name, name)					\
	extern __typeof__(ha_name) name					\
		__attribute__((alias(#ha_name), visibility("default"),	\
			       copy(ha_name)))
/* One that a program with a definition of its own may be linked with statically. */
#define EXPORT_WEAK_AS(ha_name, name)					\
	extern __typeof__(ha_name) name __weak;				\
	EXPORT_AS(ha_name, name)
#else
#define EXPORT_AS(ha_name, name)	extern __typeof__(ha_name) ha_name
#define EXPORT_WEAK_AS(ha_name, name)	EXPORT_AS(ha_name, name)
#endif

/* What malloc_fast() declined: one object; NULL with ENOMEM. */
void *malloc_slow(size_t size) __noinline;
/* Whatever the fast path of ha_free_sized() declined. */
void free_sized_slow(void *ptr, size_t size) __noinline;
/* One object, aligned to @align (a power of two); NULL with ENOMEM. */
void *heap_alloc_aligned(size_t align, size_t size);
/* The same, zeroed on demand. */
void *heap_alloc(size_t align, size_t size, bool zero);
/* Initialise if the first call has not; false with ENOMEM: cannot. */
bool heap_ready(void);

#endif /* _LIB_MALLOC_H */
