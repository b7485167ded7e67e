// SPDX-License-Identifier: MIT
/*
 * libnuma for the static library and for tests: linked in.  libnuma_loaded.c is
 * the other way.
 */
#include <numa.h>

#include "libnuma.h"

bool libnuma_find(struct libnuma *lib)
{
	lib->available = numa_available;
	lib->distance = numa_distance;
	return true;
}
