/* SPDX-License-Identifier: MIT */
/* x86_64: 64-byte lines, fetched in pairs by the adjacent-line prefetcher. */
#ifndef _ASM_CACHE_H
#define _ASM_CACHE_H

#define L1_CACHE_BYTES		64
/* Apart by this much, two words never travel together. */
#define DESTRUCTIVE_BYTES	128

#endif /* _ASM_CACHE_H */
