/* SPDX-License-Identifier: MIT */
/*
 * What the conformance programs share: running this same program again with
 * another environment, and looking at what it said.
 *
 * A program that needs a second process of itself calls child_mode() first
 * in main: in the child it returns the mode's name ("@" and a word), in the
 * first process NULL. run_self() starts the child and collects its output.
 *
 * Nothing here allocates in the parent between fork and exec, and the child
 * never returns from run_self().
 */
#ifndef SELFTESTS_CONFORM_H
#define SELFTESTS_CONFORM_H

#include "../stress/tap.h"
#include <malloc.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>

extern char **environ;

struct run_result {
	pid_t pid;
	int status;
	char out[8192];
	char err[8192];
};

static __maybe const char *child_mode(int argc, char **argv)
{
	return argc > 1 && argv[1][0] == '@' ? argv[1] : NULL;
}

/* The environment with @set ("NAME=value", or "NAME" to remove) applied. */
static __maybe char **env_with(const char *const *set)
{
	static char *env[1024];
	unsigned int n = 0;

	for (char **e = environ; *e && n < 900; e++) {
		bool replaced = false;

		for (const char *const *s = set; s && *s; s++) {
			size_t len = strcspn(*s, "=");

			if (!strncmp(*e, *s, len) && (*e)[len] == '=')
				replaced = true;
		}
		if (!replaced)
			env[n++] = *e;
	}
	for (const char *const *s = set; s && *s; s++)
		if (strchr(*s, '='))
			env[n++] = (char *)(uintptr_t)*s;
	env[n] = NULL;
	return env;
}

static __maybe void drain(int fd[2], char *buf[2], size_t size)
{
	struct pollfd pfd[2] = { { fd[0], POLLIN, 0 }, { fd[1], POLLIN, 0 } };
	size_t have[2] = { 0, 0 };
	char waste[512];

	while (pfd[0].fd >= 0 || pfd[1].fd >= 0) {
		if (poll(pfd, 2, -1) < 0)
			continue;
		for (int i = 0; i < 2; i++) {
			size_t room = size - 1 - have[i];
			ssize_t n;

			if (pfd[i].fd < 0 || !pfd[i].revents)
				continue;
			n = read(pfd[i].fd, room ? buf[i] + have[i] : waste,
				 room ? room : sizeof(waste));
			if (n <= 0)
				pfd[i].fd = -1;
			else if (room)
				have[i] += n;
		}
	}
	buf[0][have[0]] = buf[1][have[1]] = 0;
}

/*
 * Run this program again as @mode with the environment changed by @set and,
 * unless 0, RLIMIT_AS at @limit_as bytes. False when it could not start.
 */
static __maybe bool run_self(const char *mode, const char *const *set,
			     size_t limit_as, struct run_result *r)
{
	char *argv[] = { tap_opts.argv[0], (char *)(uintptr_t)mode, NULL };
	char **env = env_with(set);
	int out[2], err[2];
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		return false;
	pid = fork();
	if (pid < 0)
		return false;
	if (!pid) {
		struct rlimit lim = { limit_as, limit_as };

		dup2(out[1], STDOUT_FILENO);
		dup2(err[1], STDERR_FILENO);
		alarm(120);
		if (limit_as && setrlimit(RLIMIT_AS, &lim))
			_exit(126);
		execve("/proc/self/exe", argv, env);
		_exit(127);
	}
	close(out[1]);
	close(err[1]);
	drain((int[]){ out[0], err[0] }, (char *[]){ r->out, r->err },
	      sizeof(r->out));
	close(out[0]);
	close(err[0]);
	waitpid(pid, &r->status, 0);
	r->pid = pid;
	return true;
}

static __maybe bool run_ok(const struct run_result *r)
{
	return WIFEXITED(r->status) && !WEXITSTATUS(r->status);
}

/* Say what a child left behind, when a check of it failed. */
static __maybe void run_diag(const struct run_result *r)
{
	diag("status 0x%x, stdout: %.300s", r->status, r->out);
	diag("stderr: %.300s", r->err);
}

static __maybe unsigned int count_lines(const char *s)
{
	unsigned int n = 0;

	for (; *s; s++)
		n += *s == '\n';
	return n;
}

/* Whether the program can run itself: no, where the processor is emulated. */
static __maybe bool can_run_self(void)
{
	return !tap_emulated();
}

#define NO_SELF "the processor is emulated: a program cannot run itself"

#endif /* SELFTESTS_CONFORM_H */
