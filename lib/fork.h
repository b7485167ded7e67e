/* SPDX-License-Identifier: MIT */
/* Fork: one set of handlers for the whole library.  See lib/fork.c. */
#ifndef _LIB_FORK_H
#define _LIB_FORK_H

void fork_init(void);

#endif /* _LIB_FORK_H */
