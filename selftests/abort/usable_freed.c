// SPDX-License-Identifier: MIT
/* malloc_usable_size of an object that is free. */
/* expect: ^heaparena: (invalid malloc_usable_size of|malloc_usable_size of freed) 0x[0-9a-f]+: .+$ */
#include "misuse.h"

int main(void)
{
	void *p = do_malloc(64);

	do_free(p);
	(void)do_usable(p);
	return 0;
}
