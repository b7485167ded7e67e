// SPDX-License-Identifier: MIT
/* A child frees what the parent had freed before the fork; the parent follows. */
/* expect: ^heaparena: double free of 0x[0-9a-f]+: object [0-9]+ of span 0x[0-9a-f]+ \(64 bytes x [0-9]+, node [0-9]+\)$ */
#include <signal.h>
#include "misuse.h"

int main(void)
{
	void *p = do_malloc(64);
	int status;
	pid_t pid;

	do_free(p);
	pid = fork();
	if (!pid) {
		do_free(p);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT)
		abort();
	return 0;
}
