/* SPDX-License-Identifier: MIT */
/* Threads of what is looked at, and what is in their registers. See tools/ha/threads.c. */
#ifndef HA_THREADS_H
#define HA_THREADS_H

#include "target.h"

struct thread {
	struct regs regs;
	uint64_t sp;		/* 0: not known */
	pid_t tid;		/* live alone */
	int signal;		/* that it was about to get when it was stopped */
};

struct threads {
	struct thread *th;
	size_t nr;
	bool stopped;		/* until threads_free() */
};

/*
 * @stop: stop a live process, all of it.  Otherwise only what the kernel tells of
 * threads that wait is known.  0, or the exit status with one line said.
 */
int threads_read(struct target *t, const char *arch, bool stop, struct threads *th);
/* Lets go of a process that was stopped. */
void threads_free(struct threads *th);

#endif /* HA_THREADS_H */
