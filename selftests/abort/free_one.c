// SPDX-License-Identifier: MIT
/* The address 1. */
/* expect: ^heaparena: invalid free of 0x1: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	do_free((void *)1);
	return 0;
}
