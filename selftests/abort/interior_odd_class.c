// SPDX-License-Identifier: MIT
/* The middle of an object whose class is no power of two. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: 1152 bytes inside object [0-9]+ of span 0x[0-9a-f]+ \([0-9]+ bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	char *p = do_malloc(6700);

	do_free(p + 1152);
	return 0;
}
