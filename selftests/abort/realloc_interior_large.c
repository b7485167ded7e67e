// SPDX-License-Identifier: MIT
/* realloc of a pointer inside a large object. */
/* expect: ^heaparena: invalid realloc of 0x[0-9a-f]+: 8192 bytes inside object [0-9]+ of span 0x[0-9a-f]+ \([0-9]+ bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	(void)do_realloc((char *)do_malloc(1 << 20) + 8192, 128);
	return 0;
}
