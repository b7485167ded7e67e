// SPDX-License-Identifier: MIT
/* An aligned object, freed twice. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \([0-9]+ bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	void *p = do_aligned(256, 300);

	do_free(p);
	do_free(p);
	return 0;
}
