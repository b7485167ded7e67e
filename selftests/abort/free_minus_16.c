// SPDX-License-Identifier: MIT
/* The highest aligned address. */
/* expect: ^heaparena: invalid free of 0xfffffffffffffff0: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	do_free((void *)-16);
	return 0;
}
