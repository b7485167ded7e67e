// SPDX-License-Identifier: MIT
/*
 * The C++ operators under their mangled names (Itanium ABI, 64 bit), from C.
 *
 * On success operator new is malloc.  On failure the rules of the language apply
 * (new_handler in a loop, then bad_alloc), which are not ours to implement: the
 * call goes to the next definition of the operator, libstdc++'s, whose own malloc
 * is this library's again.  Where there is no next one (a static link without
 * it), the program ends with one line.
 */
#include <stdlib.h>
#include <unistd.h>

#include <util/line.h>
#include "fastpath.h"
#include "malloc.h"
#include "next_symbol.h"

#ifdef CONFIG_INTERPOSE

static void __cold __noreturn cxx_no_memory(void)
{
	struct line l;

	line_start(&l);
	line_str(&l, "heaparena: out of memory in operator new");
	line_write(&l, STDERR_FILENO);
	abort();
}

static void *cxx_next(const char *name)
{
	void *next = next_symbol(name);

	if (!next)
		cxx_no_memory();
	return next;
}

/* new: @params and @args of the operator; they begin with size */
#define CXX_NEW(name, params, args)					\
extern void *name params;						\
static void *name##_slow params __noinline;				\
static void *name##_slow params						\
{									\
	void *p = malloc_slow(size);					\
									\
	return p ? p : ((void *(*) params)cxx_next(#name)) args;	\
}									\
__export __hot void *name params					\
{									\
	void *p = malloc_fast(size);					\
									\
	return likely(p) ? p : name##_slow args;			\
}

/*
 * Aligned new: a size that no object can have goes to the plain operator, because
 * some libstdc++ round it up to the alignment, past zero.
 */
#define CXX_NEW_ALIGNED(name, params, args, plain, plain_params, plain_args) \
extern void *name params;						\
__export void *name params						\
{									\
	void *p = ha_aligned_alloc(align, size);			\
									\
	if (likely(p))							\
		return p;						\
	if (size > PTRDIFF_MAX)						\
		return ((void *(*) plain_params)cxx_next(#plain)) plain_args; \
	return ((void *(*) params)cxx_next(#name)) args;		\
}

#define CXX_DELETE(name, params, release)				\
extern void name params;						\
__export void name params						\
{									\
	release;							\
}

CXX_NEW(_Znwm, (size_t size), (size))
CXX_NEW(_Znam, (size_t size), (size))
CXX_NEW(_ZnwmRKSt9nothrow_t, (size_t size, const void *tag), (size, tag))
CXX_NEW(_ZnamRKSt9nothrow_t, (size_t size, const void *tag), (size, tag))
CXX_NEW_ALIGNED(_ZnwmSt11align_val_t, (size_t size, size_t align), (size, align),
		_Znwm, (size_t), (size))
CXX_NEW_ALIGNED(_ZnamSt11align_val_t, (size_t size, size_t align), (size, align),
		_Znam, (size_t), (size))
CXX_NEW_ALIGNED(_ZnwmSt11align_val_tRKSt9nothrow_t,
		(size_t size, size_t align, const void *tag), (size, align, tag),
		_ZnwmRKSt9nothrow_t, (size_t, const void *), (size, tag))
CXX_NEW_ALIGNED(_ZnamSt11align_val_tRKSt9nothrow_t,
		(size_t size, size_t align, const void *tag), (size, align, tag),
		_ZnamRKSt9nothrow_t, (size_t, const void *), (size, tag))

/* delete without an alignment or a tag: aliases in lib/malloc.c */
CXX_DELETE(_ZdlPvRKSt9nothrow_t, (void *p, const void *tag), ha_free(p))
CXX_DELETE(_ZdaPvRKSt9nothrow_t, (void *p, const void *tag), ha_free(p))
CXX_DELETE(_ZdlPvSt11align_val_t, (void *p, size_t align), ha_free(p))
CXX_DELETE(_ZdaPvSt11align_val_t, (void *p, size_t align), ha_free(p))
CXX_DELETE(_ZdlPvmSt11align_val_t, (void *p, size_t size, size_t align),
	   ha_free_aligned_sized(p, align, size))
CXX_DELETE(_ZdaPvmSt11align_val_t, (void *p, size_t size, size_t align),
	   ha_free_aligned_sized(p, align, size))
CXX_DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t,
	   (void *p, size_t align, const void *tag), ha_free(p))
CXX_DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t,
	   (void *p, size_t align, const void *tag), ha_free(p))

#endif /* CONFIG_INTERPOSE */
