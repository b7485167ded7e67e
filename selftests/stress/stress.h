/* SPDX-License-Identifier: MIT */
/*
 * What the stress programs share: patterns that find an overlap, a clock
 * that ends the run, workers, failures from any thread, a watchdog.
 *
 * Every object is filled with words made of its own address, and checked
 * before it is freed: two live objects that overlap cannot both be right.
 * Objects over 4 KiB carry the pattern in their first 4 KiB, in one word
 * every stride, and in their last word: enough to meet any other object,
 * and a 512 MiB object does not have to be resident.
 *
 *   |0 ... 4095 every word|stride: word|2 strides: word|  ...  |last word|
 *
 * Failures are counted and the first few printed; stress_end() turns them
 * into the TAP line of the run. All of it may be called by any thread; none
 * of it allocates.
 */
#ifndef SELFTESTS_STRESS_STRESS_H
#define SELFTESTS_STRESS_STRESS_H

#include "tap.h"
#include <malloc.h>
#include <signal.h>

#define PATTERN_FULL	4096u

struct obj {
	unsigned char *p;
	size_t size;
};

struct worker {
	pthread_t thread;
	unsigned int id;
	uint64_t rng;
	unsigned long ops;
	void *(*run)(struct worker *w);
};

static int stress_stopped;
static unsigned long stress_failures;

static inline bool stress_stop(void)
{
	return __atomic_load_n(&stress_stopped, __ATOMIC_RELAXED);
}

/* Count a failure, print the first ones, and let everybody come to an end. */
static __maybe __printf(1, 2) void stress_fail(const char *fmt, ...)
{
	va_list ap;

	if (__atomic_fetch_add(&stress_failures, 1, __ATOMIC_RELAXED) < 5) {
		va_start(ap, fmt);
		tap_write("# FAILED: ", fmt, ap);
		va_end(ap);
	}
	__atomic_store_n(&stress_stopped, 1, __ATOMIC_RELAXED);
}

static inline uint64_t pattern_word(const void *base, size_t off)
{
	return ((uintptr_t)base + off) * 0x9e3779b97f4a7c15ull ^ 0x5555aaaa33cc;
}

static inline size_t pattern_stride(size_t size)
{
	return size <= 1 << 20 ? 4096 : 65536;
}

/* Store or compare one word, or as much of it as lies below @limit. */
static inline bool pattern_at(unsigned char *p, const void *base, size_t off,
			      size_t limit, bool store)
{
	uint64_t word = pattern_word(base, off);
	size_t n = limit - off < sizeof(word) ? limit - off : sizeof(word);

	if (store) {
		memcpy(p + off, &word, n);
		return true;
	}
	return !memcmp(p + off, &word, n);
}

/*
 * Walk the pattern that @base had with @size bytes over the first @valid
 * bytes at @p. Returns the first offset that differs, @valid if none does.
 */
static __maybe size_t pattern_walk(unsigned char *p, const void *base,
				   size_t size, size_t valid, bool store)
{
	size_t off, stride = pattern_stride(size);
	size_t full = valid < PATTERN_FULL ? valid : PATTERN_FULL;

	for (off = 0; off < full; off += 8)
		if (!pattern_at(p, base, off, full, store))
			return off;
	for (off = stride; off + 8 <= valid; off += stride)
		if (!pattern_at(p, base, off, valid, store))
			return off;
	if (size >= PATTERN_FULL + 8 && valid == size && size % stride >= 16)
		if (!pattern_at(p, base, size - 8, size, store))
			return size - 8;
	return valid;
}

static inline void obj_fill(struct obj *o)
{
	pattern_walk(o->p, o->p, o->size, o->size, true);
}

static __maybe bool obj_check(const struct obj *o, const char *where)
{
	size_t bad = pattern_walk(o->p, o->p, o->size, o->size, false);

	if (bad == o->size)
		return true;
	stress_fail("%s: object %p of %zu bytes is damaged at %zu", where,
		    (void *)o->p, o->size, bad);
	return false;
}

/* Allocate by @how (any number), fill. False, and a failure, without memory. */
static __maybe bool obj_new(struct obj *o, size_t size, unsigned int how)
{
	size_t align = 16;
	void *p;

	switch (how % 8) {
	case 0:
		p = calloc(1, size);
		for (size_t i = 0; p && i < size; i += size < 4096 ? 1 : 61)
			if (((unsigned char *)p)[i]) {
				stress_fail("calloc(%zu) is not zero at %zu", size, i);
				break;
			}
		break;
	case 1:
		align = (size_t)8 << (how / 8 % 8);
		p = aligned_alloc(align, size);
		break;
	case 2:
		align = (size_t)8 << (how / 8 % 8);
		if (posix_memalign(&p, align, size))
			p = NULL;
		break;
	case 3:
		p = realloc(NULL, size);
		break;
	default:
		p = malloc(size);
	}
	o->p = p;
	o->size = size;
	if (!p) {
		stress_fail("no memory for %zu bytes", size);
		return false;
	}
	if ((uintptr_t)p & ((size <= 8 && align == 16 ? 8 : align) - 1))
		stress_fail("%p of %zu bytes is not aligned to %zu", p, size, align);
	obj_fill(o);
	return true;
}

/* Check and free; an empty slot is fine. */
static __maybe void obj_end(struct obj *o, const char *where)
{
	if (o->p)
		obj_check(o, where);
	free(o->p);
	o->p = NULL;
}

/* Change the size; the content up to the smaller size must have moved along. */
static __maybe void obj_resize(struct obj *o, size_t size, const char *where)
{
	size_t keep = size < o->size ? size : o->size, bad;
	uintptr_t old = (uintptr_t)o->p;
	unsigned char *p = realloc(HIDE(o->p), size);

	if (!p) {
		stress_fail("%s: no memory to resize %zu to %zu", where, o->size, size);
		return;
	}
	bad = pattern_walk(p, (void *)old, o->size, keep, false);
	if (bad != keep)
		stress_fail("%s: realloc from %zu (%#lx) to %zu (%p) lost the content at %zu",
			    where, o->size, (unsigned long)old, size, (void *)p, bad);
	o->p = p;
	o->size = size;
	obj_fill(o);
}

/* Mostly small, all orders of magnitude, now and then beyond the classes. */
static __maybe size_t size_mixed(uint64_t *rng)
{
	switch (rnd_below(rng, 256)) {
	case 0:
		return rnd_size(rng, 20);
	case 1 ... 15:
		return rnd_size(rng, 15);
	default:
		return rnd_size(rng, 10);
	}
}

static void *worker_start(void *arg)
{
	struct worker *w = arg;

	return w->run(w);
}

/* Start @n workers; a thread that cannot start ends the program. */
static __maybe void workers_start(struct worker *w, unsigned int n,
				  void *(*run)(struct worker *))
{
	for (unsigned int i = 0; i < n; i++) {
		int err;

		w[i].id = i;
		w[i].rng = tap_opts.seed * 0x10001 + i * 7919 + 1;
		w[i].ops = 0;
		w[i].run = run;
		err = pthread_create(&w[i].thread, NULL, worker_start, &w[i]);
		if (err)
			tap_bail("pthread_create: %s", strerror(err));
	}
}

/* Join them; the sum of what they counted. */
static __maybe unsigned long workers_join(struct worker *w, unsigned int n)
{
	unsigned long ops = 0;

	for (unsigned int i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		ops += w[i].ops;
	}
	return ops;
}

static __maybe double now_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Let the workers run for @share of the time, then tell them to stop. */
static __maybe void stress_run(double share)
{
	double end = now_seconds() + tap_opts.seconds * share;

	while (!stress_stop() && now_seconds() < end)
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	__atomic_store_n(&stress_stopped, 1, __ATOMIC_RELAXED);
}

/* Between two phases. False after a failure: the rest would only repeat it. */
static __maybe bool stress_again(void)
{
	if (__atomic_load_n(&stress_failures, __ATOMIC_RELAXED))
		return false;
	__atomic_store_n(&stress_stopped, 0, __ATOMIC_RELAXED);
	return true;
}

/* The TAP line of a phase: passes when nothing failed in it. */
static __maybe __printf(1, 2) void stress_end(const char *fmt, ...)
{
	unsigned long bad = __atomic_exchange_n(&stress_failures, 0, __ATOMIC_RELAXED);
	char what[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (bad)
		ok(false, "%s: %lu failures", what, bad);
	else
		ok(true, "%s", what);
}

static void watchdog_bite(int sig)
{
	static const char line[] = "Bail out! the watchdog: it hangs\n";
	ssize_t n = write(STDOUT_FILENO, line, sizeof(line) - 1);

	(void)n;
	_exit(sig ? 1 : 2);
}

/*
 * A hang ends as a failure, well before the limit of the runner. Children
 * have no alarm of their own until they set one.
 */
static __maybe void watchdog(unsigned int seconds)
{
	struct sigaction sa = { .sa_handler = watchdog_bite };

	sigaction(SIGALRM, &sa, NULL);
	alarm(seconds + (unsigned int)tap_opts.seconds * 10);
}

#endif /* SELFTESTS_STRESS_STRESS_H */
