// SPDX-License-Identifier: MIT
/* An address that no processor of 64 bits maps: outside the index. */
/* expect: ^heaparena: invalid free of 0x123456789abcdef0: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	do_free((void *)0x123456789abcdef0);
	return 0;
}
