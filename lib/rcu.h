/* SPDX-License-Identifier: MIT */
/*
 * liburcu, and nothing else includes it.
 *
 * Lock-free stacks (urcu/lfstack.h) of batches: pushes from anywhere at any time;
 * pops exclude each other by a try-lock of the stack, which is one of the ways
 * the library allows against the ABA problem of a pop.  The operations:
 *
 *	            push   pop
 *	   push      -      -        - both at once, lock-free
 *	   pop       -      X        X one excludes the other (declines)
 *
 * A declined pop reads as "empty": the caller goes to the next layer and nobody
 * waits for a preempted thread.
 */
#ifndef _LIB_RCU_H
#define _LIB_RCU_H

#define _LGPL_SOURCE		/* inline forms; the licence is compatible */
#include <urcu/lfstack.h>

#include <asm/atomic.h>
#include <util/compiler.h>
#include "watch.h"

/*
 * liburcu's assembly is invisible to ThreadSanitizer: say what it orders.  What cannot
 * be said is the order of a node's own link: a push writes it behind the release that is
 * told of, and before the exchange of the head that hands the node on.  So links are
 * accessed in functions of their own, which are not looked into, and for liburcu's
 * there is tools/scripts/tsan.supp.
 */
#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define rcu_san_acquire(p)	__tsan_acquire(p)
#define rcu_san_release(p)	__tsan_release(p)
#define rcu_inline		static __no_tsan __attribute__((noipa, unused))
#else
#define rcu_san_acquire(p)	((void)(p))
#define rcu_san_release(p)	((void)(p))
#define rcu_inline		static inline
#endif

struct lfstack {
	struct __cds_lfs_stack head;
	uint32_t popper;		/* (a) 1: a thread is popping */
};

static inline void lfstack_init(struct lfstack *s)
{
	__cds_lfs_init(&s->head);
	s->popper = 0;
}

static inline bool lfstack_empty(struct lfstack *s)
{
	return READ_ONCE(s->head.head) == NULL;
}

static inline void lfstack_push(struct lfstack *s, struct cds_lfs_node *node)
{
	watch_touch(s, 0);
	cds_lfs_node_init(node);
	rcu_san_release(node);
	cds_lfs_push(&s->head, node);
}

/*
 * A pop in three steps, for who keeps a count of pops: it belongs to the popper
 * between the first, which may decline, and the last.  Who knows that there is
 * nothing to pop need not begin.
 */
static inline bool lfstack_pop_begin(struct lfstack *s)
{
	if (atomic_load_relaxed(&s->popper))
		return false;
	watch_touch(s, 0);
	/* acquire pairs with the release below: one popper at a time */
	return try_cmpxchg_acquire(&s->popper, 0, 1);
}

static inline struct cds_lfs_node *__lfstack_pop(struct lfstack *s)
{
	struct cds_lfs_node *node = __cds_lfs_pop(&s->head);

	rcu_san_acquire(node);
	return node;
}

static inline void lfstack_pop_end(struct lfstack *s)
{
	smp_store_release(&s->popper, 0);
}

static inline struct cds_lfs_node *lfstack_try_pop(struct lfstack *s)
{
	struct cds_lfs_node *node;

	if (lfstack_empty(s) || !lfstack_pop_begin(s))
		return NULL;
	node = __lfstack_pop(s);
	lfstack_pop_end(s);
	return node;
}

/*
 * Between begin and end of a pop: what is below the first @keep nodes, one at least, is
 * taken off; the first of it, and the others behind.  The node on top stays, because a
 * push goes by it.
 */
rcu_inline struct cds_lfs_node *lfstack_cut(struct lfstack *s, unsigned int keep)
{
	struct cds_lfs_head *head = READ_ONCE(s->head.head);
	struct cds_lfs_node *node = head ? &head->node : NULL, *rest;

	if (!node)
		return NULL;
	rcu_san_acquire(node);
	for (; node->next && keep > 1; keep--) {
		node = node->next;
		rcu_san_acquire(node);
	}
	rest = node->next;
	node->next = NULL;
	for (node = rest; node; node = node->next)
		rcu_san_acquire(node);
	return rest;
}

/* Both are the caller's: @next behind @node. */
rcu_inline void lfstack_link(struct cds_lfs_node *node, struct cds_lfs_node *next)
{
	node->next = next;
}

/* In the child of a fork: a popper that stayed in the parent. */
static inline void lfstack_fork_child(struct lfstack *s)
{
	s->popper = 0;
}

/* The nodes from the top down; only while nobody else can be at the stack. */
static inline struct cds_lfs_node *lfstack_first(struct lfstack *s)
{
	return s->head.head ? &s->head.head->node : NULL;
}

rcu_inline struct cds_lfs_node *lfstack_next(struct cds_lfs_node *node)
{
	return node->next;
}

#endif /* _LIB_RCU_H */
