/* SPDX-License-Identifier: MIT */
/*
 * Slots: the caches, one for each CPU as the kernel tells them apart, or behind a lock;
 * and which of them a thread is on.  See lib/mcache_slot.c.
 *
 * The caches' operations are in lib/mcache.h, which is what others include.
 */
#ifndef _LIB_MCACHE_SLOT_H
#define _LIB_MCACHE_SLOT_H

#include <string.h>

#include <asm/cache.h>
#include <asm/rseq.h>
#include "heap_arena.h"
#include "lock.h"
#include "mspan.h"
#include "numa.h"
#include "profile.h"
#include "rest.h"
#include "sizeclasses.h"

#define NR_LOCKED	16
/*
 * Of its class a magazine can hold; and where that is too little over and over, as long
 * as all of a slot hold no more than so many bytes beyond.
 */
#define MAG_BATCHES	2
#define MAG_WIDE	4
#define WIDE_BYTES	(256UL << 10)
/*
 * With more nodes a process that does next to nothing would touch more than 512 KiB, and
 * from 14 on 16 bits do not reach that far.
 */
#define WIDE_NODES	2
/* Below it objects that were freed on another slot go to a magazine of their own. */
#define FOREIGN_SIZE	1024
/* Of one class, for another node: what a slot holds back is at most this. */
#define REMOTE_BYTES	(16UL << 10)
/* And for all the others together, of one class, this many objects. */
#define REMOTE_OBJECTS	512

struct locked_slot {
	struct lock lock;
	struct mag_hdr *hdrs;		/* (c) once set */
} __aligned(DESTRUCTIVE_BYTES);

enum thread_mode {
	THREAD_NEW,
	THREAD_RSEQ,
	THREAD_LOCKED,
};

#pragma GCC visibility push(hidden)

/*
 * The field of the thread's rseq area that is its slot id, or mcache_no_area: not looked
 * yet, or this thread must not use sequences (no rseq, a vfork child).  Everything about
 * a thread that the fast path needs is in this one word: the area begins where a multiple
 * of RSEQ_AREA_ALIGN is; and the id in mcache_no_area leads to no magazines, so that the
 * fast path need not ask which of the two it is.
 */
extern __tls const uint32_t *mcache_id;
extern uint32_t mcache_no_area[8];
extern __tls uint8_t thread_locked_slot;
extern __tls uint8_t thread_mode;

/*
 * By slot id: the headers of all nodes; those of the id's own node.
 */
extern struct mag_table mcache_hdrs;
extern struct mag_table mcache_rows;

extern struct locked_slot locked_slots[NR_LOCKED];
extern struct lock slots_lock;			/* slots are made, marked, detached */
extern struct mag_hdr *slot_hdrs[MAX_CIDS];	/* (l slots_lock) whatever the tables say */
extern uint8_t slot_nid[MAX_CIDS];		/* (c) once slot_hdrs is set */
extern unsigned int nr_slot_ids;		/* (c) ids the kernel may give */

/* False where there must be no sequences. */
static inline bool mcache_has_id(void)
{
	return mcache_id != mcache_no_area;
}

/* Those behind a lock are numbered from MAX_CIDS on. */
static inline bool slot_is_locked(unsigned int slot)
{
	return slot >= MAX_CIDS;
}

/* The slot this thread is on now; for a sequence only a hint a moment later. */
static inline unsigned int current_slot(void)
{
	if (!mcache_has_id())
		return MAX_CIDS + thread_locked_slot;
	return READ_ONCE(*mcache_id) % MAX_CIDS;
}

/* The node that a slot which exists belongs to. */
static inline unsigned int slot_node(unsigned int slot)
{
	return slot_is_locked(slot) ? (slot - MAX_CIDS) % topo.nr_nodes : slot_nid[slot];
}

/* The nodes' rows, and as many of outgoing magazines. */
static inline unsigned int nr_rows(void)
{
	return 2 * topo.nr_nodes;
}

static inline unsigned int outgoing(unsigned int route)
{
	return route + topo.nr_nodes * ROUTE_CLASSES;
}

static inline unsigned int row_nid(unsigned int row)
{
	return row < topo.nr_nodes ? row : row - topo.nr_nodes;
}

/* (a) Bytes of room beyond MAG_BATCHES: behind the headers. */
static inline size_t *slot_wide(struct mag_hdr *hdrs)
{
	return (size_t *)(hdrs + nr_rows() * ROUTE_CLASSES);
}

/* What the slot remembers of its magazines lies behind that. */
static inline struct rest *slot_rest(struct mag_hdr *hdrs)
{
	return (struct rest *)(slot_wide(hdrs) + 1);
}

/*
 * Objects were in @slots on this thread's stack.  Who looks for what nothing points to
 * (ha leaks) takes all that is there for pointers, and would find those first.
 */
static inline void slots_forget(struct mag_slot *slots, size_t n)
{
	if (!profile_on())
		return;
	memset(slots, 0, n * sizeof(*slots));
	/* they are dead to the compiler */
	__asm__ __volatile__("" : : "r" (slots) : "memory");
}

/* 0 or -ENOMEM. */
int mcache_init(void);
bool mcache_uses_rseq(void);

/* The first call of a thread: true; it knows its slots from then on. */
void slot_thread_first(void);
static inline bool slot_thread_init(void)
{
	if (likely(thread_mode != THREAD_NEW))
		return false;
	slot_thread_first();
	return true;
}

static inline bool slot_exists(unsigned int slot)
{
	if (slot_is_locked(slot))
		return locked_slots[slot - MAX_CIDS].hdrs != NULL;
	return READ_ONCE(mcache_hdrs.row[slot]) != 0;
}

/*
 * Make the slot's magazines if it has none.  False when the thread has moved on: it then
 * does without for this once; or when out of memory: for some calls.
 */
bool slot_create(unsigned int slot);
/* The locked slot of this thread, locked; NULL: it is not made yet. */
struct locked_slot *slot_lock_own(void);
/*
 * A thread without sequences that runs on another node by now takes a slot there.
 * True when it did.
 */
bool slot_follow_locked(void);
static inline bool slot_follow(void)
{
	return !mcache_has_id() && slot_follow_locked();
}

/*
 * A thread that has moved would go on with what its slot holds, up to two batches: so it
 * looks where it is not only at refills.
 */
void slot_look_around_locked(void);
static inline void slot_look_around(void)
{
	if (!mcache_has_id())
		slot_look_around_locked();
}

/* Objects of class @sc that a slot of node @nid can hold in @row, at first. */
unsigned int mag_room(unsigned int nid, unsigned int row, unsigned int sc);

/*
 * A batch more for the magazine of class @sc of the slot's node @nid, where there is room
 * and budget; and back to what it had at first, for any magazine.  Any thread.
 */
void slot_widen(struct mag_hdr *hdrs, unsigned int nid, unsigned int sc);
void slot_narrow(struct mag_hdr *hdrs, unsigned int nid, unsigned int route);

/* What marks objects that come from @slot; 0 without marks. */
uint8_t slot_tag(unsigned int slot);
/* The slot that @tag stands for, or one of those. */
static inline unsigned int tag_slot(uint8_t tag)
{
	return tag - OBJECT_LIVE;
}
/* Of the slot this thread is on. */
uint8_t mcache_tag(void);
/*
 * All magazines call at the next pop, to be told when again; those that are made from
 * here on do so until mcache_profile_over().  See lib/profile.c.
 */
void mcache_profile(void);
void mcache_profile_over(void);
/*
 * The slots in @ids, a bitmap, are detached, and nobody is inside of them; false: somebody
 * may be, who could not be thrown out of his section.  Until slots_open(), either way.
 * Caller: slots_lock.
 */
bool slots_close(const uint64_t *ids);
void slots_open(const uint64_t *ids);

/* The node this thread allocates from now. */
unsigned int mcache_nid_of_many(void);
static inline unsigned int mcache_nid(void)
{
	return topo.nr_nodes == 1 ? 0 : mcache_nid_of_many();
}

/* A vfork child runs on its parent's memory: no place to start a thread. */
bool mcache_in_vfork(void);

/*
 * Test builds: this thread is whatever CPU the fake @area says, one of @nr.  No two
 * threads may be the same CPU at a time, and nobody may drain meanwhile: nothing
 * interrupts a section.
 */
#ifdef CONFIG_FAULT_INJECTION
void mcache_simulate(unsigned int nr, void *area);
#endif

bool slot_fork_held(void);
void slot_fork_prepare(bool nested);
void slot_fork_done(void);

#pragma GCC visibility pop

#endif /* _LIB_MCACHE_SLOT_H */
