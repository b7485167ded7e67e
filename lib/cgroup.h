/* SPDX-License-Identifier: MIT */
/*
 * What the control groups of this process allow, read from their files.  See
 * lib/cgroup.c.
 */
#ifndef _LIB_CGROUP_H
#define _LIB_CGROUP_H

#include <util/compiler.h>

#define CGROUP_PATH	512

/* Where a controller's files of this process are. */
struct cgroup {
	char dir[CGROUP_PATH];	/* of its own group */
	size_t mount_len;	/* of dir, the part where the hierarchy is mounted */
	bool v2;
};

struct cgroup_mem {
	size_t max;		/* least hard limit up the path; SIZE_MAX: none */
	size_t high;		/* least soft limit */
	int64_t room;		/* least of limit - used; INT64_MAX without limits */
};

/*
 * The group of @controller ("memory", "cpu"); @root is put in front of every path,
 * for tests.  False when there is none, or it cannot be read.
 */
bool cgroup_find(struct cgroup *cg, const char *root, const char *controller);
/*
 * Limits and use, from the group up to the mount.  @headroom percent of a hard
 * limit do not count as room.  False when no file could be read: find it again.
 */
bool cgroup_mem(const struct cgroup *cg, unsigned int headroom,
		struct cgroup_mem *mem);
/* CPUs by quota, rounded up, the least up the path; 0: no quota. */
unsigned int cgroup_cpus(const struct cgroup *cg);

/* Bytes of @path in @buf, terminated; -1 when it cannot be read. */
long file_read(const char *path, char *buf, size_t size);

#endif /* _LIB_CGROUP_H */
