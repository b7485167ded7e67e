// SPDX-License-Identifier: MIT
/* realloc of a large object that is free. */
/* expect: ^heaparena: (realloc of freed|invalid realloc of) 0x[0-9a-f]+: .+$ */
#include "misuse.h"

int main(void)
{
	void *p = do_malloc(1 << 20);

	do_free(p);
	(void)do_realloc(p, 2 << 20);
	return 0;
}
