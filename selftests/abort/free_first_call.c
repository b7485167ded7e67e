// SPDX-License-Identifier: MIT
/* The very first call of the process is a free of a wild pointer, from a constructor. */
/* expect: ^heaparena: invalid free of 0x4000: not allocated by heaparena$ */
#include "misuse.h"

static __attribute__((__constructor__(101))) void first(void)
{
	do_free((void *)0x4000);
}

int main(void)
{
	return 0;
}
