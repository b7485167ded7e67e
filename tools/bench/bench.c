// SPDX-License-Identifier: MIT
/*
 * bench.c - clocks, memory figures, threads and the result lines; see bench.h
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

#define MAX_NOTES	8
#define MAX_OPTIONS	16
#define STACK_SIZE	(256 * 1024)

static uint64_t mapped_kb;	/* by bench_map() */
static struct {
	const char *key;
	double value;
} notes[MAX_NOTES];
static unsigned int nr_notes;

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
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	b->voluntary = ru.ru_nvcsw;
	b->involuntary = ru.ru_nivcsw;
	b->cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	b->wall = clock_ns(CLOCK_MONOTONIC);
}

void bench_stop(struct bench *b)
{
	struct rusage ru;

	b->wall = clock_ns(CLOCK_MONOTONIC) - b->wall;
	b->cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - b->cpu;
	getrusage(RUSAGE_SELF, &ru);
	b->voluntary = ru.ru_nvcsw - b->voluntary;
	b->involuntary = ru.ru_nivcsw - b->involuntary;
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

uint64_t bench_mapped_kb(void)
{
	return __atomic_load_n(&mapped_kb, __ATOMIC_RELAXED);
}

static uint64_t without_mapped(uint64_t kb)
{
	return kb > mapped_kb ? kb - mapped_kb : 0;
}

/* Not statm: the kernel's counters behind it lag, by a batch for each CPU. */
uint64_t bench_rss_kb(void)
{
	return without_mapped(proc_value("/proc/self/smaps_rollup", "\nRss:"));
}

/*
 * Not getrusage(): its maximum survives exec, so a small program started by a
 * large one reports the large one. VmHWM may lag by the kernel's per-CPU
 * batches, so the exact present value raises it.
 */
uint64_t bench_peak_rss_kb(void)
{
	uint64_t peak = without_mapped(proc_value("/proc/self/status", "\nVmHWM:"));
	uint64_t now = bench_rss_kb();

	return peak > now ? peak : now;
}

void bench_peak(struct bench *b)
{
	b->peak_kb = bench_peak_rss_kb();
}

void bench_note(const char *key, double value)
{
	if (nr_notes == MAX_NOTES)
		bench_die("too many notes");
	notes[nr_notes].key = key;
	notes[nr_notes++].value = value;
}

void bench_report(const struct bench *b, const char *name, const char *params,
		  uint64_t nr_ops, unsigned int nr_threads)
{
	long nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	const char *idle = getenv("BENCH_IDLE");
	uint64_t after = bench_rss_kb();
	struct timespec ts = { 0 };
	struct rusage ru;
	unsigned int i;
	double wall;

	getrusage(RUSAGE_SELF, &ru);
	wall = (double)b->wall;
	wall *= nr_threads < nr_cpus ? (long)nr_threads : nr_cpus;
	printf("%s %s %.2f %llu %ld %.2f %llu %ld %ld %llu", name, params,
	       wall / nr_ops, (unsigned long long)b->peak_kb, ru.ru_minflt,
	       (double)b->cpu / nr_ops, (unsigned long long)after,
	       b->voluntary, b->involuntary, (unsigned long long)nr_ops);
	for (i = 0; i < nr_notes; i++)
		printf(" %s=%.2f", notes[i].key, notes[i].value);
	putchar('\n');
	fflush(stdout);
	if (!idle)
		return;
	ts.tv_sec = bench_number(idle);
	nanosleep(&ts, NULL);
	printf("idle %llu\n", (unsigned long long)bench_rss_kb());
	fflush(stdout);
}

void bench_series(const char *curve, double x, double value)
{
	printf("series %s %.10g %.10g\n", curve, x, value);
}

void *bench_map(size_t size)
{
	void *p;

	size = (size + 4095) & ~(size_t)4095;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		bench_die("no memory for %zu bytes of bench state", size);
	/* Huge pages would make the figure depend on the host's setting. */
	madvise(p, size, MADV_NOHUGEPAGE);
	memset(p, 0, size);
	__atomic_fetch_add(&mapped_kb, size / 1024, __ATOMIC_RELAXED);
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

uint64_t bench_scaled(uint64_t nr_ops)
{
	const char *scale = getenv("BENCH_SCALE");
	uint64_t n = scale ? nr_ops * strtod(scale, NULL) : nr_ops;

	return n ? n : 1;
}

/* ---- options ---------------------------------------------------------------- */

static void usage(const struct bench_option *table)
{
	char text[1024] = "";
	size_t len = 0;

	for (; table->letter && len < sizeof(text) - 64; table++)
		len += snprintf(text + len, sizeof(text) - len, " [-%c %s]",
				table->letter, table->name);
	bench_die("options:%s", text);
}

static uint64_t option_value(const struct bench_option *o, const char *arg)
{
	uint64_t i;

	if (!o->words)
		return bench_number(arg);
	for (i = 0; o->words[i]; i++)
		if (!strcmp(o->words[i], arg))
			return i;
	bench_die("-%c: no '%s'", o->letter, arg);
}

/* name=value of each row; a zero makes no sense in any number. */
static const char *option_params(const struct bench_option *table)
{
	static char params[256];
	size_t len = 0;

	for (; table->letter; table++) {
		if (!table->words && !*table->value)
			bench_die("-%c: %s is 0", table->letter, table->name);
		if (len)
			params[len++] = ',';
		if (table->words)
			len += snprintf(params + len, sizeof(params) - len, "%s=%s",
					table->name, table->words[*table->value]);
		else
			len += snprintf(params + len, sizeof(params) - len, "%s=%llu",
					table->name, (unsigned long long)*table->value);
		if (len > sizeof(params) - 48)
			bench_die("too many options");
	}
	return params;
}

const char *bench_options(int argc, char **argv, const struct bench_option *table)
{
	char letters[2 * MAX_OPTIONS + 1];
	const struct bench_option *o;
	size_t n = 0;
	int c;

	for (o = table; o->letter && n < sizeof(letters) - 2; o++) {
		letters[n++] = o->letter;
		letters[n++] = ':';
	}
	letters[n] = 0;
	while ((c = getopt(argc, argv, letters)) != -1) {
		for (o = table; o->letter && o->letter != c; o++)
			;
		if (!o->letter)
			usage(table);
		*o->value = option_value(o, optarg);
	}
	if (optind < argc)
		usage(table);
	for (o = table; o->letter; o++)
		if (!strcmp(o->name, "ops"))
			*o->value = bench_scaled(*o->value);
	return option_params(table);
}

/* ---- threads ---------------------------------------------------------------- */

static pthread_barrier_t gate;

static void drain_worker(struct bench_worker *w)
{
	uint64_t i;

	if (w->load->drain) {
		w->load->drain(w);
		return;
	}
	for (i = 0; i < w->nr_slots; i++) {
		free(w->slots[i]);
		w->slots[i] = NULL;
	}
}

static void *run_worker(void *arg)
{
	struct bench_worker *w = arg;

	if (w->load->fill)
		w->load->fill(w);
	pthread_barrier_wait(&gate);	/* all are full: the clock starts */
	pthread_barrier_wait(&gate);
	w->load->work(w);
	pthread_barrier_wait(&gate);	/* the clock stops */
	pthread_barrier_wait(&gate);	/* the peak has been read */
	drain_worker(w);
	pthread_barrier_wait(&gate);	/* all is free */
	pthread_barrier_wait(&gate);	/* the report has been written */
	return NULL;
}

static struct bench_worker *make_workers(const struct bench_load *load,
					 unsigned int nr_threads,
					 uint64_t nr_slots, uint64_t nr_ops)
{
	struct bench_worker *workers = bench_map(nr_threads * sizeof(*workers));
	unsigned int i;

	for (i = 0; i < nr_threads; i++) {
		struct bench_worker *w = &workers[i];

		w->idx = i;
		w->nr = nr_threads;
		w->rnd = bench_seed(1, i);
		w->load = load;
		w->nr_ops = nr_ops / nr_threads ? nr_ops / nr_threads : 1;
		w->nr_slots = nr_slots / nr_threads;
		if (w->nr_slots >> 31)
			bench_die("too many objects");
		if (w->nr_slots)
			w->slots = bench_map(w->nr_slots * sizeof(void *));
	}
	return workers;
}

static void look(const struct bench_load *load, struct bench *b)
{
	bench_peak(b);
	if (load->look)
		load->look();
}

static void run_one(struct bench_worker *w, const char *params)
{
	struct bench b;

	if (w->load->fill)
		w->load->fill(w);
	bench_start(&b);
	w->load->work(w);
	bench_stop(&b);
	look(w->load, &b);
	drain_worker(w);
	bench_report(&b, w->load->name, params, w->nr_ops, 1);
}

void bench_run(const struct bench_load *load, const char *params,
	       unsigned int nr_threads, uint64_t nr_slots, uint64_t nr_ops)
{
	struct bench_worker *workers;
	pthread_attr_t attr;
	struct bench b;
	unsigned int i;

	if (!nr_threads)
		bench_die("no threads");
	workers = make_workers(load, nr_threads, nr_slots, nr_ops);
	if (nr_threads == 1) {
		run_one(workers, params);
		return;
	}
	pthread_barrier_init(&gate, NULL, nr_threads + 1);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	for (i = 0; i < nr_threads; i++)
		if (pthread_create(&workers[i].thread, &attr, run_worker, &workers[i]))
			bench_die("no thread");

	pthread_barrier_wait(&gate);
	bench_start(&b);
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	bench_stop(&b);
	look(load, &b);
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	bench_report(&b, load->name, params, workers[0].nr_ops * nr_threads, nr_threads);
	pthread_barrier_wait(&gate);
	for (i = 0; i < nr_threads; i++)
		pthread_join(workers[i].thread, NULL);
}
