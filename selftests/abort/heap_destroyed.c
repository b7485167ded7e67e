// SPDX-License-Identifier: MIT
/* A heap that was destroyed is used. */
/* expect: ^heaparena: ha_heap_alloc of 0x[0-9a-f]+: no heap in use$ */
#include <heaparena/heaparena.h>

#include "misuse.h"

int main(void)
{
	__typeof__(&ha_heap_create) create = symbol("ha_heap_create");
	__typeof__(&ha_heap_alloc) alloc = symbol("ha_heap_alloc");
	__typeof__(&ha_heap_destroy) destroy = symbol("ha_heap_destroy");
	struct ha_heap *h = create("misused", 0);

	destroy(h);
	void *volatile poke = alloc(h, 100, 0, 0);

	(void)poke;
	return 0;
}
