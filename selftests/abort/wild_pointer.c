// SPDX-License-Identifier: MIT
/* An address where nothing is mapped. */
/* expect: ^heaparena: invalid free of 0x123456789000: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	do_free((void *)0x123456789000);
	return 0;
}
