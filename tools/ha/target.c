// SPDX-License-Identifier: MIT
/*
 * Processes, and what they have in common with core files (tools/ha/core.c).
 *
 *	/proc/PID/maps        what there is
 *	process_vm_readv      the memory; /proc/PID/mem where that is refused
 *
 * A process is not stopped, not attached to, and, but for an order (tools/ha/order.c),
 * not written to. It may change, unmap, exec or end at any moment: each read can fail.
 *
 * The description (heaparena/inspect.h) is found by its magic and its own address, in
 * what files were mapped privately. So it does not matter whether the library is a
 * shared one, linked in, or has been deleted, whether a program has symbols, and in
 * which mount namespace it lives: no file is opened but those of /proc. Of several
 * the first is taken, the shared library before others.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <heaparena/inspect.h>

#include "maps.h"
#include "target.h"
#include "text.h"

#define LIB_NAME	"libheaparena"
/* What is searched at once, and at most of one mapping; steps that cannot be read are halved. */
#define SEARCH_MIN	(4UL << 10)
#define SEARCH_STEP	(256UL << 10)
#define SEARCH_MAX	(64UL << 20)
#define IOV_BATCH	512
/* The kernel's, in the flags of /proc/PID/stat. */
#define PF_KTHREAD	0x00200000

/* Of the words in /proc/PID/stat. */
struct stat_words {
	char state;
	uint64_t flags;
	uint64_t started;
};

/* False when there is no such process. */
static bool proc_state(pid_t pid, struct stat_words *w)
{
	char path[32], line[1024], *p;
	size_t len;
	FILE *f;
	int i;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	len = fread(line, 1, sizeof(line) - 1, f);
	fclose(f);
	line[len] = 0;
	/* pid (name) state ...: the name may hold anything */
	p = strrchr(line, ')');
	if (!p || p[1] != ' ')
		return false;
	p += 2;
	*w = (struct stat_words){ .state = *p };
	/* the state is the third word, flags the 9th, the start the 22nd */
	for (i = 3; i < 22 && p; i++) {
		if (i == 9)
			w->flags = strtoull(p, NULL, 10);
		p = strchr(p, ' ');
		p += p != NULL;
	}
	w->started = p ? strtoull(p, NULL, 10) : 0;
	return true;
}

bool target_gone(const struct target *t)
{
	struct stat_words w;

	if (!t->live)
		return false;
	return !proc_state(t->pid, &w) || w.started != t->started || strchr("ZXx", w.state);
}

int target_forbidden(const struct target *t, const char *what)
{
	int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);
	char scope = '0';

	if (fd >= 0) {
		if (read(fd, &scope, 1) != 1)
			scope = '0';
		close(fd);
	}
	return fail("%s: not allowed to %s; be %sroot%s", t->name, what,
		    scope == '0' ? "its user, or " : "",
		    scope == '0' ? "" : ", or set kernel.yama.ptrace_scope to 0");
}

int target_failed(const struct target *t, const char *what)
{
	int err = errno;

	if (t->damage)
		return fail("%s: %s is damaged: %s", t->name, what, t->damage);
	if (!t->live)
		return fail("%s: %s is not in the core file", t->name, what);
	/* the memory of one that is being killed goes before its state says so */
	for (int i = 0; i < 20; i++) {
		if (err == ESRCH || target_gone(t))
			return fail("%s: the process has ended", t->name);
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	return fail("%s: cannot read %s: %s", t->name, what, strerror(err));
}

/*
 * Reading.
 */

static bool mem_read(const struct target *t, uint64_t addr, void *buf, size_t size)
{
	ssize_t n;

	if (t->mem < 0 || addr > INT64_MAX - size)
		return false;
	n = pread(t->mem, buf, size, addr);
	if (n >= 0 && (size_t)n < size)
		errno = EFAULT;
	return n >= 0 && (size_t)n == size;
}

bool target_read(struct target *t, uint64_t addr, void *buf, size_t size)
{
	struct iovec to = { buf, size };
	struct iovec from = { (void *)(uintptr_t)addr, size };
	ssize_t n;

	if (!size)
		return true;
	if (addr + size < addr)
		return false;
	if (!t->live)
		return core_read(t, addr, buf, size);
	n = process_vm_readv(t->pid, &to, 1, &from, 1, 0);
	if (n >= 0 && (size_t)n == size)
		return true;
	if (n >= 0)
		errno = EFAULT;
	else if (errno == ENOSYS || errno == EPERM)
		return mem_read(t, addr, buf, size);
	return false;
}

bool target_write(struct target *t, uint64_t addr, const void *buf, size_t size)
{
	struct iovec from = { (void *)buf, size };
	struct iovec to = { (void *)(uintptr_t)addr, size };
	char path[32];
	ssize_t n;
	int fd;

	n = process_vm_writev(t->pid, &from, 1, &to, 1, 0);
	if (n < 0 && (errno == ENOSYS || errno == EPERM)) {
		snprintf(path, sizeof(path), "/proc/%d/mem", t->pid);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			return false;
		n = pwrite(fd, buf, size, addr);
		close(fd);
	}
	if (n >= 0 && (size_t)n < size)
		errno = EFAULT;
	return n >= 0 && (size_t)n == size;
}

/* At most IOV_BATCH of them; how many are done, the last of these perhaps in vain. */
static size_t read_batch(struct target *t, struct piece *p, size_t nr)
{
	struct iovec to[IOV_BATCH], from[IOV_BATCH];
	size_t done = 0, i;
	ssize_t n;

	for (i = 0; i < nr; i++) {
		to[i] = (struct iovec){ p[i].buf, p[i].size };
		from[i] = (struct iovec){ (void *)(uintptr_t)p[i].addr, p[i].size };
	}
	n = process_vm_readv(t->pid, to, nr, from, nr, 0);
	for (i = 0; n > 0 && i < nr && done + p[i].size <= (size_t)n; i++) {
		p[i].ok = true;
		done += p[i].size;
	}
	if (i < nr) {
		p[i].ok = target_read(t, p[i].addr, p[i].buf, p[i].size);
		i++;
	}
	return i;
}

void target_read_pieces(struct target *t, struct piece *p, size_t nr)
{
	size_t i;

	for (i = 0; i < nr && !t->live; i++)
		p[i].ok = target_read(t, p[i].addr, p[i].buf, p[i].size);
	for (; i < nr;) {
		size_t n = nr - i < IOV_BATCH ? nr - i : IOV_BATCH;

		i += read_batch(t, p + i, n);
	}
}

/*
 * Finding the description.
 */

static bool is_inspect(struct target *t, uint64_t addr)
{
	struct ha_inspect head;

	return target_read(t, addr, &head, sizeof(head)) &&
	       !memcmp(head.magic, HA_INSPECT_MAGIC, sizeof(head.magic)) &&
	       head.self == addr;
}

static bool search_range(struct target *t, const struct range *r)
{
	static char buf[SEARCH_STEP];
	const size_t magic = sizeof(((struct ha_inspect *)0)->magic);
	uint64_t end = r->end, step = sizeof(buf), addr, n, i;

	if (end - r->start > SEARCH_MAX)
		end = r->start + SEARCH_MAX;
	for (addr = r->start; addr < end; addr += n) {
		n = end - addr < step ? end - addr : step;
		if (!target_read(t, addr, buf, n)) {
			/* behind the end of the file, or of what a core file has */
			if (n > SEARCH_MIN) {
				step = n > 2 * SEARCH_MIN ? n / 2 & -SEARCH_MIN : SEARCH_MIN;
				n = 0;
			}
			continue;
		}
		/* the magic lies in one step, what follows it perhaps in the next */
		for (i = 0; i + magic <= n; i += HA_INSPECT_ALIGN) {
			if (memcmp(buf + i, HA_INSPECT_MAGIC, magic) ||
			    !is_inspect(t, addr + i))
				continue;
			t->inspect = addr + i;
			return true;
		}
	}
	return false;
}

static bool is_library(const struct range *r)
{
	const char *base = r->file ? strrchr(r->file, '/') : NULL;

	return base && !strncmp(base + 1, LIB_NAME, strlen(LIB_NAME));
}

bool target_find_inspect(struct target *t)
{
	/* the library, other files, and in a core that does not tell, anything */
	for (int pass = 0; pass < 3; pass++) {
		for (size_t i = 0; i < t->nr_ranges; i++) {
			const struct range *r = &t->ranges[i];

			if (!r->may_hold ||
			    (r->file ? (is_library(r) ? 0 : 1) : 2) != pass)
				continue;
			if (search_range(t, r))
				return true;
		}
	}
	return false;
}

struct range *target_range_add(struct target *t)
{
	t->ranges = xgrow(t->ranges, t->nr_ranges, sizeof(*t->ranges));
	return &t->ranges[t->nr_ranges++];
}

/*
 * Processes.
 */

/* Files alone: what has no name, or one in brackets, is none. */
static bool read_maps(struct target *t)
{
	struct maps maps;

	if (!maps_of_process(t->pid, &maps))
		return false;
	for (size_t i = 0; i < maps.nr; i++) {
		const struct map *m = &maps.map[i];
		struct range *r;

		if (m->file[0] != '/' || !m->read || m->exec || m->shared)
			continue;
		r = target_range_add(t);
		r->start = m->start;
		r->end = m->end;
		r->file = strdup(m->file);
		r->may_hold = true;
	}
	maps_free(&maps);
	return true;
}

/* Where its program's headers are, as the kernel told it. */
static void read_auxv(struct target *t)
{
	uint64_t v[2] = { 1 };
	char path[32];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/auxv", t->pid);
	f = fopen(path, "re");
	while (f && fread(v, sizeof(v), 1, f) == 1 && v[0] != AT_NULL)
		if (v[0] == AT_PHDR)
			t->program = v[1];
	if (f)
		fclose(f);
}

/* Numbers in a /proc of another namespace are those of others. */
static bool proc_is_ours(void)
{
	char self[16] = "";
	ssize_t n = readlink("/proc/self", self, sizeof(self) - 1);

	return n > 0 && parse_number(self, INT_MAX) == (unsigned long)getpid();
}

/* A thread of the process that has not ended; 0 and *w as it was: none. */
static pid_t live_thread(pid_t pid, struct stat_words *w)
{
	struct stat_words of;
	char path[32];
	pid_t found = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && !found && (e = readdir(d))) {
		pid_t tid = parse_number(e->d_name, INT_MAX);

		if (!tid || !proc_state(tid, &of) || strchr("ZXx", of.state))
			continue;
		found = tid;
		*w = of;
	}
	if (d)
		closedir(d);
	return found;
}

static int open_process(struct target *t, pid_t pid)
{
	struct stat_words w;
	char path[32];
	size_t len;
	FILE *f;

	t->pid = pid;
	t->live = true;
	if (!proc_is_ours())
		return fail("%s: /proc is not there, or of another pid namespace than this; "
			    "mount one", t->name);
	if (!proc_state(pid, &w))
		return fail("%s: no such process", t->name);
	/* a main thread that has ended before others has no memory to read */
	if (strchr("ZXx", w.state))
		t->pid = live_thread(pid, &w);
	if (!t->pid)
		return fail("%s: the process has ended", t->name);
	t->started = w.started;
	if (w.flags & PF_KTHREAD)
		return fail("%s: is a thread of the kernel, which has no heap", t->name);
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (f) {
		len = fread(t->command, 1, sizeof(t->command) - 1, f);
		/* the last newline is the kernel's, others are its own */
		t->command[len ? len - 1 : 0] = 0;
		clean_text(t->command);
		fclose(f);
	}
	snprintf(path, sizeof(path), "/proc/%d/mem", t->pid);
	t->mem = open(path, O_RDONLY | O_CLOEXEC);
	if (!read_maps(t) || (t->mem < 0 && errno != ENOENT)) {
		if (errno == EACCES || errno == EPERM)
			return target_forbidden(t, "read this process");
		return target_failed(t, "its mappings");
	}
	read_auxv(t);
	if (target_find_inspect(t))
		return 0;
	if (target_gone(t))
		return target_failed(t, "");
	/* a program that is just being started, or none of ours */
	return fail("%s: no heaparena in this process", t->name);
}

int target_open(struct target *t, const char *what)
{
	unsigned long pid = parse_number(what, INT_MAX);
	int ret;

	*t = (struct target){ .name = what, .mem = -1 };
	ret = pid ? open_process(t, pid) : core_open(t, what);
	if (ret)
		target_close(t);
	return ret;
}

void target_close(struct target *t)
{
	for (size_t i = 0; i < t->nr_ranges; i++)
		free(t->ranges[i].file);
	free(t->ranges);
	core_close(t);
	if (t->mem >= 0)
		close(t->mem);
	t->ranges = NULL;
	t->nr_ranges = 0;
	t->mem = -1;
}
