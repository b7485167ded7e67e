// SPDX-License-Identifier: MIT
/* realloc of an object of a heap that was freed. */
/* expect: ^heaparena: realloc of freed 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(512 bytes x [0-9]+, node [0-9]+\)$ */
#include <heaparena/heaparena.h>

#include "misuse.h"

int main(void)
{
	__typeof__(&ha_heap_create) create = symbol("ha_heap_create");
	__typeof__(&ha_heap_alloc) alloc = symbol("ha_heap_alloc");
	struct ha_heap *h = create("misused", 0);
	void *p = alloc(h, 500, 0, 0);

	do_free(p);
	return do_realloc(p, 1000) != NULL;
}
