// SPDX-License-Identifier: MIT
/*
 * free() started the background thread. But libc frees under locks of its own: the TLS of
 * threads that have ended, under the lock of its cache of stacks, which pthread_create()
 * takes as well. The process waited for itself, with all signals blocked.
 *
 *	parent: 64 MiB of objects, and the thread
 *	child: no thread; frees all of them: still none
 *	       allocates: there is one
 */
#include <sys/stat.h>

#include "stress.h"

#define MIB	(1ul << 20)
#define NR	1024

static char *p[NR];

/* Threads of this process; no call of malloc. */
static unsigned int nr_threads(void)
{
	struct stat st;

	return stat("/proc/self/task", &st) ? 0 : st.st_nlink - 2;
}

static int child(void)
{
	unsigned int before = nr_threads(), tries = 0;

	for (unsigned int i = 0; i < NR; i++)
		free(p[i]);
	if (nr_threads() != before)
		return 2;
	for (unsigned int i = 0; i < NR; i++) {
		p[i] = HIDE(malloc(MIB / 16));
		if (!p[i])
			return 3;
	}
	while (nr_threads() == before)
		if (++tries == 100 || usleep(10000))
			return 4;
	return 0;
}

int main(int argc, char **argv)
{
	int status;
	pid_t pid;

	tap_init(argc, argv);
	watchdog(60);
	if (nr_threads() != 1)
		tap_skip_all("this process has threads of others");
	for (unsigned int i = 0; i < NR; i++) {
		p[i] = HIDE(malloc(MIB / 16));
		if (!p[i])
			tap_bail("malloc");
		memset(p[i], 1, MIB / 16);
	}
	pid = fork();
	if (!pid)
		_exit(child());
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		tap_bail("fork");
	ok(!status, "a free never starts the thread, an allocation does");
	diag("status 0x%x", status);
	return tap_done();
}
