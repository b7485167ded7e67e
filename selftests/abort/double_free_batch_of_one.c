// SPDX-License-Identifier: MIT
/* Alternating frees of two objects, the first of them twice. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(32 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	void *p = do_malloc(32);
	void *q = do_malloc(32);

	do_free(p);
	do_free(q);
	do_free(p);
	return 0;
}
