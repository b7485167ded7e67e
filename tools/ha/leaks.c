// SPDX-License-Identifier: MIT
/*
 * ha run --leaks: a program under a profile of every allocation, whose end is waited
 * for.  Each process of it that comes to exit() is held there (prof_hold) until we have
 * looked at it from outside: what lives, by stack, and what of it is lost.
 *
 *	process                            ha
 *	profile to FOLDER/PID
 *	connect to FOLDER/hold ----------> accept: who is it, look, report into memory
 *	read: waits       <--------------- close
 *	_exit
 *
 * The reports are printed when the program has ended.  Of a process that could not be
 * looked at, its profile says what lives, but not what is lost.
 *
 * With prof:SIZE in CONF only some allocations are followed, and the stacks are an
 * estimate: for programs that allocate too much for the other.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leakreport.h"
#include "leaks.h"
#include "text.h"

#define STACKS		20
/* Of a path in the library's options, with its end (lib/conf.h, prof_hold). */
#define HOLD_SIZE	104
#define PAUSE_MS	20

static pid_t child;

/* What was said of a process that was held. */
struct held {
	pid_t pid;		/* as it knows itself: so its profile is called */
	char *text;
	bool said;
	struct held *next;
};

static struct held *all_held;

static void pass_on(int sig)
{
	kill(child, sig);
}

/* Does @conf say how much is profiled? The last option of the name counts. */
static bool has_profile(const char *conf)
{
	static const char key[] = "prof:", off[] = "off";
	bool has = false;

	for (; conf && *conf; conf += strcspn(conf, ","), conf += *conf == ',')
		if (!strncmp(conf, key, strlen(key)))
			has = strcspn(conf + strlen(key), ",") != strlen(off) ||
			      strncmp(conf + strlen(key), off, strlen(off));
	return has;
}

static int set_conf(const char *folder)
{
	const char *conf = getenv("HEAPARENA_CONF");
	char *all;
	int err;

	if (asprintf(&all, "%s%s%sprof_file:%s/%%p,prof_hold:%s/hold", conf ? conf : "",
		     conf && *conf ? "," : "", has_profile(conf) ? "" : "prof:1,", folder,
		     folder) < 0)
		return -1;
	err = setenv("HEAPARENA_CONF", all, 1);
	free(all);
	return err;
}

/* Where processes are waited for; -1: there is no such place, and none is held. */
static int hold_listen(const char *folder)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	if (snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/hold", folder) >=
	    (int)sizeof(addr.sun_path))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (!bind(fd, (struct sockaddr *)&addr, sizeof(addr)) && !listen(fd, SOMAXCONN))
		return fd;
	close(fd);
	return -1;
}

static size_t nr_threads(pid_t pid)
{
	struct dirent *e;
	char path[32];
	size_t nr = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	while (d && (e = readdir(d)))
		nr += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return nr;
}

/* The number of @pid in its own namespace, which is the last of them. */
static pid_t inner_pid(pid_t pid)
{
	char path[32], line[256], *last;
	pid_t inner = pid;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "NSpid:", 6) && (last = strrchr(line, '\t')))
			inner = atoi(last + 1);
	if (f)
		fclose(f);
	return inner;
}

/* A process that has come to its end and waits for us. */
static void look_at_held(pid_t pid)
{
	/* its other threads are still at work: then all of it is stopped */
	const struct leak_options o = {
		.rows = STACKS, .rounds = 1, .held = true, .stop = nr_threads(pid) > 1,
	};
	struct held *h = xalloc(1, sizeof(*h));
	struct layout l;
	struct target t;
	size_t size;
	char *name;
	FILE *f;
	int ret;

	if (asprintf(&name, "%d", (int)pid) < 0)
		return;
	f = open_memstream(&h->text, &size);
	ret = !f || layout_open(&t, name, &l);
	if (!ret) {
		fprintf(f, "\nha: leaks of process %d, %s\n\n", (int)pid, t.command);
		ret = leaks_look(&t, &l, &o, f);
		target_close(&t);
	}
	if (f)
		fclose(f);
	if (ret)
		return;
	h->pid = inner_pid(pid);
	h->next = all_held;
	all_held = h;
}

static void serve_held(int listener)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };
	struct ucred who;
	socklen_t len = sizeof(who);
	int fd;

	if (listener < 0) {
		usleep(PAUSE_MS * 1000);
		return;
	}
	/* interrupted where the program ends: SIGCHLD has a handler */
	if (poll(&p, 1, PAUSE_MS) <= 0)
		return;
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) && who.pid > 0)
		look_at_held(who.pid);
	close(fd);
}

static void ignore(int sig)
{
	(void)sig;
}

/* The terminal's signals go to the program as well; others are handed on. */
static int run_child(char **argv, int listener)
{
	static const int handed[] = { SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCONT };
	struct sigaction none = { .sa_handler = SIG_IGN }, pass = { .sa_handler = pass_on };
	struct sigaction old_int, old_quit;
	int status;

	sigaction(SIGINT, &none, &old_int);
	sigaction(SIGQUIT, &none, &old_quit);
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
	signal(SIGCHLD, ignore);
	while (waitpid(child, &status, WNOHANG) != child)
		serve_held(listener);
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
		p.nr_mappings ? clean_name(p.mappings[0].file) : "?");
	if (!anything_lives(&p)) {
		fputs("nothing lives\n", stderr);
		return;
	}
	profile_symbolise(&p);
	leaks_of_profile(&p, STACKS, stderr);
}

/* What was said of who calls itself @pid: several in namespaces of their own may; -1: the rest. */
static size_t say_held(pid_t pid)
{
	size_t nr = 0;

	for (struct held *h = all_held; h; h = h->next) {
		if (h->said || (pid >= 0 && h->pid != pid))
			continue;
		fputs(h->text, stderr);
		h->said = true;
		nr++;
	}
	return nr;
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
			size_t held = say_held(atoi(e->d_name));

			if (!held)
				report_file(path, e->d_name);
			nr += held ? held : 1;
		}
		unlink(path);
	}
	nr += say_held(-1);
	if (d)
		closedir(d);
	rmdir(folder);
	return nr;
}

/*
 * The folder's path goes into options of the library, where a comma ends it, % has a
 * meaning, and a socket's has HOLD_SIZE bytes; a process may have another folder to
 * start from.
 */
static bool choose_folder(char folder[PATH_MAX])
{
	static const char name[] = "/ha-leaks.XXXXXX";
	const char *env = getenv("TMPDIR"), *from = env && *env ? env : "/tmp";

	if (!realpath(from, folder)) {
		snprintf(folder, PATH_MAX, "%s", from);
		return false;
	}
	if (strpbrk(folder, ",%") ||
	    strlen(folder) + strlen(name) + sizeof("/hold") > HOLD_SIZE) {
		fail("TMPDIR=%s: no path for an option (a comma, %%, or too long); /tmp is used",
		     folder);
		strcpy(folder, "/tmp");
	}
	strcat(folder, name);
	return mkdtemp(folder);
}

int leaks_run(char **argv)
{
	char folder[PATH_MAX];
	int status, listener;

	if (!choose_folder(folder) || set_conf(folder)) {
		fprintf(stderr, "ha: %s: %s\n", folder, strerror(errno));
		return 126;
	}
	listener = hold_listen(folder);
	status = run_child(argv, listener);
	if (listener >= 0)
		close(listener);
	if (!report_all(folder))
		fprintf(stderr, "ha: %s: no report: no process of it came to its end by exit()\n",
			argv[0]);
	return status;
}
