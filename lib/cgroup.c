// SPDX-License-Identifier: MIT
/*
 * Control groups, version 2 and 1.
 *
 *	/proc/thread-self/cgroup       0::/a/b                which group
 *	                               4:memory:/a/b          (version 1)
 *	/proc/thread-self/mountinfo    ... / /sys/fs/cgroup ... - cgroup2 ...
 *	                                   |  `-- mount point    which folder
 *	                                   `-- the group mounted there
 *	dir = mount point + path, less the mounted group; its parents up to the mount
 *	point are the groups above, whose limits count as well
 *
 *	version 2                      version 1
 *	memory.max                     memory.limit_in_bytes
 *	memory.high                    memory.soft_limit_in_bytes
 *	memory.current                 memory.usage_in_bytes
 *	memory.stat: inactive_file     memory.stat: total_inactive_file
 *	             active_file                    total_active_file
 *	cpu.max                        cpu.cfs_quota_us, cpu.cfs_period_us
 *
 * Use is what cannot be reclaimed: current less page cache.  Of a group that reads the
 * same files for months all of it becomes active, and goes all the same before anybody is
 * killed.  It is read only near a limit, because the kernel has to sum it up.
 *
 * The thread's files, not the process's: those of a main thread that has ended are empty.
 *
 * open, read and close into small buffers on the stack: nothing is allocated,
 * errno is kept, no locks, any thread, also inside malloc.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <util/align.h>
#include "cgroup.h"

/* Limits of version 1 without a limit are a little less than 2^63. */
#define NO_LIMIT	(1UL << 62)
/* Use is looked at more closely above this part of a limit. */
#define NEAR_LIMIT(x)	((x) / 5 * 4)

/* A file line by line; what does not fit is cut off. */
struct lines {
	int fd;
	size_t pos, len;
	char buf[512];		/* of the file */
	char line[1024];
};

/*
 * Bare calls: those of libc are cancellation points, and a malloc that grows the heap may
 * be what reads here.
 */
static int open_file(const char *path)
{
	return syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
}

static ssize_t read_some(int fd, char *buf, size_t size)
{
	ssize_t n;

	do {
		n = syscall(SYS_read, fd, buf, size);
	} while (n < 0 && errno == EINTR);
	return n;
}

static bool lines_next(struct lines *l)
{
	size_t n = 0;
	char c;

	for (;;) {
		if (l->pos == l->len) {
			ssize_t got = read_some(l->fd, l->buf, sizeof(l->buf));

			if (got <= 0)
				break;
			l->pos = 0;
			l->len = got;
		}
		c = l->buf[l->pos++];
		if (c == '\n') {
			l->line[n] = '\0';
			return true;
		}
		if (n < sizeof(l->line) - 1)
			l->line[n++] = c;
	}
	l->line[n] = '\0';
	return n > 0;
}

static void close_file(int fd)
{
	syscall(SYS_close, fd);
}

long file_read(const char *path, char *buf, size_t size)
{
	int saved = errno, fd = open_file(path);
	ssize_t n = -1;

	if (fd >= 0) {
		n = read_some(fd, buf, size - 1);
		close_file(fd);
	}
	buf[n > 0 ? n : 0] = '\0';
	errno = saved;
	return n;
}

/* a + b into @out; false when too long. */
static bool path_join(char *out, const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);

	if (la + lb >= CGROUP_PATH)
		return false;
	memmove(out, a, la);
	memmove(out + la, b, lb + 1);
	return true;
}

/* @word is one of the comma-separated words of [s, end). */
static bool has_word(const char *s, const char *end, const char *word)
{
	size_t len = strlen(word);

	while (s < end) {
		const char *comma = memchr(s, ',', end - s);
		const char *stop = comma ? comma : end;

		if ((size_t)(stop - s) == len && !memcmp(s, word, len))
			return true;
		s = stop + 1;
	}
	return false;
}

/* The process's group of @controller into @path; version 1 has priority. */
static bool find_path(struct cgroup *cg, const char *root, const char *controller,
		      char *path)
{
	struct lines l = { 0 };
	bool found = false;

	if (!path_join(path, root, "/proc/thread-self/cgroup"))
		return false;
	l.fd = open_file(path);
	if (l.fd < 0)
		return false;
	cg->v2 = false;
	while ((!found || cg->v2) && lines_next(&l)) {
		char *names = strchr(l.line, ':'), *group;

		group = names ? strchr(names + 1, ':') : NULL;
		if (!group || strlen(group + 1) >= CGROUP_PATH)
			continue;
		if (has_word(names + 1, group, controller))
			cg->v2 = false;
		else if (group == names + 1)
			cg->v2 = true;
		else
			continue;
		strcpy(path, group + 1);
		found = true;
	}
	close_file(l.fd);
	return found;
}

/* \040 and the like stand for bytes that would end a field. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*out++ = (s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0');
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

/* Split at spaces in place; the number of fields. */
static unsigned int split(char *s, char **field, unsigned int max)
{
	unsigned int n = 0;
	char *save;

	for (s = strtok_r(s, " ", &save); s && n < max; s = strtok_r(NULL, " ", &save))
		field[n++] = s;
	return n;
}

/* The mount of the hierarchy in a line of mountinfo: its group and its point. */
static bool is_mount(const struct cgroup *cg, char *line, const char *controller,
		     char **group, char **point)
{
	char *tail = strstr(line, " - "), *field[5], *rest[3];

	if (!tail)
		return false;
	*tail = '\0';
	if (split(line, field, 5) < 5 || split(tail + 3, rest, 3) < 3)
		return false;
	*group = field[3];
	*point = field[4];
	if (cg->v2)
		return strcmp(rest[0], "cgroup2") == 0;
	return strcmp(rest[0], "cgroup") == 0 &&
	       has_word(rest[2], rest[2] + strlen(rest[2]), controller);
}

/*
 * dir := root + point + (path less group), and *here; or the mount point alone, of a group
 * that this mount does not have: what can be seen is above it, if no other mount has it.
 */
static bool set_dir(struct cgroup *cg, const char *root, char *group, char *point,
		    const char *path, bool *here)
{
	size_t len;

	*here = false;
	unescape(group);
	unescape(point);
	if (!path_join(cg->dir, root, point))
		return false;
	cg->mount_len = strlen(cg->dir);
	len = strlen(group);
	if (len && group[len - 1] == '/')
		len--;
	if (strncmp(path, group, len) || (path[len] && path[len] != '/') ||
	    strncmp(path + len, "/..", 3) == 0)
		return true;
	if (!path_join(cg->dir, cg->dir, path + len))
		return false;
	*here = true;
	len = strlen(cg->dir);
	if (len > cg->mount_len && cg->dir[len - 1] == '/')
		cg->dir[len - 1] = '\0';
	return true;
}

static bool find_dir(struct cgroup *cg, const char *root, const char *controller,
		     const char *path)
{
	char name[CGROUP_PATH], *group, *point;
	bool found = false, here = false;
	struct cgroup other = { .v2 = cg->v2 };
	struct lines l = { 0 };

	if (!path_join(name, root, "/proc/thread-self/mountinfo"))
		return false;
	l.fd = open_file(name);
	if (l.fd < 0)
		return false;
	while (!here && lines_next(&l)) {
		if (!is_mount(cg, l.line, controller, &group, &point) ||
		    !set_dir(&other, root, group, point, path, &here))
			continue;
		/* the first, unless there is the right one */
		if (here || !found)
			*cg = other;
		found = true;
	}
	close_file(l.fd);
	return found;
}

bool cgroup_find(struct cgroup *cg, const char *root, const char *controller)
{
	char path[CGROUP_PATH];
	int saved = errno;
	bool ok;

	ok = find_path(cg, root, controller, path) &&
	     find_dir(cg, root, controller, path);
	errno = saved;
	return ok;
}

/* The folder above; false at the mount point. */
static bool dir_up(char *dir, size_t mount_len)
{
	char *slash = strrchr(dir, '/');

	if (!slash || (size_t)(slash - dir) < mount_len)
		return false;
	*slash = '\0';
	return true;
}

/* The number at @s, saturated; "max" and anything else are none. */
static size_t number(const char *s)
{
	size_t v = 0;

	if (*s < '0' || *s > '9')
		return SIZE_MAX;
	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, *s - '0', &v))
			return SIZE_MAX;
	return v >= NO_LIMIT ? SIZE_MAX : v;
}

/* The number in file @name of @dir; SIZE_MAX: none.  *seen: it could be read. */
static size_t file_number(const char *dir, const char *name, bool *seen)
{
	char path[CGROUP_PATH], buf[64];

	if (!path_join(path, dir, name) || file_read(path, buf, sizeof(buf)) <= 0)
		return SIZE_MAX;
	*seen = true;
	return number(buf);
}

/* What the line says after @key; 0: it says something else, or no number. */
static size_t line_number(const char *line, const char *key)
{
	size_t len = strlen(key), v = strncmp(line, key, len) ? 0 : number(line + len);

	return v == SIZE_MAX ? 0 : v;
}

static size_t page_cache(const char *dir, bool v2)
{
	const char *inactive = v2 ? "inactive_file " : "total_inactive_file ";
	const char *active = v2 ? "active_file " : "total_active_file ";
	char path[CGROUP_PATH];
	struct lines l = { 0 };
	size_t v = 0;

	if (!path_join(path, dir, "/memory.stat"))
		return 0;
	l.fd = open_file(path);
	if (l.fd < 0)
		return 0;
	while (lines_next(&l))
		v += line_number(l.line, inactive) + line_number(l.line, active);
	close_file(l.fd);
	return v;
}

/* One group of the path. */
static bool read_level(const char *dir, bool v2, unsigned int headroom,
		       struct cgroup_mem *mem)
{
	size_t max, high, limit, used;
	bool seen = false;
	int64_t room;

	max = file_number(dir, v2 ? "/memory.max" : "/memory.limit_in_bytes", &seen);
	high = file_number(dir, v2 ? "/memory.high" : "/memory.soft_limit_in_bytes",
			   &seen);
	mem->max = min_size(mem->max, max);
	mem->high = min_size(mem->high, high);
	limit = min_size(max == SIZE_MAX ? max : max - max / 100 * headroom, high);
	if (limit == SIZE_MAX)
		return seen;
	used = file_number(dir, v2 ? "/memory.current" : "/memory.usage_in_bytes",
			   &seen);
	if (used == SIZE_MAX)
		return seen;
	if (used > NEAR_LIMIT(limit))
		used -= min_size(used, page_cache(dir, v2));
	room = (int64_t)limit - (int64_t)used;
	if (room < mem->room)
		mem->room = room;
	return true;
}

bool cgroup_mem(const struct cgroup *cg, unsigned int headroom,
		struct cgroup_mem *mem)
{
	char dir[CGROUP_PATH];
	int saved = errno;
	bool seen = false;

	*mem = (struct cgroup_mem){ SIZE_MAX, SIZE_MAX, INT64_MAX };
	strcpy(dir, cg->dir);
	do {
		seen |= read_level(dir, cg->v2, headroom, mem);
	} while (dir_up(dir, cg->mount_len));
	errno = saved;
	return seen;
}

static unsigned int quota_cpus(size_t quota, size_t period)
{
	if (quota == SIZE_MAX || period == SIZE_MAX || !period)
		return 0;
	return max_size(div_round_up(quota, period), 1);
}

static unsigned int level_cpus(const char *dir, bool v2)
{
	char path[CGROUP_PATH], buf[64], *second;
	bool seen;

	if (!v2)
		return quota_cpus(file_number(dir, "/cpu.cfs_quota_us", &seen),
				  file_number(dir, "/cpu.cfs_period_us", &seen));
	if (!path_join(path, dir, "/cpu.max") || file_read(path, buf, sizeof(buf)) <= 0)
		return 0;
	second = strchr(buf, ' ');
	return second ? quota_cpus(number(buf), number(second + 1)) : 0;
}

unsigned int cgroup_cpus(const struct cgroup *cg)
{
	char dir[CGROUP_PATH];
	int saved = errno;
	unsigned int least = 0;

	strcpy(dir, cg->dir);
	do {
		unsigned int n = level_cpus(dir, cg->v2);

		if (n && (!least || n < least))
			least = n;
	} while (dir_up(dir, cg->mount_len));
	errno = saved;
	return least;
}
