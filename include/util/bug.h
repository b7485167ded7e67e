/* SPDX-License-Identifier: MIT */
/*
 * Assertions in tiers.
 *
 *   BUG_ON(c)        always checked; for states that must not be survived
 *   VM_BUG_ON(c)     checked with CONFIG_DEBUG; otherwise only type-checked
 *   static_assert    equations between constants
 *
 * heap_bug() prints one line without allocating and aborts; it lives in the
 * lowest layer (lib/lock.c) so that every layer can reach it.
 */
#ifndef _UTIL_BUG_H
#define _UTIL_BUG_H

#include <assert.h>
#include <util/compiler.h>

void heap_bug(const char *file, int line, const char *what) __cold __noreturn;

#define BUG_ON(c)						\
do {								\
	if (unlikely(c))					\
		heap_bug(__FILE__, __LINE__, #c);		\
} while (0)

#define VM_BUG_ON(c)						\
do {								\
	if (IS_ENABLED(CONFIG_DEBUG))				\
		BUG_ON(c);					\
	else							\
		(void)sizeof(!!(c));				\
} while (0)

#endif /* _UTIL_BUG_H */
