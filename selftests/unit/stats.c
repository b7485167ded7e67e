// SPDX-License-Identifier: MIT
/*
 * stats: the figures against what the test holds, the equations between them,
 * and the line of the report.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "conf.h"
#include "fixalloc.h"
#include "stats.h"

#include "fake/early.h"

#define MAX_LIVE	500
#ifndef PR_SET_VMA
#define PR_SET_VMA		0x53564d41
#define PR_SET_VMA_ANON_NAME	0
#endif

static struct ha_stats get(void)
{
	struct ha_stats st = { .size = sizeof(st) };

	check(ha_stats_get(&st) == 0 && st.size == sizeof(st));
	check(st.mapped == st.in_use + st.free + st.returned);
	check(st.live + st.cached <= st.in_use);
	check(st.mapped == vm_stat.prepared[VM_HEAP]);
	check(st.reserved == vm_stat.reserved[VM_HEAP]);
	check(st.metadata == meta_bytes() && st.nr_nodes == topo.nr_nodes);
	return st;
}

/* Counters only grow. */
static void check_grown(const struct ha_stats *a, const struct ha_stats *b)
{
	check(a->nr_spans_total <= b->nr_spans_total && a->nr_large <= b->nr_large);
	check(a->nr_refill <= b->nr_refill && a->nr_refills <= b->nr_refills);
	check(a->nr_flushes <= b->nr_flushes && a->metadata <= b->metadata);
}

static size_t usable(void *p)
{
	return ha_malloc_usable_size(p);
}

/* After each step live is the sum of the sizes held, to the byte. */
START_TEST(live_exact)
{
	struct unit_rand r = unit_rand(_i);
	static void *p[MAX_LIVE];
	struct ha_stats last, st;
	size_t live = 0, nr_large = 0;

	heap_up(&heap_modes[_i]);
	last = get();
	check(last.in_use == 0 && last.live == 0 && last.cached == 0);
	check(last.nr_spans == 0 && last.nr_refill == 0 && last.nr_spans_total == 0);
	for (unsigned int step = 0; step < 6000; step++) {
		unsigned int i = rand_below(&r, MAX_LIVE);
		size_t size = rand_log(&r, rand_below(&r, 16) ? 15 : 23);

		if (p[i]) {
			live -= usable(p[i]);
			ha_free(p[i]);
			p[i] = NULL;
		} else {
			p[i] = ha_malloc(size);
			check(p[i]);
			live += usable(p[i]);
			nr_large += size > MAX_MEDIUM_SIZE;
		}
		st = get();
		check(st.live == live && st.nr_large == nr_large);
		check_grown(&last, &st);
		last = st;
	}
	check(st.nr_refill && st.nr_refills && st.nr_spans_total && st.nr_spans);
	check(st.nr_refill >= st.nr_refills);
	for (unsigned int i = 0; i < MAX_LIVE; i++)
		ha_free(p[i]);
	st = get();
	check(st.live == 0 && st.cached > 0);
	ha_release();
	st = get();
	check(st.live == 0 && st.cached == 0 && st.in_use == 0 && st.nr_spans == 0);
	check(st.free == 0 && st.returned == st.mapped);
}
END_TEST

static void *work_thread(void *arg)
{
	struct unit_rand r = unit_rand(50 + (uintptr_t)arg);
	size_t kept = 0;
	void *p[300];

	for (unsigned int round = 0; round < 60; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
			p[i] = ha_malloc(rand_log(&r, 12));
			check(p[i]);
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
			if (round == 30 && i % 3 == 0)
				kept += usable(p[i]);
			else
				ha_free(p[i]);
		}
	}
	return (void *)kept;
}

/* When the threads have gone the figures are exact again. */
START_TEST(after_threads)
{
	pthread_t t[6];
	size_t live = 0;
	struct ha_stats st;

	heap_up(&heap_modes[_i]);
	for (uintptr_t i = 0; i < ARRAY_SIZE(t); i++)
		check(!pthread_create(&t[i], NULL, work_thread, (void *)i));
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		void *kept;

		check(!pthread_join(t[i], &kept));
		live += (size_t)kept;
	}
	st = get();
	check(st.live == live);
	ha_release();
	st = get();
	check(st.live == live && st.cached == 0);
}
END_TEST

/* Bytes of the mappings whose name begins with "heaparena", as /proc lists them. */
static size_t named_bytes(void)
{
	static char buf[1 << 20];
	static const char name[] = "[anon:heaparena ";
	int fd = open("/proc/self/maps", O_RDONLY);
	size_t len = 0, sum = 0;
	ssize_t n;

	check(fd >= 0);
	while ((n = read(fd, buf + len, sizeof(buf) - 1 - len)) > 0)
		len += n;
	close(fd);
	buf[len] = '\0';
	for (char *p = buf, *end; *p; p = end + 1) {
		unsigned long from, to;

		end = strchr(p, '\n');
		*end = '\0';
		check(sscanf(p, "%lx-%lx", &from, &to) == 2);
		if (strstr(p, name))
			sum += to - from;
	}
	return sum;
}

/* Each mapping that was made has its name. */
START_TEST(all_named)
{
	static void *p[40000];
	size_t bytes = 0;

	conf.thp = _i ? THP_ALWAYS : THP_AUTO;
	heap_up(&heap_modes[0]);
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = ha_malloc(i % 100 ? 16 : 100000);
		check(p[i]);
	}
	/* enough for states on huge pages */
	for (unsigned int i = 0; i < 3000000; i++)
		check(ha_malloc(16));
	for (unsigned int k = 0; k < NR_VM_KINDS; k++)
		bytes += vm_stat.reserved[k] + vm_stat.prepared[k];
	ck_assert_uint_eq(named_bytes(), bytes);
}
END_TEST

/* The kernel knows names of anonymous memory. */
static bool kernel_names(void)
{
	void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool ok = p != MAP_FAILED && !prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, 4096, "x");

	munmap(p, 4096);
	return ok;
}

/* An older caller knows a shorter struct: no byte behind it is written. */
START_TEST(short_struct)
{
	struct ha_stats all;
	void *p;

	heap_up(&heap_modes[0]);
	p = ha_malloc(100);
	check(p);
	all = get();
	for (size_t size = 0; size <= sizeof(all) + 32; size++) {
		union {
			struct ha_stats st;
			unsigned char bytes[sizeof(struct ha_stats) + 64];
		} u, want;
		int err;

		memset(&u, 0x5a, sizeof(u));
		u.st.size = size;
		want = u;
		errno = 0;
		err = ha_stats_get(&u.st);
		if (size < 2 * sizeof(size_t)) {
			check(err == -1 && errno == EINVAL);
		} else {
			size_t n = min_size(size, sizeof(all));

			check(err == 0);
			memcpy(&want, &all, n);
			want.st.size = n;
		}
		check(memcmp(&u, &want, sizeof(u)) == 0);
	}
	ha_free(p);
}
END_TEST

/* The value behind "name": in the line. */
static unsigned long field(const char *line, const char *name)
{
	char key[64];
	const char *at;

	snprintf(key, sizeof(key), "\"%s\":", name);
	at = strstr(line, key);
	if (!at)
		ck_abort_msg("no %s in %s", name, line);
	return strtoul(at + strlen(key), NULL, 10);
}

static void report_child(void)
{
	void *p[100];

	heap_up(&heap_modes[0]);
	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = ha_malloc(1000);
	check(p[99] && ha_malloc(2 << 20) && ha_malloc(2 << 20));
	exit(0);
}

/* %p is the process that ends; two of them are two lines of one file. */
START_TEST(report)
{
	char path[] = "/tmp/ha-stats-XXXXXX", line[1000];
	int fd = mkstemp(path), status;
	pid_t pid[2];
	FILE *f;

	check(fd >= 0);
	close(fd);
	snprintf(conf.report, sizeof(conf.report), "%s", path);
	for (unsigned int i = 0; i < 2; i++) {
		pid[i] = fork();
		if (!pid[i])
			report_child();
		check(waitpid(pid[i], &status, 0) == pid[i] && status == 0);
	}
	f = fopen(path, "r");
	check(f);
	for (unsigned int i = 0; i < 2; i++) {
		check(fgets(line, sizeof(line), f));
		check(line[0] == '{' && line[strlen(line) - 2] == '}');
		check(field(line, "heaparena") == 1);
		check(field(line, "pid") == (unsigned long)pid[i]);
		check(field(line, "large_allocs") == 2 && field(line, "refills") >= 1);
		check(field(line, "refill_objects") >= 100 && field(line, "flushes") == 0);
		check(field(line, "spans") >= 1 && field(line, "nodes") == topo.nr_nodes);
		check(field(line, "in_use") > (2 << 20));
		check(field(line, "mapped") >= field(line, "in_use"));
		check(strstr(line, heap_has_rseq() ? "\"rseq\":true" : "\"rseq\":"));
	}
	check(!fgets(line, sizeof(line), f));
	fclose(f);
	unlink(path);
}
END_TEST

START_TEST(report_pid)
{
	char path[64];
	int status;
	pid_t pid;

	snprintf(conf.report, sizeof(conf.report), "/tmp/ha-%%p-stats-%%p");
	pid = fork();
	if (!pid)
		report_child();
	check(waitpid(pid, &status, 0) == pid && status == 0);
	snprintf(path, sizeof(path), "/tmp/ha-%d-stats-%d", pid, pid);
	check(access(path, R_OK) == 0 && unlink(path) == 0);
}
END_TEST

/* Where no file can be made the process ends as ever. */
START_TEST(report_nowhere)
{
	int status;
	pid_t pid;

	snprintf(conf.report, sizeof(conf.report), "/nowhere/at/all");
	pid = fork();
	if (!pid)
		report_child();
	check(waitpid(pid, &status, 0) == pid && status == 0);
}
END_TEST

/* A process that never allocated reports zeroes. */
START_TEST(report_unused)
{
	char path[] = "/tmp/ha-stats-XXXXXX", line[1000];
	int fd = mkstemp(path), status;
	pid_t pid;
	FILE *f;

	check(fd >= 0);
	close(fd);
	snprintf(conf.report, sizeof(conf.report), "%s", path);
	pid = fork();
	if (!pid)
		exit(0);
	check(waitpid(pid, &status, 0) == pid && status == 0);
	f = fopen(path, "r");
	check(f && fgets(line, sizeof(line), f));
	check(field(line, "refill_objects") == 0 && field(line, "mapped") == 0);
	fclose(f);
	unlink(path);
}
END_TEST

Suite *unit_suite(void)
{
	Suite *s = suite_create("stats");
	TCase *tc = tcase_create("figures");

	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, live_exact, 0, NR_HEAP_MODES);
	tcase_add_loop_test(tc, after_threads, 0, NR_HEAP_MODES);
	if (kernel_names())
		tcase_add_loop_test(tc, all_named, 0, 2);
	else
		unit_skip("all_named", "the kernel has no names for anonymous memory");
	tcase_add_test(tc, short_struct);
	tcase_add_test(tc, report);
	tcase_add_test(tc, report_pid);
	tcase_add_test(tc, report_nowhere);
	tcase_add_test(tc, report_unused);
	suite_add_tcase(s, tc);
	return s;
}
