// SPDX-License-Identifier: MIT
/* malloc_usable_size of a pointer inside an object. */
/* expect: ^heaparena: invalid malloc_usable_size of 0x[0-9a-f]+: 16 bytes inside object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	(void)do_usable((char *)do_malloc(64) + 16);
	return 0;
}
