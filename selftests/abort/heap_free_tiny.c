// SPDX-License-Identifier: MIT
/* A tiny object of a heap, which cannot be freed alone: the first of its block. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: [0-9]+ bytes inside object [0-9]+ of span 0x[0-9a-f]+ \(1024 bytes x [0-9]+, node [0-9]+\)$ */
#include <heaparena/heaparena.h>

#include "misuse.h"

int main(void)
{
	__typeof__(&ha_heap_create) create = symbol("ha_heap_create");
	__typeof__(&ha_heap_alloc_tiny) tiny = symbol("ha_heap_alloc_tiny");

	do_free(tiny(create("misused", 0), 8));
	return 0;
}
