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
	X(ha_lookup) X(ha_walk)

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

#endif /* TAP_PRELOADED */
#endif /* SELFTESTS_STRESS_API_H */
