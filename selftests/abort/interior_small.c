// SPDX-License-Identifier: MIT
/* A pointer into the middle of a small object. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: 16 bytes inside object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	char *p = do_malloc(64);

	do_free(p + 16);
	return 0;
}
