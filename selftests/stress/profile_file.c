// SPDX-License-Identifier: MIT
/*
 * ha_profile_dump_file(): who looks at the name finds a whole profile, or what was
 * there before, or nothing; whoever else writes to it, and whatever fails.
 *
 *	no such name, or a file	    PATH.PID.N.part beside it, renamed
 *	a FIFO, a device, a link    written where it is
 *	a folder that may not be written, a long name	the same
 */
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "pprof.h"
#include "stress.h"

#define NOBODY		65534
#define NR_STALE	50

static const char old_text[] = "what was there before";
static char folder[] = "/tmp/profile_file.XXXXXX";
static int dir;				/* the folder */
static void *kept[100];

static const char *in_folder(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

/* Files in the folder whose names end in .part. */
static unsigned int nr_parts(void)
{
	char buf[32 << 10];
	unsigned int nr = 0;
	long n;

	lseek(dir, 0, SEEK_SET);
	while ((n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0)
		for (long at = 0; at < n;) {
			/* struct linux_dirent64: inode, offset, length, type, name */
			const char *name = buf + at + 19;
			size_t len = strlen(name);
			uint16_t step;

			nr += len > 5 && !strcmp(name + len - 5, ".part");
			memcpy(&step, buf + at + 16, sizeof(step));
			at += step;
		}
	return nr;
}

static void write_old(const char *name, mode_t mode)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	if (fd < 0 || write(fd, old_text, sizeof(old_text)) != sizeof(old_text) ||
	    fchmod(fd, mode))
		tap_bail("%s: %s", name, strerror(errno));
	close(fd);
}

static bool is_old(const char *name)
{
	char text[sizeof(old_text) + 1];
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text));

	close(fd);
	return n == sizeof(old_text) && !memcmp(text, old_text, sizeof(old_text));
}

/* A profile from its first byte to its last.  Memory is mapped, as in pprof.h. */
static bool whole(int fd)
{
	struct pprof f = { 0 };
	struct stat st;
	bool good = false;

	if (fd < 0 || fstat(fd, &st) || !st.st_size)
		return false;
	f.size = st.st_size;
	f.data = mmap(NULL, f.size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (f.data != MAP_FAILED) {
		pprof_scan(&f);
		good = f.whole && f.nr_samples;
		pprof_drop(&f);
	}
	return good;
}

static bool is_whole(const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	bool good = whole(fd);

	close(fd);
	return good;
}

static bool dump(const char *name)
{
	return ha_profile_dump_file(in_folder(name)) == 0;
}

static void plain(void)
{
	struct stat before, after;
	int fd;

	umask(022);
	ok(dump("new") && is_whole("new"), "a new file");
	ok(!fstatat(dir, "new", &before, 0) && S_ISREG(before.st_mode) &&
	   (before.st_mode & 07777) == 0644, "that others may read");
	fd = openat(dir, "new", O_RDONLY | O_CLOEXEC);
	ok(dump("new") && is_whole("new"), "over an older one");
	ok(!fstatat(dir, "new", &after, 0) && after.st_ino != before.st_ino && whole(fd),
	   "which is whole for who has it open");
	close(fd);
	write_old("mine", 0600);
	ok(dump("mine") && is_whole("mine") && !fstatat(dir, "mine", &after, 0) &&
	   (after.st_mode & 07777) == 0600, "what was not for others is not");
	ok(!nr_parts(), "nothing is left beside them");
}

static void failures(void)
{
	struct rlimit old, small = { .rlim_cur = 100 };
	bool failed;

	write_old("old", 0644);
	getrlimit(RLIMIT_FSIZE, &old);
	small.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &small);
	failed = !dump("old") && errno == EFBIG;
	failed &= !dump("none") && errno == EFBIG;
	setrlimit(RLIMIT_FSIZE, &old);
	ok(failed, "no room: it fails");
	ok(is_old("old"), "and an older file is as it was");
	ok(faccessat(dir, "none", F_OK, 0) && errno == ENOENT, "where none was, none is");
	ok(!nr_parts(), "nothing is left beside them");
	ok(!dump("no/folder") && errno == ENOENT, "no folder");
	ok(ha_profile_dump_file(folder) == -1 && errno == EISDIR, "a folder");
	ok(ha_profile_dump_file("/dev/full") == -1 && errno == ENOSPC, "a device that is full");
}

static void *read_fifo(struct worker *w)
{
	int fifo = openat(dir, "fifo", O_RDONLY | O_CLOEXEC);
	int fd = memfd_create("fifo", MFD_CLOEXEC);
	char buf[4096];
	ssize_t n;

	while ((n = read(fifo, buf, sizeof(buf))) > 0)
		if (write(fd, buf, n) != n)
			break;
	w->ops = whole(fd);
	close(fd);
	close(fifo);
	return NULL;
}

static void others(void)
{
	struct worker reader;
	struct stat st;

	if (mkfifoat(dir, "fifo", 0600) || symlinkat("target", dir, "link") ||
	    symlinkat("old", dir, "link_old"))
		tap_bail("%s: %s", folder, strerror(errno));
	workers_start(&reader, 1, read_fifo);
	ok(dump("fifo"), "a FIFO");
	workers_join(&reader, 1);
	ok(reader.ops == 1, "its reader gets all of it");
	ok(!fstatat(dir, "fifo", &st, AT_SYMLINK_NOFOLLOW) && S_ISFIFO(st.st_mode),
	   "and it is one still");
	ok(dump("link") && is_whole("target"), "a link to nothing: what it is to is made");
	ok(dump("link_old") && is_whole("old"), "a link to a file");
	ok(!fstatat(dir, "link_old", &st, AT_SYMLINK_NOFOLLOW) && S_ISLNK(st.st_mode),
	   "and it is one still");
	ok(ha_profile_dump_file("/dev/null") == 0 && !stat("/dev/null", &st) &&
	   S_ISCHR(st.st_mode), "a device");
	ok(!nr_parts(), "nothing is left beside them");
}

/* Names are cut by the file system at 255 bytes. */
static void long_name(void)
{
	char name[252];

	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	ok(dump(name) && is_whole(name), "a name that has no room for another");
	unlinkat(dir, name, 0);
}

/* Who was killed left one of its name. */
static void stale(void)
{
	unsigned int good = 0;
	char name[64];

	for (unsigned int i = 0; i < NR_STALE; i++) {
		snprintf(name, sizeof(name), "stale.%d.%u.part", (int)getpid(), i);
		write_old(name, 0644);
	}
	ok(dump("stale") && is_whole("stale"), "one that is left does not hinder");
	for (unsigned int i = 0; i < NR_STALE; i++) {
		snprintf(name, sizeof(name), "stale.%d.%u.part", (int)getpid(), i);
		good += is_old(name);
		unlinkat(dir, name, 0);
	}
	ok(good == NR_STALE, "and is not written to");
	ok(!nr_parts(), "nothing is left beside them");
}

/* In a child, which the rights of root do not help. */
static int refused(void)
{
	struct stat before, after;

	if (!geteuid() && setresuid(NOBODY, NOBODY, NOBODY))
		return 4;
	if (dump("kept") || errno != EACCES || !is_old("kept"))
		return 1;
	if (fchmod(dir, 0555))
		return 2;
	if (fstatat(dir, "ours", &before, 0) || !dump("ours") || !is_whole("ours") ||
	    fstatat(dir, "ours", &after, 0) || before.st_ino != after.st_ino)
		return 3;
	if (dump("another") || errno != EACCES)
		return 5;
	return 0;
}

static void refusals(void)
{
	int status = -1;
	pid_t pid;

	write_old("kept", 0444);
	write_old("ours", 0644);
	if (!geteuid() && (fchown(dir, NOBODY, NOBODY) ||
			   fchownat(dir, "kept", NOBODY, NOBODY, 0) ||
			   fchownat(dir, "ours", NOBODY, NOBODY, 0)))
		tap_bail("%s: %s", folder, strerror(errno));
	pid = fork();
	if (!pid)
		_exit(refused());
	waitpid(pid, &status, 0);
	if (!geteuid() && fchown(dir, 0, 0))
		tap_bail("%s: %s", folder, strerror(errno));
	fchmod(dir, 0700);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 4) {
		tap_skip("a folder that takes no names", "no way to be another user");
		return;
	}
	ok(!status, "a file that may not be written; a folder that takes no names");
	if (status)
		diag("status %#x", status);
	ok(!nr_parts(), "nothing is left beside them");
}

static char shared[PATH_MAX];

static void *dump_again(struct worker *w)
{
	while (!stress_stop()) {
		if (!ha_profile_dump_file(shared))
			w->ops++;
		else if (errno != EBUSY)
			stress_fail("ha_profile_dump_file: %s", strerror(errno));
	}
	return NULL;
}

static void *look_again(struct worker *w)
{
	while (!stress_stop()) {
		if (!is_whole("shared"))
			stress_fail("the file is not whole");
		w->ops++;
	}
	return NULL;
}

static void on_signal(int sig)
{
	int saved = errno;

	(void)sig;
	/* perhaps in the middle of one, or of a malloc */
	ha_profile_dump_file(shared);
	errno = saved;
}

/* Threads, handlers and another process write to one name, and others read it. */
static void at_once(void)
{
	struct worker writers[2], reader;
	unsigned long files;
	int status = -1;
	pid_t pid;

	snprintf(shared, sizeof(shared), "%s", in_folder("shared"));
	ok(dump("shared"), "a file that many write");
	signal(SIGUSR1, on_signal);
	pid = fork();
	if (!pid) {
		signal(SIGALRM, SIG_DFL);
		for (unsigned int i = 0; i < 50; i++)
			if (!dump("shared"))
				_exit(1);
		_exit(0);
	}
	workers_start(writers, 2, dump_again);
	workers_start(&reader, 1, look_again);
	for (unsigned int i = 0; i < tap_opts.seconds * 100 && !stress_stop(); i++) {
		pthread_kill(writers[i & 1].thread, SIGUSR1);
		usleep(10000);
	}
	__atomic_store_n(&stress_stopped, 1, __ATOMIC_RELAXED);
	workers_join(writers, 2);
	workers_join(&reader, 1);
	waitpid(pid, &status, 0);
	files = writers[0].ops + writers[1].ops;
	ok(!stress_failures && files && reader.ops, "it is whole whenever it is read");
	diag("%lu written, %lu read", files, reader.ops);
	ok(!status, "another process writes it as well");
	ok(!nr_parts(), "nothing is left beside it");
}

static void clean(void)
{
	static const char *const names[] = {
		"new", "mine", "old", "fifo", "link", "link_old", "target", "stale", "kept",
		"ours", "shared",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlinkat(dir, names[i], 0);
	ok(!rmdir(folder), "there was nothing else");
}

int main(int argc, char **argv)
{
	const char *conf = getenv("HEAPARENA_CONF");

	tap_init(argc, argv);
	watchdog(100);
	if (conf && strstr(conf, "check:off"))
		tap_skip_all("there is no profile without states");
	if (!mkdtemp(folder))
		tap_bail("%s: %s", folder, strerror(errno));
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ha_profile_start(1))
		tap_bail("ha_profile_start: %s", strerror(errno));
	for (unsigned int i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		kept[i] = HIDE(malloc(100 * i));
	plain();
	failures();
	others();
	long_name();
	stale();
	refusals();
	at_once();
	clean();
	for (unsigned int i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		free(kept[i]);
	return tap_done();
}
