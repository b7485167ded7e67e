// SPDX-License-Identifier: MIT
/* operator delete of a wild pointer. */
/* expect: ^heaparena: invalid free of 0x123456789000: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	((void (*)(void *))symbol("_ZdlPv"))((void *)0x123456789000);
	return 0;
}
