// SPDX-License-Identifier: MIT
/* 16 bytes into an aligned object. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: 16 bytes inside object [0-9]+ of span 0x[0-9a-f]+ \([0-9]+ bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	char *p = do_aligned(4096, 4096);

	do_free(p + 16);
	return 0;
}
