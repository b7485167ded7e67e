// SPDX-License-Identifier: MIT
/* An object of a cache, freed twice: it is kept the first time. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(48 bytes x [0-9]+, node [0-9]+\)$ */
#include <heaparena/heaparena.h>

#include "misuse.h"

int main(void)
{
	__typeof__(&ha_cache_create) create = symbol("ha_cache_create");
	__typeof__(&ha_cache_alloc) alloc = symbol("ha_cache_alloc");
	__typeof__(&ha_cache_free) release = symbol("ha_cache_free");
	struct ha_cache_options opt = { .size = sizeof(opt), .object_size = 48 };
	struct ha_cache *c = create("misused", &opt);
	void *p = alloc(c);

	release(c, p);
	release(c, p);
	return 0;
}
