// SPDX-License-Identifier: MIT
/*
 * The background thread's start: what libc takes of a stack for TLS is on top of what
 * the thread needs, and a start that fails is tried again, but not at each allocation.
 *
 * pthread_create is this program's own, and says no at first.
 */
#include <dlfcn.h>
#include <errno.h>

#include "stress.h"

#define MIB		(1ul << 20)
#define TLS_BYTES	(300ul << 10)
#define LEAST_STACK	(64ul << 10)
#define REFUSED		2

__thread volatile char tls[TLS_BYTES];

static unsigned int tries;
static size_t stack_size;

__attribute__((visibility("default")))
int pthread_create(pthread_t *thread, const pthread_attr_t *attr,
		   void *(*start)(void *), void *arg)
{
	int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	next = (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))
		dlsym(RTLD_NEXT, "pthread_create");
	if (attr)
		pthread_attr_getstacksize(attr, &stack_size);
	if (__atomic_add_fetch(&tries, 1, __ATOMIC_RELAXED) <= REFUSED)
		return EAGAIN;
	return next(thread, attr, start, arg);
}

static unsigned int nr_tries(void)
{
	return __atomic_load_n(&tries, __ATOMIC_RELAXED);
}

static void grow(unsigned int mib)
{
	for (unsigned int i = 0; i < mib; i++)
		(void)HIDE(malloc(MIB));
}

int main(int argc, char **argv)
{
	double begin;

	tap_init(argc, argv);
	if (TAP_TSAN || !TAP_PRELOADED)
		tap_skip_all("pthread_create is not for a test to replace here");
	watchdog(60);
	tls[1] = 1;
	grow(12);
	ok(!nr_tries(), "no thread below 16 MiB");
	begin = now_seconds();
	grow(20);
	ok(nr_tries() == 1, "one attempt at 16 MiB");
	ok(stack_size >= TLS_BYTES + LEAST_STACK, "on a stack for the thread and for TLS");
	grow(20);
	if (now_seconds() - begin < 0.9)
		ok(nr_tries() == 1, "none again at once");
	else
		tap_skip("none again at once", "too slow");
	usleep(1100000);
	grow(8);
	ok(nr_tries() == 2, "a second one after a second");
	usleep(2100000);
	grow(8);
	ok(nr_tries() == 3, "a third one two seconds later");
	grow(8);
	usleep(2000);
	ok(nr_tries() == 3, "which is the last: there is a thread");
	diag("%zu bytes of stack", stack_size);
	return tap_done();
}
