// SPDX-License-Identifier: MIT
/*
 * malloc_trim takes back what caches hold; the span that this empties may be the
 * one that leaves so much free memory that the background thread is started, and
 * starting a thread allocates: from the caches that are being drained.
 *
 *	malloc_trim -> drain (holds the lock under which caches are made)
 *	   -> last object of a span -> thread start -> malloc -> that lock: for ever
 *
 * The same in a child of fork, whose first refill drains.  What hangs has all signals
 * blocked, so each case is a process that its parent kills.
 */
#include "stress.h"

#define HELD	(20 << 20)
#define BELOW	(3400 << 10)	/* free, resident, and not yet enough for the thread */
#define SIZES	64
#define EACH	2

static void *small[SIZES * EACH];

static void cache_some(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < SIZES; i++)
		for (unsigned int k = 0; k < EACH; k++)
			small[n++] = HIDE(malloc((i + 1) * 500));
	while (n)
		free(small[--n]);
}

static void prepare(void)
{
	char *held = malloc(HELD), *p = malloc(BELOW);

	if (!held || !p)
		tap_bail("no memory");
	memset(p, 1, BELOW);
	HIDE(held);
	cache_some();
	free(p);
}

static void *on_cpu(void *arg)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((uintptr_t)arg, &set);
	sched_setaffinity(0, sizeof(set), &set);
	cache_some();
	return NULL;
}

static int first_refill(void)
{
	for (unsigned int i = 0; i < 1000; i++)
		small[i % (SIZES * EACH)] = HIDE(malloc(16 + i % 700));
	return 0;
}

/* The exit status of @run in a child, -1 when it takes more than 20 s. */
static int in_child(int (*run)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(run());
	for (int i = 0; pid > 0 && i < 2000; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -1;
}

static int trim(void)
{
	prepare();
	if (tap_status_kb("Threads") != 1)
		return 2;
	malloc_trim(0);
	return 0;
}

static int fork_after(void)
{
	/* Other CPUs' caches hold something: what a child drains. */
	for (uintptr_t cpu = 0; cpu < 4; cpu++) {
		pthread_t t;

		if (!pthread_create(&t, NULL, on_cpu, (void *)cpu))
			pthread_join(t, NULL);
	}
	prepare();
	if (tap_status_kb("Threads") != 1)
		return 2;
	return in_child(first_refill);
}

static void try(int (*run)(void), const char *what)
{
	int got = in_child(run);

	if (got == 2)
		tap_skip(what, "the thread runs before it is to be started");
	else
		ok(got == 0, "%s comes back (%d)", what, got);
}

int main(int argc, char **argv)
{
	tap_init(argc, argv);
	try(trim, "a trim that starts the thread");
	try(fork_after, "a child whose first refill drains");
	return tap_done();
}
