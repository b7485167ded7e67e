// SPDX-License-Identifier: MIT
/* ha_free of an object that free has freed. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	void (*ha_free)(void *) = (void (*)(void *))symbol("ha_free");
	void *p = do_malloc(64);

	do_free(p);
	ha_free(p);
	return 0;
}
