// SPDX-License-Identifier: MIT
/* Freed again when its whole span went back to the page heap. */
/* expect: ^heaparena: (double|invalid) free of 0x[0-9a-f]+: .+$ */
#include "misuse.h"

int main(void)
{
	static void *q[20000];

	for (int i = 0; i < 20000; i++)
		q[i] = do_malloc(1024);
	for (int i = 0; i < 20000; i++)
		do_free(q[i]);
	malloc_trim(0);
	do_free(q[10000]);
	return 0;
}
