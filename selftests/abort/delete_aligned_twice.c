// SPDX-License-Identifier: MIT
/* Aligned operator delete, twice. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \([0-9]+ bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	void *(*new)(size_t, size_t) =
		(void *(*)(size_t, size_t))symbol("_ZnwmSt11align_val_t");
	void (*delete)(void *, size_t) =
		(void (*)(void *, size_t))symbol("_ZdlPvSt11align_val_t");
	void *p = new(128, 64);

	delete(p, 64);
	delete(p, 64);
	return 0;
}
