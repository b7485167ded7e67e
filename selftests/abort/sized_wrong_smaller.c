// SPDX-License-Identifier: MIT
/* free_sized with a size that is too small for the class. */
/* expect: ^heaparena: size mismatch in free of 0x[0-9a-f]+: freed as 10 bytes, object has 112$ */
#include "misuse.h"

int main(void)
{
	do_free_sized(do_malloc(100), 10);
	return 0;
}
