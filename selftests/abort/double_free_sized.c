// SPDX-License-Identifier: MIT
/* free_sized of an object that is free. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	void *p = do_malloc(64);

	do_free(p);
	do_free_sized(p, 64);
	return 0;
}
