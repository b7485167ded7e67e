// SPDX-License-Identifier: MIT
/* realloc of a pointer inside an object. */
/* expect: ^heaparena: invalid realloc of 0x[0-9a-f]+: 32 bytes inside object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	(void)do_realloc((char *)do_malloc(64) + 32, 128);
	return 0;
}
