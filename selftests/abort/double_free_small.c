// SPDX-License-Identifier: MIT
/* Freed twice in a row: still in the CPU's cache. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	void *p = do_malloc(64);

	do_free(p);
	do_free(p);
	return 0;
}
