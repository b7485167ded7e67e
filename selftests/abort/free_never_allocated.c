// SPDX-License-Identifier: MIT
/* An object of a live span that malloc has not handed out yet. */
/* expect: ^heaparena: (double|invalid) free of 0x[0-9a-f]+: .+$ */
#include "misuse.h"

int main(void)
{
	char *p = do_malloc(48), *lo = p, *hi = p;

	for (int i = 0; i < 8; i++) {
		char *q = do_malloc(48);

		lo = q < lo ? q : lo;
		hi = q > hi ? q : hi;
	}
	do_free(hi - lo == 8 * 48 ? hi + 48 : p + 8);
	return 0;
}
