// SPDX-License-Identifier: MIT
/* An odd address. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: 1 bytes inside object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	char *p = do_malloc(64);

	do_free(p + 1);
	return 0;
}
