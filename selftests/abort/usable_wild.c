// SPDX-License-Identifier: MIT
/* malloc_usable_size of a wild pointer. */
/* expect: ^heaparena: invalid malloc_usable_size of 0x123456789000: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	(void)do_usable((void *)0x123456789000);
	return 0;
}
