// SPDX-License-Identifier: MIT
/* An object aligned beyond every class, freed twice. */
/* expect: ^heaparena: (double|invalid) free of 0x[0-9a-f]+: .+$ */
#include "misuse.h"

int main(void)
{
	void *p = do_aligned(1 << 20, 100);

	do_free(p);
	do_free(p);
	return 0;
}
