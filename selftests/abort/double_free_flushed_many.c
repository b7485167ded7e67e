// SPDX-License-Identifier: MIT
/* Freed again after every batch of its class has been flushed. */
/* expect: ^heaparena: (double|invalid) free of 0x[0-9a-f]+: .+$ */
#include "misuse.h"

int main(void)
{
	static void *q[50000];

	for (int i = 0; i < 50000; i++)
		q[i] = do_malloc(48);
	for (int i = 0; i < 50000; i++)
		do_free(q[i]);
	do_free(q[25000]);
	return 0;
}
