// SPDX-License-Identifier: MIT
/* Freed again when the batch that held it has left the cache. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	static void *q[20000];
	void *p;

	for (int i = 0; i < 20000; i++)
		q[i] = do_malloc(64);
	p = q[100];
	do_free(p);
	for (int i = 101; i < 20000; i += 2)
		do_free(q[i]);
	do_free(p);
	return 0;
}
