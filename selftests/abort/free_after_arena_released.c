// SPDX-License-Identifier: MIT
/* Freed again when the space of a huge object has been given back and trimmed. */
/* expect: ^heaparena: (double|invalid) free of 0x[0-9a-f]+: .+$ */
#include "misuse.h"

int main(void)
{
	void *p = do_malloc((size_t)100 << 20);

	do_free(p);
	malloc_trim(0);
	do_free(p);
	return 0;
}
