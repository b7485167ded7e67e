// SPDX-License-Identifier: MIT
/* Sized operator delete with the size of another type. */
/* expect: ^heaparena: size mismatch in free of 0x[0-9a-f]+: freed as 640 bytes, object has 64$ */
#include "misuse.h"

int main(void)
{
	void *(*new)(size_t) = (void *(*)(size_t))symbol("_Znwm");
	void (*delete)(void *, size_t) = (void (*)(void *, size_t))symbol("_ZdlPvm");

	delete(new(64), 640);
	return 0;
}
