// SPDX-License-Identifier: MIT
/*
 * cgroup: made-up hierarchies in a folder, what is found in them, and numbers
 * that are none.
 */
#include "cgroup.h"

#include "fake/root.h"

#define MIB	(1UL << 20)
#define NO_V1	"9223372036854771712\n"

#define MOUNTS								\
	"22 1 0:20 / /proc rw,nosuid - proc proc rw\n"			\
	"23 1 0:21 / /sys/fs/cgroup rw shared:4 - tmpfs tmpfs rw\n"

static const struct where {
	const char *self, *mounts, *dir;	/* NULL: not found */
	bool v2;
} places[] = {
	{ "0::/a/b\n", MOUNTS "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n", "/cg/a/b", true },
	{ "0::/\n", MOUNTS "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n", "/cg", true },
	/* a container: the group itself is mounted */
	{ "0::/x/y\n", "30 23 0:26 /x/y /cg rw - cgroup2 cgroup2 rw\n", "/cg", true },
	{ "0::/x/y/z\n", "30 23 0:26 /x/y /cg rw - cgroup2 cgroup2 rw\n", "/cg/z", true },
	{ "0::/x/yy\n", "30 23 0:26 /x/y /cg rw - cgroup2 cgroup2 rw\n", "/cg", true },
	{ "0::/../o\n", "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n", "/cg", true },
	/* version 1, and both at once */
	{ "5:cpu,memory:/m\n2:cpuset:/c\n",
	  MOUNTS "31 23 0:27 / /v1/cpuset rw - cgroup cgroup rw,cpuset\n"
	  "32 23 0:28 / /v1/mem rw - cgroup cgroup rw,cpu,memory\n", "/v1/mem/m", false },
	{ "5:memory:/m\n0::/u\n",
	  "30 23 0:26 / /uni rw - cgroup2 cgroup2 rw\n"
	  "32 23 0:28 / /v1/mem rw - cgroup cgroup rw,memory\n", "/v1/mem/m", false },
	{ "0::/u\n5:memory:/m\n",
	  "30 23 0:26 / /uni rw - cgroup2 cgroup2 rw\n"
	  "32 23 0:28 / /v1/mem rw - cgroup cgroup rw,memory\n", "/v1/mem/m", false },
	{ "5:cpuset:/m\n0::/u\n",
	  "30 23 0:26 / /uni rw - cgroup2 cgroup2 rw\n"
	  "32 23 0:28 / /v1/mem rw - cgroup cgroup rw,memory\n", "/uni/u", true },
	{ "5:memoryx:/m\n", "32 23 0:28 / /v1/mem rw - cgroup cgroup rw,memory\n", NULL, false },
	/* a space in the path, optional fields, no newline at the end */
	{ "0::/a b\n", "30 23 0:26 / /c\\040g rw shared:1 master:2 - cgroup2 none rw",
	  "/c g/a b", true },
	{ "0::/a\n", MOUNTS, NULL, false },
	{ "", MOUNTS "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n", NULL, false },
	{ "garbage\n:\n::\n", "- - - -\n - \n30 - cgroup2\n", NULL, false },
};

START_TEST(found)
{
	const struct where *w = &places[_i];
	struct cgroup cg;
	bool ok;

	fake_root();
	put("/proc/thread-self/cgroup", w->self);
	put("/proc/thread-self/mountinfo", w->mounts);
	errno = 77;
	ok = cgroup_find(&cg, root, "memory");
	check(errno == 77 && ok == (w->dir != NULL));
	if (ok) {
		check(!strncmp(cg.dir, root, strlen(root)) && cg.v2 == w->v2);
		ck_assert_str_eq(cg.dir + strlen(root), w->dir);
		check(cg.mount_len >= strlen(root) && cg.mount_len <= strlen(cg.dir));
	}
	drop_root();
}
END_TEST

START_TEST(no_files)
{
	struct cgroup cg;

	fake_root();
	errno = 77;
	check(!cgroup_find(&cg, root, "memory") && errno == 77);
	put("/proc/thread-self/cgroup", "0::/a\n");
	check(!cgroup_find(&cg, root, "memory") && errno == 77);
	drop_root();
}
END_TEST

/* A mount table as long as a host of containers has, with lines that are cut. */
START_TEST(long_table)
{
	static char text[200000];
	struct cgroup cg;
	size_t n = 0;

	fake_root();
	for (unsigned int i = 0; i < 60; i++) {
		n += sprintf(text + n, "%u 1 0:9 / /o%u rw - overlay overlay rw,lowerdir=", i, i);
		memset(text + n, 'l', 3000);
		n += 3000;
		text[n++] = '\n';
	}
	sprintf(text + n, "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
	put("/proc/thread-self/cgroup", "0::/a\n");
	put("/proc/thread-self/mountinfo", text);
	check(cgroup_find(&cg, root, "memory"));
	ck_assert_str_eq(cg.dir + strlen(root), "/cg/a");
	drop_root();
}
END_TEST

/* A path that is too long for our buffers is no group, not a cut one. */
START_TEST(long_path)
{
	static char text[3000];
	struct cgroup cg;

	fake_root();
	put("/proc/thread-self/mountinfo", "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
	for (unsigned int len = 400; len < 2500; len += 7) {
		strcpy(text, "0::/");
		memset(text + 4, 'p', len);
		strcpy(text + 4 + len, "\n");
		put("/proc/thread-self/cgroup", text);
		if (cgroup_find(&cg, root, "memory"))
			check(strlen(cg.dir) == strlen(root) + strlen("/cg/") + len);
		else
			check(len + 20 > CGROUP_PATH - strlen(root));
	}
	drop_root();
}
END_TEST

static void find_v2(struct cgroup *cg)
{
	fake_root();
	put("/proc/thread-self/cgroup", "0::/a/b\n");
	put("/proc/thread-self/mountinfo", "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
	check(cgroup_find(cg, root, "memory"));
}

/* A mount of another group comes first: the limits are not that one's. */
START_TEST(other_mount_first)
{
	struct cgroup_mem m;
	struct cgroup cg;

	fake_root();
	put("/proc/thread-self/cgroup", "0::/a/b\n");
	put("/proc/thread-self/mountinfo", "30 23 0:26 /x /other rw - cgroup2 cgroup2 rw\n"
	    "31 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n"
	    "32 23 0:26 /y /third rw - cgroup2 cgroup2 rw\n");
	put_number("/other", "memory.max", 60 * MIB);
	put_number("/cg/a/b", "memory.max", 100 * MIB);
	put_number("/cg/a/b", "memory.current", 0);
	check(cgroup_find(&cg, root, "memory") && cgroup_mem(&cg, 0, &m));
	check(m.max == 100 * MIB);
	/* the only one there is */
	put("/proc/thread-self/mountinfo", "30 23 0:26 /x /other rw - cgroup2 cgroup2 rw\n");
	check(cgroup_find(&cg, root, "memory") && cgroup_mem(&cg, 0, &m));
	check(m.max == 60 * MIB);
	drop_root();
}
END_TEST

/* @cache: of files, active or not. */
static void level(const char *dir, size_t max, size_t high, size_t current, size_t cache)
{
	char path[256], text[256];

	put_number(dir, "memory.max", max);
	put_number(dir, "memory.high", high);
	put_number(dir, "memory.current", current);
	snprintf(path, sizeof(path), "%s/memory.stat", dir);
	snprintf(text, sizeof(text), "anon 1\nfile 2\ninactive_anon 5\ninactive_file %zu\n"
		 "active_file %zu\nactive_anon 99\n", cache / 4, cache - cache / 4);
	put(path, text);
}

START_TEST(limits)
{
	struct cgroup_mem m;
	struct cgroup cg;

	find_v2(&cg);
	/* nothing there at all */
	check(!cgroup_mem(&cg, 5, &m) && m.max == SIZE_MAX && m.room == INT64_MAX);
	level("/cg/a/b", SIZE_MAX, SIZE_MAX, 100 * MIB, 0);
	check(cgroup_mem(&cg, 5, &m));
	check(m.max == SIZE_MAX && m.high == SIZE_MAX && m.room == INT64_MAX);
	level("/cg/a/b", 500 * MIB, SIZE_MAX, 100 * MIB, 0);
	check(cgroup_mem(&cg, 10, &m) && m.max == 500 * MIB && m.high == SIZE_MAX);
	check(m.room == (int64_t)(500 * MIB - 500 * MIB / 100 * 10 - 100 * MIB));
	level("/cg/a/b", 500 * MIB, 300 * MIB, 100 * MIB, 0);
	check(cgroup_mem(&cg, 10, &m) && m.max == 500 * MIB && m.high == 300 * MIB);
	check(m.room == (int64_t)(200 * MIB));
	/* the one above is narrower, and its other groups use it up */
	level("/cg/a", 400 * MIB, SIZE_MAX, 390 * MIB, 0);
	check(cgroup_mem(&cg, 0, &m) && m.max == 400 * MIB && m.high == 300 * MIB);
	check(m.room == (int64_t)(10 * MIB));
	/* near the limit, page cache that nobody uses is room */
	level("/cg/a", 400 * MIB, SIZE_MAX, 390 * MIB, 60 * MIB);
	check(cgroup_mem(&cg, 0, &m) && m.room == (int64_t)(70 * MIB));
	/* far from it, it is not asked for */
	level("/cg/a", 400 * MIB, SIZE_MAX, 300 * MIB, 60 * MIB);
	check(cgroup_mem(&cg, 0, &m) && m.room == (int64_t)(100 * MIB));
	/* passed */
	level("/cg/a", 400 * MIB, SIZE_MAX, 450 * MIB, 0);
	check(cgroup_mem(&cg, 0, &m) && m.room == -(int64_t)(50 * MIB));
	/* the mount itself counts, what is above it does not */
	level("/cg", 20 * MIB, SIZE_MAX, 5 * MIB, 0);
	level("", MIB, MIB, MIB, 0);
	level("/cg/a", SIZE_MAX, SIZE_MAX, 0, 0);
	check(cgroup_mem(&cg, 0, &m) && m.max == 20 * MIB && m.room == (int64_t)(15 * MIB));
	drop_root();
}
END_TEST

START_TEST(version_1)
{
	struct cgroup_mem m;
	struct cgroup cg;

	fake_root();
	put("/proc/thread-self/cgroup", "4:memory:/s\n0::/\n");
	put("/proc/thread-self/mountinfo", "30 23 0:26 / /m rw - cgroup cgroup rw,memory\n");
	check(cgroup_find(&cg, root, "memory") && !cg.v2);
	put("/m/memory.limit_in_bytes", NO_V1);
	put("/m/memory.soft_limit_in_bytes", NO_V1);
	put("/m/s/memory.limit_in_bytes", NO_V1);
	check(cgroup_mem(&cg, 5, &m) && m.max == SIZE_MAX && m.high == SIZE_MAX);
	put_number("/m/s", "memory.limit_in_bytes", 100 * MIB);
	put_number("/m/s", "memory.usage_in_bytes", 95 * MIB);
	put("/m/s/memory.stat", "cache 9\ninactive_file 7\ntotal_inactive_file 20971000\n"
	    "active_file 3\ntotal_active_file 520\n");
	check(cgroup_mem(&cg, 0, &m) && m.max == 100 * MIB);
	check(m.room == (int64_t)(25 * MIB));
	put_number("/m", "memory.soft_limit_in_bytes", 90 * MIB);
	put_number("/m", "memory.usage_in_bytes", 30 * MIB);
	check(cgroup_mem(&cg, 0, &m) && m.high == 90 * MIB);
	drop_root();
}
END_TEST

/* What is not a number is no limit; nothing is read past the end. */
START_TEST(odd_numbers)
{
	static const char *const texts[] = {
		"", "\n", "max", "-1\n", "x", "99999999999999999999999999\n", "+5\n", " 5\n",
	};
	struct cgroup_mem m;
	struct cgroup cg;

	find_v2(&cg);
	put_number("/cg/a/b", "memory.current", MIB);
	for (unsigned int i = 0; i < ARRAY_SIZE(texts); i++) {
		put("/cg/a/b/memory.max", texts[i]);
		put("/cg/a/b/memory.high", texts[i]);
		cgroup_mem(&cg, 5, &m);
		check(m.max == SIZE_MAX && m.high == SIZE_MAX && m.room == INT64_MAX);
	}
	put("/cg/a/b/memory.max", "0\n");
	check(cgroup_mem(&cg, 5, &m) && m.max == 0 && m.room == -(int64_t)MIB);
	drop_root();
}
END_TEST

START_TEST(cpus)
{
	struct cgroup cg;

	find_v2(&cg);
	check(cgroup_cpus(&cg) == 0);
	put("/cg/a/b/cpu.max", "max 100000\n");
	check(cgroup_cpus(&cg) == 0);
	put("/cg/a/b/cpu.max", "250000 100000\n");
	check(cgroup_cpus(&cg) == 3);
	put("/cg/a/cpu.max", "100000 100000\n");
	check(cgroup_cpus(&cg) == 1);
	put("/cg/a/cpu.max", "1000 100000\n");
	check(cgroup_cpus(&cg) == 1);
	put("/cg/a/cpu.max", "1000 0\n");
	check(cgroup_cpus(&cg) == 3);
	put("/cg/a/cpu.max", "800000");
	check(cgroup_cpus(&cg) == 3);
	drop_root();
	fake_root();
	put("/proc/thread-self/cgroup", "4:cpu,cpuacct:/s\n0::/\n");
	put("/proc/thread-self/mountinfo", "30 23 0:26 / /c rw - cgroup cgroup rw,cpu,cpuacct\n");
	check(cgroup_find(&cg, root, "cpu") && !cg.v2);
	put("/c/s/cpu.cfs_quota_us", "-1\n");
	put("/c/s/cpu.cfs_period_us", "100000\n");
	check(cgroup_cpus(&cg) == 0);
	put("/c/s/cpu.cfs_quota_us", "350000\n");
	check(cgroup_cpus(&cg) == 4);
	drop_root();
}
END_TEST

/* Whatever the files hold. */
START_TEST(any_bytes)
{
	static const char *const words[] = {
		"0::/", "memory", ":", "/", " - ", "cgroup2", "cgroup", " ", "\n", "rw,memory",
		"\\040", "\\", "/cg", "..", "4:memory:/", "30 23 0:26 / /cg rw",
	};
	struct unit_rand r = unit_rand(5);
	struct cgroup_mem m;
	struct cgroup cg;
	char text[2][3000];

	fake_root();
	for (unsigned int round = 0; round < 500; round++) {
		for (unsigned int k = 0; k < 2; k++) {
			unsigned int parts = rand_below(&r, 60);
			size_t n = 0;

			while (parts--) {
				const char *w = words[rand_below(&r, ARRAY_SIZE(words))];

				memcpy(text[k] + n, w, strlen(w));
				n += strlen(w);
				if (!rand_below(&r, 20))
					text[k][n++] = 1 + rand_below(&r, 255);
			}
			text[k][n] = '\0';
		}
		put("/proc/thread-self/cgroup", text[0]);
		put("/proc/thread-self/mountinfo", text[1]);
		if (cgroup_find(&cg, root, "memory")) {
			check(strlen(cg.dir) < CGROUP_PATH);
			cgroup_mem(&cg, 5, &m);
			cgroup_cpus(&cg);
		}
	}
	drop_root();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cgroup");
	TCase *tc = tcase_create("cgroup");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, found, 0, ARRAY_SIZE(places));
	tcase_add_test(tc, no_files);
	tcase_add_test(tc, long_table);
	tcase_add_test(tc, long_path);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, other_mount_first);
	tcase_add_test(tc, version_1);
	tcase_add_test(tc, odd_numbers);
	tcase_add_test(tc, cpus);
	tcase_add_test(tc, any_bytes);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
