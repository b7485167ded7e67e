/* SPDX-License-Identifier: MIT */
/* The next definition of a function that this library has one of; see the .c file. */
#ifndef _LIB_NEXT_SYMBOL_H
#define _LIB_NEXT_SYMBOL_H

/* A function of that name in another object of the process, or NULL.  Allocates nothing. */
void *next_symbol(const char *name);

#endif /* _LIB_NEXT_SYMBOL_H */
