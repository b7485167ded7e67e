// SPDX-License-Identifier: MIT
/*
 * The names by which programs find the allocator: each of them comes from
 * the library, none is left to the C library or to libstdc++.
 */
#include "conform.h"

static const char *const names[] = {
	"malloc", "calloc", "realloc", "free", "memalign",
	"posix_memalign", "aligned_alloc", "valloc", "pvalloc",
	"malloc_usable_size", "malloc_trim", "mallinfo", "mallinfo2",
	"malloc_info", "malloc_stats", "mallopt", "free_sized",
	"free_aligned_sized", "reallocarray", "cfree",
	"__libc_malloc", "__libc_calloc", "__libc_realloc", "__libc_free",
	"__libc_memalign", "__libc_valloc", "__libc_pvalloc", "__posix_memalign",
	/* operator new and new[]: plain, nothrow, aligned, aligned nothrow */
	"_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t", "_ZnamRKSt9nothrow_t",
	"_ZnwmSt11align_val_t", "_ZnamSt11align_val_t",
	"_ZnwmSt11align_val_tRKSt9nothrow_t", "_ZnamSt11align_val_tRKSt9nothrow_t",
	/* operator delete and delete[]: plain, nothrow, sized, aligned */
	"_ZdlPv", "_ZdaPv", "_ZdlPvRKSt9nothrow_t", "_ZdaPvRKSt9nothrow_t",
	"_ZdlPvm", "_ZdaPvm", "_ZdlPvSt11align_val_t", "_ZdaPvSt11align_val_t",
	"_ZdlPvSt11align_val_tRKSt9nothrow_t", "_ZdaPvSt11align_val_tRKSt9nothrow_t",
	"_ZdlPvmSt11align_val_t", "_ZdaPvmSt11align_val_t",
	"ha_malloc", "ha_calloc", "ha_realloc", "ha_free", "ha_free_sized",
	"ha_free_aligned_sized", "ha_aligned_alloc", "ha_memalign",
	"ha_posix_memalign", "ha_valloc", "ha_pvalloc", "ha_reallocarray",
	"ha_malloc_usable_size", "ha_malloc_trim", "ha_release", "ha_good_size",
	"ha_limit_set", "ha_limit_get", "ha_background_work", "ha_alloc", "ha_resize", "ha_alloc_batch", "ha_free_batch",
	"ha_sparse", "ha_lookup", "ha_walk", "ha_stats_get", "ha_stats_classes",
	"ha_stats_nodes", "ha_stats_text", "ha_stats_json", "ha_stats_format",
	"ha_cache_create", "ha_cache_destroy", "ha_cache_alloc", "ha_cache_free",
	"ha_cache_shrink", "ha_cache_stats_get", "ha_heap_create", "ha_heap_destroy",
	"ha_heap_reset", "ha_heap_alloc", "ha_heap_alloc_tiny", "ha_heap_free",
	"ha_heap_set_limit", "ha_heap_stats_get", "heaparena_inspect",
};

int main(int argc, char **argv)
{
	Dl_info ours, theirs;
	void *base;

	tap_init(argc, argv);
	base = dlsym(RTLD_DEFAULT, "malloc");
	if (!base || !dladdr(base, &ours))
		tap_bail("no malloc");
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		void *p = dlsym(RTLD_DEFAULT, names[i]);

		ok(p && dladdr(p, &theirs) && theirs.dli_fbase == ours.dli_fbase,
		   "%s", names[i]);
	}
	ok(dlvsym(RTLD_DEFAULT, "ha_malloc", "HEAPARENA_0.1") != NULL,
	   "ha_malloc at version HEAPARENA_0.1");
	return tap_done();
}
