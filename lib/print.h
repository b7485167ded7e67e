/* SPDX-License-Identifier: MIT */
/* All statistics as text and as JSON.  See lib/print.c. */
#ifndef _LIB_PRINT_H
#define _LIB_PRINT_H

#include <heaparena/heaparena.h>

/* 0 or an errno. */
int print_to_fd(enum ha_format format, int fd);

#endif /* _LIB_PRINT_H */
