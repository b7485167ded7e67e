// SPDX-License-Identifier: MIT
/* The address of a function. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	do_free((void *)main);
	return 0;
}
