// SPDX-License-Identifier: MIT
/*
 * calloc and what else zeroes: all that malloc_usable_size() says of the object, as
 * with glibc, over memory that was written; and a large object without the memory that
 * nobody has touched.
 */
#include <heaparena/heaparena.h>
#include <malloc.h>

#include "conform.h"

#define MIB (1ul << 20)

static bool is_zero(const char *p, size_t size)
{
	return !size || (!p[0] && !memcmp(p, p + 1, size - 1));
}

/* The address of a function that a program need not be linked with. */
#define LIB(name)	((__typeof__(&name))dlsym(RTLD_DEFAULT, #name))

static void *by_calloc(size_t size)
{
	return calloc(1, size);
}

static void *by_alloc(size_t size)
{
	return LIB(ha_alloc)(size, 64, HA_ZERO);
}

static void *by_dense(size_t size)
{
	return LIB(ha_alloc)(size, 0, HA_ZERO | HA_DENSE);
}

static struct ha_heap *heap;

static void *by_heap(size_t size)
{
	return LIB(ha_heap_alloc)(heap, size, 0, HA_ZERO);
}

static const struct {
	const char *name;
	void *(*make)(size_t size);
} makers[] = {
	{ "calloc", by_calloc },
	{ "ha_alloc, aligned", by_alloc },
	{ "ha_alloc, dense", by_dense },
	{ "ha_heap_alloc", by_heap },
};

/* What was here before has left no byte, with memory that was written. */
static size_t test_size(void *(*make)(size_t), size_t size)
{
	size_t usable, bad = 0;
	char *p;

	for (int turn = 0; turn < 3; turn++) {
		p = HIDE(make(size));
		if (!p)
			return 1;
		usable = malloc_usable_size(p);
		bad += usable < size || !is_zero(p, usable);
		memset(p, 0xeb, usable);
		free(p);
	}
	return bad;
}

static void test_usable(void)
{
	heap = LIB(ha_heap_create)("zeroed", 0);
	for (unsigned int i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
		size_t bad = 0;

		for (size_t size = 0; size <= 1100; size++)
			bad += test_size(makers[i].make, size);
		for (size_t size = 1101; size <= 5 * MIB; size += size / 11)
			bad += test_size(makers[i].make, size);
		for (size_t size = 2048; size <= 2 * MIB; size *= 2)
			bad += test_size(makers[i].make, size) + test_size(makers[i].make, size + 1);
		ok(!bad, "%s: all of the usable size is zero (%zu are not)", makers[i].name, bad);
	}
	LIB(ha_heap_destroy)(heap);
}

static size_t resident(void)
{
	char line[256];
	size_t pages = 0;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, line, sizeof(line) - 1);

	close(fd);
	line[n > 0 ? n : 0] = 0;
	sscanf(line, "%*s %zu", &pages);
	return pages * sysconf(_SC_PAGESIZE);
}

static void say(bool good, const char *name, const char *what)
{
	printf("%c%s: %s\n", good ? '+' : '-', name, what);
}

/* Some of it touched, in the middle of steps and off it; freed; zero anew. */
static void test_untouched(void *(*make)(size_t), const char *name)
{
	size_t size = HIDE(300 * MIB + 12345), before, after;
	size_t touched[] = { 0, 4096 * 5 + 1, 24 * MIB, 24 * MIB + 4096, 100 * MIB + 8 * MIB,
			     200 * MIB, size - 1 };
	unsigned int n = sizeof(touched) / sizeof(touched[0]), bad = 0;
	char *p = HIDE(make(size));

	if (!p) {
		say(false, name, "no 300 MiB here");
		return;
	}
	free(p);
	before = resident();
	for (int turn = 0; turn < 5; turn++) {
		p = HIDE(make(size));
		for (unsigned int i = 0; i < n; i++) {
			bad += p[touched[i]] != 0;
			p[touched[i]] = 0x55;
		}
		free(p);
	}
	after = resident();
	say(!bad, name, "what was touched is zero again");
	say(after < before + 64 * MIB, name, "what was not is not resident");
	p = HIDE(make(size));
	memset(p, 0xaa, 100 * MIB);
	free(p);
	p = HIDE(make(size));
	say(is_zero(p, malloc_usable_size(p)), name, "a third was written, and all is zero");
	free(p);
	malloc_trim(0);
}

/* Without the thread that gives memory back: what it has given back is zero anyway. */
static void run_untouched(void)
{
	static struct run_result r;
	const char *conf = getenv("HEAPARENA_CONF");
	char set[300], *line, *next;

	snprintf(set, sizeof(set), "HEAPARENA_CONF=%s%sbackground:off", conf ? conf : "",
		 conf ? "," : "");
	if (!ok(run_self("@untouched", (const char *[]){ set, NULL }, 0, &r) && run_ok(&r),
		"a process without the background thread"))
		run_diag(&r);
	for (line = r.out; (next = strchr(line, '\n')); line = next + 1) {
		*next = 0;
		ok(line[0] == '+', "%s", line + 1);
	}
}

int main(int argc, char **argv)
{
	if (child_mode(argc, argv)) {
		test_untouched(by_calloc, "calloc");
		heap = LIB(ha_heap_create)("zeroed", 0);
		test_untouched(by_heap, "ha_heap_alloc");
		return 0;
	}
	tap_init(argc, argv);
	test_usable();
	if (can_run_self())
		run_untouched();
	else
		tap_skip("what is not touched", NO_SELF);
	return tap_done();
}
