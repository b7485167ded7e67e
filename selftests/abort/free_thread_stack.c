// SPDX-License-Identifier: MIT
/* An address on the stack of a thread. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: not allocated by heaparena$ */
#include "misuse.h"

static void *thread(void *unused)
{
	long array[8];

	(void)unused;
	do_free(array);
	return NULL;
}

int main(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, thread, NULL))
		return 3;
	pthread_join(t, NULL);
	return 0;
}
