// SPDX-License-Identifier: MIT
/* realloc moved the object: the old address is free. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	void *p = do_malloc(64);
	void *q = do_realloc(p, 100000);

	if (q == p)
		return 3;
	do_free(p);
	return 0;
}
