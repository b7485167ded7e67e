// SPDX-License-Identifier: MIT
/*
 * Fork.
 *
 * prepare takes every lock in rank order, so that no other thread is inside a
 * locked region at the moment of the copy; parent and child release them.  The
 * number of locks depends on nodes and classes, not on threads or heap size.
 *
 * Per-CPU magazines need no lock: a sequence of another thread either committed
 * before the copy or never happened.  What such a thread had popped but not
 * stored is lost to the child, at most a batch for each thread that was inside a
 * slow path.
 *
 * A signal handler may fork while it interrupts malloc in this very thread: locks
 * that this thread holds already are left to it (lock_fork_prepare), and in the
 * child, which is a copy of this thread, the handler returns into the interrupted
 * call as in the parent.
 *
 * Our constructor registers these early, so that our prepare runs last and our
 * child handler first: other handlers may allocate.
 */
#include <pthread.h>

#include "fixalloc.h"
#include "fork.h"
#include "heap_arena.h"
#include "lock.h"
#include "mcache.h"
#include "mcentral.h"
#include "mheap.h"
#include "numa.h"

static struct {
	struct lock lock;
	bool taken;
	struct mcache_fork mcache;
	struct mcentral_fork mcentral;
	struct mheap_fork mheap;
	bool arena;
	bool meta;
} fk = { .lock = LOCK_INIT(RANK_FORK) };

static void fork_prepare(void)
{
	fk.taken = lock_fork_prepare(&fk.lock);
	mcache_fork_prepare(&fk.mcache);
	mcentral_fork_prepare(topo.nr_nodes, &fk.mcentral);
	mheap_fork_prepare(topo.nr_nodes, &fk.mheap);
	fk.arena = heap_arena_fork_prepare();
	fk.meta = meta_fork_prepare();
}

static void fork_done(bool child)
{
	meta_fork_done(fk.meta);
	heap_arena_fork_done(fk.arena);
	mheap_fork_done(topo.nr_nodes, &fk.mheap);
	mcentral_fork_done(topo.nr_nodes, &fk.mcentral, child);
	mcache_fork_done(&fk.mcache, child);
	lock_fork_done(&fk.lock, fk.taken);
}

static void fork_parent(void)
{
	fork_done(false);
}

static void fork_child(void)
{
	fork_done(true);
}

void fork_init(void)
{
	pthread_atfork(fork_prepare, fork_parent, fork_child);
}
