// SPDX-License-Identifier: MIT
/* A variable of the program. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	static long array[8] __attribute__((__aligned__(16)));

	do_free(array);
	return 0;
}
