/* SPDX-License-Identifier: MIT */
/*
 * What a misuse program needs. Each program here commits one misuse and
 * carries the one line it must die with, as a regular expression (ERE):
 *
 *   expect: ^heaparena: double free of 0x[0-9a-f]+: ...$
 *
 * It passes when that line is all of stderr and SIGABRT ended it. A program
 * that returns from main was not caught.
 *
 * Every function under test is called through a volatile pointer, so that
 * the compiler can neither warn about the misuse nor take it out.
 */
#ifndef SELFTESTS_ABORT_MISUSE_H
#define SELFTESTS_ABORT_MISUSE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define __maybe	__attribute__((__unused__))

static void *(*volatile do_malloc)(size_t) __maybe = malloc;
static void *(*volatile do_calloc)(size_t, size_t) __maybe = calloc;
static void *(*volatile do_realloc)(void *, size_t) __maybe = realloc;
static void *(*volatile do_aligned)(size_t, size_t) __maybe = aligned_alloc;
static void (*volatile do_free)(void *) __maybe = free;
static size_t (*volatile do_usable)(void *) __maybe = malloc_usable_size;

/* A function the C library's headers may not know; it must exist. */
static __maybe void *symbol(const char *name)
{
	void *fn = dlsym(RTLD_DEFAULT, name);

	if (!fn)
		_exit(3);
	return fn;
}

static __maybe void do_free_sized(void *p, size_t size)
{
	((void (*)(void *, size_t))symbol("free_sized"))(p, size);
}

static __maybe void do_free_aligned_sized(void *p, size_t align, size_t size)
{
	((void (*)(void *, size_t, size_t))symbol("free_aligned_sized"))(p, align, size);
}

/* A program that is meant to abort leaves no core behind. */
static __attribute__((__constructor__)) void no_core(void)
{
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
}

#endif /* SELFTESTS_ABORT_MISUSE_H */
