// SPDX-License-Identifier: MIT
/* free_sized with the size of another class. */
/* expect: ^heaparena: size mismatch in free of 0x[0-9a-f]+: freed as 1000 bytes, object has 112$ */
#include "misuse.h"

int main(void)
{
	do_free_sized(do_malloc(100), 1000);
	return 0;
}
