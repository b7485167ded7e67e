/* SPDX-License-Identifier: MIT */
/*
 * Which free memory goes back to the kernel, and when.  See lib/scavenge.c; who
 * calls it is sysmon.
 */
#ifndef _LIB_SCAVENGE_H
#define _LIB_SCAVENGE_H

#include <util/compiler.h>

/* Is there more to return at once than at the usual pace? */
bool scavenge_due(uint64_t now_ms);
/* Was hardly a class used in the last second? */
bool scavenge_rests(void);
/*
 * One step of all duties, at most about @budget_ns of this thread's CPU time, and
 * @spare_ns more for what can wait; @now_ms any steady clock.  True when nothing is left
 * to do until the heap is used again.  One caller at a time.
 */
bool scavenge_step(uint64_t now_ms, uint64_t budget_ns, uint64_t spare_ns);
/* The heap has been used since: what the kernel would not take is tried again.  Any thread. */
void scavenge_ask(void);
/*
 * Pages inside spans of classes that have not been used since the last call, about
 * @want bytes of them; what went back.  Any thread.
 */
size_t scavenge_rested(size_t want);
/* Others need memory: everything free and what rests in caches, now. */
void scavenge_pressed(void);
/* Everything at once, whatever it costs; bytes given back. */
size_t scavenge_all(void);
/* In the child of a fork: the heap's past is the parent's. */
void scavenge_fork_child(void);

#endif /* _LIB_SCAVENGE_H */
