// SPDX-License-Identifier: MIT
/* free_aligned_sized with the size of another class. */
/* expect: ^heaparena: size mismatch in free of 0x[0-9a-f]+: freed as 4096 bytes, object has [0-9]+$ */
#include "misuse.h"

int main(void)
{
	do_free_aligned_sized(do_aligned(64, 128), 64, 4096);
	return 0;
}
