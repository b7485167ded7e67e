/* SPDX-License-Identifier: MIT */
/*
 * What the unit tests share: the seed, random numbers, a check that is cheap
 * enough for inner loops, skips, and the end of main().
 *
 *   HA_SEED=N    repeat the run that printed "# HA_SEED=N"
 *   HA_SECONDS=1 a short run: unit_storm()
 *
 * unit_seed() comes first in main(), before Check forks: every test then draws
 * from a generator of its own, seeded by the run's seed and the test's number,
 * so that the order and the choice of tests change nothing.
 */
#ifndef SELFTESTS_FAKE_UNIT_H
#define SELFTESTS_FAKE_UNIT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <util/compiler.h>

#include "page.h"

/* Emulated and sanitized runs are twenty times slower than plain ones. */
#define UNIT_TIMEOUT		240

static uint64_t unit_run_seed;

static inline void unit_seed(void)
{
	const char *env = getenv("HA_SEED");
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	unit_run_seed = env ? strtoull(env, NULL, 0) :
			      (uint64_t)ts.tv_sec * 1000003 + ts.tv_nsec + getpid();
	printf("# HA_SEED=%llu\n", (unsigned long long)unit_run_seed);
	fflush(stdout);
}

/* splitmix64: any seed is a good one. */
struct unit_rand {
	uint64_t state;
};

static inline struct unit_rand unit_rand(unsigned int test)
{
	return (struct unit_rand){ unit_run_seed + test * 0x632be59bd9b4e019ULL };
}

static inline uint64_t rand_u64(struct unit_rand *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static inline uint64_t rand_below(struct unit_rand *r, uint64_t n)
{
	return rand_u64(r) % n;
}

/* 1 .. 2^max_shift, every order of magnitude as often. */
static inline uint64_t rand_log(struct unit_rand *r, unsigned int max_shift)
{
	unsigned int shift = rand_below(r, max_shift);

	return (1ULL << shift) + rand_below(r, 1ULL << shift);
}

/* So often is repeated what the scheduler decides: @n times, half of them in a short run. */
static inline __maybe_unused unsigned int unit_storm(unsigned int n)
{
	const char *env = getenv("HA_SECONDS");

	return env && strtod(env, NULL) < 2 ? (n + 1) / 2 : n;
}

/* ck_assert() writes to a file each time; this does so on failure only. */
#define check(c)						\
do {								\
	if (unlikely(!(c)))					\
		ck_abort_msg("%s", #c);				\
} while (0)

/* Check has no word for "not here, because": these go into its TAP stream. */
#define UNIT_MAX_SKIPS	16

static struct {
	const char *name, *why;
} unit_skips[UNIT_MAX_SKIPS];
static unsigned int unit_nr_skips;

/* Instead of adding the test @name to the suite. */
static inline __maybe_unused void unit_skip(const char *name, const char *why)
{
	if (unit_nr_skips == UNIT_MAX_SKIPS)
		abort();
	unit_skips[unit_nr_skips].name = name;
	unit_skips[unit_nr_skips++].why = why;
}

/* For a test of what goes back page by page of the heap, which larger kernel pages do not. */
static inline __maybe_unused bool unit_small_pages(const char *name)
{
	if ((size_t)sysconf(_SC_PAGESIZE) <= HA_PAGE_SIZE)
		return true;
	unit_skip(name, "kernel pages are larger than those of the heap");
	return false;
}

/* What Check wrote, its plan replaced by one that counts the skips as well. */
static inline void unit_print_tap(FILE *tap)
{
	unsigned int plan = 0, i;
	char line[4096];

	rewind(tap);
	while (fgets(line, sizeof(line), tap)) {
		if (sscanf(line, "1..%u", &plan) != 1)
			fputs(line, stdout);
	}
	for (i = 0; i < unit_nr_skips; i++)
		printf("ok %u - %s # SKIP %s\n", plan + i + 1,
		       unit_skips[i].name, unit_skips[i].why);
	printf("1..%u\n", plan + unit_nr_skips);
}

static inline int unit_run(Suite *suite)
{
	SRunner *sr = srunner_create(suite);
	FILE *tap = unit_nr_skips ? tmpfile() : NULL;
	char path[32] = "-";
	int failed;

	if (tap)
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fileno(tap));
	srunner_set_tap(sr, path);
	srunner_run_all(sr, CK_SILENT);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	if (tap)
		unit_print_tap(tap);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif /* SELFTESTS_FAKE_UNIT_H */
