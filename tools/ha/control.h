/* SPDX-License-Identifier: MIT */
/* The heap profile of a running process.  See tools/ha/control.c. */
#ifndef HA_CONTROL_H
#define HA_CONTROL_H

#include <sys/types.h>

#include "ha.h"

/*
 * As in heaparena.h: what the value of the signal asks for.  @signal 0: that which
 * its environment names.  0, or the exit status with one line said.
 */
int control_send(pid_t pid, int signal, unsigned int order);
/* A profile of it, mapped, in *data. */
int control_dump(pid_t pid, int signal, const uint8_t **data, size_t *size);

#endif /* HA_CONTROL_H */
