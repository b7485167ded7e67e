// SPDX-License-Identifier: MIT
/* An address in the page of the null pointer. */
/* expect: ^heaparena: invalid free of 0x10: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	do_free((void *)16);
	return 0;
}
