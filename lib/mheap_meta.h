/* SPDX-License-Identifier: MIT */
/*
 * What a page heap knows of spans that are gone, given back.  See lib/mheap_meta.c.
 */
#ifndef _LIB_MHEAP_META_H
#define _LIB_MHEAP_META_H

#include <util/compiler.h>

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
