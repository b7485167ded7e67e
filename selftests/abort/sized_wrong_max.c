// SPDX-License-Identifier: MIT
/* free_sized with SIZE_MAX. */
/* expect: ^heaparena: size mismatch in free of 0x[0-9a-f]+: freed as 18446744073709551615 bytes, object has 64$ */
#include "misuse.h"

int main(void)
{
	do_free_sized(do_malloc(64), SIZE_MAX);
	return 0;
}
