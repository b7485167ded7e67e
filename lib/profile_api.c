// SPDX-License-Identifier: MIT
/*
 * Heap profiles for users: functions, options, a signal.
 *
 *	prof:SIZE          from the start of the program
 *	prof_file:PATH     a profile at exit; where others go that have no place
 *	prof_hold:PATH     at exit, wait for who listens at this socket
 *	prof_signal:N      kill -N: starts it, then each time writes one
 *	                   sigqueue with a value: enum ha_profile_order | fd << 8, where fd
 *	                   is an open file of the sender's, for a profile
 *
 * The handler writes by itself (lib/pprof.c needs nothing that a handler must not
 * have), and leaves starting and stopping to the next allocation in a slow path.
 * It is installed only where the signal has its default action.  Opening the sender's
 * file by /proc, with the rights of this process, needs nothing of ours to be
 * listening, and works where the file system of the two is not the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <heaparena/heaparena.h>
#include <asm/atomic.h>
#include <util/bug.h>
#include <util/line.h>
#include "conf.h"
#include "inspect.h"
#include "malloc.h"
#include "poisson.h"
#include "pprof.h"
#include "profile.h"
#include "profile_session.h"
#include "unwind.h"

#define DEFAULT_FILE	"heaparena.%p.%n.pb"

#define MAX_PARTS	100	/* names tried */

static uint32_t nr_files;		/* (a) written so far: %n */
static uint32_t nr_parts;		/* (a) names of those that are being written */
/* Who called exit(): below its frame the stack is exit()'s own, and what was there before. */
static struct unwind_caller leaving;

static int fail(int err)
{
	if (!err)
		return 0;
	errno = -err;
	return -1;
}

__export int ha_profile_start(size_t mean)
{
	int saved = errno, err;

	if (!heap_ready())
		return -1;
	if (mean > POISSON_MEAN_MAX)
		return fail(-EINVAL);
	if (!conf.check)
		return fail(-ENOTSUP);
	err = profile_prepare();
	errno = saved;
	return fail(err ? err : profile_start(mean ? mean : PROFILE_MEAN));
}

__export void ha_profile_stop(void)
{
	profile_stop();
}

__export int ha_profile_dump(int fd)
{
	return fail(pprof_write(fd));
}

/* @pattern with %p and %n replaced, in @l, terminated; false when too long. */
static bool expand(struct line *l, const char *pattern)
{
	line_start(l);
	for (const char *p = pattern; *p; p++) {
		if (p[0] == '%' && p[1] == 'p')
			line_dec(l, getpid());
		else if (p[0] == '%' && p[1] == 'n')
			line_dec(l, atomic_fetch_add_relaxed(&nr_files, 1));
		else
			line_char(l, *p);
		p += p[0] == '%' && (p[1] == 'p' || p[1] == 'n');
	}
	if (l->len >= sizeof(l->buf) - 1)
		return false;
	l->buf[l->len] = '\0';
	return true;
}

/* To @fd, which is closed; what a file system says only then is an error as well. */
static int dump_to_fd(int fd)
{
	int err = pprof_write(fd);

	if (close(fd) && !err)
		err = -errno;
	return err;
}

static int dump_directly(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);

	return fd < 0 ? -errno : dump_to_fd(fd);
}

/* A new file in the same folder, with its name in @l: its descriptor, or -errno. */
static int part_open(struct line *l, const char *path, mode_t mode)
{
	int fd;

	/* one that is left of a process that was killed is not ours to write */
	for (unsigned int i = 0; i < MAX_PARTS; i++) {
		line_start(l);
		line_str(l, path);
		line_char(l, '.');
		line_dec(l, getpid());
		line_char(l, '.');
		line_dec(l, atomic_fetch_add_relaxed(&nr_parts, 1));
		line_str(l, ".part");
		if (l->len >= sizeof(l->buf) - 1)
			return -ENAMETOOLONG;
		l->buf[l->len] = '\0';
		fd = open(l->buf, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, mode);
		if (fd >= 0 || errno != EEXIST)
			return fd < 0 ? -errno : fd;
	}
	return -EEXIST;
}

/* The folder takes no new names, or none of this length. */
static bool folder_refuses(int err)
{
	return err == -EACCES || err == -EPERM || err == -EROFS || err == -EINVAL ||
	       err == -ENAMETOOLONG;
}

/*
 * A file by name is whole, or not there, for who watches its folder: it is written
 * under another name beside it, and renamed.  What fails leaves an older one as it was.
 * There where that cannot be: no regular file (a FIFO, a device, a link), a folder
 * that may not be written, or a file that cannot be replaced (one that is mounted).
 */
static int dump_by_name(const char *path)
{
	mode_t mode = 0644;
	struct line part;
	struct stat st;
	int fd, err;

	if (!lstat(path, &st)) {
		if (!S_ISREG(st.st_mode))
			return dump_directly(path);
		/* one that may not be written is not to be replaced either */
		fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
		if (fd < 0)
			return -errno;
		close(fd);
		mode = st.st_mode & 0666;
	}
	fd = part_open(&part, path, mode);
	if (fd < 0)
		return folder_refuses(fd) ? dump_directly(path) : fd;
	err = dump_to_fd(fd);
	if (!err && !rename(part.buf, path))
		return 0;
	unlink(part.buf);
	return err ? err : dump_directly(path);
}

static int dump_file(const char *pattern)
{
	struct line path;

	return expand(&path, pattern) ? dump_by_name(path.buf) : -ENAMETOOLONG;
}

__export int ha_profile_dump_file(const char *path)
{
	int saved = errno, err;

	if (!path)
		path = conf.prof_file[0] ? conf.prof_file : DEFAULT_FILE;
	err = dump_file(path);
	errno = saved;
	return fail(err);
}

/*
 * The signal.
 */

/* To file @fd of process @pid. */
static void dump_to(pid_t pid, unsigned int fd)
{
	struct line path;
	int out;

	line_start(&path);
	line_str(&path, "/proc/");
	line_dec(&path, pid);
	line_str(&path, "/fd/");
	line_dec(&path, fd);
	path.buf[path.len] = '\0';
	out = open(path.buf, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (out < 0)
		return;
	pprof_write(out);
	close(out);
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	unsigned int order = HA_PROFILE_ORDER_NEXT, value = 0;
	struct profile_facts f;
	int saved = errno;

	if (info->si_code == SI_QUEUE) {
		value = info->si_value.sival_int;
		order = value & 0xff;
	}
	profile_facts(&f);
	if (order == HA_PROFILE_ORDER_START || (order == HA_PROFILE_ORDER_NEXT && !f.on))
		atomic_store_relaxed(&profile_todo, PROFILE_START);
	else if (order == HA_PROFILE_ORDER_STOP)
		atomic_store_relaxed(&profile_todo, PROFILE_STOP);
	else if (order == HA_PROFILE_ORDER_NEXT)
		dump_file(conf.prof_file[0] ? conf.prof_file : DEFAULT_FILE);
	else if (order == HA_PROFILE_ORDER_DUMP)
		dump_to(info->si_pid, value >> 8);
	errno = saved;
}

static void say(const char *what)
{
	struct line l;

	line_start(&l);
	line_str(&l, "heaparena: ");
	line_str(&l, what);
	line_write(&l, STDERR_FILENO);
}

static void catch_signal(int sig)
{
	struct sigaction old, sa = {
		.sa_sigaction = on_signal,
		.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK,
	};

	sigemptyset(&sa.sa_mask);
	if (sigaction(sig, NULL, &old) || old.sa_handler != SIG_DFL ||
	    sigaction(sig, &sa, NULL))
		say("prof_signal: the program uses that signal itself");
}

/*
 * Begin and end of the program.
 */
__attribute__((constructor)) static void profile_begin(void)
{
	int err;

	if (!heap_ready() || !(conf.prof_mean || conf.prof_signal))
		return;
	err = profile_prepare();
	if (!err && conf.prof_mean)
		err = profile_start(conf.prof_mean);
	if (err)
		say("prof: no memory for the profile");
	else if (conf.prof_signal)
		catch_signal(conf.prof_signal);
}

/*
 * Until who listens at the socket has looked at us: an end of file.  Where nobody
 * listens any more there is nothing to wait for.
 */
static void hold(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ssize_t n;
	char c;

	if (fd < 0)
		return;
	/*
	 * Registers are not seen from there.  Where the caller is not found what they hold
	 * is on the stack as well, all of which is looked at then.
	 */
	__builtin_unwind_init();
	unwind_caller_of(exit, &leaving);
	static_assert(sizeof(conf.prof_hold) <= sizeof(addr.sun_path), "it was checked");
	memcpy(addr.sun_path, conf.prof_hold, sizeof(conf.prof_hold));
	if (!connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		do
			n = read(fd, &c, 1);
		while (n > 0 || (n < 0 && errno == EINTR));
	close(fd);
}

__attribute__((destructor)) static void profile_finish(void)
{
	struct profile_facts f;

	profile_facts(&f);
	if (conf.prof_file[0] && f.mean && dump_file(conf.prof_file))
		say("prof_file: the profile could not be written");
	if (conf.prof_hold[0])
		hold();
}

INSPECT_TABLE(profile_api) = {
	INSPECT_OBJECT(leaving_sp, leaving.sp),
	INSPECT_ARRAY(leaving_regs, leaving.regs),
	INSPECT_END
};
