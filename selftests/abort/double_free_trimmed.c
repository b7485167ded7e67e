// SPDX-License-Identifier: MIT
/* Freed again after malloc_trim has drained the caches. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	void *volatile keep = do_malloc(64);
	void *p = do_malloc(64);

	do_free(p);
	malloc_trim(0);
	do_free(p);
	do_free(keep);
	return 0;
}
