// SPDX-License-Identifier: MIT
/*
 * Orders to the heap profile of a process that was started with prof_signal:N: that
 * signal, with a value.  It is sent only to a process that catches it, because any
 * other would end of it.  For processes whose memory we may not read or write, and
 * for who asks for it; all else goes by tools/ha/outside.c and order.c.
 *
 * A profile comes by a file of ours without a name, which the process opens as
 * /proc/OURS/fd/N and writes; that it is whole is seen at its last string.  Nothing
 * has to be listening there, and nothing is waited for by the process.  It opens the
 * file with its own rights: where we are root, a child of ours that has it too becomes
 * its user first.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <heaparena/heaparena.h>
#include "control.h"

#define WAIT_MS		10000
#define POLL_MS		5
/* libc has those before it for itself. */
#define FIRST_REALTIME	34

static const char end_mark[] = "heaparena: end of profile";

/* All of /proc/PID/@name, with a null byte behind it; NULL with errno. */
static char *proc_file(pid_t pid, const char *name, size_t *size)
{
	char path[64], *buf = NULL;
	size_t len = 0, room = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	do {
		if (room - len < 4096) {
			room = 2 * room + 8192;
			buf = realloc(buf, room);
			if (!buf)
				exit(fail("out of memory"));
		}
		n = read(fd, buf + len, room - len - 1);
		len += n > 0 ? n : 0;
	} while (n > 0);
	close(fd);
	buf[len] = '\0';
	*size = len;
	return buf;
}

/* The signal that HEAPARENA_CONF in its environment names; 0 for none. */
static int signal_of(pid_t pid)
{
	static const char name[] = "HEAPARENA_CONF=", key[] = "prof_signal:";
	size_t size;
	char *env = proc_file(pid, "environ", &size), *option;
	int nr = 0;

	if (!env)
		return 0;
	for (char *p = env; p < env + size; p += strlen(p) + 1) {
		if (strncmp(p, name, strlen(name)))
			continue;
		for (option = strtok(p + strlen(name), ","); option; option = strtok(NULL, ","))
			if (!strncmp(option, key, strlen(key)))
				nr = atoi(option + strlen(key));
		break;
	}
	free(env);
	return nr;
}

/* How many namespaces of numbers it is in, of those that are ours or inside of ours. */
static size_t nr_namespaces(pid_t pid)
{
	size_t size, nr = 0;
	char *status = proc_file(pid, "status", &size);
	char *p = status ? strstr(status, "\nNSpid:") : NULL;

	for (p = p ? p + 1 : NULL; p && *p && *p != '\n'; p++)
		nr += *p == '\t';
	free(status);
	return nr;
}

/* The signals that it catches: bit N - 1 for N. */
static uint64_t caught_by(pid_t pid)
{
	size_t size;
	char *status = proc_file(pid, "status", &size);
	char *line = status ? strstr(status, "\nSigCgt:") : NULL;
	uint64_t caught = line ? strtoull(line + 8, NULL, 16) : 0;

	free(status);
	return caught;
}

/*
 * Programs that change their title write it over their environment.  A single
 * real-time signal that a program on this library catches is as good.
 */
static int guess_signal(pid_t pid)
{
	uint64_t caught = caught_by(pid) & ~0ULL << (FIRST_REALTIME - 1);
	size_t size;
	char *maps = proc_file(pid, "maps", &size);
	bool ours = maps && strstr(maps, "libheaparena.so");

	free(maps);
	return ours && caught && !(caught & (caught - 1)) ? __builtin_ctzll(caught) + 1 : 0;
}

static int send_value(pid_t pid, int signal, unsigned int value)
{
	union sigval v = { .sival_int = value };

	if (kill(pid, 0))
		return fail("%d: %s", (int)pid, strerror(errno));
	if (!signal)
		signal = signal_of(pid);
	if (!signal)
		signal = guess_signal(pid);
	if (!signal)
		return fail("%d: no signal known: start it with HEAPARENA_CONF=prof_signal:N, "
			    "or name it by -s", (int)pid);
	if (signal < 1 || signal > 64 || !(caught_by(pid) >> (signal - 1) & 1))
		return fail("%d: does not catch signal %d", (int)pid, signal);
	if (sigqueue(pid, signal, v))
		return fail("%d: %s", (int)pid, strerror(errno));
	return 0;
}

int control_send(pid_t pid, int signal, unsigned int order)
{
	return send_value(pid, signal, order);
}

/* So that the process may open our file. */
static void become_user_of(pid_t pid)
{
	struct stat st;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	if (geteuid() || stat(path, &st) || !st.st_uid)
		return;
	/* what fails here shows as a process that does not answer */
	if (setresgid(st.st_gid, st.st_gid, st.st_gid) ||
	    setresuid(st.st_uid, st.st_uid, st.st_uid))
		return;
	prctl(PR_SET_DUMPABLE, 1);
}

static bool whole(int fd, size_t *size)
{
	char tail[sizeof(end_mark) - 1];
	struct stat st;

	if (fstat(fd, &st) || st.st_size < (off_t)sizeof(tail))
		return false;
	*size = st.st_size;
	return pread(fd, tail, sizeof(tail), st.st_size - sizeof(tail)) == sizeof(tail) &&
	       !memcmp(tail, end_mark, sizeof(tail));
}

static int ask(pid_t pid, int signal, int fd)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000 };
	size_t size;
	int ret;

	become_user_of(pid);
	ret = send_value(pid, signal, HA_PROFILE_ORDER_DUMP | (unsigned int)fd << 8);
	if (ret)
		return ret;
	for (unsigned int ms = 0; !whole(fd, &size); ms += POLL_MS) {
		if (ms >= WAIT_MS)
			return fail("%d: no profile after %d s: is the signal blocked?",
				    (int)pid, WAIT_MS / 1000);
		if (kill(pid, 0))
			return fail("%d: has ended", (int)pid);
		nanosleep(&pause, NULL);
	}
	return 0;
}

int control_dump(pid_t pid, int signal, const uint8_t **data, size_t *size)
{
	int fd = memfd_create("profile", MFD_CLOEXEC), status = -1;
	pid_t child;
	void *p;

	if (fd < 0)
		return fail("memfd_create: %s", strerror(errno));
	if (nr_namespaces(pid) > nr_namespaces(getpid()))
		return fail("%d: is in a pid namespace of its own, where it cannot open a file of "
			    "ours: be its user, or root, and leave out -s", (int)pid);
	fflush(stdout);
	child = fork();
	if (!child)
		_exit(ask(pid, signal, fd));
	if (child < 0)
		return fail("fork: %s", strerror(errno));
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
	if (!whole(fd, size))
		return fail("%d: the profile is not whole", (int)pid);
	p = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return fail("mmap: %s", strerror(errno));
	*data = p;
	return 0;
}
