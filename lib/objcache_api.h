/* SPDX-License-Identifier: MIT */
/* What lib/compat.c needs of the object caches. */
#ifndef _LIB_OBJCACHE_API_H
#define _LIB_OBJCACHE_API_H

/* ha_cache_shrink() of every cache; calls destructors, so no lock is held. */
void objcache_shrink_all(void);

#endif /* _LIB_OBJCACHE_API_H */
