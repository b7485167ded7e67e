/* SPDX-License-Identifier: MIT */
/* The heap profile as a file that pprof reads.  See lib/pprof.c. */
#ifndef _LIB_PPROF_H
#define _LIB_PPROF_H

#include <util/compiler.h>

/* Once, before the first; 0 or -ENOMEM. */
int pprof_prepare(void);
/* Any thread, any signal handler: 0, -EBUSY while another is being written, -errno. */
int pprof_write(int fd);
/* A file is complete when it ends in this. */
#define PPROF_END	"heaparena: end of profile"

void pprof_fork_child(void);

#endif /* _LIB_PPROF_H */
