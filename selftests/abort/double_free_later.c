// SPDX-License-Identifier: MIT
/* Freed again after thousands of allocations of other sizes. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	void *p = do_malloc(64);

	do_free(p);
	for (unsigned int i = 0; i < 5000; i++)
		(void)do_malloc(128 + i % 1024);
	do_free(p);
	return 0;
}
