/* SPDX-License-Identifier: MIT */
/*
 * ha_* by name, for programs that the library is preloaded into: nothing to link
 * with, so each name becomes a pointer, looked up before main().  Where the test
 * build of the library is linked in, the names are what they are.
 */
#ifndef SELFTESTS_STRESS_API_H
#define SELFTESTS_STRESS_API_H

#include "../../include/heaparena/heaparena.h"
#include "tap.h"

#if TAP_PRELOADED

#define API_FUNCTIONS(X)						\
	X(ha_lookup) X(ha_walk) X(ha_free) X(ha_free_sized) \
	X(ha_malloc_usable_size) X(ha_good_size) X(ha_alloc) X(ha_resize) \
	X(ha_alloc_batch) X(ha_free_batch) X(ha_sparse) X(ha_release) \
	X(ha_stats_get) X(ha_stats_classes) X(ha_stats_nodes) \
	X(ha_stats_text) X(ha_stats_json) X(ha_stats_format) \
	X(ha_cache_create) X(ha_cache_destroy) X(ha_cache_alloc) \
	X(ha_cache_free) X(ha_cache_shrink) X(ha_cache_stats_get) \
	X(ha_heap_create) X(ha_heap_destroy) X(ha_heap_reset) \
	X(ha_heap_alloc) X(ha_heap_alloc_tiny) X(ha_heap_free) \
	X(ha_heap_set_limit) X(ha_heap_stats_get) \
	X(ha_profile_start) X(ha_profile_stop) X(ha_profile_dump) \
	X(ha_profile_dump_file)

#define X(f) __typeof__(&f) f;
static struct {
	API_FUNCTIONS(X)
} api;
#undef X

__attribute__((constructor)) static void api_init(void)
{
#define X(f)								\
	api.f = (__typeof__(&f))dlsym(RTLD_DEFAULT, #f);		\
	if (!api.f)							\
		tap_bail("no " #f);
	API_FUNCTIONS(X)
#undef X
}

#define ha_lookup		api.ha_lookup
#define ha_walk			api.ha_walk
#define ha_free			api.ha_free
#define ha_free_sized		api.ha_free_sized
#define ha_malloc_usable_size	api.ha_malloc_usable_size
#define ha_good_size		api.ha_good_size
#define ha_alloc		api.ha_alloc
#define ha_resize		api.ha_resize
#define ha_alloc_batch		api.ha_alloc_batch
#define ha_free_batch		api.ha_free_batch
#define ha_sparse		api.ha_sparse
#define ha_release		api.ha_release
#define ha_stats_get		api.ha_stats_get
#define ha_stats_classes	api.ha_stats_classes
#define ha_stats_nodes		api.ha_stats_nodes
#define ha_stats_text		api.ha_stats_text
#define ha_stats_json		api.ha_stats_json
#define ha_stats_format		api.ha_stats_format
#define ha_cache_create		api.ha_cache_create
#define ha_cache_destroy	api.ha_cache_destroy
#define ha_cache_alloc		api.ha_cache_alloc
#define ha_cache_free		api.ha_cache_free
#define ha_cache_shrink		api.ha_cache_shrink
#define ha_cache_stats_get	api.ha_cache_stats_get
#define ha_heap_create		api.ha_heap_create
#define ha_heap_destroy		api.ha_heap_destroy
#define ha_heap_reset		api.ha_heap_reset
#define ha_heap_alloc		api.ha_heap_alloc
#define ha_heap_alloc_tiny	api.ha_heap_alloc_tiny
#define ha_heap_free		api.ha_heap_free
#define ha_heap_set_limit	api.ha_heap_set_limit
#define ha_heap_stats_get	api.ha_heap_stats_get
#define ha_profile_start	api.ha_profile_start
#define ha_profile_stop		api.ha_profile_stop
#define ha_profile_dump		api.ha_profile_dump
#define ha_profile_dump_file	api.ha_profile_dump_file

#endif /* TAP_PRELOADED */
#endif /* SELFTESTS_STRESS_API_H */
