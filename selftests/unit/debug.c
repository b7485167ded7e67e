// SPDX-License-Identifier: MIT
/*
 * debug: each misuse in a process of its own, which must end by SIGABRT with one
 * line that says what, where, and in which span: word for word.
 */
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "conf.h"
#include "debug.h"

#include "fake/early.h"

/* What the line must be: written by the process that is about to misuse. */
static struct shared {
	char want[1000];
} *expect;

static volatile size_t opaque;
#define HIDE(p)		((__typeof__(p))((char *)(p) + opaque))

static void say(const char *fmt, ...) __printf(1, 2);
static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(expect->want, sizeof(expect->want), fmt, ap);
	va_end(ap);
}

/* "object I of span 0xSTART (SIZE bytes x N, node K)" for an object's address. */
static const char *where(const void *p)
{
	struct mspan *s = heap_arena_find_span((uintptr_t)p);
	static char buf[200];

	check(s);
	snprintf(buf, sizeof(buf), "object %u of span %p (%zu bytes x %u, node %u)",
		 mspan_index(s, (uintptr_t)p), (void *)s->start,
		 s->sc ? s->size : mspan_size(s), s->nelems, s->nid);
	return buf;
}

static void double_free(void)
{
	char *p = ha_malloc(100);

	say("double free of %p: %s", p, where(p));
	ha_free(p);
	ha_free(HIDE(p));
}

static void double_free_later(void)
{
	char *p = ha_malloc(100), *q[3000];

	say("double free of %p: %s", p, where(p));
	for (int i = 0; i < 3000; i++)
		q[i] = ha_malloc(100);
	ha_free(p);
	for (int i = 0; i < 3000; i++)
		ha_free(q[i]);
	ha_free(HIDE(p));
}

static void *free_thread(void *p)
{
	ha_free(p);
	return NULL;
}

static void double_free_elsewhere(void)
{
	char *p = ha_malloc(3000);
	pthread_t t;

	say("double free of %p: %s", p, where(p));
	check(!pthread_create(&t, NULL, free_thread, p));
	check(!pthread_join(t, NULL));
	ha_free(HIDE(p));
}

static void free_interior(void)
{
	char *p = ha_malloc(100);

	say("invalid free of %p: 17 bytes inside %s", p + 17, where(p));
	ha_free(HIDE(p + 17));
}

static void free_interior_16(void)
{
	char *p = ha_malloc(4000), *q = ha_malloc(4000);

	ha_free(p);
	say("invalid free of %p: 16 bytes inside %s", q + 16, where(q));
	ha_free(HIDE(q + 16));
}

static void free_tail(void)
{
	/* objects that leave a rest at the end of their span */
	struct mspan *s = heap_arena_find_span((uintptr_t)ha_malloc(2688));
	char *tail = (char *)s->start + s->nelems * s->size;

	check(tail < (char *)s->start + mspan_size(s));
	say("invalid free of %p: 0 bytes inside %s", tail, where(tail));
	ha_free(HIDE(tail));
}

static void free_large_interior(void)
{
	char *p = ha_malloc(4 << 20);

	say("invalid free of %p: 8192 bytes inside %s", p + 8192, where(p));
	ha_free(HIDE(p + 8192));
}

static void free_large_first_page(void)
{
	char *p = ha_malloc(4 << 20);

	say("invalid free of %p: 16 bytes inside %s", p + 16, where(p));
	ha_free(HIDE(p + 16));
}

/* The span is gone: its pages are all that is known. */
static void double_free_large(void)
{
	char *p = ha_malloc(4 << 20);

	say("double free of %p: in free pages of the heap", p);
	ha_free(p);
	ha_free(HIDE(p));
}

static void double_free_released(void)
{
	char *p = ha_malloc(100);

	say("double free of %p: in free pages of the heap", p);
	ha_free(p);
	ha_release();
	ha_free(HIDE(p));
}

static void free_released_interior(void)
{
	char *p = ha_malloc(4 << 20);

	say("invalid free of %p: in free pages of the heap", p + 8200);
	ha_free(p);
	ha_free(HIDE(p + 8200));
}

static void realloc_freed_large(void)
{
	char *p = ha_malloc(4 << 20);

	say("realloc of freed %p: in free pages of the heap", p);
	ha_free(p);
	free_thread(ha_realloc(HIDE(p), 200));
}

static void free_stack(void)
{
	char here[64];

	say("invalid free of %p: not allocated by heaparena", here);
	ha_free(HIDE(&here[0]));
}

static void free_static(void)
{
	static char there[64];

	say("invalid free of %p: not allocated by heaparena", there);
	ha_free(HIDE(&there[0]));
}

static void free_wild(void)
{
	say("invalid free of 0xdeadbeef0000dead: not allocated by heaparena");
	ha_free(HIDE((char *)0xdeadbeef0000deadUL));
}

static void free_small_number(void)
{
	say("invalid free of 0x10: not allocated by heaparena");
	ha_free(HIDE((char *)16));
}

static void free_free_page(void)
{
	/* as far from what is in use as the arena goes */
	char *p = (char *)align_up((uintptr_t)ha_malloc(100) + 1, ARENA_SIZE) - 8192;

	say("invalid free of %p: not allocated by heaparena", p);
	ha_free(HIDE(p));
}

static void free_sized_small(void)
{
	char *p = ha_malloc(100);

	say("size mismatch in free of %p: freed as 5000 bytes, object has 112", p);
	ha_free_sized(p, 5000);
}

static void free_sized_less(void)
{
	char *p = ha_malloc(1000);

	say("size mismatch in free of %p: freed as 20 bytes, object has 1024", p);
	ha_free_sized(p, 20);
}

static void free_sized_large(void)
{
	char *p = ha_malloc(4 << 20);

	say("size mismatch in free of %p: freed as 4194305 bytes, object has 4194304", p);
	ha_free_sized(p, (4 << 20) + 1);
}

static void realloc_freed(void)
{
	char *p = ha_malloc(100);

	say("realloc of freed %p: %s", p, where(p));
	ha_free(p);
	free_thread(ha_realloc(HIDE(p), 200));
}

static void realloc_interior(void)
{
	char *p = ha_malloc(100);

	say("invalid realloc of %p: 8 bytes inside %s", p + 8, where(p));
	free_thread(ha_realloc(HIDE(p + 8), 200));
}

static void realloc_stack(void)
{
	char here[64];

	say("invalid realloc of %p: not allocated by heaparena", here);
	free_thread(ha_realloc(HIDE(&here[0]), 200));
}

static void realloc_large_interior(void)
{
	char *p = ha_malloc(4 << 20);

	say("invalid realloc of %p: 32768 bytes inside %s", p + 32768, where(p));
	free_thread(ha_realloc(HIDE(p + 32768), 200));
}

static void usable_freed(void)
{
	char *p = ha_malloc(100);

	say("malloc_usable_size of freed %p: %s", p, where(p));
	ha_free(p);
	opaque = ha_malloc_usable_size(HIDE(p));
}

static void usable_static(void)
{
	static char there[64];

	say("invalid malloc_usable_size of %p: not allocated by heaparena", there);
	opaque = ha_malloc_usable_size(HIDE(&there[0]));
}

static void calloc_freed(void)
{
	char *p = ha_calloc(7, 7);

	say("double free of %p: %s", p, where(p));
	free_thread(ha_realloc(p, 4000));
	ha_free(HIDE(p));
}

static const struct misuse {
	const char *name;
	void (*run)(void);
} misuses[] = {
#define MISUSE(f)	{ #f, f }
	MISUSE(double_free), MISUSE(double_free_later),
	MISUSE(double_free_elsewhere), MISUSE(calloc_freed),
	MISUSE(free_interior), MISUSE(free_interior_16), MISUSE(free_tail),
	MISUSE(free_large_interior), MISUSE(free_large_first_page),
	MISUSE(double_free_large), MISUSE(double_free_released),
	MISUSE(free_released_interior), MISUSE(realloc_freed_large),
	MISUSE(free_stack), MISUSE(free_static),
	MISUSE(free_wild), MISUSE(free_small_number), MISUSE(free_free_page),
	MISUSE(free_sized_small), MISUSE(free_sized_less), MISUSE(free_sized_large),
	MISUSE(realloc_freed), MISUSE(realloc_interior), MISUSE(realloc_stack),
	MISUSE(realloc_large_interior), MISUSE(usable_freed), MISUSE(usable_static),
};

#define NR_MODES	4	/* of heap_modes: those that look */

static void collect(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, buf + len, size - 1 - len)) > 0)
		len += n;
	buf[len] = '\0';
	/* an emulator adds a line of its own about the signal */
	if (strstr(buf, "\nqemu: "))
		strstr(buf, "\nqemu: ")[1] = '\0';
}

/* In a child: its signal and all that it wrote to stderr. */
static void run_misuse(const struct misuse *m, const struct heap_mode *mode, bool up)
{
	char got[2000], want[1100];
	int pipefd[2], status;
	pid_t pid;

	check(pipe(pipefd) == 0);
	pid = fork();
	check(pid >= 0);
	if (!pid) {
		dup2(pipefd[1], STDERR_FILENO);
		close(pipefd[0]);
		close(pipefd[1]);
		heap_mode_set(mode);
		if (up)
			heap_up(mode);
		m->run();
		_exit(0);
	}
	close(pipefd[1]);
	collect(pipefd[0], got, sizeof(got));
	check(waitpid(pid, &status, 0) == pid);
	snprintf(want, sizeof(want), "heaparena: %s\n", expect->want);
	if (strcmp(got, want))
		ck_abort_msg("%s, %s: got \"%s\", expected \"%s\"", m->name,
			     mode->name, got, want);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
		ck_abort_msg("%s, %s: status %#x", m->name, mode->name, status);
}

static void share(void)
{
	expect = mmap(NULL, sizeof(*expect), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(expect != MAP_FAILED);
}

START_TEST(reports)
{
	share();
	for (unsigned int i = 0; i < NR_MODES; i++)
		run_misuse(&misuses[_i], &heap_modes[i], true);
}
END_TEST

/* Before the heap exists there is nothing to look in. */
static const struct misuse early[] = {
	MISUSE(free_stack), MISUSE(free_static), MISUSE(free_wild),
	MISUSE(free_small_number), MISUSE(realloc_stack), MISUSE(usable_static),
};

START_TEST(reports_first)
{
	share();
	run_misuse(&early[_i], &heap_modes[0], false);
}
END_TEST

/* By Check's own word for it: the process ends by the signal. */
START_TEST(aborts)
{
	share();
	heap_up(&heap_modes[0]);
	misuses[_i].run();
}
END_TEST

/* A signal handler of the user that comes back does not save the process. */
static void come_back(int sig)
{
}

START_TEST(handler_returns)
{
	share();
	heap_up(&heap_modes[0]);
	signal(SIGABRT, come_back);
	double_free();
}
END_TEST

/* Pointers that are right are not reported, wherever they lie in their span. */
START_TEST(silent)
{
	heap_up(&heap_modes[_i]);
	for (unsigned int sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		unsigned int n = size_classes[sc].nelems + 3, i;
		void *p[MAX_SPAN_OBJECTS + 3];

		for (i = 0; i < n; i++) {
			p[i] = ha_malloc(size_classes[sc].size);
			check(ha_malloc_usable_size(p[i]) == size_classes[sc].size);
		}
		for (i = 0; i < n; i++)
			ha_free_sized(p[i], size_classes[sc].size);
	}
}
END_TEST

Suite *unit_suite(void)
{
	Suite *s = suite_create("debug");
	TCase *tc = tcase_create("reports");

	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, reports, 0, ARRAY_SIZE(misuses));
	tcase_add_loop_test(tc, reports_first, 0, ARRAY_SIZE(early));
	tcase_add_loop_test_raise_signal(tc, aborts, SIGABRT, 0, ARRAY_SIZE(misuses));
	tcase_add_test_raise_signal(tc, handler_returns, SIGABRT);
	tcase_add_loop_test(tc, silent, 0, NR_HEAP_MODES);
	suite_add_tcase(s, tc);
	return s;
}
