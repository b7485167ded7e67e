/* SPDX-License-Identifier: MIT */
/* Counting what there is: statistics, and the report at exit.  See lib/stats.c. */
#ifndef _LIB_STATS_H
#define _LIB_STATS_H

#include <heaparena/heaparena.h>

void stats_collect(struct ha_stats *st);
/* Bytes of objects cached, all classes. */
size_t stats_cached(void);

#endif /* _LIB_STATS_H */
