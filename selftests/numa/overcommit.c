// SPDX-License-Identifier: MIT
/*
 * vm.overcommit_memory=2: memory that may be written is promised, and what cannot
 * be is refused.  Address space without access must cost nothing of it, so that
 * what is left of the commit limit can be had nearly to the end; then NULL and
 * ENOMEM; and what is freed can be had again.
 */
#include "numa.h"

#define SIZE	(1 << 20)
#define NR	4096

static void *objs[NR];

static long meminfo_kb(const char *key)
{
	char buf[8192], *p;

	if (!file_read(buf, sizeof(buf), "/proc/meminfo"))
		return -1;
	p = strstr(buf, key);
	return p ? strtol(p + strlen(key), NULL, 10) : -1;
}

static unsigned int fill(void)
{
	unsigned int n;

	for (n = 0; n < NR; n++) {
		errno = 0;
		objs[n] = malloc(SIZE);
		if (!objs[n])
			break;
		*(char *)objs[n] = 1;
	}
	return n;
}

static void empty(unsigned int n)
{
	while (n)
		free(objs[--n]);
}

static void child_lives(void)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		void *p = malloc(1000);

		free(p);
		_exit(p ? 0 : 1);
	}
	if (pid < 0)
		tap_skip("fork", "the kernel has no promise left for a child");
	else
		ok(waitpid(pid, &status, 0) == pid && !status, "a child of fork allocates");
}

int main(int argc, char **argv)
{
	unsigned int n, again;
	char mode[8];
	long left;

	tap_init(argc, argv);
	if (!file_read(mode, sizeof(mode), "/proc/sys/vm/overcommit_memory") || mode[0] != '2')
		tap_skip_all("vm.overcommit_memory is not 2");
	watchdog(60);
	free(HIDE(malloc(100)));
	left = (meminfo_kb("CommitLimit:") - meminfo_kb("Committed_AS:")) >> 10;
	child_lives();
	n = fill();
	diag("%ld MiB left to promise, %u MiB had", left, n);
	ok(n < NR && errno == ENOMEM, "%u objects of 1 MiB, then NULL and ENOMEM", n);
	/* an unfinished step of 4 MiB a node, tables, and the kernel's reserve for root */
	ok(n + 24 >= left - left / 20, "nearly all of %ld MiB", left);
	ok(HIDE(malloc(100)) != NULL, "a small object at the limit");
	empty(n);
	again = fill();
	ok(again + 4 >= n, "freed, %u objects can be had again", again);
	empty(again);
	return tap_done();
}
