/* SPDX-License-Identifier: MIT */
/*
 * Sanitizers bring their own malloc. A stress program that is to run under
 * one is compiled with -include of this file and linked with the test build
 * of the library, where only ha_* names exist: each call of the program goes
 * to the library, each call inside the C library to the sanitizer.
 *
 * So memory that the C library allocated (strdup, getline) must not be freed
 * by a stress program, and the library's must not be handed to it to free.
 *
 * The system headers come first: their declarations must not be renamed.
 */
#ifndef SELFTESTS_STRESS_HA_MALLOC_H
#define SELFTESTS_STRESS_HA_MALLOC_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../include/heaparena/heaparena.h"

#define HA_MALLOC_MAPPED 1

#define malloc(n)			ha_malloc(n)
#define calloc(n, size)			ha_calloc(n, size)
#define realloc(p, n)			ha_realloc(p, n)
#define reallocarray(p, n, size)	ha_reallocarray(p, n, size)
#define free(p)				ha_free(p)
#define memalign(align, n)		ha_memalign(align, n)
#define posix_memalign(pp, align, n)	ha_posix_memalign(pp, align, n)
#define aligned_alloc(align, n)		ha_aligned_alloc(align, n)
#define malloc_usable_size(p)		ha_malloc_usable_size(p)
#define malloc_trim(pad)		ha_malloc_trim(pad)

#endif /* SELFTESTS_STRESS_HA_MALLOC_H */
