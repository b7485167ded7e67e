// SPDX-License-Identifier: MIT
/*
 * libnuma for the shared library: loaded when it is asked for, which is on machines
 * of several nodes only.  Its constructor reads /proc and /sys: linked in, that was
 * a third of what the library added to the start of a program.
 */
#include <dlfcn.h>

#include "libnuma.h"

#define LIBNUMA		"libnuma.so.1"

bool libnuma_find(struct libnuma *lib)
{
	void *handle = dlopen(LIBNUMA, RTLD_NOW | RTLD_LOCAL);

	if (!handle)
		return false;
	lib->available = (__typeof__(lib->available))dlsym(handle, "numa_available");
	lib->distance = (__typeof__(lib->distance))dlsym(handle, "numa_distance");
	return lib->available && lib->distance;
}
