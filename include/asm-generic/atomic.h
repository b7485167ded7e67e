/* SPDX-License-Identifier: MIT */
/*
 * One-word atomics with the kernel's orders, by the compiler's builtins.
 *
 * Naming: _acquire and _release order one side, _relaxed none, plain names are
 * full.  Each acquire names its release where it is used.
 */
#ifndef _ASM_GENERIC_ATOMIC_H
#define _ASM_GENERIC_ATOMIC_H

#define smp_load_acquire(p)		__atomic_load_n((p), __ATOMIC_ACQUIRE)
#define smp_store_release(p, v)		__atomic_store_n((p), (v), __ATOMIC_RELEASE)

#define atomic_load_relaxed(p)		__atomic_load_n((p), __ATOMIC_RELAXED)
#define atomic_store_relaxed(p, v)	__atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define atomic_add_relaxed(p, v)	((void)__atomic_fetch_add((p), (v), __ATOMIC_RELAXED))
#define atomic_sub_relaxed(p, v)	((void)__atomic_fetch_sub((p), (v), __ATOMIC_RELAXED))
#define atomic_fetch_add_relaxed(p, v)	__atomic_fetch_add((p), (v), __ATOMIC_RELAXED)

#define xchg_acquire(p, v)		__atomic_exchange_n((p), (v), __ATOMIC_ACQUIRE)
#define xchg_release(p, v)		__atomic_exchange_n((p), (v), __ATOMIC_RELEASE)
#define xchg(p, v)			__atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)

/* True when *p was old and is now new; acquire on success. */
#define try_cmpxchg_acquire(p, old, new)				\
({									\
	__typeof__(*(p)) __old = (old);					\
	__atomic_compare_exchange_n((p), &__old, (new), false,		\
				    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED); \
})

#define try_cmpxchg_release(p, old, new)				\
({									\
	__typeof__(*(p)) __old = (old);					\
	__atomic_compare_exchange_n((p), &__old, (new), false,		\
				    __ATOMIC_RELEASE, __ATOMIC_RELAXED); \
})

#endif /* _ASM_GENERIC_ATOMIC_H */
