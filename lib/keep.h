/* SPDX-License-Identifier: MIT */
/*
 * What depots keep: how wide they are, and when what is in them goes home to its
 * spans.  See lib/keep.c.
 */
#ifndef _LIB_KEEP_H
#define _LIB_KEEP_H

#include "mcentral.h"

/* After mcentral_init(). */
void keep_init(unsigned int nr_nodes);

/* Is the depot empty, and has it declined what is wanted now?  Then it gets more room. */
void keep_note_empty(unsigned int nid, unsigned int sc);

/* Empty the depot of one class into its spans; it is as wide as at first again. */
void keep_drain(unsigned int nid, unsigned int sc);
/* The same with one batch of it. */
void keep_drain_one(unsigned int nid, unsigned int sc);
/* The same with what nobody needed of it since the last call. */
void keep_trim(unsigned int nid, unsigned int sc);
/*
 * The class has shrunk by much more than its depot holds: what lies there is scattered
 * over spans that would be empty without.  It goes home before any is handed out, a few
 * batches with each refill: keep_shed() is true as long as there are.
 */
void keep_shrunk(unsigned int nid, unsigned int sc);
bool keep_shed(unsigned int nid, unsigned int sc);

/* The account of room anew: a thread of the parent may have been on its way to it. */
void keep_fork_child(unsigned int nr_nodes);

#endif /* _LIB_KEEP_H */
