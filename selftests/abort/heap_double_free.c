// SPDX-License-Identifier: MIT
/* An object of a heap, freed by free and by ha_heap_free. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(112 bytes x [0-9]+, node [0-9]+\)$ */
#include <heaparena/heaparena.h>

#include "misuse.h"

int main(void)
{
	__typeof__(&ha_heap_create) create = symbol("ha_heap_create");
	__typeof__(&ha_heap_alloc) alloc = symbol("ha_heap_alloc");
	__typeof__(&ha_heap_free) release = symbol("ha_heap_free");
	struct ha_heap *h = create("misused", 0);
	void *p = alloc(h, 100, 0, 0);

	void *volatile poke = alloc(h, 100, 0, 0);

	(void)poke;
	do_free(p);
	release(h, p);
	return 0;
}
