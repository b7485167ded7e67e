// SPDX-License-Identifier: MIT
/*
 * pressure: a made-up control group, its limits as they change, what others use of
 * it, percentages, and the sign of too little memory.
 */
#include "conf.h"
#include "debug.h"
#include "limit.h"
#include "pressure.h"

#include <heaparena/heaparena.h>
#include <pthread.h>

#include "fake/filter.h"
#include "fake/root.h"

#define MIB	(1UL << 20)
#define SECOND	1000

static uint64_t now = 1000000;

static void group_up(void)
{
	fake_root();
	put("/proc/thread-self/cgroup", "0::/a\n");
	put("/proc/thread-self/mountinfo", "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
	put_number("/cg/a", "memory.max", SIZE_MAX);
	put_number("/cg/a", "memory.high", SIZE_MAX);
	put_number("/cg/a", "memory.current", 50 * MIB);
	pressure_root = root;
}

/* The heap has so much. */
static void total_is(size_t bytes)
{
	limit_settle(bytes - limit_total(), 0);
	check(limit_total() == bytes);
}

static size_t soft_now(void)
{
	now += SECOND;
	pressure_poll(now);
	return limit_soft();
}

START_TEST(follows)
{
	size_t soft;

	group_up();
	pressure_init();
	total_is(40 * MIB);
	check(soft_now() == LIMIT_NONE);
	/* 50 are used, 40 of them ours */
	put_number("/cg/a", "memory.max", 200 * MIB);
	soft = 200 * MIB - 200 * MIB / 100 * 5 - 10 * MIB;
	check(soft_now() == soft);
	/* not before a second has passed */
	put_number("/cg/a", "memory.max", 300 * MIB);
	pressure_poll(now + SECOND / 2);
	check(limit_soft() == soft);
	check(soft_now() == 300 * MIB - 300 * MIB / 100 * 5 - 10 * MIB);
	/* others take 60 more */
	put_number("/cg/a", "memory.current", 110 * MIB);
	check(soft_now() == 300 * MIB - 300 * MIB / 100 * 5 - 70 * MIB);
	/* ours grows with it */
	total_is(100 * MIB);
	put_number("/cg/a", "memory.current", 170 * MIB);
	check(soft_now() == 300 * MIB - 300 * MIB / 100 * 5 - 70 * MIB);
	/* memory.high counts whole */
	put_number("/cg/a", "memory.high", 250 * MIB);
	check(soft_now() == 180 * MIB);
	/* more of ours than the group has seen: never above its limit */
	total_is(400 * MIB);
	check(soft_now() == 250 * MIB);
	/* others have it all: a sixteenth is left */
	total_is(20 * MIB);
	put_number("/cg/a", "memory.current", 350 * MIB);
	check(soft_now() == 250 * MIB / 16);
	/* lifted */
	put_number("/cg/a", "memory.high", SIZE_MAX);
	put_number("/cg/a", "memory.max", SIZE_MAX);
	check(soft_now() == LIMIT_NONE);
	drop_root();
}
END_TEST

/* The process is moved to another group, or the files go away. */
START_TEST(moves)
{
	unsigned int polls = 0;

	group_up();
	put_number("/cg/b", "memory.max", 100 * MIB);
	put_number("/cg/b", "memory.current", 0);
	check(soft_now() == LIMIT_NONE);
	put("/proc/thread-self/cgroup", "0::/b\n");
	while (soft_now() == LIMIT_NONE)
		check(++polls < 20);
	check(limit_soft() == 95 * MIB);
	/* nobody can ask any more (chroot): what was said last holds */
	drop_root();
	for (unsigned int i = 0; i < 40; i++)
		check(soft_now() == 95 * MIB);
	/* and when somebody can, there is no limit */
	group_up();
	check(soft_now() == LIMIT_NONE);
	drop_root();
}
END_TEST

/* A quota of CPUs bounds what caches hold; so does the memory. */
START_TEST(cpus)
{
	size_t per_cpu;

	group_up();
	put("/cg/a/cpu.max", "100000 100000\n");
	soft_now();
	per_cpu = limit_cache_max();
	check(per_cpu >= MIB && per_cpu < 1024 * MIB);
	put("/cg/a/cpu.max", "250000 100000\n");
	for (unsigned int i = 0; i < 20; i++)
		soft_now();
	check(limit_cache_max() == 3 * per_cpu);
	put_number("/cg/a", "memory.high", 80 * MIB);
	check(soft_now() <= 80 * MIB && limit_cache_max() == limit_soft() / 8);
	drop_root();
}
END_TEST

START_TEST(headroom)
{
	group_up();
	conf.headroom = 25;
	put_number("/cg/a", "memory.max", 200 * MIB);
	put_number("/cg/a", "memory.current", 0);
	check(soft_now() == 150 * MIB);
	drop_root();
}
END_TEST

START_TEST(off)
{
	group_up();
	conf.cgroup = false;
	put_number("/cg/a", "memory.max", 200 * MIB);
	put("/proc/pressure/memory", "some avg10=99.00 avg60=0.00 avg300=0.00 total=0\n");
	check(soft_now() == LIMIT_NONE && !pressure_fired(now));
	drop_root();
}
END_TEST

/* Of the group; and without one, of the machine. */
START_TEST(percentages)
{
	size_t soft, hard;

	group_up();
	conf.soft.percent = 50;
	conf.limit.percent = 80;
	put_number("/cg/a", "memory.max", 200 * MIB);
	put_number("/cg/a", "memory.current", 0);
	pressure_init();
	limit_get(&soft, &hard);
	check(soft == 100 * MIB && hard == 160 * MIB);
	put_number("/cg/a", "memory.max", 400 * MIB);
	soft_now();
	limit_get(&soft, &hard);
	check(soft == 200 * MIB && hard == 320 * MIB);
	/* the program's own word ends that */
	check(ha_limit_set(0, 90 * MIB) == 0);
	soft_now();
	limit_get(&soft, &hard);
	check(soft == LIMIT_NONE && hard == 90 * MIB);
	drop_root();
}
END_TEST

START_TEST(percent_of_machine)
{
	size_t soft, hard;

	fake_root();
	pressure_root = root;
	conf.limit.percent = 100;
	pressure_init();
	limit_get(&soft, &hard);
	check(soft == LIMIT_NONE && hard > 64 * MIB && hard < 1UL << 50);
	drop_root();
}
END_TEST

START_TEST(program_limits)
{
	size_t soft, hard;

	check(ha_limit_set(0, 0) == 0);
	ha_limit_get(&soft, &hard);
	check(soft == 0 && hard == 0);
	check(ha_limit_set(10 * MIB, 20 * MIB) == 0);
	ha_limit_get(&soft, &hard);
	check(soft == 10 * MIB && hard == 20 * MIB);
	limit_set_outer(5 * MIB, LIMIT_NONE);
	ha_limit_get(&soft, &hard);
	check(soft == 5 * MIB && hard == 20 * MIB);
	errno = 0;
	check(ha_limit_set(20 * MIB, 10 * MIB) == -1 && errno == EINVAL);
	errno = 0;
	check(ha_limit_set(1, 0) == -1 && errno == EINVAL);
	ha_limit_get(&soft, &hard);
	check(soft == 5 * MIB && hard == 20 * MIB);
}
END_TEST

START_TEST(averages)
{
	static const struct { const char *text; unsigned int v; } rows[] = {
		{ "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", 0 },
		{ "some avg10=1.25 avg60=0.00\n", 12 },
		{ "some avg10=10.00", 100 },
		{ "some avg10=100.00", 1000 },
		{ "some avg10=99999999999999.00", 0 },
		{ "full avg10=50.00", 0 },
		{ "some avg10=", 0 }, { "some avg10=5", 0 }, { "some avg10=5.", 0 }, { "", 0 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++)
		check(pressure_avg10(rows[i].text) == rows[i].v);
}
END_TEST

static void psi_is(const char *path, const char *avg10)
{
	char text[100];

	snprintf(text, sizeof(text), "some avg10=%s avg60=0.00 avg300=0.00 total=0\n", avg10);
	put(path, text);
}

/* By average, where no trigger is to be had: once a second. */
START_TEST(fires)
{
	group_up();
	check(soft_now() == LIMIT_NONE);
	check(!pressure_fired(now));
	psi_is("/proc/pressure/memory", "3.00");
	check(!pressure_fired(now += SECOND));
	psi_is("/proc/pressure/memory", "30.00");
	check(!pressure_fired(now + SECOND / 2));
	errno = 77;
	check(pressure_fired(now += SECOND) && errno == 77);
	/* the group's own file comes first */
	psi_is("/cg/a/memory.pressure", "0.50");
	check(!pressure_fired(now += SECOND));
	psi_is("/cg/a/memory.pressure", "50.00");
	psi_is("/proc/pressure/memory", "0.00");
	check(pressure_fired(now += SECOND));
	drop_root();
}
END_TEST

/*
 * A thread with files of its own: they are not the process's, and its last words
 * still come out on the process's stderr.
 */
static void *own_files(void *arg)
{
	int *fds = arg, fd;

	pressure_own_files();
	if (!debug_no_files)
		return NULL;
	check(write(fds[1], "x", 1) < 0 && errno == EBADF);
	fd = debug_stderr();
	check(fd >= 0 && write(fd, "last words", 10) == 10);
	check(open("/dev/null", O_RDONLY) >= 0);
	/* a file that is no trigger, and then none at all */
	check(!pressure_fired(now += SECOND) && !pressure_fired(now += SECOND));
	return arg;
}

START_TEST(files)
{
	int fds[2], saved = dup(STDERR_FILENO);
	pthread_t t;
	char buf[32];
	void *ret;

	group_up();
	psi_is("/proc/pressure/memory", "0.00");
	check(pipe(fds) == 0 && dup2(fds[1], STDERR_FILENO) >= 0);
	check(pthread_create(&t, NULL, own_files, fds) == 0);
	check(pthread_join(t, &ret) == 0);
	check(dup2(saved, STDERR_FILENO) >= 0);
	check(!debug_no_files && debug_stderr() == STDERR_FILENO);
	if (ret)
		check(read(fds[0], buf, sizeof(buf)) == 10 && !memcmp(buf, "last words", 10));
	/* nobody else has the pipe open: its end is seen */
	close(fds[1]);
	check(read(fds[0], buf, sizeof(buf)) == 0);
	drop_root();
}
END_TEST

/* The trigger is one of the group where the process is: it is written to that file. */
static void *moves_trigger(void *arg)
{
	static const char trigger[] = "some 200000 2000000";
	char buf[32] = "", full[128];
	int fd;

	pressure_own_files();
	check(debug_no_files);
	for (unsigned int g = 0; g < 2; g++) {
		put("/proc/thread-self/cgroup", g ? "0::/b\n" : "0::/a\n");
		for (unsigned int i = 0; i < 20; i++) {
			soft_now();
			check(!pressure_fired(now));
		}
		snprintf(full, sizeof(full), "%s/cg/%c/memory.pressure", root, "ab"[g]);
		fd = open(full, O_RDONLY);
		check(fd >= 0 && read(fd, buf, sizeof(trigger) - 1) > 0);
		check(!strcmp(buf, trigger));
		close(fd);
	}
	return arg;
}

START_TEST(trigger_moves)
{
	pthread_t t;

	group_up();
	psi_is("/cg/a/memory.pressure", "0.00");
	psi_is("/cg/b/memory.pressure", "0.00");
	check(pthread_create(&t, NULL, moves_trigger, NULL) == 0);
	check(pthread_join(t, NULL) == 0);
	drop_root();
}
END_TEST

/* A table of files of one's own, Linux 5.9. */
static bool can_own_files(void)
{
	pressure_own_files();
	return debug_no_files;
}

int main(void)
{
	Suite *s = suite_create("pressure");
	TCase *tc = tcase_create("pressure");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_test(tc, follows);
	tcase_add_test(tc, moves);
	tcase_add_test(tc, cpus);
	tcase_add_test(tc, headroom);
	tcase_add_test(tc, off);
	tcase_add_test(tc, percentages);
	tcase_add_test(tc, percent_of_machine);
	tcase_add_test(tc, program_limits);
	tcase_add_test(tc, averages);
	tcase_add_test(tc, fires);
	tcase_add_test(tc, files);
	if (in_process(can_own_files))
		tcase_add_test(tc, trigger_moves);
	else
		unit_skip("trigger_moves", "a thread has no files of its own here");
	suite_add_tcase(s, tc);
	return unit_run(s);
}
