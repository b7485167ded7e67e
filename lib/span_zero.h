/* SPDX-License-Identifier: MIT */
/*
 * A span of one object whose memory is to read as zero, and may hold anything.
 *
 * Memory that was handed out and freed without being touched is not resident, however
 * much of it there is: written, it would be.  The kernel knows which pages are; to ask it
 * for one in 16 MiB costs a twentieth of writing them, of smaller spans more.
 */
#ifndef _LIB_SPAN_ZERO_H
#define _LIB_SPAN_ZERO_H

#include <string.h>

#include "heap_arena.h"
#include "mspan.h"
#include "vm.h"

#define ZERO_ASK	(32UL << 20)	/* bytes from which the kernel is asked */

static inline bool span_has_pool(const struct mspan *s)
{
	uintptr_t last = s->start + mspan_size(s) - 1;

	for (uintptr_t addr = s->start; addr < last; addr += ARENA_SIZE)
		if (arena_is_pool(addr))
			return true;
	return arena_is_pool(last);
}

static inline void span_zero(const struct mspan *s)
{
	size_t size = mspan_size(s);

	if (size < ZERO_ASK || span_has_pool(s))
		memset((void *)s->start, 0, size);
	else
		vm_zero((void *)s->start, size);
}

#endif /* _LIB_SPAN_ZERO_H */
