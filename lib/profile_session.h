/* SPDX-License-Identifier: MIT */
/*
 * Sessions of the heap profile, for those that start, stop and write them.  See
 * lib/profile.c.
 */
#ifndef _LIB_PROFILE_SESSION_H
#define _LIB_PROFILE_SESSION_H

#include <util/compiler.h>

#define PROFILE_MEAN		(512ULL << 10)

/*
 * profile_todo.  The last two are written from outside, a byte that is not zero, by who
 * may write the memory of this process: the ha command.
 */
enum profile_todo {
	PROFILE_NOTHING,
	PROFILE_START,
	PROFILE_STOP,
	PROFILE_ORDER_START,
	PROFILE_ORDER_STOP,
};

/* What has to be there before a session, and before a profile is written: 0 or -ENOMEM. */
int profile_prepare(void);
/* A sample in @mean bytes: 0; -EBUSY when on already, -EINVAL when not prepared. */
int profile_start(uint64_t mean);
void profile_stop(void);

struct profile_facts {
	bool on;
	uint64_t mean;			/* 0: there was no session */
	uint64_t started_ns;		/* since 1970 */
	uint64_t duration_ns;
};

void profile_facts(struct profile_facts *f);

#endif /* _LIB_PROFILE_SESSION_H */
