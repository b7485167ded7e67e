// SPDX-License-Identifier: MIT
/* operator delete[], twice. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include "misuse.h"

int main(void)
{
	void *(*new)(size_t) = (void *(*)(size_t))symbol("_Znam");
	void (*delete)(void *) = (void (*)(void *))symbol("_ZdaPv");
	void *p = new(64);

	delete(p);
	delete(p);
	return 0;
}
