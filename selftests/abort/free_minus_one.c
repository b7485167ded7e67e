// SPDX-License-Identifier: MIT
/* The highest address. */
/* expect: ^heaparena: invalid free of 0xffffffffffffffff: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	do_free((void *)-1);
	return 0;
}
