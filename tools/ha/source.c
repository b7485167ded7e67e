// SPDX-License-Identifier: MIT
/*
 * Where profiles come from: the memory of a process or of a core file; with -s, or where
 * that is not allowed, the process itself, by its signal; or a file.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "outside.h"
#include "source.h"

static const char *process_name(pid_t pid)
{
	char *s;

	return asprintf(&s, "process %d", (int)pid) < 0 ? "process" : s;
}

bool source_is_core(const char *path)
{
	char magic[SELFMAG] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n = fd < 0 ? 0 : read(fd, magic, sizeof(magic));

	if (fd >= 0)
		close(fd);
	return n == sizeof(magic) && !memcmp(magic, ELFMAG, SELFMAG);
}

/* The memory of the process is ours to read: else there is its signal. */
static bool is_readable(pid_t pid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0 || (errno != EACCES && errno != EPERM);
}

/* By its signal, because the user says so, or for want of a better way. */
bool source_by_signal(pid_t pid, int signal)
{
	return pid && (signal || !is_readable(pid));
}

int source_memory(const char *what, struct profile *p)
{
	bool on, never;
	struct layout l;
	struct target t;
	int ret = layout_open(&t, what, &l);

	if (ret)
		return ret;
	ret = outside_profile(&t, &l, p, NULL);
	if (!ret && outside_session(&t, &l, &on, &never) && never)
		fprintf(stderr, "ha: %s: no heap profile was started%s%s%s\n", what,
			t.live ? ": ha prof " : "", t.live ? what : "", t.live ? " start" : "");
	target_close(&t);
	return ret;
}

static int of_signal(pid_t pid, int signal, struct profile *p)
{
	const uint8_t *data;
	size_t size;
	int ret = control_dump(pid, signal, &data, &size);

	if (!ret)
		ret = profile_parse(p, process_name(pid), data, size);
	p->pid = pid;
	return ret;
}

/* A profile of a process, by number, of a core file, or of a file. */
static int profile_raw(const char *what, int signal, struct profile *p)
{
	pid_t pid = parse_number(what, MAX_PID);

	if (source_by_signal(pid, signal))
		return of_signal(pid, signal, p);
	if (pid || source_is_core(what))
		return source_memory(what, p);
	return profile_read(p, what);
}

int source_profile(const char *what, int signal, struct profile *p)
{
	int ret = profile_raw(what, signal, p);

	if (!ret)
		profile_symbolise(p);
	return ret;
}
