/* SPDX-License-Identifier: MIT */
/*
 * A made-up root folder with the files of a control group in it.
 */
#ifndef SELFTESTS_FAKE_ROOT_H
#define SELFTESTS_FAKE_ROOT_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "unit.h"

static char root[64];		/* its path */

/* Write @text to @path under the root, folders included. */
static inline __maybe_unused void put(const char *path, const char *text)
{
	char full[1024], *slash;
	int fd;

	check((size_t)snprintf(full, sizeof(full), "%s%s", root, path) < sizeof(full));
	for (slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		check(mkdir(full, 0755) == 0 || errno == EEXIST);
		*slash = '/';
	}
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static inline __maybe_unused void put_number(const char *dir, const char *name, size_t v)
{
	char path[512], text[32];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (v == SIZE_MAX)
		snprintf(text, sizeof(text), "max\n");
	else
		snprintf(text, sizeof(text), "%zu\n", v);
	put(path, text);
}

static inline __maybe_unused void fake_root(void)
{
	strcpy(root, "/tmp/ha-root.XXXXXX");
	check(mkdtemp(root));
}

static inline __maybe_unused void drop_root(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", root);
	check(system(cmd) == 0);
}

#endif /* SELFTESTS_FAKE_ROOT_H */
