// SPDX-License-Identifier: MIT
/* The middle of an object that is free. */
/* expect: ^heaparena: (double|invalid) free of 0x[0-9a-f]+: .+$ */
#include "misuse.h"

int main(void)
{
	char *p = do_malloc(64);

	do_free(p);
	do_free(p + 16);
	return 0;
}
