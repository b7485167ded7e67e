/* SPDX-License-Identifier: MIT */
/*
 * TAP output, options and the proof that the library is there: the common
 * ground of every test program that sees the public surface only.
 *
 *   tap_init(argc, argv)   options -t threads -d seconds -s seed; prints the
 *                          seed first; proves that malloc is heaparena's
 *   ok(), tap_skip()       one result line each
 *   tap_done()             the plan, and the exit status
 *
 * Exit status: 0 pass, 1 fail, 4 everything skipped (the reason is printed).
 *
 * Invariants
 *  1. Every line leaves with one write(2), so a forked child never repeats
 *     what the parent had buffered, and no line needs the allocator.
 *  2. A program whose malloc is not heaparena's fails, unless HA_ALLOW_ANY=1
 *     says that any malloc will do (to try a test on another allocator).
 *
 * ok() and diag() may be called from any thread, not from a signal handler.
 * This is no test framework: no fixtures, no fork per test, no time limit.
 */
#ifndef SELFTESTS_STRESS_TAP_H
#define SELFTESTS_STRESS_TAP_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define __maybe		__attribute__((__unused__))
#define __printf(f, a)	__attribute__((__format__(__printf__, f, a)))

#ifdef __SANITIZE_THREAD__
#define TAP_TSAN 1
#else
#define TAP_TSAN 0
#endif

#ifdef HA_MALLOC_MAPPED
#define TAP_PRELOADED 0
#else
#define TAP_PRELOADED 1
#endif

/*
 * The value of @x, of which the compiler knows nothing any more: it can
 * neither drop a malloc whose result looks unused nor warn about a size
 * that is wrong on purpose.
 */
#define HIDE(x) ({						\
	__typeof__((void)0, (x)) __hidden = (x);		\
	__asm__ volatile("" : "+r"(__hidden) : : "memory");	\
	__hidden;						\
})

struct tap_opts {
	unsigned int threads;
	double seconds;
	uint64_t seed;
	char **argv;
};

static struct tap_opts tap_opts __maybe = { .threads = 4, .seconds = 2 };
static pthread_mutex_t tap_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int tap_nr, tap_failed, tap_skipped;

static __maybe void tap_write(const char *prefix, const char *fmt, va_list ap)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "%s", prefix);
	int m = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);

	n += m < (int)sizeof(line) - n - 1 ? m : (int)sizeof(line) - n - 2;
	line[n++] = '\n';
	for (int done = 0; done < n;) {
		ssize_t w = write(STDOUT_FILENO, line + done, n - done);

		if (w < 0 && errno != EINTR)
			_exit(1);
		if (w > 0)
			done += w;
	}
}

static __maybe __printf(1, 2) void diag(const char *fmt, ...)
{
	int keep = errno;
	va_list ap;

	va_start(ap, fmt);
	tap_write("# ", fmt, ap);
	va_end(ap);
	errno = keep;
}

static __maybe __printf(2, 3) bool ok(bool good, const char *fmt, ...)
{
	int keep = errno;
	char prefix[32];
	va_list ap;

	pthread_mutex_lock(&tap_lock);
	if (!good)
		tap_failed++;
	snprintf(prefix, sizeof(prefix), "%sok %u - ", good ? "" : "not ",
		 ++tap_nr);
	va_start(ap, fmt);
	tap_write(prefix, fmt, ap);
	va_end(ap);
	pthread_mutex_unlock(&tap_lock);
	errno = keep;
	return good;
}

static __maybe void tap_skip(const char *what, const char *why)
{
	tap_skipped++;
	ok(true, "%s # SKIP %s", what, why);
}

static __maybe __attribute__((__noreturn__)) void tap_skip_all(const char *why)
{
	char line[256];
	int n = snprintf(line, sizeof(line), "1..0 # SKIP %s\n", why);

	_exit(write(STDOUT_FILENO, line, n) == n ? 4 : 1);
}

static __maybe __printf(1, 2) __attribute__((__noreturn__))
void tap_bail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tap_write("Bail out! ", fmt, ap);
	va_end(ap);
	_exit(1);
}

static __maybe int tap_done(void)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "1..%u\n", tap_nr);

	if (write(STDOUT_FILENO, line, n) != n || tap_failed || !tap_nr)
		return 1;
	return tap_skipped == tap_nr ? 4 : 0;
}

/* Whether the processor is qemu's: the kernel still knows our real name. */
static __maybe bool tap_emulated(void)
{
	char comm[16] = "";
	int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		ssize_t n = read(fd, comm, sizeof(comm) - 1);

		close(fd);
		return n > 5 && !memcmp(comm, "qemu-", 5);
	}
	return false;
}

/* malloc must be heaparena's: the same object exports it and ha_malloc. */
static __maybe void tap_prove_library(void)
{
#if TAP_PRELOADED
	const char *any = getenv("HA_ALLOW_ANY");
	void *ours = dlsym(RTLD_DEFAULT, "ha_malloc");
	void *used = dlsym(RTLD_DEFAULT, "malloc");
	Dl_info a, b;

	if (any && !strcmp(any, "1"))
		return;
	if (!ours)
		tap_bail("heaparena is not loaded (no ha_malloc)");
	if (!dladdr(ours, &a) || !dladdr(used, &b) || a.dli_fbase != b.dli_fbase)
		tap_bail("malloc is not heaparena's");
#endif
}

static __maybe void tap_init(int argc, char **argv)
{
	struct timespec ts;
	int c;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	tap_opts.argv = argv;
	tap_opts.seed = ts.tv_nsec ^ ((uint64_t)ts.tv_sec << 20) ^
			((uint64_t)getpid() << 40);
	while ((c = getopt(argc, argv, "t:d:s:")) != -1) {
		switch (c) {
		case 't':
			tap_opts.threads = strtoul(optarg, NULL, 0);
			break;
		case 'd':
			tap_opts.seconds = strtod(optarg, NULL);
			break;
		case 's':
			tap_opts.seed = strtoull(optarg, NULL, 0);
			break;
		default:
			tap_bail("usage: [-t threads] [-d seconds] [-s seed]");
		}
	}
	if (!tap_opts.threads)
		tap_opts.threads = 1;
	diag("seed 0x%llx threads %u seconds %g",
	     (unsigned long long)tap_opts.seed, tap_opts.threads,
	     tap_opts.seconds);
	tap_prove_library();
}

/* splitmix64: small, and any seed is a good one. */
static __maybe uint64_t rnd(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static __maybe uint64_t rnd_below(uint64_t *state, uint64_t n)
{
	return rnd(state) % n;
}

/* Log-uniform in [1, 2^max_shift]: every order of magnitude as often. */
static __maybe size_t rnd_size(uint64_t *state, unsigned int max_shift)
{
	unsigned int shift = rnd_below(state, max_shift);

	return ((size_t)1 << shift) + rnd_below(state, (uint64_t)1 << shift);
}

/* A field of /proc/self/status in KiB ("VmRSS", "VmSize"), -1 if unknown. */
static __maybe long tap_status_kb(const char *field)
{
	char buf[4096], *p;
	size_t len = strlen(field), n = 0;
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	for (ssize_t r; n < sizeof(buf) - 1 &&
	     (r = read(fd, buf + n, sizeof(buf) - 1 - n)) > 0;)
		n += r;
	close(fd);
	buf[n] = 0;
	for (p = buf; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		if (!strncmp(p, field, len) && p[len] == ':')
			return strtol(p + len + 1, NULL, 10);
	return -1;
}

#endif /* SELFTESTS_STRESS_TAP_H */
