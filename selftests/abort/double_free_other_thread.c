// SPDX-License-Identifier: MIT
/* Freed by one thread, then by another. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

static void *other(void *p)
{
	do_free(p);
	return NULL;
}

int main(void)
{
	void *p = do_malloc(64);
	pthread_t t;

	if (pthread_create(&t, NULL, other, p))
		return 3;
	pthread_join(t, NULL);
	do_free(p);
	return 0;
}
