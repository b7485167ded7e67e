// SPDX-License-Identifier: MIT
/* Far beyond the live objects, inside the reserved arena, or past it. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	uintptr_t p = (uintptr_t)do_malloc(64);

	do_free((void *)((p | ((1u << 26) - 1)) - 8191));
	return 0;
}
