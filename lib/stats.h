/* SPDX-License-Identifier: MIT */
/* Counting what there is: statistics, and the report at exit.  See lib/stats.c. */
#ifndef _LIB_STATS_H
#define _LIB_STATS_H

#include <heaparena/heaparena.h>

void stats_collect(struct ha_stats *st);
/* Class @sc of all nodes, 0 for large objects; node @nid. */
void stats_class(unsigned int sc, struct ha_class_stats *st);
void stats_node_get(unsigned int nid, struct ha_node_stats *st);
/* Bytes of objects cached, all classes. */
size_t stats_cached(void);

#endif /* _LIB_STATS_H */
