// SPDX-License-Identifier: MIT
/* An object of one heap, freed to another. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: freed to a heap that it is not from$ */
#include <heaparena/heaparena.h>

#include "misuse.h"

int main(void)
{
	__typeof__(&ha_heap_create) create = symbol("ha_heap_create");
	__typeof__(&ha_heap_alloc) alloc = symbol("ha_heap_alloc");
	__typeof__(&ha_heap_free) release = symbol("ha_heap_free");
	struct ha_heap *a = create("a", 0), *b = create("b", 0);

	release(b, alloc(a, 64, 0, 0));
	return 0;
}
