/* SPDX-License-Identifier: MIT */
/* Free pages become metadata.  See lib/donate.c. */
#ifndef _LIB_DONATE_H
#define _LIB_DONATE_H

#include "page_alloc.h"

/*
 * Where the kernel has no memory for metadata: some free pages of node @nid, for ever.
 * How many, 0: none is free.  Under the lock of @pa.
 */
size_t donate_pages(struct page_alloc *pa, unsigned int nid);

#endif /* _LIB_DONATE_H */
