// SPDX-License-Identifier: MIT
/*
 * Slots, and who is on which.
 *
 *	mcache_id (TLS) -> slot id (mm_cid or cpu_id), in the rseq area
 *	                                   |
 *	mcache_hdrs, all headers --------> +--------------------------------+
 *	mcache_rows, its node's -------+   | mag_hdr [nodes][128 classes]   |
 *	                               +-> |                                |
 *	                                   | slots, 16 bytes each           |
 *	                                   +--------------------------------+
 *
 * All headers of a slot hold its tag.  Their counts make malloc call back: while the heap
 * is profiled, for the next sample; without misuse detection each time, to set no state.
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
 * How a thread finds out: mcache_id is mcache_no_area at first, so its first malloc or
 * free takes the slow path, which looks at its registration once.  A cached copy of
 * __rseq_offset is never used: rseq_cs is written through mcache_id only.
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
#include <time.h>
#include <unistd.h>

#include "conf.h"
#include "fixalloc.h"
#include "inspect.h"
#include "limit.h"
#include "mcache_slot.h"
#include "mcentral.h"

#define CREATE_WAIT		255	/* calls until a slot is tried again */
#define LOCKED_STAY		32	/* objects until a thread asks where it is */
#define MAG_ONE_FROM		(256UL << 10)	/* but one object larger than this */
/* Without it the tops of all classes fall into the same few sets of the L1 cache. */
#define MAG_GAP			L1_CACHE_BYTES
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

static_assert(2 * NR_ROUTES - 1 <= MAG_NR_HDRS && NR_SIZE_CLASSES < ROUTE_CLASSES,
	      "there is nothing for every route; the last one is of no class");

struct mag_table mcache_hdrs;
struct mag_table mcache_rows;
static size_t id_off = RSEQ_OFF_CPU_ID;	/* (c) of the slot id in the area */
/* The first word is the id of a thread that the kernel does not know. */
uint32_t mcache_no_area[8] __aligned(RSEQ_AREA_ALIGN) = { -1U };

struct locked_slot locked_slots[NR_LOCKED];
static uint32_t next_locked;		/* (a) hands slots to threads in turn */

struct lock slots_lock = LOCK_INIT(RANK_MCACHE);
struct mag_hdr *slot_hdrs[MAX_CIDS];
uint8_t slot_nid[MAX_CIDS];
unsigned int nr_slot_ids;
static bool rseq_usable;		/* (c) */
static bool profiled;			/* (a) written under slots_lock */

__tls const uint32_t *mcache_id = mcache_no_area;
__tls uint8_t thread_locked_slot;
__tls uint8_t thread_mode;
static __tls uint8_t thread_locked_stay;	/* objects since it asked */
/* Calls left of those that do without a slot, since there was no memory for one. */
static __tls uint8_t thread_create_wait;
/* For a libc that registers nothing; the kernel writes 32 bytes of it. */
static __tls uint32_t own_area[8] __aligned(RSEQ_AREA_ALIGN);

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

int mcache_init(void)
{
	nr_slot_ids = kernel_nr_ids();
	rseq_usable = conf.rseq && nr_slot_ids && nr_slot_ids <= MAX_CIDS;
	/* glibc says how many bytes it registered: 0 when told not to. */
	if (&__rseq_size && __rseq_size == 0)
		rseq_usable = false;
	if (!&__rseq_size && !&gnu_get_libc_version)
		rseq_usable = false;
	if (kernel_has_mm_cid() && (topo.nr_nodes == 1 || topo.fake))
		id_off = RSEQ_OFF_MM_CID;
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

void slot_thread_first(void)
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
	mcache_id = (const uint32_t *)(rs + id_off);
}

#ifdef CONFIG_FAULT_INJECTION
void mcache_simulate(unsigned int nr, void *area)
{
	if (!rseq_usable || nr_slot_ids < nr) {
		rseq_usable = true;
		nr_slot_ids = nr;
	}
	thread_mode = THREAD_RSEQ;
	mcache_id = (const uint32_t *)((char *)area + id_off);
}
#endif

bool slot_follow_locked(void)
{
	if (topo.fake || topo.nr_nodes == 1 ||
	    topo_current_node() == thread_locked_slot % topo.nr_nodes)
		return false;
	thread_locked_slot = pick_locked_slot();
	return true;
}

void slot_look_around_locked(void)
{
	if (topo.nr_nodes == 1 || ++thread_locked_stay < LOCKED_STAY)
		return;
	thread_locked_stay = 0;
	slot_follow();
}

unsigned int mcache_nid_of_many(void)
{
	unsigned int slot;

	/* the first call of a thread may be for a large object */
	slot_thread_init();
	slot_follow();
	slot = current_slot();
	if (slot_is_locked(slot))
		return thread_locked_slot % topo.nr_nodes;
	if (smp_load_acquire(&slot_hdrs[slot]))
		return slot_nid[slot];
	return topo.fake ? slot % topo.nr_nodes : topo_current_node();
}

bool mcache_in_vfork(void)
{
	return thread_mode == THREAD_RSEQ && !mcache_has_id();
}

/*
 * Marks.
 */

/* Without misuse detection there are no marks, and nothing is foreign. */
uint8_t slot_tag(unsigned int slot)
{
	return conf.check ? OBJECT_LIVE + slot % (OBJECT_SAMPLED - OBJECT_LIVE) : 0;
}

uint8_t mcache_tag(void)
{
	return slot_tag(current_slot());
}

/*
 * Counts.
 */

/* What the magazines of a new slot begin with. */
static int64_t slot_count(void)
{
	if (!conf.check)
		return MAG_COUNT_EACH;
	return atomic_load_relaxed(&profiled) ? PROFILE_ASKS : MAG_COUNT_MAX;
}

static void slot_ask(struct mag_hdr *hdrs)
{
	for (unsigned int i = 0; i < nr_rows() * ROUTE_CLASSES; i++)
		while (!mag_set_count(&hdrs[i], atomic_load_relaxed(&hdrs[i].word),
				      PROFILE_ASKS))
			;
}

/* No point at which a thread could be cancelled. */
static void wait_a_while(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	int saved = errno;

	syscall(SYS_nanosleep, &ms, NULL);
	errno = saved;
}

/*
 * A count that was set beside somebody's pops would be lost, so the slots are detached
 * for as long.  Who cannot be thrown out of his section will have left it, or have been
 * interrupted in it, which is the same, in a millisecond.
 */
void mcache_profile(void)
{
	uint64_t ids[MAX_CIDS / 64] = { 0 };

	lock_acquire(&slots_lock);
	atomic_store_relaxed(&profiled, true);
	for (unsigned int i = 0; i < nr_slot_ids; i++)
		if (slot_hdrs[i])
			bitmap_set(ids, i);
	if (!slots_close(ids))
		wait_a_while();
	for (unsigned int i = 0; i < nr_slot_ids; i++)
		if (slot_hdrs[i])
			slot_ask(slot_hdrs[i]);
	slots_open(ids);
	lock_release(&slots_lock);
}

/* Those that still count call once more, and are told. */
void mcache_profile_over(void)
{
	lock_acquire(&slots_lock);
	atomic_store_relaxed(&profiled, false);
	lock_release(&slots_lock);
}

/*
 * Magazines.
 */

static unsigned int remote_room(const struct size_class *k)
{
	size_t objects = min_size(k->batch, REMOTE_OBJECTS / topo.nr_nodes);

	return min_size(objects, REMOTE_BYTES / k->size);
}

unsigned int mag_room(unsigned int nid, unsigned int row, unsigned int sc)
{
	const struct size_class *k = &size_classes[sc];

	if (row_nid(row) != nid)
		return row < topo.nr_nodes ? remote_room(k) : 0;
	if (row >= topo.nr_nodes)
		return k->size < FOREIGN_SIZE && conf.check ? k->batch : 0;
	return k->size > MAG_ONE_FROM ? 1 : MAG_BATCHES * k->batch;
}

static bool row_widens(unsigned int nid, unsigned int row, unsigned int sc)
{
	return row == nid && sc < FIRST_MEDIUM_CLASS && topo.nr_nodes <= WIDE_NODES;
}

static size_t mag_bytes(unsigned int nid, unsigned int row, unsigned int sc)
{
	unsigned int room = row_widens(nid, row, sc) ? MAG_WIDE * size_classes[sc].batch :
			    mag_room(nid, row, sc);

	return room ? room * MAG_SLOT_SIZE + MAG_GAP : 0;
}

static struct mag_hdr *mcache_new(unsigned int slot, unsigned int nid)
{
	unsigned int nr_hdrs = nr_rows() * ROUTE_CLASSES;
	size_t bytes = nr_hdrs * sizeof(struct mag_hdr);
	struct mag_hdr *hdrs;
	size_t slots;

	bytes += align_up(sizeof(*slot_wide(hdrs)) + rest_bytes(nr_hdrs / 2, nr_hdrs),
			  MAG_SLOT_SIZE);
	slots = bytes;
	for (unsigned int row = 0; row < nr_rows(); row++)
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++)
			bytes += mag_bytes(nid, row, sc);
	/* even the first header's to the last slot, see REMOTE_OBJECTS */
	BUG_ON(bytes > MAG_REACH);
	hdrs = meta_alloc(bytes);
	if (!hdrs)
		return NULL;
	for (unsigned int row = 0; row < nr_rows(); row++) {
		for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
			unsigned int route = route_make(row, sc);
			struct mag_hdr *h = &hdrs[route];

			mag_init(h, slots - route * sizeof(*h), mag_room(nid, row, sc),
				 slot_tag(slot), slot_count());
			slots += mag_bytes(nid, row, sc);
		}
	}
	return hdrs;
}

static unsigned int batch_units(unsigned int sc)
{
	return size_classes[sc].batch * MAG_SLOT_UNITS;
}

static size_t wide_bytes(unsigned int sc, unsigned int units)
{
	return (size_t)size_classes[sc].size * (units / MAG_SLOT_UNITS);
}

void slot_widen(struct mag_hdr *hdrs, unsigned int nid, unsigned int sc)
{
	struct mag_hdr *h = &hdrs[route_make(nid, sc)];
	unsigned int limit = atomic_load_relaxed(&h->limit), more = limit + batch_units(sc);
	size_t bytes = wide_bytes(sc, batch_units(sc)), *wide = slot_wide(hdrs);

	if (!row_widens(nid, nid, sc) || more > h->base + MAG_WIDE * batch_units(sc) ||
	    limit_close())
		return;
	if (atomic_fetch_add_relaxed(wide, bytes) + bytes > WIDE_BYTES ||
	    !try_cmpxchg_acquire(&h->limit, limit, more))
		atomic_sub_relaxed(wide, bytes);
}

void slot_narrow(struct mag_hdr *hdrs, unsigned int nid, unsigned int route)
{
	unsigned int row = route_nid(route), sc = route_class(route);
	struct mag_hdr *h = &hdrs[route];
	unsigned int limit = atomic_load_relaxed(&h->limit);
	unsigned int first = h->base + mag_room(nid, row, sc) * MAG_SLOT_UNITS;

	if (limit > first && try_cmpxchg_acquire(&h->limit, limit, first))
		atomic_sub_relaxed(slot_wide(hdrs), wide_bytes(sc, limit - first));
}

/* What leads from a table to the headers of node @nid. */
static ptrdiff_t row_of(const struct mag_table *tab, const struct mag_hdr *hdrs,
			unsigned int nid)
{
	return (const char *)(hdrs + route_make(nid, 0)) - (const char *)tab;
}

/* Tables lead to the slot, or nowhere.  Caller: slots_lock. */
static void slot_attach(unsigned int id)
{
	const struct mag_hdr *hdrs = slot_hdrs[id];

	/* pairs with the address dependency of every section on the slot */
	smp_store_release(&mcache_rows.row[id], row_of(&mcache_rows, hdrs, slot_nid[id]));
	smp_store_release(&mcache_hdrs.row[id], row_of(&mcache_hdrs, hdrs, 0));
}

static void slot_detach(unsigned int id)
{
	WRITE_ONCE(mcache_rows.row[id], 0);
	WRITE_ONCE(mcache_hdrs.row[id], 0);
}

/* Throw every thread of the process out of its section; false: cannot. */
static bool fence_sections(void)
{
	static bool registered;		/* (l slots_lock) */
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

bool slots_close(const uint64_t *ids)
{
	bool any = false;

	for (unsigned int i = 0; i < nr_slot_ids; i++) {
		if (bitmap_test(ids, i)) {
			slot_detach(i);
			any = true;
		}
	}
	return !any || fence_sections();
}

void slots_open(const uint64_t *ids)
{
	for (unsigned int i = 0; i < nr_slot_ids; i++)
		if (bitmap_test(ids, i))
			slot_attach(i);
}

static bool slots_locked(unsigned int i)
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

static bool slots_rseq(unsigned int slot, unsigned int nid)
{
	lock_acquire(&slots_lock);
	if (!slot_hdrs[slot]) {
		struct mag_hdr *hdrs = mcache_new(slot, nid);

		if (hdrs) {
			slot_nid[slot] = nid;
			/* pairs with the address dependency of who goes by this, not by a table */
			smp_store_release(&slot_hdrs[slot], hdrs);
			slot_attach(slot);
			mcentral_add_slot();
		}
	}
	lock_release(&slots_lock);
	return slot_hdrs[slot] != NULL;
}

bool slot_create(unsigned int slot)
{
	int nid = slot_is_locked(slot) ? 0 : topo_node_of_slot(slot);
	bool ok;

	if (!slot_is_locked(slot) && (slot >= nr_slot_ids || nid < 0))
		return false;
	/* detached for a while: do without, and not wait for who drains it */
	if (!slot_is_locked(slot) && READ_ONCE(slot_hdrs[slot]))
		return false;
	if (unlikely(thread_create_wait)) {
		thread_create_wait--;
		return false;
	}
	ok = slot_is_locked(slot) ? slots_locked(slot - MAX_CIDS) : slots_rseq(slot, nid);
	if (!ok)
		thread_create_wait = CREATE_WAIT;
	return ok;
}

struct locked_slot *slot_lock_own(void)
{
	struct locked_slot *ls = &locked_slots[thread_locked_slot];

	if (!ls->hdrs)
		return NULL;
	lock_acquire(&ls->lock);
	return ls;
}

/*
 * Fork: no section needs to be waited for.  A thread that was inside one did not
 * commit, and does not exist in the child; committed magazines are whole.
 */
bool slot_fork_held(void)
{
	for (unsigned int i = 0; i < NR_LOCKED; i++)
		if (lock_is_held(&locked_slots[i].lock))
			return true;
	return lock_is_held(&slots_lock);
}

void slot_fork_prepare(bool nested)
{
	lock_fork_prepare(&slots_lock, nested);
	for (unsigned int i = 0; i < NR_LOCKED; i++)
		lock_fork_prepare(&locked_slots[i].lock, nested);
}

void slot_fork_done(void)
{
	for (unsigned int i = NR_LOCKED; i-- > 0;)
		lock_fork_done(&locked_slots[i].lock);
	lock_fork_done(&slots_lock);
}

INSPECT_TABLE(mcache_slot) = {
	INSPECT_NUMBER(rows_per_node, 2),
	INSPECT_ARRAY(slot_hdrs, slot_hdrs),
	INSPECT_ARRAY(locked_slots, locked_slots),
	INSPECT_MEMBER(locked_slot, hdrs),
	INSPECT_OBJECT(rseq_usable, rseq_usable),
	INSPECT_END
};
