// SPDX-License-Identifier: MIT
/*
 * The first span that tells of enough free memory is freed by malloc_trim().
 *
 *	malloc_trim -> drain, under the lock that slots are made under
 *	    -> a span is empty -> notify -> pthread_create -> calloc
 *	        -> this CPU's magazines are detached: waits for that lock
 *
 * So no thread is started from inside a drain. The start is left to the next one.
 */
#include "stress.h"

#define MIB	(1UL << 20)

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 32768, 28672, 24576, 20480, 16384, 8192, 4096 };
	char *keep, *p[8];

	tap_init(argc, argv);
	watchdog(20);
	/* a heap large enough for the thread, and free memory just short of it */
	keep = HIDE(malloc(30 * MIB));
	for (unsigned int k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		for (unsigned int i = 0; i < 8; i++)
			p[i] = HIDE(malloc(sizes[k]));
		for (unsigned int i = 0; i < 8; i++)
			free(p[i]);
	}
	p[0] = HIDE(malloc(4 * MIB - 40000));
	free(p[0]);
	malloc_trim(0);
	ok(keep != NULL, "malloc_trim comes back");
	free(keep);
	return tap_done();
}
