// SPDX-License-Identifier: MIT
/*
 * Registers of threads:
 *
 *	core file           NT_PRSTATUS, all of them
 *	process, stopped    ptrace: seized, interrupted, read, and held until we are done.
 *	                    A system call that was waited in may return EINTR, as it does
 *	                    under any debugger.
 *	process, not        /proc/PID/task/TID/syscall: of one that waits in the kernel
 *	                    its stack pointer and the arguments of its call; of one that
 *	                    runs, nothing
 *
 * If we die, the kernel lets the process go on.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "threads.h"

#define MAX_THREADS	(1UL << 20)
#define MAX_LOOKS	100

/* Where the stack pointer is in NT_PRSTATUS. */
static size_t sp_word(const char *arch)
{
	return strcmp(arch, "arm64") ? 19 : 31;
}

static struct thread *add_thread(struct threads *all, pid_t tid)
{
	all->th = xgrow(all->th, all->nr, sizeof(*all->th));
	all->th[all->nr] = (struct thread){ .tid = tid };
	return &all->th[all->nr++];
}

static bool is_known(const struct threads *all, pid_t tid)
{
	for (size_t i = 0; i < all->nr; i++)
		if (all->th[i].tid == tid)
			return true;
	return false;
}

/* @found each thread of the process; false when it has none any more. */
static bool each_thread(struct target *t, struct threads *all,
			void (*found)(struct target *t, struct threads *all, pid_t tid))
{
	struct dirent *e;
	char path[32];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", t->pid);
	d = opendir(path);
	if (!d)
		return false;
	while ((e = readdir(d)) && all->nr < MAX_THREADS) {
		pid_t tid = atoi(e->d_name);

		if (tid > 0 && !is_known(all, tid))
			found(t, all, tid);
	}
	closedir(d);
	return true;
}

/* "number a b c d e f sp pc", "-1 sp pc", or "running". */
static void read_syscall(struct target *t, struct threads *all, pid_t tid)
{
	struct thread *th = add_thread(all, tid);
	char path[64], line[256] = "", *p;
	struct regs *r = &th->regs;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", t->pid, tid);
	f = fopen(path, "re");
	if (!f)
		return;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	for (p = strchr(line, ' '); p && r->nr < 8; p = strchr(p + 1, ' '))
		r->word[r->nr++] = strtoull(p + 1, NULL, 16);
	if (r->nr >= 2)
		th->sp = r->word[r->nr - 2];
}

static void seize(struct target *t, struct threads *all, pid_t tid)
{
	struct thread *th;
	int status;

	(void)t;
	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL)) {
		/* ESRCH: it has ended meanwhile */
		if (errno != ESRCH)
			all->stopped = false;
		return;
	}
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) || waitpid(tid, &status, __WALL) != tid ||
	    !WIFSTOPPED(status))
		return;
	th = add_thread(all, tid);
	if (!(status >> 16))
		th->signal = WSTOPSIG(status);
}

static void read_regs(struct thread *th, const char *arch)
{
	struct regs *r = &th->regs;
	struct iovec iov = { r->word, sizeof(r->word) };

	if (ptrace(PTRACE_GETREGSET, th->tid, NT_PRSTATUS, &iov))
		return;
	r->nr = iov.iov_len / sizeof(r->word[0]);
	if (r->nr > sp_word(arch))
		th->sp = r->word[sp_word(arch)];
}

static int stop_all(struct target *t, const char *arch, struct threads *all)
{
	size_t before;
	int looks = 0;

	all->stopped = true;
	/* a thread that was not stopped yet may have started others */
	do {
		before = all->nr;
		if (!each_thread(t, all, seize))
			return target_failed(t, "its threads");
		if (!all->stopped) {
			int err = errno;

			all->stopped = true;
			threads_free(all);
			return fail("%s: cannot be stopped: %s%s", t->name, strerror(err),
				    err == EPERM ? "; is it under a debugger?" : "");
		}
	} while (all->nr != before && looks++ < MAX_LOOKS);
	for (size_t i = 0; i < all->nr; i++)
		read_regs(&all->th[i], arch);
	return 0;
}

int threads_read(struct target *t, const char *arch, bool stop, struct threads *all)
{
	*all = (struct threads){ 0 };
	for (size_t i = 0; i < t->nr_threads; i++) {
		struct thread *th = add_thread(all, 0);

		th->regs = t->threads[i];
		if (th->regs.nr > sp_word(arch))
			th->sp = th->regs.word[sp_word(arch)];
	}
	if (!t->live)
		return 0;
	if (stop)
		return stop_all(t, arch, all);
	return each_thread(t, all, read_syscall) ? 0 : target_failed(t, "its threads");
}

void threads_free(struct threads *all)
{
	for (size_t i = 0; i < all->nr && all->stopped; i++)
		ptrace(PTRACE_DETACH, all->th[i].tid, NULL, (void *)(long)all->th[i].signal);
	free(all->th);
	*all = (struct threads){ 0 };
}
