/* SPDX-License-Identifier: MIT */
/*
 * rss.h - what the programs behind the pictures of resident memory share
 *
 * Such a program runs for seconds, and says at which moment what happened; the
 * script (tools/bench/rss) watches its memory from outside meanwhile. A line is
 *
 *	mark NAME SECONDS VALUE
 *
 * with the time of CLOCK_MONOTONIC, so that the script's clock is the same one.
 * Lines go out by write(2), and waiting is a system call alone: between two marks
 * that say so, the program makes no call into the allocator.
 *
 * The first mark is "start": its value is what the program itself has mapped, KiB,
 * which is no memory of the allocator's.
 */
#ifndef RSS_H
#define RSS_H

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

static inline void rss_mark(const char *name, double value)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "mark %s %.6f %.10g\n", name, bench_now() / 1e9,
			 value);

	if (write(STDOUT_FILENO, line, n) != n)
		_exit(1);
}

static inline void rss_wait(double seconds)
{
	struct timespec ts = {
		.tv_sec = seconds,
		.tv_nsec = (seconds - (time_t)seconds) * 1e9,
	};

	nanosleep(&ts, NULL);
}

static inline long rss_faults(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_minflt;
}

/* The state of the allocator with nothing in it, and the first mark. */
static inline void rss_start(void)
{
	free(bench_object(100));
	rss_mark("start", bench_mapped_kb());
	rss_wait(0.3);
}

#endif
