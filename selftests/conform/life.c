// SPDX-License-Identifier: MIT
/*
 * The life of a process around main: allocation before any constructor, in
 * one, in a thread started by one, in the destructors of thread-local
 * objects and of thread keys, in exit handlers, and in destructors after
 * them. Objects cross every one of these borders.
 */
#include "conform.h"

#define NR	200

int __cxa_thread_atexit_impl(void (*fn)(void *), void *arg, void *dso);
extern void *__dso_handle;

static unsigned char *early[NR], *ctor[NR], *thread_made[NR];
static pthread_key_t key;
static pthread_t ctor_thread;
static bool in_child;
static int key_rounds;

static void say(const char *what)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "%s\n", what);

	if (write(STDOUT_FILENO, line, n) != n)
		_exit(9);
}

static void make(unsigned char **all, unsigned char tag)
{
	for (unsigned int i = 0; i < NR; i++) {
		size_t n = i * i * 2 + 1;

		all[i] = i % 3 ? HIDE(malloc(n)) : HIDE(calloc(1, n));
		if (!all[i])
			_exit(8);
		memset(all[i], tag, n);
	}
}

static bool end(unsigned char **all, unsigned char tag)
{
	bool good = true;

	for (unsigned int i = 0; i < NR; i++) {
		for (size_t j = 0; j < i * i * 2 + 1; j++)
			good &= all[i][j] == tag;
		free(all[i]);
	}
	return good;
}

static bool work(unsigned char tag)
{
	unsigned char *all[NR];

	make(all, tag);
	return end(all, tag);
}

static void before_all(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	(void)envp;
	make(early, 1);
}
__attribute__((__section__(".preinit_array"), __used__))
static void (*preinit)(int, char **, char **) = before_all;

static void *from_constructor(void *unused)
{
	make(thread_made, 3);
	return unused;
}

static __attribute__((__constructor__(101))) void first_constructor(void)
{
	make(ctor, 2);
	if (pthread_create(&ctor_thread, NULL, from_constructor, NULL))
		_exit(7);
}

static __attribute__((__destructor__(101))) void last_destructor(void)
{
	if (in_child)
		say(work(9) ? "destructor" : "destructor BAD");
}

static void at_exit(void)
{
	say(work(4) ? "exit handler" : "exit handler BAD");
}

static void key_destructor(void *p)
{
	unsigned char **all = p;

	if (!end(all, 5))
		say("key destructor BAD");
	if (++key_rounds < 3) {
		make(all, 5);
		pthread_setspecific(key, all);
		return;
	}
	free(all);
	say("key destructor");
}

static void tls_destructor(void *p)
{
	unsigned char **all = p;

	say(end(all, 6) && work(7) ? "thread-local destructor" :
				     "thread-local destructor BAD");
	free(all);
}

static void *thread(void *unused)
{
	unsigned char **a = HIDE(malloc(NR * sizeof(*a)));
	unsigned char **b = HIDE(malloc(NR * sizeof(*b)));

	make(a, 5);
	make(b, 6);
	pthread_setspecific(key, a);
	__cxa_thread_atexit_impl(tls_destructor, b, &__dso_handle);
	return unused;
}

static int child(void)
{
	pthread_t t;

	in_child = true;
	pthread_join(ctor_thread, NULL);
	say(end(early, 1) ? "before constructors" : "before constructors BAD");
	say(end(ctor, 2) ? "constructor" : "constructor BAD");
	say(end(thread_made, 3) ? "thread of a constructor" :
				  "thread of a constructor BAD");
	atexit(at_exit);
	pthread_key_create(&key, key_destructor);
	if (pthread_create(&t, NULL, thread, NULL))
		return 6;
	pthread_join(t, NULL);
	return 0;
}

int main(int argc, char **argv)
{
	static const char *const want[] = {
		"before constructors", "constructor", "thread of a constructor",
		"thread-local destructor", "key destructor", "exit handler",
		"destructor",
	};
	static struct run_result r;
	char *line, *next;

	if (child_mode(argc, argv))
		return child();
	pthread_join(ctor_thread, NULL);
	tap_init(argc, argv);
	if (!can_run_self())
		tap_skip_all(NO_SELF);
	if (!ok(run_self("@life", NULL, 0, &r) && run_ok(&r), "the child ends well"))
		run_diag(&r);
	line = r.out;
	for (unsigned int i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		ok(next && !strcmp(line, want[i]), "allocation: %s (%s)", want[i], line);
		line = next ? next : line;
	}
	ok(!r.err[0], "nothing on stderr (%.100s)", r.err);
	return tap_done();
}
