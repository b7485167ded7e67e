// SPDX-License-Identifier: MIT
/* operator delete of an object that is free. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	void (*delete)(void *) = (void (*)(void *))symbol("_ZdlPv");
	void *p = do_malloc(64);

	do_free(p);
	delete(p);
	return 0;
}
