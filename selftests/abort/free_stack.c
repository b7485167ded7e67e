// SPDX-License-Identifier: MIT
/* An address on the stack. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	long array[8];

	do_free(array);
	return 0;
}
