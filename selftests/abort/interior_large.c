// SPDX-License-Identifier: MIT
/* Beyond the first page of a large object. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: 65536 bytes inside object [0-9]+ of span 0x[0-9a-f]+ \([0-9]+ bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	char *p = do_malloc(1 << 20);

	do_free(p + 65536);
	return 0;
}
