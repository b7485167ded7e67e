// SPDX-License-Identifier: MIT
/*
 * Pressure from outside.
 *
 *	options, ha_limit_set()      percent of ...  ---.
 *	memory.max, memory.high  ----------------------> soft limit of lib/limit.c
 *	memory.current               what others use ---'
 *	memory.pressure              pressure_fired(): give everything free back
 *	cpu.max                      what caches may hold together
 *
 * The control group's limits are a soft limit of the heap: the kernel enforces the
 * hard one, and a program that would have fitted must not be refused by us.  What
 * the group's other memory takes (stacks, page tables, sockets, other processes) is
 * not ours to give back, so that the heap may have
 *
 *	what it has + (limit - headroom - what the group uses)
 *
 * read anew each second.  A group that others have filled leaves the heap a
 * sixteenth of the limit, below which trying is no use.  Half of the headroom is for
 * what the CPUs take while others give back (limit_in_danger).
 *
 * PSI.  The background thread has a table of file descriptors of its own, and so
 * may keep a trigger open: the process does not see it, cannot close it, and does
 * not find the lowest number taken for a moment when it expects it.  Without such a
 * table (an old kernel; ha_background_work() in a thread of the program) or without
 * permission, the ten-second average is read instead, once a second.
 *
 * One caller at a time (the one that steps, see lib/sysmon.c), but for limits that
 * are set by the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <heaparena/heaparena.h>
#include <asm/atomic.h>
#include <util/align.h>
#include "cgroup.h"
#include "conf.h"
#include "debug.h"
#include "limit.h"
#include "pressure.h"

#ifndef SYS_close_range
#define SYS_close_range		436
#endif
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE	(1U << 1)
#endif

#define POLL_MS		1000
/* Where the group is, is looked up again after so many polls: it may be moved. */
#define FIND_POLLS	16
/* 200 ms of waiting in 2 s; such windows need no privilege. */
#define PSI_TRIGGER	"some 200000 2000000"
#define PSI_AVG10	100	/* the same as tenths of a percent */
/* What caches may hold for each CPU of a quota. */
#define CACHE_PER_CPU	(16UL << 20)
#define SYSTEM_PSI	"/proc/pressure/memory"
/* Of a group's limit, what the heap is left with whatever others use. */
#define LEAST_SHIFT	4

const char *pressure_root = "";

static struct {
	struct cgroup group;
	bool found;
	bool read;			/* its limits, some time */
	unsigned int polls;
	uint64_t polled_at;		/* ms */
	uint64_t avg_at;
	size_t base;			/* (a) what percentages are of, bytes */
	bool percent_soft;		/* (a) limits of the options that are percentages */
	bool percent_hard;
	bool found_anew;		/* the group was looked up again */
	bool no_trigger;		/* tried, refused or open */
	int psi_fd;
	char psi_path[CGROUP_PATH];	/* what was tried */
} pressure = { .psi_fd = -1 };

static size_t machine_bytes(void)
{
	struct sysinfo info;

	return sysinfo(&info) ? LIMIT_NONE : (size_t)info.totalram * info.mem_unit;
}

static size_t size_of(const struct conf_size *size)
{
	if (size->percent)
		return limit_percent(atomic_load_relaxed(&pressure.base), size->percent);
	return size->bytes ? size->bytes : LIMIT_NONE;
}

static void set_percentages(void)
{
	size_t soft, hard;

	limit_get(&soft, &hard);
	if (atomic_load_relaxed(&pressure.percent_soft))
		soft = size_of(&conf.soft);
	if (atomic_load_relaxed(&pressure.percent_hard))
		hard = size_of(&conf.limit);
	limit_set(soft, hard);
}

/* By cpu.max: more threads run at a time than that, but not for long. */
static void read_cpus(void)
{
	struct cgroup group;
	unsigned int cpus = 0;

	if (conf.cgroup && cgroup_find(&group, pressure_root, "cpu"))
		cpus = cgroup_cpus(&group);
	limit_set_cache_max(cpus ? cpus * CACHE_PER_CPU : LIMIT_NONE);
}

/* Look the group up when it is time; true when that was done, and there is one. */
static bool find_group(void)
{
	if (pressure.polls++ % FIND_POLLS)
		return false;
	read_cpus();
	pressure.found = cgroup_find(&pressure.group, pressure_root, "memory");
	pressure.found_anew = true;
	return pressure.found;
}

static void take_group(const struct cgroup_mem *mem)
{
	size_t headroom = mem->max / 100 * conf.headroom;
	size_t limit = mem->max == SIZE_MAX ? SIZE_MAX : mem->max - headroom;
	size_t outer;

	atomic_store_relaxed(&pressure.base, min_size(mem->max, machine_bytes()));
	limit = min_size(limit, mem->high);
	outer = limit;
	if (mem->room != INT64_MAX) {
		outer = min_size(limit_of_room(limit_total(), mem->room), limit);
		outer = max_size(outer, limit >> LEAST_SHIFT);
	}
	/* above memory.high the kernel makes us wait, no more */
	limit_set_outer(outer, mem->max == SIZE_MAX ? LIMIT_NONE : outer + headroom / 2);
}

static void read_group(void)
{
	static const struct cgroup_mem none = { SIZE_MAX, SIZE_MAX, INT64_MAX };
	struct cgroup_mem mem;
	bool fresh = conf.cgroup && find_group();

	if (pressure.found && cgroup_mem(&pressure.group, conf.headroom, &mem)) {
		pressure.read = true;
		take_group(&mem);
		return;
	}
	/*
	 * What it said last holds while nobody can ask (chroot, no descriptor left), until it
	 * is found again; not when it is another by now, that has no limits.
	 */
	if (pressure.read && !fresh) {
		pressure.polls = 0;
		return;
	}
	pressure.read = false;
	take_group(&none);
}

void pressure_poll(uint64_t now_ms)
{
	if (pressure.polled_at && now_ms - pressure.polled_at < POLL_MS)
		return;
	pressure.polled_at = now_ms;
	read_group();
	if (atomic_load_relaxed(&pressure.percent_soft) ||
	    atomic_load_relaxed(&pressure.percent_hard))
		set_percentages();
}

void pressure_init(void)
{
	pressure.percent_soft = conf.soft.percent;
	pressure.percent_hard = conf.limit.percent;
	if (pressure.percent_soft || pressure.percent_hard)
		read_group();
	limit_set(size_of(&conf.soft), size_of(&conf.limit));
}

/*
 * PSI.
 */

/* The group's file, else the system's. */
static bool psi_path(char *path)
{
	static const char name[] = "/memory.pressure";

	if (pressure.found && pressure.group.v2 &&
	    strlen(pressure.group.dir) + sizeof(name) <= CGROUP_PATH) {
		strcpy(path, pressure.group.dir);
		strcat(path, name);
		if (access(path, R_OK) == 0)
			return true;
	}
	if (strlen(pressure_root) + sizeof(SYSTEM_PSI) > CGROUP_PATH)
		return false;
	strcpy(path, pressure_root);
	strcat(path, SYSTEM_PSI);
	return true;
}

static void psi_open(void)
{
	int fd;

	pressure.no_trigger = true;
	if (!psi_path(pressure.psi_path))
		return;
	/* bare calls, as in lib/cgroup.c: ha_background_work() is no place to be cancelled */
	fd = syscall(SYS_openat, AT_FDCWD, pressure.psi_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return;
	if (syscall(SYS_write, fd, PSI_TRIGGER, sizeof(PSI_TRIGGER)) < 0) {
		syscall(SYS_close, fd);
		return;
	}
	pressure.psi_fd = fd;
}

/* The process may have been moved to another group. */
static void psi_follow(void)
{
	char path[CGROUP_PATH];

	if (!pressure.found_anew)
		return;
	pressure.found_anew = false;
	if (!psi_path(path) || !strcmp(path, pressure.psi_path))
		return;
	if (pressure.psi_fd >= 0)
		syscall(SYS_close, pressure.psi_fd);
	pressure.psi_fd = -1;
	pressure.no_trigger = false;
}

static bool psi_fired(void)
{
	struct pollfd p = { .fd = pressure.psi_fd, .events = POLLPRI };
	struct timespec now = { 0 };

	if (syscall(SYS_ppoll, &p, 1, &now, NULL, 0) <= 0)
		return false;
	/* the group is gone, or the file is not what it was */
	if (p.revents & (POLLERR | POLLNVAL)) {
		syscall(SYS_close, pressure.psi_fd);
		pressure.psi_fd = -1;
		return false;
	}
	return p.revents & POLLPRI;
}

unsigned int pressure_avg10(const char *text)
{
	static const char head[] = "some avg10=";
	unsigned int v = 0;
	const char *s;

	if (strncmp(text, head, sizeof(head) - 1))
		return 0;
	for (s = text + sizeof(head) - 1; *s >= '0' && *s <= '9' && v < 1000; s++)
		v = v * 10 + (*s - '0');
	if (s[0] != '.' || s[1] < '0' || s[1] > '9')
		return 0;
	return v * 10 + (s[1] - '0');
}

static bool average_high(uint64_t now_ms)
{
	char path[CGROUP_PATH], buf[64];

	if (now_ms - pressure.avg_at < POLL_MS)
		return false;
	pressure.avg_at = now_ms;
	return psi_path(path) && file_read(path, buf, sizeof(buf)) > 0 &&
	       pressure_avg10(buf) >= PSI_AVG10;
}

bool pressure_fired(uint64_t now_ms)
{
	int saved = errno;
	bool fired;

	if (!conf.cgroup)
		return false;
	if (debug_no_files)
		psi_follow();
	if (debug_no_files && !pressure.no_trigger)
		psi_open();
	fired = debug_no_files && pressure.psi_fd >= 0 ? psi_fired() :
		average_high(now_ms);
	errno = saved;
	return fired;
}

void pressure_own_files(void)
{
	if (conf.cgroup && !syscall(SYS_close_range, 0, ~0U, CLOSE_RANGE_UNSHARE))
		debug_no_files = true;
}

void pressure_fork_child(void)
{
	/* the thread and its files stayed in the parent */
	pressure.psi_fd = -1;
	pressure.no_trigger = false;
	pressure.polls = 0;
	pressure.polled_at = 0;
}

/*
 * The program's limits.
 */

static size_t from_user(size_t bytes)
{
	return bytes ? bytes : LIMIT_NONE;
}

static size_t to_user(size_t bytes)
{
	return bytes == LIMIT_NONE ? 0 : bytes;
}

__export int ha_limit_set(size_t soft, size_t hard)
{
	if ((soft && soft < LIMIT_MIN) || (hard && hard < LIMIT_MIN) ||
	    (soft && hard && soft > hard)) {
		errno = EINVAL;
		return -1;
	}
	atomic_store_relaxed(&pressure.percent_soft, false);
	atomic_store_relaxed(&pressure.percent_hard, false);
	limit_set(from_user(soft), from_user(hard));
	/* perhaps below what there is: look now */
	limit_wake_at(0);
	limit_check(0);
	return 0;
}

__export void ha_limit_get(size_t *soft, size_t *hard)
{
	limit_get(soft, hard);
	*soft = to_user(limit_soft());
	*hard = to_user(*hard);
}
