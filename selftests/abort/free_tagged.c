// SPDX-License-Identifier: MIT
/* A live object with a bit set far above the address bits. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	uintptr_t p = (uintptr_t)do_malloc(64);

	do_free((void *)(p | (uintptr_t)1 << 52));
	return 0;
}
