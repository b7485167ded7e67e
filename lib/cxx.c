// SPDX-License-Identifier: MIT
/*
 * The C++ operators under their mangled names (Itanium ABI, 64 bit), from C.
 *
 * On success operator new is malloc.  On failure the rules of the language apply
 * (new_handler in a loop, then bad_alloc), which are not ours to implement: the
 * call goes to the next definition of the operator, libstdc++'s, whose own malloc
 * is this library's again.  Where there is no next one, because libstdc++ is linked
 * statically and these are the only ones, its handler is called and its bad_alloc
 * thrown from here; without libstdc++ the program ends with one line.
 *
 * A program may replace some of the operators, mostly new and delete, and the others
 * are then to call those, as the standard's do:
 *
 *	new[], nothrow new		-> new
 *	nothrow new[]			-> new[]
 *	sized and nothrow delete	-> delete
 *	delete[]			-> delete
 *	sized and nothrow delete[]	-> delete[]
 *
 * and the aligned ones likewise among themselves.  The program's definition comes
 * before this one's wherever the name is looked up, so that `basics' tells.  (So does
 * one whose address a program at a fixed place takes: calling it is no mistake.)  It costs
 * the fast paths nothing: what they compare with anyway, the largest small size and
 * the end of the window, are for them variables of their own, 0 until it is known
 * that nothing is replaced.  Those that call no other are new, and delete in
 * lib/malloc.c.
 *
 * All are weak: in a static link the program's come first too.
 */
#include <stdlib.h>
#include <unistd.h>

#include <asm/cache.h>
#include <util/line.h>
#include "fastpath.h"
#include "malloc.h"
#include "next_symbol.h"

#ifdef CONFIG_INTERPOSE

/* Read by every call, written when the window has grown. */
static struct {
	size_t new_limit;	/* (a) MAX_SMALL_SIZE + 1; 0: replaced, or not known yet */
	size_t delete_window;	/* (a) arena_window as it was; 0: the same */
} fast __aligned(L1_CACHE_BYTES);

static void __cold __noreturn cxx_no_memory(void)
{
	struct line l;

	line_start(&l);
	line_str(&l, "heaparena: out of memory in operator new");
	line_write(&l, STDERR_FILENO);
	abort();
}

typedef void cxx_handler(void);

/* std::get_new_handler() and libstdc++'s way to throw, where they are linked in. */
extern cxx_handler *cxx_get_handler(void) __asm__("_ZSt15get_new_handlerv") __weak;
extern void cxx_throw(void) __asm__("_ZSt17__throw_bad_allocv") __weak;

/* No memory, and no next operator.  What a handler throws passes, nothrow or not. */
static void *__cold cxx_alone(size_t size, size_t align, bool nothrow)
{
	cxx_handler *handler;
	void *p;

	while (cxx_get_handler && (handler = cxx_get_handler())) {
		handler();
		p = ha_aligned_alloc(align, size);
		if (p)
			return p;
	}
	if (!nothrow && cxx_throw)
		cxx_throw();
	if (!nothrow)
		cxx_no_memory();
	return NULL;
}

/* The operator, and a name of it that is this definition whatever is replaced. */
#define CXX_OPERATOR(name, ret, params)					\
extern ret name params __weak __export;					\
static __hot ret own##name params;					\
extern ret name params __attribute__((alias("own" #name), copy(own##name))); \
static ret own##name params

typedef void *cxx_new(size_t size);
typedef void *cxx_new_nothrow(size_t size, const void *tag);
typedef void cxx_delete(void *p);
typedef void *cxx_new_aligned(size_t size, size_t align);
typedef void *cxx_new_aligned_nothrow(size_t size, size_t align, const void *tag);

extern cxx_delete _ZdlPv;
static bool standard(void);

/* What malloc_fast() does for sizes below that limit. */
static __always_inline void *new_fast(size_t size)
{
	if (unlikely(size >= fast.new_limit))
		return NULL;
	if (size > MAX_SMALL_SIZE)
		__builtin_unreachable();
	return malloc_fast(size);
}

/* As window_entry(). */
static __always_inline const struct page_entry *delete_entry(uintptr_t addr)
{
	uintptr_t p = (addr >> WINDOW_SHIFT) & -sizeof(struct page_entry);
	const struct page_entry *e = (const struct page_entry *)p;

	if (unlikely(p - WINDOW_ENTRIES >= fast.delete_window))
		return NULL;
	if (!e)
		__builtin_unreachable();
	return e;
}

/*
 * New.
 */
static void *new_slow(size_t size, const char *name)
{
	void *p = malloc_slow(size);
	cxx_new *next;

	if (likely(p))
		return p;
	next = next_symbol(name);
	return next ? next(size) : cxx_alone(size, 1, false);
}

static void *_Znwm_slow(size_t size) __noinline;
static void *_Znwm_slow(size_t size)
{
	return new_slow(size, "_Znwm");
}

CXX_OPERATOR(_Znwm, void *, (size_t size))
{
	void *p = malloc_fast(size);

	return likely(p) ? p : _Znwm_slow(size);
}

static void *_Znam_slow(size_t size) __noinline;
static void *_Znam_slow(size_t size)
{
	return standard() ? new_slow(size, "_Znam") : _Znwm(size);
}

CXX_OPERATOR(_Znam, void *, (size_t size))
{
	void *p = new_fast(size);

	return likely(p) ? p : _Znam_slow(size);
}

/* Who catches what new throws is C++; without, at least what it returns. */
static void *nothrow_slow(size_t size, const void *tag, const char *name, cxx_new *plain)
{
	bool ours = standard();
	void *p = ours ? malloc_slow(size) : NULL;
	cxx_new_nothrow *next;

	if (p)
		return p;
	next = next_symbol(name);
	if (next)
		return next(size, tag);
	return ours ? cxx_alone(size, 1, true) : plain(size);
}

#define CXX_NEW_NOTHROW(name, plain)					\
static void *name##_slow(size_t size, const void *tag) __noinline;	\
static void *name##_slow(size_t size, const void *tag)			\
{									\
	return nothrow_slow(size, tag, #name, plain);			\
}									\
CXX_OPERATOR(name, void *, (size_t size, const void *tag))		\
{									\
	void *p = new_fast(size);					\
									\
	return likely(p) ? p : name##_slow(size, tag);			\
}

CXX_NEW_NOTHROW(_ZnwmRKSt9nothrow_t, _Znwm)
CXX_NEW_NOTHROW(_ZnamRKSt9nothrow_t, _Znam)

/*
 * Aligned new: a size that no object can have goes to the plain operator, because
 * some libstdc++ round it up to the alignment, past zero.
 */
static void *__cold aligned_failed(size_t size, size_t align, const char *name,
				   const char *plain)
{
	void *next = next_symbol(size > PTRDIFF_MAX ? plain : name);

	if (!next)
		return cxx_alone(size, align, false);
	return size > PTRDIFF_MAX ? ((cxx_new *)next)(size) :
	       ((cxx_new_aligned *)next)(size, align);
}

#define CXX_NEW_ALIGNED(name, plain, unless_standard)			\
CXX_OPERATOR(name, void *, (size_t size, size_t align))		\
{									\
	void *p;							\
									\
	unless_standard;						\
	p = ha_aligned_alloc(align, size);				\
	return likely(p) ? p : aligned_failed(size, align, #name, #plain); \
}

CXX_NEW_ALIGNED(_ZnwmSt11align_val_t, _Znwm,)
CXX_NEW_ALIGNED(_ZnamSt11align_val_t, _Znam,
		if (unlikely(!standard())) return _ZnwmSt11align_val_t(size, align))

static void *aligned_nothrow(size_t size, size_t align, const void *tag, const char *name,
			     const char *plain, cxx_new_aligned *aligned)
{
	bool ours = standard(), huge = ours && size > PTRDIFF_MAX;
	void *p = ours ? ha_aligned_alloc(align, size) : NULL, *next;

	if (likely(p))
		return p;
	next = next_symbol(huge ? plain : name);
	if (!next)
		return ours ? cxx_alone(size, align, true) : aligned(size, align);
	return huge ? ((cxx_new_nothrow *)next)(size, tag) :
	       ((cxx_new_aligned_nothrow *)next)(size, align, tag);
}

#define CXX_NEW_ALIGNED_NOTHROW(name, plain, aligned)			\
CXX_OPERATOR(name, void *, (size_t size, size_t align, const void *tag)) \
{									\
	return aligned_nothrow(size, align, tag, #name, #plain, aligned); \
}

CXX_NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t, _ZnwmRKSt9nothrow_t,
			_ZnwmSt11align_val_t)
CXX_NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t, _ZnamRKSt9nothrow_t,
			_ZnamSt11align_val_t)

/*
 * Delete.
 */
static void _ZdaPv_slow(void *p) __noinline;
static void _ZdaPv_slow(void *p)
{
	if (!standard())
		_ZdlPv(p);
	else
		ha_free(p);
}

CXX_OPERATOR(_ZdaPv, void, (void *p))
{
	const struct page_entry *e = delete_entry((uintptr_t)p);
	struct object o;

	if (likely(e) && likely(object_find(e, (uintptr_t)p, &o)))
		object_free(p, &o);
	else
		_ZdaPv_slow(p);
}

#define CXX_DELETE_SIZED(name, plain)					\
static void name##_slow(void *p, size_t size) __noinline;		\
static void name##_slow(void *p, size_t size)				\
{									\
	if (!standard())						\
		plain(p);						\
	else								\
		free_sized_slow(p, size);				\
}									\
CXX_OPERATOR(name, void, (void *p, size_t size))			\
{									\
	const struct page_entry *e = delete_entry((uintptr_t)p);	\
	struct object o;						\
									\
	if (likely(e) && likely(object_find(e, (uintptr_t)p, &o)) &&	\
	    likely(object_fits(&o, size)))				\
		object_free(p, &o);					\
	else								\
		name##_slow(p, size);					\
}

CXX_DELETE_SIZED(_ZdlPvm, _ZdlPv)
CXX_DELETE_SIZED(_ZdaPvm, _ZdaPv)

#define CXX_DELETE(name, params, ours, replaced)			\
CXX_OPERATOR(name, void, params)					\
{									\
	if (likely(standard()))						\
		ours;							\
	else								\
		replaced;						\
}

CXX_OPERATOR(_ZdlPvSt11align_val_t, void, (void *p, size_t align))
{
	ha_free(p);
}

CXX_DELETE(_ZdlPvRKSt9nothrow_t, (void *p, const void *tag), ha_free(p), _ZdlPv(p))
CXX_DELETE(_ZdaPvRKSt9nothrow_t, (void *p, const void *tag), ha_free(p), _ZdaPv(p))
CXX_DELETE(_ZdaPvSt11align_val_t, (void *p, size_t align),
	   ha_free(p), _ZdlPvSt11align_val_t(p, align))
CXX_DELETE(_ZdlPvmSt11align_val_t, (void *p, size_t size, size_t align),
	   ha_free_aligned_sized(p, align, size), _ZdlPvSt11align_val_t(p, align))
CXX_DELETE(_ZdaPvmSt11align_val_t, (void *p, size_t size, size_t align),
	   ha_free_aligned_sized(p, align, size), _ZdaPvSt11align_val_t(p, align))
CXX_DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, (void *p, size_t align, const void *tag),
	   ha_free(p), _ZdlPvSt11align_val_t(p, align))
CXX_DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, (void *p, size_t align, const void *tag),
	   ha_free(p), _ZdaPvSt11align_val_t(p, align))

/* Those that others call: what the name leads to, and what is ours. */
static const struct {
	void *volatile used;
	void *own;
} basics[] = {
	{ _Znwm, own_Znwm },
	{ _Znam, own_Znam },
	{ _ZdlPv, ha_free },
	{ _ZdaPv, own_ZdaPv },
	{ _ZnwmSt11align_val_t, own_ZnwmSt11align_val_t },
	{ _ZnamSt11align_val_t, own_ZnamSt11align_val_t },
	{ _ZdlPvSt11align_val_t, own_ZdlPvSt11align_val_t },
	{ _ZdaPvSt11align_val_t, own_ZdaPvSt11align_val_t },
};

/* Nothing is replaced: the fast paths may go ahead, as far as the window goes now. */
static bool standard(void)
{
	if (unlikely(!READ_ONCE(fast.new_limit))) {
		for (unsigned int i = 0; i < ARRAY_SIZE(basics); i++)
			if (basics[i].used != basics[i].own)
				return false;
		WRITE_ONCE(fast.new_limit, MAX_SMALL_SIZE + 1);
	}
	/* who has an address reads both without order, as in window_add() */
	if (unlikely(READ_ONCE(fast.delete_window) != READ_ONCE(arena_window)))
		smp_store_release(&fast.delete_window, smp_load_acquire(&arena_window));
	return true;
}

#endif /* CONFIG_INTERPOSE */
