// SPDX-License-Identifier: MIT
/*
 * ha run --leaks: a program under a profile of every allocation, whose end is waited
 * for.  Each process of it that exits writes a profile into a folder of ours; what
 * lives then is reported: what nobody points to any more, and what the program keeps
 * to its end, which cannot be told apart by this.
 *
 * With prof:SIZE in CONF only some allocations are looked at, and the report is an
 * estimate: for programs that allocate too much for the other.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leaks.h"

#define STACKS	20

static pid_t child;

static void pass_on(int sig)
{
	kill(child, sig);
}

/* Is there an option @key in @conf? */
static bool has_option(const char *conf, const char *key)
{
	size_t len = strlen(key);

	for (; conf && *conf; conf += strcspn(conf, ","), conf += *conf == ',')
		if (!strncmp(conf, key, len) && conf[len] == ':')
			return true;
	return false;
}

static int set_conf(const char *conf, const char *folder)
{
	char *all;
	int err;

	if (!conf)
		conf = getenv("HEAPARENA_CONF");
	if (asprintf(&all, "%s%s%sprof_file:%s/%%p", conf ? conf : "", conf && *conf ? "," : "",
		     has_option(conf, "prof") ? "" : "prof:1,", folder) < 0)
		return -1;
	err = setenv("HEAPARENA_CONF", all, 1);
	free(all);
	return err;
}

/* The terminal's signals go to the program as well; others are handed on. */
static int run_child(char **argv)
{
	static const int handed[] = { SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCONT };
	struct sigaction ignore = { .sa_handler = SIG_IGN }, pass = { .sa_handler = pass_on };
	struct sigaction old_int, old_quit;
	int status;

	sigaction(SIGINT, &ignore, &old_int);
	sigaction(SIGQUIT, &ignore, &old_quit);
	child = fork();
	if (!child) {
		int err;

		sigaction(SIGINT, &old_int, NULL);
		sigaction(SIGQUIT, &old_quit, NULL);
		execvp(argv[0], argv);
		err = errno;
		fprintf(stderr, "ha: %s: %s\n", argv[0], strerror(err));
		_exit(err == ENOENT ? 127 : 126);
	}
	if (child < 0) {
		fprintf(stderr, "ha: %s\n", strerror(errno));
		return 126;
	}
	for (size_t i = 0; i < ARRAY_SIZE(handed); i++)
		sigaction(handed[i], &pass, NULL);
	signal(SIGPIPE, SIG_IGN);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	for (size_t i = 0; i < ARRAY_SIZE(handed); i++)
		signal(handed[i], SIG_DFL);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool anything_lives(const struct profile *p)
{
	int live = profile_type(p, "inuse_space");

	for (size_t i = 0; live >= 0 && i < p->nr_samples; i++)
		if (p->samples[i].value[live])
			return true;
	return false;
}

static void report_file(const char *path, const char *pid)
{
	struct profile p;

	if (profile_read(&p, path))
		return;
	fprintf(stderr, "\nha: leaks of process %s, %s\n\n", pid,
		p.nr_mappings ? p.mappings[0].file : "?");
	if (!anything_lives(&p)) {
		fputs("nothing lives\n", stderr);
		return;
	}
	profile_symbolise(&p);
	leaks_report(&p, STACKS, stderr);
}

/* Reports on what is in the folder, and removes it. */
static size_t report_all(const char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *e;
	char path[PATH_MAX];
	size_t nr = 0;

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		/* what a process was writing when it was killed has another name */
		if (!e->d_name[strspn(e->d_name, "0123456789")]) {
			report_file(path, e->d_name);
			nr++;
		}
		unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(folder);
	return nr;
}

int leaks_run(const char *conf, char **argv)
{
	const char *tmp = getenv("TMPDIR");
	char folder[PATH_MAX / 2];
	int status;

	snprintf(folder, sizeof(folder), "%s/ha-leaks.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(folder) || set_conf(conf, folder)) {
		fprintf(stderr, "ha: %s: %s\n", folder, strerror(errno));
		return 126;
	}
	status = run_child(argv);
	if (!report_all(folder))
		fprintf(stderr, "ha: %s: no report: no process of it came to its end by exit()\n",
			argv[0]);
	return status;
}
