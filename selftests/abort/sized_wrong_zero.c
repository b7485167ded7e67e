// SPDX-License-Identifier: MIT
/* free_sized with size zero of an object of 1000 bytes. */
/* expect: ^heaparena: size mismatch in free of 0x[0-9a-f]+: freed as 0 bytes, object has 1024$ */
#include "misuse.h"

int main(void)
{
	do_free_sized(do_malloc(1000), 0);
	return 0;
}
