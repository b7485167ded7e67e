// SPDX-License-Identifier: MIT
/* realloc of the address that an earlier realloc has left. */
/* expect: ^heaparena: realloc of freed 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	void *p = do_malloc(64);

	if (do_realloc(p, 100000) == p)
		return 3;
	(void)do_realloc(p, 100000);
	return 0;
}
