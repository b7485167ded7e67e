/* SPDX-License-Identifier: MIT */
/*
 * What a module shows to readers from outside the process: a table beside the data,
 * in the form of include/heaparena/inspect.h. lib/inspect.c lists the tables.
 *
 *	INSPECT_TABLE(limit) = {
 *		INSPECT_OBJECT(limit_soft, limit.soft),
 *		INSPECT_END
 *	};
 *
 * Constant data alone: no code reads it, and no path knows of it.
 */
#ifndef _LIB_INSPECT_H
#define _LIB_INSPECT_H

#include <heaparena/inspect.h>
#include <util/compiler.h>

#define INSPECT_TABLE(module) \
	const struct ha_inspect_entry inspect_##module[] __in_core

#define INSPECT_NUMBER(n, v) \
	{ .name = #n, .kind = HA_INSPECT_NUMBER, .value = (v) }
#define INSPECT_OBJECT(n, x) \
	{ .name = #n, .kind = HA_INSPECT_OBJECT, .size = sizeof(x), .count = 1, \
	  .value = (uintptr_t)&(x) }
#define INSPECT_ARRAY(n, x) \
	{ .name = #n, .kind = HA_INSPECT_OBJECT, .size = sizeof((x)[0]), \
	  .count = ARRAY_SIZE(x), .value = (uintptr_t)&(x)[0] }
/* The member has a name of its own in the table where it is one of a member. */
#define INSPECT_MEMBER_AS(n, m, type, member) \
	{ .name = #n "." #m, .kind = HA_INSPECT_MEMBER, \
	  .size = sizeof(((type *)0)->member), .count = 1, \
	  .value = offsetof(type, member) }
#define INSPECT_MEMBER(s, m)	INSPECT_MEMBER_AS(s, m, struct s, m)
#define INSPECT_MEMBERS(s, m) \
	{ .name = #s "." #m, .kind = HA_INSPECT_MEMBER, \
	  .size = sizeof(((struct s *)0)->m[0]), \
	  .count = sizeof(((struct s *)0)->m) / sizeof(((struct s *)0)->m[0]), \
	  .value = offsetof(struct s, m) }
#define INSPECT_SIZEOF(s)	INSPECT_NUMBER(sizeof_##s, sizeof(struct s))
#define INSPECT_END		{ .kind = HA_INSPECT_END }

#pragma GCC visibility push(hidden)

extern const struct ha_inspect_entry inspect_heap_arena[], inspect_page_alloc[],
	inspect_fixalloc[], inspect_limit[], inspect_mcache_slot[], inspect_uheap[],
	inspect_objcache[], inspect_profile[], inspect_profile_table[], inspect_vm[],
	inspect_pprof[], inspect_profile_api[];

#pragma GCC visibility pop

#endif /* _LIB_INSPECT_H */
