// SPDX-License-Identifier: MIT
/* free_sized of a large object as a small one. */
/* expect: ^heaparena: size mismatch in free of 0x[0-9a-f]+: freed as 64 bytes, object has [0-9]+$ */
#include "misuse.h"

int main(void)
{
	do_free_sized(do_malloc(1 << 20), 64);
	return 0;
}
