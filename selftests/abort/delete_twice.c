// SPDX-License-Identifier: MIT
/* operator delete, twice, of an object of operator new. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	void *(*new)(size_t) = (void *(*)(size_t))symbol("_Znwm");
	void (*delete)(void *) = (void (*)(void *))symbol("_ZdlPv");
	void *p = new(64);

	delete(p);
	delete(p);
	return 0;
}
