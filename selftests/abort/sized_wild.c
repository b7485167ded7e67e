// SPDX-License-Identifier: MIT
/* free_sized of a wild pointer. */
/* expect: ^heaparena: invalid free of 0x123456789000: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	do_free_sized((void *)0x123456789000, 64);
	return 0;
}
