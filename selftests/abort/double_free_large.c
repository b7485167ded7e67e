// SPDX-License-Identifier: MIT
/* A large object, freed twice: its span went with the first free. */
/* expect: ^heaparena: (double|invalid) free of 0x[0-9a-f]+: .+$ */
#include "misuse.h"

int main(void)
{
	void *p = do_malloc(1 << 20);

	do_free(p);
	do_free(p);
	return 0;
}
