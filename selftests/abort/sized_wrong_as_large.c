// SPDX-License-Identifier: MIT
/* free_sized of a small object as a large one. */
/* expect: ^heaparena: size mismatch in free of 0x[0-9a-f]+: freed as 1048576 bytes, object has 64$ */
#include "misuse.h"

int main(void)
{
	do_free_sized(do_malloc(64), 1 << 20);
	return 0;
}
