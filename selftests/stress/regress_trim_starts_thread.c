// SPDX-License-Identifier: MIT
/*
 * malloc_trim() takes what the caches hold back to the spans, under the lock of
 * the caches; the pages that this frees may be the ones that make the background
 * thread worth starting; and starting it allocates, from caches that are being
 * drained: the thread waited for its own lock.
 *
 *	heap of 20 MiB, a little less than 4 MiB of it free: no thread yet
 *	a few hundred KiB of small objects freed into the caches
 *	malloc_trim -> drain (lock) -> a span is empty -> more than 4 MiB free
 *	            -> start the thread -> malloc -> make the slot anew (lock)
 *
 * Each case is a process, with another amount short of the 4 MiB.
 */
#include "stress.h"

#define MIB	(1ul << 20)

static int one(size_t missing)
{
	static void *small[4000];
	char *live = HIDE(malloc(20 * MIB)), *gone = HIDE(malloc(4 * MIB - missing));

	if (!live || !gone)
		return 2;
	for (unsigned int i = 0; i < 40; i++) {
		small[i] = HIDE(malloc(8192));
		memset(small[i], 1, 8192);
	}
	for (unsigned int i = 40; i < 400; i++)
		small[i] = HIDE(malloc(1024));
	memset(live, 1, 20 * MIB);
	memset(gone, 1, 4 * MIB - missing);
	free(gone);
	for (unsigned int i = 0; i < 400; i++)
		free(small[i]);
	malloc_trim(0);
	free(HIDE(malloc(100)));
	free(live);
	return 0;
}

/* All signals are blocked where it hangs: the parent ends it. */
static int wait_for(pid_t pid)
{
	int status;

	for (int i = 0; i < 500; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		usleep(10000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return status;
}

int main(int argc, char **argv)
{
	unsigned int bad = 0;

	tap_init(argc, argv);
	watchdog(60);
	for (size_t missing = 0; missing <= 1024; missing += TAP_TSAN ? 128 : 16) {
		int status;
		pid_t pid = fork();

		if (!pid)
			_exit(one(missing << 10));
		if (pid < 0)
			tap_bail("fork");
		status = wait_for(pid);
		if (status) {
			diag("%zu KiB short: status 0x%x", missing, status);
			if (++bad == 3)
				break;
		}
	}
	ok(!bad, "malloc_trim ends when it frees what the thread is started for");
	return tap_done();
}
