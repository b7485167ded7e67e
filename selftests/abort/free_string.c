// SPDX-License-Identifier: MIT
/* A string constant. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	do_free((void *)"a string constant");
	return 0;
}
