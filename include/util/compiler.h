/* SPDX-License-Identifier: MIT */
/*
 * Compiler vocabulary: branch hints, one-word accesses, inlining.
 *
 * Stateless; may be included by every layer.  READ_ONCE and WRITE_ONCE are for
 * words another thread may access at the same time without an ordering need;
 * where order matters use <asm/atomic.h>.
 */
#ifndef _UTIL_COMPILER_H
#define _UTIL_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)

#ifndef __always_inline
#define __always_inline		inline __attribute__((always_inline))
#endif
#ifndef __noinline
#define __noinline		__attribute__((noinline))
#endif
#define __cold			__attribute__((cold, noinline))
/* On a line of its own, or its speed would depend on what happens to lie before it. */
#define __hot			__attribute__((hot, aligned(64)))
#define __aligned(x)		__attribute__((aligned(x)))
#define __maybe_unused		__attribute__((unused))
#define __printf(a, b)		__attribute__((format(printf, a, b)))
#define __noreturn		__attribute__((noreturn))
#define __must_check		__attribute__((warn_unused_result))
#define __weak			__attribute__((weak))
#define __export		__attribute__((visibility("default")))
/* On a declaration: reached without the global offset table. */
#define __hidden		__attribute__((visibility("hidden")))
/* Constants that core files have: the dynamic linker has written to their pages. */
#define __in_core		__attribute__((section(".data.rel.ro")))
/* Reads what others write, and checks afterwards: not for ThreadSanitizer to judge. */
#define __no_tsan		__attribute__((no_sanitize_thread))
/* The only TLS model that can be read before the loader has finished. */
#define __tls			__thread __attribute__((tls_model("initial-exec")))

/* The line will be read, or written, soon; any address will do. */
#define prefetch(p)		__builtin_prefetch((p), 0)
#define prefetch_write(p)	__builtin_prefetch((p), 1)

#define barrier()		__asm__ __volatile__("" ::: "memory")

#define READ_ONCE(x)		(*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v)	(*(volatile __typeof__(x) *)&(x) = (v))

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

/* The text of a macro's value. */
#define __stringify(x)		#x
#define stringify(x)		__stringify(x)

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))

/*
 * IS_ENABLED(CONFIG_X): 1 if the build says CONFIG_X=1, else 0; both sides of
 * an `if (IS_ENABLED(...))` are compiled, so neither rots.
 */
#define __ARG_PLACEHOLDER_1		0,
#define __take_second_arg(ignored, val, ...) val
#define __is_defined(x)			___is_defined(x)
#define ___is_defined(val)		____is_defined(__ARG_PLACEHOLDER_##val)
#define ____is_defined(arg1_or_junk)	__take_second_arg(arg1_or_junk 1, 0)
#define IS_ENABLED(option)		__is_defined(option)

#endif /* _UTIL_COMPILER_H */
