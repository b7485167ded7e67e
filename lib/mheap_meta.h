/* SPDX-License-Identifier: MIT */
/*
 * The memory of what a page heap knows of spans: out of the heap where there is no other,
 * and given back.  See lib/mheap_meta.c.
 */
#ifndef _LIB_MHEAP_META_H
#define _LIB_MHEAP_META_H

#include <util/compiler.h>

struct mheap;

/*
 * Under the heap's lock: some free pages become metadata, for ever; false when none is
 * free.
 */
bool mheap_meta_donate(struct mheap *h);
/* Some time has passed: rests are counted in these, about a second apart. */
void mheap_meta_look(unsigned int nid);
/*
 * Give back some descriptors, states and page entries that nobody uses; bytes that
 * went, 0 when there was nothing.  @all: also those that were used a moment ago.
 */
size_t mheap_meta_release(unsigned int nid, bool all);
/* Will there be something to give back, without further use of the heap? */
bool mheap_meta_rests(unsigned int nid);

#endif /* _LIB_MHEAP_META_H */
