// SPDX-License-Identifier: MIT
/* The last byte of an object. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: 255 bytes inside object [0-9]+ of span 0x[0-9a-f]+ \(256 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	char *p = do_malloc(256);

	do_free(p + 255);
	return 0;
}
