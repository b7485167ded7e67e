// SPDX-License-Identifier: MIT
/* realloc of a wild pointer. */
/* expect: ^heaparena: invalid realloc of 0x123456789000: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	(void)do_realloc((void *)0x123456789000, 128);
	return 0;
}
