/* SPDX-License-Identifier: MIT */
/* Orders to the heap profile of a live process, by a word in its memory. */
#ifndef HA_ORDER_H
#define HA_ORDER_H

#include "layout.h"

/* Start a session, or end it; 0, or the exit status with one line said. */
int order_profile(struct target *t, const struct layout *l, bool start);

#endif /* HA_ORDER_H */
