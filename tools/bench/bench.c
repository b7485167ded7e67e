// SPDX-License-Identifier: MIT
/*
 * bench.c - clocks, memory figures and the result line; see bench.h
 */
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

uint64_t bench_now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

void bench_start(struct bench *b)
{
	b->cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	b->wall = clock_ns(CLOCK_MONOTONIC);
}

void bench_stop(struct bench *b)
{
	b->wall = clock_ns(CLOCK_MONOTONIC) - b->wall;
	b->cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - b->cpu;
}

/* The number after @key in a small /proc file, or 0. */
static uint64_t proc_value(const char *path, const char *key)
{
	char buf[4096];
	ssize_t n, len = 0;
	char *p;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	while (len < (ssize_t)sizeof(buf) - 1) {
		n = read(fd, buf + len, sizeof(buf) - 1 - len);
		if (n <= 0)
			break;
		len += n;
	}
	close(fd);
	buf[len] = 0;
	p = strstr(buf, key);
	return p ? strtoull(p + strlen(key), NULL, 10) : 0;
}

/*
 * Not getrusage(): its maximum survives exec, so a small program started by a
 * large one reports the large one. VmHWM may lag by the kernel's per-CPU
 * batches, so the exact present value raises it.
 */
uint64_t bench_peak_rss_kb(void)
{
	uint64_t peak = proc_value("/proc/self/status", "\nVmHWM:");
	uint64_t now = proc_value("/proc/self/smaps_rollup", "\nRss:");

	return peak > now ? peak : now;
}

void bench_report(const struct bench *b, const char *name, const char *params,
		  uint64_t nr_ops, unsigned int nr_threads)
{
	long nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t rss = bench_peak_rss_kb();
	struct rusage ru;
	double wall;

	getrusage(RUSAGE_SELF, &ru);
	wall = (double)b->wall;
	wall *= nr_threads < nr_cpus ? (long)nr_threads : nr_cpus;
	printf("%s %s %.2f %llu %ld %.2f\n", name, params,
	       wall / nr_ops, (unsigned long long)rss, ru.ru_minflt,
	       (double)b->cpu / nr_ops);
	fflush(stdout);
}

void *bench_map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		bench_die("no memory for %zu bytes of bench state", size);
	/* Huge pages would make the figure depend on the host's setting. */
	madvise(p, size, MADV_NOHUGEPAGE);
	return p;
}

void bench_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "bench: ");
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

uint64_t bench_number(const char *s)
{
	char *end;
	double v = strtod(s, &end);

	if (*end == 'k' || *end == 'K') {
		v *= 1024;
		end++;
	} else if (*end == 'm' || *end == 'M') {
		v *= 1024 * 1024;
		end++;
	}
	if (end == s || *end || v < 0 || v > 1e15 || isnan(v))
		bench_die("bad number '%s'", s);
	return (uint64_t)v;
}
