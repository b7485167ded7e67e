// SPDX-License-Identifier: MIT
/*
 * app.c - one run of a real program, measured from outside
 *
 *	app [-p library] [-s] script folder
 *
 * `script run folder` becomes the program (by exec), with BENCH_PRELOAD=library in
 * its environment for that exec. The figures are those of its process and of the
 * children that it waited for: wall time, CPU time, peak memory as wait4() tells
 * them. One operation is one run.
 *
 *	-s	a server. `script ready` returns when it answers, `script load` is what
 *		is timed, `script clean` empties it; then its memory is read, and it gets
 *		SIGTERM. CPU time is the server's; the load runs without the library.
 *
 * Why a program: the maximum that the kernel keeps of a process survives exec, so a
 * child of a large parent (an interpreter) can never report less than that parent.
 * Prints the line of bench.h; there is no memory after the work but for servers.
 */
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

extern char **environ;

static const char *script, *folder;

static pid_t start(const char *step)
{
	char *const argv[] = { (char *)script, (char *)step, (char *)folder, NULL };
	pid_t pid;

	if (posix_spawn(&pid, script, NULL, NULL, argv, environ))
		bench_die("cannot start %s", script);
	return pid;
}

static void end(const char *step, pid_t pid, struct rusage *ru, int signal)
{
	int status;

	if (wait4(pid, &status, 0, ru) != pid)
		bench_die("%s %s: lost", script, step);
	if (status && !(signal && WIFSIGNALED(status) && WTERMSIG(status) == signal))
		bench_die("%s %s: status %#x", script, step, status);
}

static void do_step(const char *step)
{
	struct rusage ru;

	end(step, start(step), &ru, 0);
}

static unsigned long long status_kb(pid_t pid, const char *key)
{
	unsigned long long kb = 0;
	char path[64], line[256];
	size_t n = strlen(key);
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	if (!f)
		bench_die("the server has ended");
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, n))
			kb = strtoull(line + n, NULL, 10);
	fclose(f);
	return kb;
}

static uint64_t cpu_ns(const struct rusage *ru)
{
	return (ru->ru_utime.tv_sec + ru->ru_stime.tv_sec) * 1000000000ull +
	       (ru->ru_utime.tv_usec + ru->ru_stime.tv_usec) * 1000ull;
}

/* What a server holds when it is empty, at once and after $BENCH_IDLE seconds. */
static unsigned long long after_kb, idle_kb;

static void look_at(pid_t pid)
{
	const char *idle = getenv("BENCH_IDLE");

	after_kb = status_kb(pid, "VmRSS:");
	if (!idle)
		return;
	sleep(bench_number(idle));
	idle_kb = status_kb(pid, "VmRSS:");
}

static pid_t server_pid;

static void kill_server(void)
{
	if (server_pid)
		kill(server_pid, SIGKILL);
}

/* Wall ns of the load. A step that fails ends the program, and the server with it. */
static uint64_t serve(struct rusage *ru)
{
	pid_t pid = start("run");
	uint64_t wall;

	server_pid = pid;
	atexit(kill_server);
	do_step("ready");
	wall = bench_now();
	do_step("load");
	wall = bench_now() - wall;
	do_step("clean");
	look_at(pid);
	kill(pid, SIGTERM);
	end("run", pid, ru, SIGTERM);
	server_pid = 0;
	return wall;
}

int main(int argc, char **argv)
{
	const char *name, *library = "";
	struct rusage ru;
	int c, server = 0;
	uint64_t wall;

	while ((c = getopt(argc, argv, "p:s")) != -1) {
		if (c == 'p')
			library = optarg;
		else if (c == 's')
			server = 1;
		else
			bench_die("usage: app [-p library] [-s] script folder");
	}
	if (argc - optind != 2)
		bench_die("usage: app [-p library] [-s] script folder");
	if (*library && access(library, R_OK))
		bench_die("no library %s", library);
	script = argv[optind];
	folder = argv[optind + 1];
	setenv("BENCH_PRELOAD", library, 1);

	if (server) {
		wall = serve(&ru);
	} else {
		wall = bench_now();
		end("run", start("run"), &ru, 0);
		wall = bench_now() - wall;
	}
	name = strrchr(script, '/') ? strrchr(script, '/') + 1 : script;
	printf("app program=%s %.2f %ld %ld %.2f ", name, (double)wall, ru.ru_maxrss,
	       ru.ru_minflt, (double)cpu_ns(&ru));
	if (server)
		printf("%llu", after_kb);
	else
		printf("-");
	printf(" %ld %ld 1\n", ru.ru_nvcsw, ru.ru_nivcsw);
	if (idle_kb)
		printf("idle %llu\n", idle_kb);
	return 0;
}
