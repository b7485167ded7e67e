// SPDX-License-Identifier: MIT
/* operator delete of a pointer inside an object: an array with a cookie. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: 8 bytes inside object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	void *(*new)(size_t) = (void *(*)(size_t))symbol("_Znwm");
	void (*delete)(void *) = (void (*)(void *))symbol("_ZdlPv");

	delete((char *)new(64) + 8);
	return 0;
}
