// SPDX-License-Identifier: MIT
/*
 * Fork.
 *
 * prepare takes every lock in rank order, so that no other thread is inside a
 * locked region at the moment of the copy; parent and child release them.  The
 * number of locks depends on nodes, classes and object caches, not on threads or
 * heap size.
 *
 * Per-CPU magazines need no lock: a sequence of another thread either committed
 * before the copy or never happened.  What such a thread had popped but not
 * stored is lost to the child, at most a batch for each thread that was inside a
 * slow path.
 *
 * The lock of libc's list of streams comes before all of them.  Who flushes all streams
 * holds it, waiting for one whose owner may wait for memory; fork() takes it after prepare.
 * It is recursive.
 *
 * A signal handler may fork while it interrupts malloc in this very thread.  Locks
 * that this thread holds already are left to it; another's is not waited for,
 * since that thread may be waiting for one of ours.  Such a child can exec; it
 * can allocate as long as it meets none of the locks that were left.
 *
 * Our constructor registers these early, so that our prepare runs last and our
 * child handler first: other handlers may allocate.
 */
#include <pthread.h>

#include "assist.h"
#include "batch.h"
#include "fixalloc.h"
#include "fork.h"
#include "heap_arena.h"
#include "keep.h"
#include "lock.h"
#include "mcache.h"
#include "mcentral.h"
#include "mheap.h"
#include "numa.h"
#include "objcache.h"
#include "pprof.h"
#include "profile.h"
#include "sysmon.h"
#include "uheap.h"

/* glibc's; another libc holds no such lock while it allocates. */
extern void _IO_list_lock(void) __weak;
extern void _IO_list_unlock(void) __weak;
extern void _IO_list_resetlock(void) __weak;

static struct lock fork_lock = LOCK_INIT(RANK_FORK);
/* Forks of this thread, from handlers, that left the streams alone. */
static __tls unsigned int nr_nested;

static bool fork_held(void)
{
	return lock_is_held(&fork_lock) || assist_fork_held() ||
	       objcache_fork_held() || uheap_fork_held() ||
	       mcache_fork_held() ||
	       mcentral_fork_held(topo.nr_nodes) ||
	       mheap_fork_held(topo.nr_nodes) || heap_arena_fork_held() ||
	       profile_fork_held() || batch_fork_held() || meta_fork_held();
}

static void fork_prepare(void)
{
	bool nested = fork_held();

	/* not where its holder may wait for a lock that we have */
	if (nested)
		nr_nested++;
	else if (_IO_list_lock)
		_IO_list_lock();
	lock_fork_prepare(&fork_lock, nested);
	assist_fork_prepare(nested);
	profile_fork_prepare_session(nested);
	objcache_fork_prepare(nested);
	uheap_fork_prepare(nested);
	mcache_fork_prepare(nested);
	mcentral_fork_prepare(topo.nr_nodes, nested);
	mheap_fork_prepare(topo.nr_nodes, nested);
	heap_arena_fork_prepare(nested);
	profile_fork_prepare(nested);
	batch_fork_prepare(nested);
	meta_fork_prepare(nested);
}

static void fork_done(bool child)
{
	meta_fork_done();
	batch_fork_done();
	profile_fork_done(child);
	heap_arena_fork_done();
	mheap_fork_done(topo.nr_nodes, child);
	mcentral_fork_done(topo.nr_nodes, child);
	mcache_fork_done(child);
	uheap_fork_done();
	objcache_fork_done();
	profile_fork_done_session();
	assist_fork_done();
	if (child) {
		keep_fork_child(topo.nr_nodes);
		pprof_fork_child();
		sysmon_fork_child();
	}
	lock_fork_done(&fork_lock);
}

/* @release: _IO_list_unlock() or the like */
static void fork_done_streams(void (*release)(void))
{
	if (nr_nested)
		nr_nested--;
	else if (release)
		release();
}

static void fork_parent(void)
{
	fork_done(false);
	fork_done_streams(_IO_list_unlock);
}

static void fork_child(void)
{
	fork_done(true);
	/* fork() has done so itself where there were several threads */
	fork_done_streams(_IO_list_resetlock);
}

void fork_init(void)
{
	pthread_atfork(fork_prepare, fork_parent, fork_child);
}
