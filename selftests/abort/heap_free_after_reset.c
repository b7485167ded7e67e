// SPDX-License-Identifier: MIT
/* An object of a heap that was reset meanwhile. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: in free pages of the heap$ */
#include <heaparena/heaparena.h>

#include "misuse.h"

int main(void)
{
	__typeof__(&ha_heap_create) create = symbol("ha_heap_create");
	__typeof__(&ha_heap_alloc) alloc = symbol("ha_heap_alloc");
	__typeof__(&ha_heap_reset) reset = symbol("ha_heap_reset");
	struct ha_heap *h = create("misused", 0);
	void *p = alloc(h, 32768, 0, 0);

	reset(h);
	do_free(p);
	return 0;
}
