// SPDX-License-Identifier: MIT
/* free_sized of a pointer inside an object. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: 16 bytes inside object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	do_free_sized((char *)do_malloc(64) + 16, 64);
	return 0;
}
