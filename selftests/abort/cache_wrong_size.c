// SPDX-License-Identifier: MIT
/* An object of another size is given to a cache. */
/* expect: ^heaparena: size mismatch in free of 0x[0-9a-f]+: freed as 48 bytes, object has 112$ */
#include <heaparena/heaparena.h>

#include "misuse.h"

int main(void)
{
	__typeof__(&ha_cache_create) create = symbol("ha_cache_create");
	__typeof__(&ha_cache_free) release = symbol("ha_cache_free");
	struct ha_cache_options opt = { .size = sizeof(opt), .object_size = 48 };

	release(create("misused", &opt), do_malloc(100));
	return 0;
}
