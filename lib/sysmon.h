/* SPDX-License-Identifier: MIT */
/* The background thread, and when there is one.  See lib/sysmon.c. */
#ifndef _LIB_SYSMON_H
#define _LIB_SYSMON_H

#include <util/compiler.h>

/* libc is up: from now on a thread may be started. */
void sysmon_init(void);
void sysmon_fork_child(void);

#endif /* _LIB_SYSMON_H */
