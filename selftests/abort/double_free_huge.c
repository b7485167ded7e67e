// SPDX-License-Identifier: MIT
/* An object larger than an arena, freed twice. */
/* expect: ^heaparena: (double|invalid) free of 0x[0-9a-f]+: .+$ */
#include "misuse.h"

int main(void)
{
	void *p = do_malloc((size_t)200 << 20);

	do_free(p);
	do_free(p);
	return 0;
}
