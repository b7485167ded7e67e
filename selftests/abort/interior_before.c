// SPDX-License-Identifier: MIT
/* 16 bytes before an object: in the one before it, or in no object. */
/* expect: ^heaparena: (double|invalid) free of 0x[0-9a-f]+: .+$ */
#include "misuse.h"

int main(void)
{
	char *p = do_malloc(64);

	do_free(p - 16);
	return 0;
}
