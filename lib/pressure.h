/* SPDX-License-Identifier: MIT */
/*
 * What the world outside says about memory: the control group's limits, and how
 * long tasks have waited for memory (PSI).  See lib/pressure.c.
 */
#ifndef _LIB_PRESSURE_H
#define _LIB_PRESSURE_H

#include <util/compiler.h>

/* Take the limits of the options; before limits can be met. */
void pressure_init(void);
/* Read the group's limits again, unless that was done a moment ago. */
void pressure_poll(uint64_t now_ms);
/* Memory has been short since the last call. */
bool pressure_fired(uint64_t now_ms);
/*
 * Called by the background thread alone: from here on its file descriptors are its
 * own, and it may keep one open.
 */
void pressure_own_files(void);
void pressure_fork_child(void);

/* Test builds: the files are under this folder. */
extern const char *pressure_root;
/* "some avg10=12.34 ...": tenths of a percent; 0 for anything else. */
unsigned int pressure_avg10(const char *text);

#endif /* _LIB_PRESSURE_H */
