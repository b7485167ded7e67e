// SPDX-License-Identifier: MIT
/* Freed again when it lies at the bottom of a full magazine. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(96 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	void *q[8];

	for (int i = 0; i < 8; i++)
		q[i] = do_malloc(96);
	for (int i = 0; i < 8; i++)
		do_free(q[i]);
	do_free(q[0]);
	return 0;
}
