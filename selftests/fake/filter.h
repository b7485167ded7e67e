/* SPDX-License-Identifier: MIT */
/*
 * A filter of system calls, as services have it.
 */
#ifndef SELFTESTS_FAKE_FILTER_H
#define SELFTESTS_FAKE_FILTER_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

/* After this, the call with that number ends the process; false where it cannot be. */
static inline __maybe_unused bool forbid_call(unsigned int nr)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

/* What @f says in a process of its own, which it may spoil. */
static inline __maybe_unused bool in_process(bool (*f)(void))
{
	pid_t pid = fork();
	int status = -1;

	if (!pid)
		_exit(!f());
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static inline __maybe_unused bool can_forbid(void)
{
	return forbid_call(~0U);
}

#endif /* SELFTESTS_FAKE_FILTER_H */
