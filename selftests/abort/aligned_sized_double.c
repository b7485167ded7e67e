// SPDX-License-Identifier: MIT
/* free_aligned_sized of an object that is free. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \([0-9]+ bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	void *p = do_aligned(64, 128);

	do_free_aligned_sized(p, 64, 128);
	do_free_aligned_sized(p, 64, 128);
	return 0;
}
