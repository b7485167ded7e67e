// SPDX-License-Identifier: MIT
/* One object twice in a batch. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include <heaparena/heaparena.h>

#include "misuse.h"

int main(void)
{
	__typeof__(&ha_alloc_batch) alloc = symbol("ha_alloc_batch");
	__typeof__(&ha_free_batch) release = symbol("ha_free_batch");
	void *p[10];

	if (alloc(64, 10, p) != 10)
		return 1;
	p[7] = p[2];
	release(p, 10);
	return 0;
}
