/* SPDX-License-Identifier: MIT */
/*
 * What is needed of libnuma: linked in (libnuma_linked.c: static library, tests) or
 * loaded when it is asked for (libnuma_loaded.c: shared library).
 */
#ifndef _LIB_LIBNUMA_H
#define _LIB_LIBNUMA_H

#include <util/compiler.h>

struct libnuma {
	int (*available)(void);
	int (*distance)(int from, int to);
};

/* False when it is not there.  From the constructor only: loading it allocates. */
bool libnuma_find(struct libnuma *lib);

#endif /* _LIB_LIBNUMA_H */
