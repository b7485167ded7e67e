// SPDX-License-Identifier: MIT
/*
 * Pressure (PSI, control groups of version 2): when tasks wait for memory, what is
 * free in the heap goes back at once.
 *
 *	this program    in the root group, no limit: a load that swings between 0 and
 *	                SWING bytes, and so keeps free pages for the next swing
 *	the hog         in a group with a small memory.high: the kernel makes it wait
 *	                each time it takes more, and counts that as pressure
 *
 * So no limit says anything to the library, and only the trigger does.  With cgroup:off
 * nothing does, and the pages are kept.
 */
#include "numa.h"
#include <sys/stat.h>

#define GROUP	"/sys/fs/cgroup/ha-psi"
#define HIGH	(8UL << 20)
#define SWING	(64UL << 20)
#define PIECE	(2UL << 20)
#define TURNS	8

static size_t heap_free(void)
{
	struct ha_stats st;

	if (!stats_get(&st))
		tap_bail("no figures");
	return st.free;
}

static void swing(void)
{
	static char *p[SWING / PIECE];

	for (size_t i = 0; i < SWING / PIECE; i++) {
		p[i] = malloc(PIECE);
		if (!p[i])
			tap_bail("no memory");
		memset(p[i], 1, PIECE);
	}
	usleep(100000);
	for (size_t i = 0; i < SWING / PIECE; i++)
		free(p[i]);
}

/* The least that was free in pauses of @pause tenths of a second; @enough ends it. */
static size_t least_free(unsigned int turns, unsigned int pause, size_t enough)
{
	size_t least = SIZE_MAX;

	while (turns-- && least > enough) {
		swing();
		for (unsigned int i = 0; i < pause; i++) {
			size_t now;

			usleep(100000);
			now = heap_free();
			least = now < least ? now : least;
		}
	}
	return least;
}

/* Microseconds that tasks of the group have waited. */
static unsigned long waited(const char *path)
{
	char buf[512], *p;

	if (!file_read(buf, sizeof(buf), path))
		return 0;
	p = strstr(buf, "total=");
	return p ? strtoul(p + 6, NULL, 10) : 0;
}

/* Grows by a page now and then, above what it may have. */
static int hog(void)
{
	char text[32];
	char *p;

	snprintf(text, sizeof(text), "%d", getpid());
	if (!file_write(text, GROUP "/cgroup.procs"))
		return 3;
	p = mmap(NULL, 4 * HIGH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return 4;
	for (size_t i = 0; i < 4 * HIGH; i += 4096)
		p[i] = 1;
	pause();
	return 0;
}

/* The background thread's files: it has a table of its own. */
static bool trigger_open(void)
{
	char path[128], link[256];
	bool found = false;

	for (int tid = getpid(); tid < getpid() + 64 && !found; tid++) {
		for (int fd = 0; fd < 16 && !found; fd++) {
			ssize_t n;

			snprintf(path, sizeof(path), "/proc/self/task/%d/fd/%d", tid, fd);
			n = readlink(path, link, sizeof(link) - 1);
			if (n <= 0)
				continue;
			link[n] = '\0';
			found = strstr(link, "memory.pressure") || strstr(link, "pressure/memory");
			if (found)
				diag("a trigger on %s", link);
		}
	}
	return found;
}

int main(int argc, char **argv)
{
	const char *conf = getenv("HEAPARENA_CONF");
	bool off = conf && strstr(conf, "cgroup:off");
	size_t calm, pressed;
	char text[32];
	pid_t pid;
	int status;

	tap_init(argc, argv);
	vm_need();
	if (access("/sys/fs/cgroup/memory.pressure", F_OK))
		tap_skip_all("the kernel has no memory.pressure");
	watchdog(100);
	calm = least_free(TURNS, 3, 0);
	ok(calm >= SWING / 4, "a load that swings by %lu MiB keeps %zu free, no pressure",
	   SWING >> 20, calm >> 20);
	ok(trigger_open() == !off, "the background thread has %s trigger open",
	   off ? "no" : "a");
	snprintf(text, sizeof(text), "%lu", HIGH);
	if (mkdir(GROUP, 0755) || !file_write(text, GROUP "/memory.high"))
		tap_bail("cgroup: %s", strerror(errno));
	pid = fork();
	if (!pid)
		_exit(hog());
	/* a trigger fires once in 2 s at most: it has to be in a pause to be seen */
	pressed = least_free(off ? TURNS : 5 * TURNS, 10, SWING / 32);
	ok(waited(GROUP "/memory.pressure") > 200000, "a task in a group waited %lu ms for memory",
	   waited(GROUP "/memory.pressure") / 1000);
	if (off)
		ok(pressed >= SWING / 8, "cgroup:off: %zu KiB stay free", pressed >> 10);
	else
		ok(pressed <= SWING / 32, "then what is free goes back: %zu KiB left",
		   pressed >> 10);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	rmdir(GROUP);
	return tap_done();
}
