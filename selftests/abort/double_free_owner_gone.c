// SPDX-License-Identifier: MIT
/* Allocated and freed by a thread that is gone, freed again by main. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

static void *owner(void *unused)
{
	void *p = do_malloc(64);

	(void)unused;
	do_free(p);
	return p;
}

int main(void)
{
	pthread_t t;
	void *p;

	if (pthread_create(&t, NULL, owner, NULL))
		return 3;
	pthread_join(t, &p);
	do_free(p);
	return 0;
}
