// SPDX-License-Identifier: MIT
/*
 * Per-CPU caches.
 *
 *	mcache_rs (TLS) -> rseq area -> slot id (mm_cid or cpu_id)
 *	                                   |
 *	mcache_hdrs, all headers --------> +--------------------------------+
 *	mcache_rows, its node's -------+   | mag_hdr [nodes][128 classes]   |
 *	                               +-> |                                |
 *	                                   | slots, 16 bytes each           |
 *	                                   +--------------------------------+
 *
 * All headers of a slot hold its mark, with MAG_MORE while the heap is profiled, so that
 * malloc counts what it pops, and without misuse detection, where it sets no state.
 *
 * The slot id.  With one node: the kernel's concurrency id (mm_cid), dense from 0
 * and never more than the threads or CPUs in use, where the kernel fills it, else
 * cpu_id.  With several nodes: cpu_id, because a CPU's node does not change; the
 * row of the slot's own node feeds malloc, the other rows collect objects that
 * go home.
 *
 * Threads without rseq (old kernel, emulator, rseq:off, glibc.pthread.rseq=0, a
 * vfork child) share NR_LOCKED slots of the same build, each behind a lock.  The
 * two kinds never touch each other's slots.  Each locked slot has a node; a thread asks
 * now and then which one it is on.
 *
 * How a thread finds out: mcache_rs is mcache_no_area at first, so its first malloc or
 * free takes the slow path, which looks at its registration once.  A cached copy of
 * __rseq_offset is never used: rseq_cs is written through mcache_rs only.
 *
 * Invariants:
 *  1. A slot's magazines change only inside a critical section of its id, under
 *     its lock (locked slots), or detached: all tables lead to nothing for it and a
 *     membarrier has thrown every thread out of its section since.
 *  2. An object in a magazine has its span's bit set, and state OBJECT_FREE (any
 *     state without misuse detection).
 *  3. A magazine of node n, either one, holds objects of node n only; who calls with a route
 *     derives it from the object's page entry.
 *  4. mcache.c holds no lock while it calls the depot, mcentral or mheap, except
 *     create_lock or a locked slot's own while draining.
 *
 * False sharing.  malloc marks an object's state with the tag of the slot it comes
 * from.  One that is freed on another slot goes to the outgoing magazine of its route
 * there, from which no malloc takes: two threads that free neighbours would get them
 * again, each its own, and write to one cache line from then on.  When it is full, the
 * batch goes to the depot, as any.  Outgoing magazines have the rows behind those of
 * the nodes, and are for objects of less than FOREIGN_SIZE.
 *
 * Bounds: of each class 2 batches, of those above 256 KiB one object; for another node
 * a batch, or REMOTE_BYTES if that is less, which is enough to share the way (parts of
 * a batch are put together in the depot); as many slots as threads have run at once.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <asm/cache.h>
#include <util/probe.h>
#include "conf.h"
#include "fixalloc.h"
#include "inspect.h"
#include "lock.h"
#include "mcache.h"
#include "mcentral.h"
#include "numa.h"
#include "profile.h"
#include "rest.h"

#define NR_LOCKED		16
#define FOREIGN_SIZE		1024
#define LOCKED_STAY		32	/* objects until a thread asks where it is */
#define SHED_BATCHES		8	/* that a slow path takes home for others */
#define MAG_BATCHES		2	/* of its class a magazine can hold */
#define MAG_ONE_FROM		(256UL << 10)	/* but one object larger than this */
/* Without it the tops of all classes fall into the same few sets of the L1 cache. */
#define MAG_GAP			L1_CACHE_BYTES
/* Sets of the L1 cache of a page; a step that comes by all of them. */
#define L1_SETS			64
#define COLOUR_STEP		(13 * L1_CACHE_BYTES)
#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE	27
#endif
#ifndef MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ
#define MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ		(1 << 7)
#define MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ	(1 << 8)
#endif

/* glibc 2.35 and later register an area for each thread and say where. */
extern const ptrdiff_t __rseq_offset __weak;
extern const unsigned int __rseq_size __weak;
extern const char *gnu_get_libc_version(void) __weak;

static_assert(2 * NR_ROUTES <= MAG_NR_HDRS, "there is nothing for every route");

struct mag_table mcache_hdrs;
struct mag_table mcache_rows;
size_t mcache_id_off = RSEQ_OFF_CPU_ID;
/* Both ids are those of a thread that the kernel does not know. */
uint32_t mcache_no_area[8] __aligned(32) = {
	[RSEQ_OFF_CPU_ID / 4] = -1U,
	[RSEQ_OFF_MM_CID / 4] = -1U,
};

struct locked_slot {
	struct lock lock;
	struct mag_hdr *hdrs;		/* (c) once set */
} __aligned(DESTRUCTIVE_BYTES);

static struct locked_slot locked_slots[NR_LOCKED];
static uint32_t next_locked;		/* (a) hands slots to threads in turn */

static struct lock create_lock = LOCK_INIT(RANK_MCACHE);
static struct mag_hdr *slot_hdrs[MAX_CIDS];	/* (l create_lock) whatever the tables say */
static uint8_t slot_nid[MAX_CIDS];		/* (c) once slot_hdrs is set */
static uint32_t slot_look[MAX_CIDS + NR_LOCKED];	/* (l) hdrs_look() a while ago */
static unsigned int nr_ids;			/* (c) ids the kernel may give */
static bool rseq_usable;			/* (c) */
static bool profiled;				/* (a) written under create_lock: what is popped is counted */
static uint32_t fork_stale;			/* (a) other slots hold what nobody uses */

enum thread_mode {
	THREAD_NEW,
	THREAD_RSEQ,
	THREAD_LOCKED,
};

__tls void *mcache_rs = mcache_no_area;
static __tls uint8_t thread_mode;
static __tls uint8_t thread_locked_slot;
static __tls uint8_t thread_locked_stay;	/* objects since it asked */
/* For a libc that registers nothing; the kernel writes 32 bytes of it. */
static __tls uint32_t own_area[8] __aligned(32);

static bool slot_is_locked(unsigned int slot)
{
	return slot >= MAX_CIDS;
}

/*
 * Registration.
 */

/* The kernel fills mm_cid from this feature size on, whatever the libc says. */
static bool kernel_has_mm_cid(void)
{
	return getauxval(AT_RSEQ_FEATURE_SIZE) >= RSEQ_OFF_MM_CID + 4;
}

/* Ids are below the size of the kernel's CPU mask. */
static unsigned int kernel_nr_ids(void)
{
	uint64_t mask[MAX_CIDS / 64];
	int saved = errno;
	long n = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);

	errno = saved;
	return n <= 0 ? 0 : n * 8;
}

/* What leads from a table to the headers of node @nid. */
static ptrdiff_t row_of(const struct mag_table *tab, const struct mag_hdr *hdrs,
			unsigned int nid)
{
	return (const char *)(hdrs + route_make(nid, 0)) - (const char *)tab;
}

static void slot_attach(unsigned int id, struct mag_hdr *hdrs, unsigned int nid)
{
	/* pairs with the address dependency of every section on the slot */
	smp_store_release(&mcache_rows.row[id], row_of(&mcache_rows, hdrs, nid));
	smp_store_release(&mcache_hdrs.row[id], row_of(&mcache_hdrs, hdrs, 0));
}

static void slot_detach(unsigned int id)
{
	WRITE_ONCE(mcache_rows.row[id], 0);
	WRITE_ONCE(mcache_hdrs.row[id], 0);
}

int mcache_init(void)
{
	nr_ids = kernel_nr_ids();
	rseq_usable = conf.rseq && nr_ids && nr_ids <= MAX_CIDS;
	/* glibc says how many bytes it registered: 0 when told not to. */
	if (&__rseq_size && __rseq_size == 0)
		rseq_usable = false;
	if (!&__rseq_size && !&gnu_get_libc_version)
		rseq_usable = false;
	if (kernel_has_mm_cid() && (topo.nr_nodes == 1 || topo.fake))
		mcache_id_off = RSEQ_OFF_MM_CID;
	for (unsigned int i = 0; i < NR_LOCKED; i++)
		lock_init(&locked_slots[i].lock, RANK_MCACHE);
	return 0;
}

bool mcache_uses_rseq(void)
{
	return rseq_usable;
}

/* An older glibc: register a TLS area of our own; it dies with the thread. */
static void *register_own_area(void)
{
	int saved = errno;
	long err;

	own_area[RSEQ_OFF_CPU_ID / 4] = -1U;
	err = syscall(SYS_rseq, own_area, sizeof(own_area), 0, RSEQ_SIGNATURE);
	errno = saved;
	return err ? NULL : own_area;
}

/*
 * Locked slot i belongs to node i % nr_nodes; threads take turns on those of the
 * node they are on.
 */
static unsigned int pick_locked_slot(void)
{
	unsigned int turn = atomic_fetch_add_relaxed(&next_locked, 1);
	unsigned int nr = topo.nr_nodes;

	if (topo.fake || nr == 1)
		return turn % NR_LOCKED;
	return topo_current_node() + nr * (turn % (NR_LOCKED / nr));
}

static void thread_init(void)
{
	char *rs;

	thread_locked_slot = pick_locked_slot();
	thread_mode = THREAD_LOCKED;
	if (!rseq_usable)
		return;
	if (&__rseq_size)
		rs = (char *)__builtin_thread_pointer() + __rseq_offset;
	else
		rs = register_own_area();
	/* negative: not registered, or registration failed */
	if (!rs || (int32_t)READ_ONCE(*(uint32_t *)(rs + RSEQ_OFF_CPU_ID)) < 0)
		return;
	thread_mode = THREAD_RSEQ;
	mcache_rs = rs;
}

#ifdef CONFIG_FAULT_INJECTION
void mcache_simulate(unsigned int nr, void *area)
{
	if (!rseq_usable || nr_ids < nr) {
		rseq_usable = true;
		nr_ids = nr;
	}
	thread_mode = THREAD_RSEQ;
	mcache_rs = area;
}
#endif

/* The slot this thread is on now; for a sequence only a hint a moment later. */
static unsigned int current_slot(void)
{
	char *rs = mcache_area();

	if (!rs)
		return MAX_CIDS + thread_locked_slot;
	return READ_ONCE(*(uint32_t *)(rs + mcache_id_off)) % MAX_CIDS;
}

/* The node that a slot which exists belongs to. */
static unsigned int slot_node(unsigned int slot)
{
	return slot_is_locked(slot) ? (slot - MAX_CIDS) % topo.nr_nodes : slot_nid[slot];
}

/*
 * A thread without sequences that runs on another node by now takes a slot there.
 * True when it did.
 */
static bool locked_follow(void)
{
	if (mcache_area() || topo.fake || topo.nr_nodes == 1 ||
	    topo_current_node() == thread_locked_slot % topo.nr_nodes)
		return false;
	thread_locked_slot = pick_locked_slot();
	return true;
}

/*
 * A thread that has moved would go on with what its slot holds, up to two batches: so it
 * looks where it is not only at refills.
 */
static void locked_look(void)
{
	if (mcache_area() || topo.nr_nodes == 1 || ++thread_locked_stay < LOCKED_STAY)
		return;
	thread_locked_stay = 0;
	locked_follow();
}

unsigned int mcache_nid(void)
{
	unsigned int slot;

	if (topo.nr_nodes == 1)
		return 0;
	/* the first call of a thread may be for a large object */
	if (thread_mode == THREAD_NEW)
		thread_init();
	locked_follow();
	slot = current_slot();
	if (slot_is_locked(slot))
		return thread_locked_slot % topo.nr_nodes;
	if (READ_ONCE(slot_hdrs[slot]))
		return slot_nid[slot];
	return topo.fake ? slot % topo.nr_nodes : topo_current_node();
}

/*
 * Slots.
 */

/* The nodes' rows, and as many of outgoing magazines. */
static unsigned int nr_rows(void)
{
	return 2 * topo.nr_nodes;
}

static unsigned int outgoing(unsigned int route)
{
	return route + topo.nr_nodes * ROUTE_CLASSES;
}

static unsigned int row_nid(unsigned int row)
{
	return row < topo.nr_nodes ? row : row - topo.nr_nodes;
}

/* Without misuse detection there are no marks, and nothing is foreign. */
static uint8_t slot_tag(unsigned int slot)
{
	return conf.check ? OBJECT_LIVE + slot % (OBJECT_SAMPLED - OBJECT_LIVE) : 0;
}

uint8_t mcache_tag(void)
{
	return slot_tag(current_slot());
}

/* Under create_lock, but for locked slots, which nobody pops from by a sequence. */
static uint32_t slot_mark(unsigned int slot)
{
	return slot_tag(slot) |
	       (atomic_load_relaxed(&profiled) || !conf.check ? MAG_MORE : 0);
}

/* No fence: the sign of a mark may be an old one for a moment. */
void mcache_profile(bool on)
{
	lock_acquire(&create_lock);
	atomic_store_relaxed(&profiled, on);
	for (unsigned int i = 0; i < nr_ids && rseq_usable; i++)
		for (unsigned int k = 0; slot_hdrs[i] && k < nr_rows() * ROUTE_CLASSES; k++)
			WRITE_ONCE(slot_hdrs[i][k].mark, slot_mark(i));
	lock_release(&create_lock);
}

/* Objects of class @sc that a slot of node @nid can hold in @row. */
static unsigned int mag_room(unsigned int nid, unsigned int row, unsigned int sc)
{
	const struct size_class *k = &size_classes[sc];

	if (row_nid(row) != nid)
		return row < topo.nr_nodes ? min_size(k->batch, REMOTE_BYTES / k->size) : 0;
	if (row >= topo.nr_nodes)
		return k->size < FOREIGN_SIZE && conf.check ? k->batch : 0;
	return k->size > MAG_ONE_FROM ? 1 : MAG_BATCHES * k->batch;
}

static size_t mag_bytes(unsigned int nid, unsigned int row, unsigned int sc)
{
	unsigned int room = mag_room(nid, row, sc);

	return room ? room * MAG_SLOT_SIZE + MAG_GAP : 0;
}

/* What the slot remembers of them lies behind the headers. */
static struct rest *slot_rest(struct mag_hdr *hdrs)
{
	return (struct rest *)(hdrs + nr_rows() * ROUTE_CLASSES);
}

static struct mag_hdr *mcache_new(unsigned int slot, unsigned int nid)
{
	unsigned int nr_hdrs = nr_rows() * ROUTE_CLASSES;
	size_t bytes = nr_hdrs * sizeof(struct mag_hdr);
	struct mag_hdr *hdrs;
	size_t slots;

	bytes += align_up(rest_bytes(nr_hdrs / 2, nr_hdrs), MAG_SLOT_SIZE);
	slots = bytes;
	for (unsigned int row = 0; row < nr_rows(); row++)
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
			bytes += mag_bytes(nid, row, sc);
	hdrs = meta_alloc(bytes);
	if (!hdrs)
		return NULL;
	for (unsigned int row = 0; row < nr_rows(); row++) {
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
			unsigned int route = route_make(row, sc);
			struct mag_hdr *h = &hdrs[route];

			h->base = slots - route * sizeof(*h);
			h->top = h->base;
			h->mark = slot_mark(slot);
			h->limit = h->base + mag_room(nid, row, sc) * MAG_SLOT_SIZE;
			slots += mag_bytes(nid, row, sc);
		}
	}
	return hdrs;
}

static bool create_locked(unsigned int i)
{
	struct locked_slot *ls = &locked_slots[i];

	lock_acquire(&ls->lock);
	if (!ls->hdrs) {
		/* pairs with the acquires of those that look without the lock */
		smp_store_release(&ls->hdrs, mcache_new(MAX_CIDS + i, i % topo.nr_nodes));
		if (ls->hdrs)
			mcentral_add_slot();
	}
	lock_release(&ls->lock);
	return ls->hdrs != NULL;
}

/*
 * Make the slot's magazines if it has none.  False when out of memory, or when
 * the thread has moved on: it then does without for this once.
 */
static bool slot_create(unsigned int slot)
{
	int nid;

	if (slot_is_locked(slot))
		return create_locked(slot - MAX_CIDS);
	nid = topo_node_of_slot(slot);
	if (slot >= nr_ids || nid < 0)
		return false;
	lock_acquire(&create_lock);
	if (!slot_hdrs[slot]) {
		struct mag_hdr *hdrs = mcache_new(slot, nid);

		if (hdrs) {
			slot_nid[slot] = nid;
			WRITE_ONCE(slot_hdrs[slot], hdrs);
			slot_attach(slot, hdrs, nid);
			mcentral_add_slot();
		}
	}
	lock_release(&create_lock);
	return slot_hdrs[slot] != NULL;
}

static bool slot_exists(unsigned int slot)
{
	if (slot_is_locked(slot))
		return locked_slots[slot - MAX_CIDS].hdrs != NULL;
	return READ_ONCE(mcache_hdrs.row[slot]) != 0;
}

/*
 * The four operations, by sequence or under the slot's lock.
 */

static struct locked_slot *locked_get(void)
{
	struct locked_slot *ls = &locked_slots[thread_locked_slot];

	if (!ls->hdrs)
		return NULL;
	lock_acquire(&ls->lock);
	return ls;
}

static bool any_pop(size_t sc, struct mag_slot *out)
{
	struct locked_slot *ls;
	uint32_t mark;
	bool ok;

	if (mcache_area())
		return mcache_pop_twice(2 * sc, out, &mark);
	ls = locked_get();
	if (!ls)
		return false;
	ok = mag_pop(ls->hdrs, route_make(thread_locked_slot % topo.nr_nodes, sc), out);
	lock_release(&ls->lock);
	return ok;
}

static bool any_push(size_t route, struct mag_slot slot)
{
	struct locked_slot *ls;
	bool ok;

	if (mcache_area())
		return mcache_push(route, slot);
	ls = locked_get();
	if (!ls)
		return false;
	ok = mag_push(ls->hdrs, route, slot);
	lock_release(&ls->lock);
	return ok;
}

static size_t any_pop_n(size_t route, struct mag_slot *dst, size_t n)
{
	struct locked_slot *ls;
	void *rs = mcache_area();

	if (rs)
		return rseq_mag_pop_n(rs, &mcache_id_off, &mcache_hdrs,
				      route << MAG_HDR_SHIFT, dst, n);
	ls = locked_get();
	if (!ls)
		return 0;
	n = mag_pop_n(ls->hdrs, route, dst, n);
	lock_release(&ls->lock);
	return n;
}

static size_t any_push_n(size_t route, const struct mag_slot *src, size_t n)
{
	struct locked_slot *ls;
	void *rs = mcache_area();

	if (rs)
		return n ? rseq_mag_push_n(rs, &mcache_id_off, &mcache_hdrs,
					   route << MAG_HDR_SHIFT, src, n) : 0;
	ls = locked_get();
	if (!ls)
		return 0;
	n = mag_push_n(ls->hdrs, route, src, n);
	lock_release(&ls->lock);
	return n;
}

/*
 * Draining.
 */

static void drain_hdrs(unsigned int slot, struct mag_hdr *hdrs)
{
	struct mag_slot slots[MAX_BATCH];
	size_t n, total = 0;

	for (unsigned int row = 0; row < nr_rows(); row++) {
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
			while ((n = mag_pop_n(hdrs, route_make(row, sc), slots,
					      MAX_BATCH))) {
				mcentral_free(row_nid(row), sc, slots, n);
				total += n;
			}
		}
	}
	PROBE(drain, slot, total);
}

/* Throw every thread of the process out of its section; false: cannot. */
static bool fence_sections(void)
{
	static bool registered;
	int saved = errno;
	bool ok = true;

	if (!registered) {
		ok = syscall(SYS_membarrier,
			     MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0) == 0;
		registered = ok;
	}
	if (ok)
		ok = syscall(SYS_membarrier,
			     MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0) == 0;
	errno = saved;
	return ok;
}

/* What a slot looks like from outside: the same twice means that it rests. */
static uint32_t hdrs_look(const struct mag_hdr *hdrs)
{
	uint32_t sum = 1;

	for (unsigned int i = 0; i < nr_rows() * ROUTE_CLASSES; i++)
		sum = sum * 31 + READ_ONCE(hdrs[i].top);
	return sum;
}

/* Look again at slot @i; true when it rests. */
static bool look_again(unsigned int i, const struct mag_hdr *hdrs)
{
	uint32_t look = hdrs_look(hdrs);
	bool rests = slot_look[i] == look;

	slot_look[i] = look;
	return rests;
}

static bool hdrs_empty(const struct mag_hdr *hdrs)
{
	for (unsigned int i = 0; i < nr_rows() * ROUTE_CLASSES; i++)
		if (READ_ONCE(hdrs[i].top) != hdrs[i].base)
			return false;
	return true;
}

static bool drain_wanted(unsigned int i, bool idle_only, bool *all_done)
{
	bool wanted;

	if (!slot_hdrs[i])
		return false;
	wanted = !idle_only || look_again(i, slot_hdrs[i]);
	*all_done &= wanted;
	return wanted && !hdrs_empty(slot_hdrs[i]);
}

/* True when no slot is busy. */
static bool drain_rseq_slots(bool idle_only)
{
	uint64_t chosen[MAX_CIDS / 64] = { 0 };
	bool all_done = true, any = false;

	lock_acquire(&create_lock);
	for (unsigned int i = 0; i < nr_ids; i++) {
		if (!drain_wanted(i, idle_only, &all_done))
			continue;
		bitmap_set(chosen, i);
		slot_detach(i);
		any = true;
	}
	/* From here on no section is inside the magazines (invariant 1). */
	if (any && fence_sections())
		for (unsigned int i = 0; i < nr_ids; i++)
			if (bitmap_test(chosen, i))
				drain_hdrs(i, slot_hdrs[i]);
	for (unsigned int i = 0; i < nr_ids && any; i++) {
		if (!bitmap_test(chosen, i))
			continue;
		slot_attach(i, slot_hdrs[i], slot_nid[i]);
		slot_look[i] = hdrs_look(slot_hdrs[i]);
	}
	lock_release(&create_lock);
	return all_done;
}

static bool drain_locked_slots(bool idle_only)
{
	bool all_done = true;

	for (unsigned int i = 0; i < NR_LOCKED; i++) {
		struct locked_slot *ls = &locked_slots[i];

		if (!smp_load_acquire(&ls->hdrs))
			continue;
		lock_acquire(&ls->lock);
		if (!idle_only || look_again(MAX_CIDS + i, ls->hdrs)) {
			drain_hdrs(MAX_CIDS + i, ls->hdrs);
			slot_look[MAX_CIDS + i] = hdrs_look(ls->hdrs);
		} else {
			all_done = false;
		}
		lock_release(&ls->lock);
	}
	return all_done;
}

/* A child inherits every slot and runs on one: the rest is taken into reach. */
static void drain_after_fork(unsigned int slot)
{
	for (unsigned int i = 0; i < nr_ids; i++) {
		if (i != slot && slot_hdrs[i]) {
			drain_rseq_slots(false);
			break;
		}
	}
	drain_locked_slots(false);
}

/* First call of a thread, or on a slot: true when there is something to retry. */
static bool slow_prepare(void)
{
	unsigned int slot;
	bool fresh = false;

	if (thread_mode == THREAD_NEW) {
		thread_init();
		fresh = true;
	}
	profile_poll();
	slot = current_slot();
	if (unlikely(atomic_load_relaxed(&fork_stale)) && xchg(&fork_stale, 0))
		drain_after_fork(slot);
	if (!slot_exists(slot))
		fresh |= slot_create(slot);
	/* a sequence declined only because this thread may not use one */
	return fresh || !mcache_area();
}

/* On top of the magazine; moved to a slot that is full, what does not fit goes back. */
static void keep(unsigned int nid, unsigned int sc, const struct mag_slot *slots,
		 unsigned int n)
{
	unsigned int kept = any_push_n(route_make(nid, sc), slots, n);

	if (unlikely(kept < n))
		mcentral_free(nid, sc, slots + kept, n - kept);
}

/*
 * How many of @n objects from a span are handed out last although they lie lowest.
 * Spans start on pages: what a program has one of in each class, over and over, would
 * all fall into the same set of the L1 cache.
 */
static unsigned int colour(unsigned int sc, unsigned int n)
{
	unsigned int size = size_classes[sc].size;

	return sc * COLOUR_STEP % (L1_SETS * L1_CACHE_BYTES) / size % n;
}

/* One batch of what has rested on this slot, or in a depot, goes home. */
static bool shed_rested(unsigned int slot) __noinline;
static bool shed_rested(unsigned int slot)
{
	unsigned int nr_mags = nr_rows() * ROUTE_CLASSES, nr_depots = nr_mags / 2;
	struct locked_slot *ls = mcache_area() ? NULL : locked_get();
	struct mag_hdr *hdrs = ls ? ls->hdrs : slot_hdrs[slot];
	struct rest *r = slot_rest(hdrs);
	struct mag_slot slots[MAX_BATCH];
	unsigned int route;
	size_t n;
	int i;

	i = rest_next(r, hdrs, nr_depots, nr_mags);
	if (ls)
		lock_release(&ls->lock);
	if (i < 0)
		return false;
	if (i < (int)nr_depots) {
		mcentral_drain_one(route_nid(i), route_class(i));
	} else {
		route = i - nr_depots;
		n = any_pop_n(route, slots, MAX_BATCH);
		if (n)
			mcentral_free(row_nid(route_nid(route)), route_class(route),
				      slots, n);
	}
	if (ls)
		lock_acquire(&ls->lock);
	rest_mark(r, i, hdrs, nr_depots);
	if (ls)
		lock_release(&ls->lock);
	return true;
}

static void look_for_rested(unsigned int slot)
{
	struct mag_hdr *hdrs = slot_is_locked(slot) ? locked_slots[slot - MAX_CIDS].hdrs :
			       READ_ONCE(slot_hdrs[slot]);

	for (int i = 0; i < SHED_BATCHES; i++)
		if (!hdrs || likely(!rest_due(slot_rest(hdrs))) || !shed_rested(slot))
			break;
}

bool mcache_alloc_slow(size_t sc, struct mag_slot *out)
{
	struct mag_slot stack[MAX_BATCH], *slots = stack;
	unsigned int slot, nid, n, last = 0;
	struct mag_batch *b;

	locked_look();
	if (slow_prepare() && any_pop(sc, out))
		return true;
	if (locked_follow() && slow_prepare() && any_pop(sc, out))
		return true;
	nid = mcache_nid();
	slot = current_slot();
	b = depot_pop(&mcentrals[nid][sc].depot);
	if (b) {
		slots = b->slots;
		n = b->n;
	} else {
		n = mcentral_alloc(&nid, sc, slot, slots, size_classes[sc].batch);
		if (!n)
			return false;
		/* lowest last */
		last = colour(sc, n);
		n -= last;
		keep(nid, sc, slots + n, last);
	}
	PROBE(refill, nid, size_classes[sc].size, n + last, b != NULL);
	*out = slots[--n];
	keep(nid, sc, slots, n);
	if (b)
		batch_put(slot, b);
	look_for_rested(slot);
	return true;
}

static void flush_batch(size_t route)
{
	unsigned int nid = row_nid(route_nid(route)), sc = route_class(route);
	unsigned int slot = current_slot();
	struct mag_slot stack[MAX_BATCH];
	struct mag_batch *b = batch_get(slot);
	struct mag_slot *slots = b ? b->slots : stack;
	unsigned int n = any_pop_n(route, slots, size_classes[sc].batch);
	bool pushed = false;

	if (b) {
		b->n = n;
		pushed = n && depot_push(&mcentrals[nid][sc].depot, b);
	}
	PROBE(flush, nid, size_classes[sc].size, n, pushed);
	if (n && !pushed)
		mcentral_free(nid, sc, slots, n);
	if (b && !pushed)
		batch_put(slot, b);
	look_for_rested(slot);
}

/* Less than a batch, for another node: there it joins what comes from elsewhere. */
static void send_part(size_t route, const struct mag_slot *slots, unsigned int n)
{
	unsigned int nid = route_nid(route), sc = route_class(route);
	const struct size_class *k = &size_classes[sc];
	bool sent = depot_gather(&mcentrals[nid][sc].depot, current_slot(), slots, n,
				 k->batch);

	PROBE(flush, nid, k->size, n, sent);
	if (!sent)
		mcentral_free(nid, sc, slots, n);
}

static void flush_part(size_t route)
{
	struct mag_slot slots[MAX_BATCH];
	unsigned int n = any_pop_n(route, slots, size_classes[route_class(route)].batch);

	if (n)
		send_part(route, slots, n);
	look_for_rested(current_slot());
}

void mcache_free_slow(size_t route, struct mag_slot slot)
{
	unsigned int sc = route_class(route), room;

	if (slow_prepare() && any_push(route, slot))
		return;
	room = mag_room(slot_node(current_slot()), route_nid(route), sc);
	if (!room) {
		send_part(route, &slot, 1);
		return;
	}
	/* more than a half is sent as it is: no other part would fit beside it */
	if (2 * room <= size_classes[sc].batch)
		flush_part(route);
	else
		flush_batch(route);
	if (any_push(route, slot))
		return;
	/* Moved to another full slot, or no slot could be made: straight home. */
	mcentral_free(route_nid(route), route_class(route), &slot, 1);
}

static void free_foreign(size_t route, struct mag_slot slot)
{
	size_t out = outgoing(route);

	if (any_push(out, slot))
		return;
	flush_batch(out);
	if (!any_push(out, slot))
		mcentral_free(route_nid(route), route_class(route), &slot, 1);
}

/* What goes to another node is out of malloc's reach in that node's row. */
static bool wants_outgoing(size_t route, unsigned int slot)
{
	return route_nid(route) == slot_node(slot) &&
	       size_classes[route_class(route)].size < FOREIGN_SIZE;
}

void mcache_free_foreign(struct mag_slot slot, size_t route, uint32_t tag)
{
	size_t to = route_nid(route) == slot_node(current_slot()) ? outgoing(route) : route;

	/* there is none of larger objects, nor where there are no magazines yet */
	if (unlikely(!mcache_push(to, slot)))
		mcache_free_tagged(slot, route, tag);
}

void mcache_free_tagged(struct mag_slot slot, size_t route, uint32_t tag)
{
	unsigned int id;

	slow_prepare();
	id = current_slot();
	if (tag != slot_tag(id) && !slot_is_locked(id) && slot_exists(id) &&
	    wants_outgoing(route, id))
		free_foreign(route, slot);
	else if (!any_push(route, slot))
		mcache_free_slow(route, slot);
}

void mcache_drain_all(void)
{
	if (rseq_usable)
		drain_rseq_slots(false);
	drain_locked_slots(false);
	for (unsigned int nid = 0; nid < topo.nr_nodes; nid++)
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
			mcentral_drain(nid, sc);
}

bool mcache_drain_idle(void)
{
	bool rseq_done = !rseq_usable || drain_rseq_slots(true);

	return drain_locked_slots(true) && rseq_done;
}

bool mcache_in_vfork(void)
{
	return thread_mode == THREAD_RSEQ && !mcache_area();
}

static __no_tsan size_t hdrs_count(const struct mag_hdr *hdrs, unsigned int sc)
{
	size_t n = 0;

	for (unsigned int row = 0; row < nr_rows(); row++) {
		const struct mag_hdr *h = &hdrs[route_make(row, sc)];

		n += (READ_ONCE(h->top) - h->base) >> MAG_SLOT_SHIFT;
	}
	return n;
}

size_t mcache_nr_cached(unsigned int sc)
{
	size_t n = 0;

	for (unsigned int i = 0; i < nr_ids; i++)
		if (READ_ONCE(slot_hdrs[i]))
			n += hdrs_count(slot_hdrs[i], sc);
	for (unsigned int i = 0; i < NR_LOCKED; i++)
		if (smp_load_acquire(&locked_slots[i].hdrs))
			n += hdrs_count(locked_slots[i].hdrs, sc);
	for (unsigned int nid = 0; nid < topo.nr_nodes; nid++)
		n += depot_objects(&mcentrals[nid][sc].depot);
	return n;
}

size_t mcache_cached_bytes(void)
{
	size_t bytes = 0;

	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
		bytes += mcache_nr_cached(sc) * size_classes[sc].size;
	return bytes;
}

/*
 * Fork: no section needs to be waited for.  A thread that was inside one did not
 * commit, and does not exist in the child; committed magazines are whole.
 */
bool mcache_fork_held(void)
{
	for (unsigned int i = 0; i < NR_LOCKED; i++)
		if (lock_is_held(&locked_slots[i].lock))
			return true;
	return lock_is_held(&create_lock);
}

void mcache_fork_prepare(bool nested)
{
	lock_fork_prepare(&create_lock, nested);
	for (unsigned int i = 0; i < NR_LOCKED; i++)
		lock_fork_prepare(&locked_slots[i].lock, nested);
}

void mcache_fork_done(bool child)
{
	for (unsigned int i = NR_LOCKED; i-- > 0;)
		lock_fork_done(&locked_slots[i].lock);
	lock_fork_done(&create_lock);
	if (child) {
		batch_fork_child();
		/* What other CPUs had cached is taken back at the next refill. */
		atomic_store_relaxed(&fork_stale, 1);
	}
}

INSPECT_TABLE(mcache) = {
	INSPECT_NUMBER(rows_per_node, 2),
	INSPECT_ARRAY(slot_hdrs, slot_hdrs),
	INSPECT_ARRAY(locked_slots, locked_slots),
	INSPECT_MEMBER(locked_slot, hdrs),
	INSPECT_OBJECT(rseq_usable, rseq_usable),
	INSPECT_END
};
