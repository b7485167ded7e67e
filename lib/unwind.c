// SPDX-License-Identifier: MIT
/*
 * Unwinding inside malloc, by the compiler's unwind tables.
 *
 * Debian's programs have no frame pointers, but tables (.eh_frame), which libgcc's
 * unwinder reads.  It is linked into this library statically:
 *  - Nothing has to be loaded for it, now or later.
 *  - Its lock and list of objects registered at run time (by __register_frame) are
 *    ours, and the list is empty: the lock is never taken.  A program that throws
 *    an exception holds the lock of its own copy while it calls malloc.
 *  - Which table an address has is asked of _dl_find_object() (glibc 2.35), which
 *    takes no lock and may be called in the middle of dlopen() and in handlers; of
 *    dl_iterate_phdr() before, whose lock is recursive, held by the loader for the
 *    change of a list, and not while constructors run.
 *
 * What has no table ends the stack: code of a just-in-time compiler, assembly.
 *
 * In the shared library the frames of the library itself are left out, by their
 * addresses.  In a static link they stay, and are known by their names later.
 *
 * Stacks remembered.  Tables cost 300 ns a frame, and a loop that allocates does it
 * from the same stack again and again.  So the last stacks are kept, by the stack
 * pointer, each with the places where its return addresses lie.  When those hold the
 * same values, from the innermost on, it is the same stack: the caller is at the same
 * call, so its frame and its own return address are where they were, and so on.  (A
 * caller with a frame of variable size could let an old value pass for a return
 * address: a sample is then told of another stack.)  A place is read only when all
 * before it were right, on a stack that is in use up to there.  For the same reason
 * unwinding can stop at a frame that the thread's last stack had too, with the same
 * place, if all that is further out is as it was: an interpreter's stacks are deep, and
 * differ in a few frames.
 */
#include <sys/auxv.h>
#include <unwind.h>

#include <asm/atomic.h>
#include <asm/cpu.h>
#include <util/bug.h>
#include "fixalloc.h"
#include "unwind.h"

#define SET_BITS	6
#define NR_WAYS		4
#define SEARCH_WORDS	64
#define __no_asan	__attribute__((no_sanitize("address")))

struct kept_stack {
	uint32_t busy;			/* (a) 1: somebody reads or writes it */
	unsigned int nr;		/* (l busy) frames; 0: nothing is kept here */
	bool cut;			/* (l busy) there were more */
	uintptr_t sp;			/* (l busy) */
	unsigned int nr_own;		/* (l busy) of the frames, the library's */
	struct {
		uintptr_t pc;
		const uintptr_t *place;
	} frame[UNWIND_MAX_FRAMES];	/* (l busy) innermost first */
};

static struct kept_stack *kept;		/* (c) (1 << SET_BITS) * NR_WAYS, or NULL */
static __tls struct kept_stack *last;	/* that this thread met; another's by now, maybe */
static uintptr_t own_start, own_end;	/* (c) once primed; equal in a static link */
/* The linker's: of the program or library that this is linked into. */
extern const char __ehdr_start __hidden, _end __hidden;

struct walk {
	uintptr_t sp;			/* of unwind_stack() */
	uintptr_t cfa;			/* where the frame before ends */
	struct kept_stack *keep;	/* NULL: do not */
	struct kept_stack *last;	/* to go on by, or NULL */
	unsigned int at;		/* frames of it below are further in */
	unsigned int right;		/* and those from here on are right */
	uintptr_t *pc;
	unsigned int nr;
	unsigned int max;
	bool outside;
};

/* Where in the frame [from, to) the return address @pc lies; NULL: it does not. */
static __no_asan __no_tsan const uintptr_t *find_place(uintptr_t from, uintptr_t to,
							 uintptr_t pc)
{
	const uintptr_t *p = (const uintptr_t *)from, *end = (const uintptr_t *)to;

	if (to <= from)
		return NULL;
	if (end[-1] == pc)
		return end - 1;
	for (unsigned int i = 0; p < end && i < SEARCH_WORDS; p++, i++)
		if (*p == pc)
			return p;
	return NULL;
}

static void keep_frame(struct walk *w, uintptr_t pc, const uintptr_t *place, bool own)
{
	struct kept_stack *k = w->keep;

	if (!k)
		return;
	if (!place || k->nr == UNWIND_MAX_FRAMES) {
		k->nr = 0;
		smp_store_release(&k->busy, 0);
		w->keep = NULL;
		return;
	}
	k->frame[k->nr].pc = pc;
	k->frame[k->nr++].place = place;
	k->nr_own += own;
}

/* From frame @i on outwards: the first that is not as it was, or the number of all. */
static __no_asan __no_tsan unsigned int right_up_to(const struct kept_stack *k, unsigned int i)
{
	while (i < k->nr && READ_ONCE(*k->frame[i].place) == k->frame[i].pc)
		i++;
	return i;
}

/* Is the rest of this stack that of the last one?  Then it is taken from there. */
static bool go_on_by_last(struct walk *w, uintptr_t pc, const uintptr_t *place)
{
	struct kept_stack *k = w->last;

	if (!k || !place)
		return false;
	while (w->at < k->nr && k->frame[w->at].place < place)
		w->at++;
	if (w->at == k->nr || k->frame[w->at].place != place || k->frame[w->at].pc != pc ||
	    w->at < w->right)
		return false;
	w->right = right_up_to(k, w->at);
	if (w->right < k->nr)
		return false;
	for (unsigned int i = w->at + 1; i < k->nr && w->nr < w->max; i++) {
		w->pc[w->nr++] = k->frame[i].pc;
		keep_frame(w, k->frame[i].pc, k->frame[i].place, false);
	}
	return true;
}

static _Unwind_Reason_Code unwind_frame(struct _Unwind_Context *context, void *arg)
{
	uintptr_t pc = _Unwind_GetIP(context), cfa = _Unwind_GetCFA(context);
	const uintptr_t *place;
	struct walk *w = arg;
	bool own;

	if (!pc)
		return _URC_END_OF_STACK;
	/* unwind_stack() itself: what it called has its frame there, and will be gone */
	if (cfa <= w->sp)
		return _URC_NO_REASON;
	own = !w->outside && pc - own_start < own_end - own_start;
	place = find_place(w->cfa, cfa, pc);
	w->cfa = cfa;
	keep_frame(w, pc, place, own);
	if (own)
		return _URC_NO_REASON;
	w->outside = true;
	w->pc[w->nr++] = pc;
	if (w->nr == w->max || go_on_by_last(w, pc, place))
		return _URC_END_OF_STACK;
	return _URC_NO_REASON;
}

/* One of the kept stacks, which then is the caller's; NULL: busy. */
static struct kept_stack *kept_lock(struct kept_stack *k)
{
	return try_cmpxchg_acquire(&k->busy, 0, 1) ? k : NULL;
}

static bool is_kept(const struct kept_stack *k, uintptr_t sp)
{
	return k->nr && k->sp == sp && right_up_to(k, 0) == k->nr;
}

/* Threads stand at like places of their stacks: the upper bits of a product differ. */
static unsigned int set_of(uintptr_t sp)
{
	return (uint64_t)(sp >> 4) * 0x9e3779b97f4a7c15ULL >> (64 - SET_BITS);
}

/* How many frames, from a stack kept; 0: there is none.  *at: where to keep one. */
static unsigned int unwind_kept(uintptr_t sp, uintptr_t *pc, unsigned int max,
				struct kept_stack **at)
{
	static uint32_t turn;		/* (a) */
	struct kept_stack *set = kept + set_of(sp) * NR_WAYS;

	for (unsigned int way = 0; way < NR_WAYS; way++) {
		struct kept_stack *k = kept_lock(&set[way]);
		unsigned int n = 0;

		if (!k)
			continue;
		if (is_kept(k, sp))
			for (unsigned int i = k->nr_own; i < k->nr && n < max; i++)
				pc[n++] = k->frame[i].pc;
		smp_store_release(&k->busy, 0);
		if (n) {
			last = k;
			return n;
		}
	}
	*at = kept_lock(&set[atomic_fetch_add_relaxed(&turn, 1) % NR_WAYS]);
	return 0;
}

unsigned int unwind_stack(uintptr_t *pc, unsigned int max)
{
	struct walk w = { .pc = pc, .max = max };
	struct kept_stack *old = NULL;
	unsigned int n;

	w.sp = (uintptr_t)__builtin_frame_address(0);
	w.cfa = w.sp;
	if (kept) {
		n = unwind_kept(w.sp, pc, max, &w.keep);
		if (n)
			return n;
	}
	if (w.keep) {
		w.keep->sp = w.sp;
		w.keep->nr = 0;
		w.keep->nr_own = 0;
	}
	if (last && kept_lock(last)) {
		w.last = last->cut ? NULL : last;
		w.at = last->nr_own;
		old = last;
	}
	_Unwind_Backtrace(unwind_frame, &w);
	if (old)
		smp_store_release(&old->busy, 0);
	if (w.keep) {
		w.keep->cut = w.nr == max;
		last = w.keep;
		smp_store_release(&w.keep->busy, 0);
	}
	return w.nr;
}

struct caller_walk {
	const void *entry;
	struct unwind_caller *caller;
	bool next;			/* the frame that follows is the caller's */
};

static _Unwind_Reason_Code caller_frame(struct _Unwind_Context *ctx, void *arg)
{
	static const uint8_t kept_regs[] = { CPU_KEPT_REGS };
	struct caller_walk *w = arg;

	static_assert(ARRAY_SIZE(kept_regs) <= UNWIND_MAX_REGS, "there is room for them");
	if (!w->next) {
		w->next = _Unwind_FindEnclosingFunction((void *)_Unwind_GetIP(ctx)) == w->entry;
		return _URC_NO_REASON;
	}
	w->caller->sp = _Unwind_GetCFA(ctx);
	for (unsigned int i = 0; i < ARRAY_SIZE(kept_regs); i++)
		w->caller->regs[i] = _Unwind_GetGR(ctx, kept_regs[i]);
	return _URC_NORMAL_STOP;
}

bool unwind_caller_of(const void *entry, struct unwind_caller *c)
{
	struct caller_walk w = { .entry = entry, .caller = c };

	*c = (struct unwind_caller){ 0 };
	_Unwind_Backtrace(caller_frame, &w);
	return c->sp != 0;
}

/* No call: the loader may be at work, or its lists locked. */
static void find_self(void)
{
	uintptr_t start = (uintptr_t)&__ehdr_start, end = (uintptr_t)&_end;

	/* the program's own headers: a static link, where all is one */
	if (own_end || getauxval(AT_PHDR) - start < end - start)
		return;
	own_start = start;
	own_end = end;
}

void unwind_prime(void)
{
	uintptr_t pc[2];

	find_self();
	unwind_stack(pc, 2);
	if (!kept)
		kept = meta_alloc(NR_WAYS * sizeof(*kept) << SET_BITS);
}
