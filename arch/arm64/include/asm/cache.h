/* SPDX-License-Identifier: MIT */
/* arm64: 64-byte lines on server cores; some L2s work in pairs, some cores have 128. */
#ifndef _ASM_CACHE_H
#define _ASM_CACHE_H

#define L1_CACHE_BYTES		64
/* Apart by this much, two words never travel together. */
#define DESTRUCTIVE_BYTES	128

#endif /* _ASM_CACHE_H */
