// SPDX-License-Identifier: MIT
/* realloc of an address on the stack. */
/* expect: ^heaparena: invalid realloc of 0x[0-9a-f]+: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	long array[8];

	(void)do_realloc(array, 128);
	return 0;
}
