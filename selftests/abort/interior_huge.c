// SPDX-License-Identifier: MIT
/* In the second arena of an object larger than one. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: 104857600 bytes inside object [0-9]+ of span 0x[0-9a-f]+ \([0-9]+ bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	char *p = do_malloc((size_t)200 << 20);

	do_free(p + ((size_t)100 << 20));
	return 0;
}
