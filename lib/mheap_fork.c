// SPDX-License-Identifier: MIT
/*
 * The page heaps and fork: their locks are held over it, and what other threads of the parent
 * had in hand is settled in the child.
 */
#include "mheap.h"

bool mheap_fork_held(unsigned int nr_nodes)
{
	for (unsigned int n = 0; n < nr_nodes; n++) {
		if (lock_is_held(&mheaps[n].lock))
			return true;
		for (unsigned int i = 0; i < NR_HEAP_CACHES; i++)
			if (lock_is_held(&mheaps[n].cache[i].lock))
				return true;
	}
	return false;
}

void mheap_fork_prepare(unsigned int nr_nodes, bool nested)
{
	for (unsigned int n = 0; n < nr_nodes; n++)
		for (unsigned int i = 0; i < NR_HEAP_CACHES; i++)
			lock_fork_prepare(&mheaps[n].cache[i].lock, nested);
	for (unsigned int n = 0; n < nr_nodes; n++)
		lock_fork_prepare(&mheaps[n].lock, nested);
}

void mheap_fork_done(unsigned int nr_nodes, bool child)
{
	for (unsigned int n = nr_nodes; n-- > 0;) {
		/* a thread of the parent had them: here they are in use for good */
		if (child && mheaps[n].pages.root && lock_is_held(&mheaps[n].lock)) {
			mheaps[n].nr_going = 0;
			mheap_settle(&mheaps[n]);
			for (unsigned int i = 0; i < NR_SPAN_KINDS; i++)
				mspan_pool_fork_child(&mheaps[n].spans[i], mheaps[n].look);
		}
		lock_fork_done(&mheaps[n].lock);
	}
	for (unsigned int n = nr_nodes; n-- > 0;)
		for (unsigned int i = NR_HEAP_CACHES; i-- > 0;)
			lock_fork_done(&mheaps[n].cache[i].lock);
}
