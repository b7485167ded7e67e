// SPDX-License-Identifier: MIT
/*
 * The hard limit: what would pass it is NULL with ENOMEM, nothing else changes,
 * and what is freed can be had again; the same by option and by ha_limit_set().
 *
 * Each case is a process of its own and reports by its exit code.
 */
#include "conform.h"

#define MIB	(1ul << 20)
#define LIMIT	(64 * MIB)
/* Whatever fits is given, less this: windows, partly used spans, metadata. */
#define LOSS	(8 * MIB)

static int (*limit_set)(size_t soft, size_t hard);
static void (*limit_get)(size_t *soft, size_t *hard);
static size_t (*release)(void);

struct node {
	struct node *next;
	size_t size;
};

static void find_calls(void)
{
	limit_set = (int (*)(size_t, size_t))dlsym(RTLD_DEFAULT, "ha_limit_set");
	limit_get = (void (*)(size_t *, size_t *))dlsym(RTLD_DEFAULT, "ha_limit_get");
	release = (size_t (*)(void))dlsym(RTLD_DEFAULT, "ha_release");
	if (!limit_set || !limit_get || !release)
		tap_bail("no ha_limit_set, ha_limit_get or ha_release");
}

static void *get(size_t size, unsigned int how)
{
	switch (how % 4) {
	case 0:
		return HIDE(calloc(1, size));
	case 1:
		return HIDE(aligned_alloc(size < 64 ? 8 : 64, size));
	default:
		return HIDE(malloc(size));
	}
}

/* Until NULL; the bytes that were had, all of them written. */
static size_t fill(struct node **list, size_t size)
{
	size_t sum = 0;

	for (unsigned int i = 0; sum < 100 * LIMIT; i++) {
		struct node *p;

		errno = 0;
		p = get(size, i);
		if (!p) {
			if (errno != ENOMEM)
				_exit(10);
			return sum;
		}
		memset(p, i, size);
		p->next = *list;
		p->size = size;
		*list = p;
		sum += size;
	}
	_exit(11);
}

static void empty(struct node **list)
{
	while (*list) {
		struct node *p = *list;

		*list = p->next;
		free(p);
	}
}

/* As much as the limit allows, again and again, in this and in other sizes. */
static int rounds(size_t size)
{
	long before = tap_status_kb("VmRSS");
	struct node *list = NULL;

	for (int i = 0; i < 4; i++) {
		size_t sum = fill(&list, i % 2 ? 3000 : size);

		if (sum > LIMIT)
			return 20;
		if (sum < LIMIT - LIMIT / 4 - LOSS)
			return 21;
		/* resident memory has the program's own in it */
		if (tap_status_kb("VmRSS") - before > (long)((LIMIT + 2 * MIB) >> 10))
			return 22;
		for (int k = 0; k < 20; k++)
			if (HIDE(malloc(LIMIT / 2)) || errno != ENOMEM)
				return 23;
		empty(&list);
	}
	list = get(LIMIT / 2, 2);
	if (!list)
		return 24;
	memset(list, 1, LIMIT / 2);
	free(list);
	return 0;
}

/* What fits exactly, what does not, and what never can. */
static int edges(size_t unused)
{
	void *p = HIDE(malloc(LIMIT - LOSS));

	(void)unused;
	if (!p)
		return 30;
	if (HIDE(malloc(LOSS)) || errno != ENOMEM)
		return 31;
	free(p);
	errno = 0;
	if (HIDE(malloc(LIMIT + 1)) || errno != ENOMEM)
		return 32;
	errno = 0;
	if (HIDE(calloc(1 << 20, 1 << 20)) || errno != ENOMEM)
		return 33;
	for (int i = 0; i < 100; i++) {
		p = HIDE(malloc(LIMIT - LOSS));
		if (!p)
			return 34;
		((char *)p)[i * 4096] = 1;
		free(p);
	}
	return 0;
}

static int keeps_block(size_t size)
{
	struct node *list = NULL;
	unsigned char *p = HIDE(malloc(size));

	if (!p)
		return 40;
	memset(p, 0x5a, size);
	for (size_t n = 4 * MIB; n >= 32; n /= 8)
		fill(&list, n);
	for (int i = 0; i < 50; i++) {
		errno = 0;
		if (HIDE(realloc(HIDE(p), size + 9 * MIB)) || errno != ENOMEM)
			return 41;
		errno = 0;
		if (HIDE(reallocarray(HIDE(p), 10, MIB)) || errno != ENOMEM)
			return 42;
	}
	for (size_t i = 0; i < size; i++)
		if (p[i] != 0x5a)
			return 43;
	empty(&list);
	p = HIDE(realloc(HIDE(p), size + 9 * MIB));
	if (!p)
		return 44;
	for (size_t i = 0; i < size; i++)
		if (p[i] != 0x5a)
			return 45;
	free(p);
	return 0;
}

static unsigned long greedy_nulls;

static void *greedy(void *arg)
{
	size_t size = 24 + (uintptr_t)arg * 5000;

	for (int i = 0; i < 6; i++) {
		struct node *list = NULL;

		fill(&list, size);
		__atomic_fetch_add(&greedy_nulls, 1, __ATOMIC_RELAXED);
		empty(&list);
	}
	return NULL;
}

static int together(size_t unused)
{
	long before = tap_status_kb("VmRSS");
	struct node *list = NULL;
	pthread_t t[4];
	size_t sum;

	(void)unused;
	for (uintptr_t i = 0; i < 4; i++)
		if (pthread_create(&t[i], NULL, greedy, (void *)i))
			return 50;
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	/* their stacks come on top */
	if (tap_status_kb("VmRSS") - before > (long)((LIMIT + 4 * MIB) >> 10))
		return 51;
	sum = fill(&list, 200);
	empty(&list);
	if (sum < LIMIT - LIMIT / 4 - LOSS)
		return 52;
	return greedy_nulls == 24 ? 0 : 53;
}

/* A child has its parent's limit, and a heap of its own under it. */
static int in_child(size_t size)
{
	struct node *list = NULL;
	size_t sum = fill(&list, size), soft, hard;
	int status;
	pid_t pid = fork();

	if (!pid) {
		limit_get(&soft, &hard);
		if (hard != LIMIT)
			_exit(60);
		if (HIDE(malloc(LOSS)) || errno != ENOMEM)
			_exit(61);
		empty(&list);
		if (fill(&list, size) < sum - sum / 8)
			_exit(62);
		empty(&list);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 63;
	empty(&list);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 64;
}

/* Lowered below what is in use, lifted, taken away. */
static int moved(size_t size)
{
	struct node *list = NULL;
	size_t sum = fill(&list, size), soft, hard;

	if (limit_set(0, LIMIT / 2))
		return 70;
	if (HIDE(malloc(MIB)) || errno != ENOMEM)
		return 71;
	empty(&list);
	if (fill(&list, size) > LIMIT / 2)
		return 72;
	if (limit_set(0, 2 * LIMIT))
		return 73;
	if (fill(&list, size) < LIMIT)
		return 74;
	if (limit_set(0, 0))
		return 75;
	limit_get(&soft, &hard);
	if (hard)
		return 76;
	for (int i = 0; i < 4; i++) {
		struct node *p = get(LIMIT, 2);

		if (!p)
			return 77;
		p->next = list;
		list = p;
	}
	empty(&list);
	return sum ? 0 : 78;
}

/* The limit is a program's own: 0, a limit, and what is not one. */
static int arguments(size_t unused)
{
	size_t soft, hard;

	(void)unused;
	limit_set(0, 0);
	limit_get(&soft, &hard);
	if (hard)
		return 80;
	errno = 0;
	if (limit_set(0, 4096) != -1 || errno != EINVAL)
		return 81;
	errno = 0;
	if (limit_set(4096, 0) != -1 || errno != EINVAL)
		return 82;
	errno = 0;
	if (limit_set(3 * MIB, 2 * MIB) != -1 || errno != EINVAL)
		return 83;
	limit_get(&soft, &hard);
	if (hard)
		return 84;
	if (limit_set(20 * MIB, 30 * MIB))
		return 85;
	limit_get(&soft, &hard);
	return soft <= 20 * MIB && hard == 30 * MIB ? 0 : 86;
}

static int run_case(int (*fn)(size_t), size_t arg, bool option)
{
	size_t soft, hard;

	if (option) {
		limit_get(&soft, &hard);
		if (hard != LIMIT)
			return 2;
	} else if (limit_set(0, LIMIT)) {
		return 3;
	}
	return fn(arg);
}

static void child(int (*fn)(size_t), size_t arg, const char *what)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		alarm(60);
		_exit(run_case(fn, arg, false));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		tap_bail("fork");
	ok(!status, "%s %zu (status 0x%x)", what, arg, status);
}

/* The variant's options, and @more. */
static const char *conf_with(const char *more)
{
	static char buf[600];
	const char *old = getenv("HEAPARENA_CONF");

	snprintf(buf, sizeof(buf), "HEAPARENA_CONF=%s%s%s", old ? old : "",
		 old && *old ? "," : "", more);
	return buf;
}

static void option(const char *mode, const char *conf)
{
	const char *set[] = { conf_with(conf), NULL };
	static struct run_result r;

	if (!can_run_self())
		tap_skip(conf, NO_SELF);
	else if (!ok(run_self(mode, set, 0, &r) && run_ok(&r) && !r.err[0], "%s: %s", conf,
		     mode + 1))
		run_diag(&r);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 16, 100, 1000, 20000, 40000, 300000, 5 << 20 };
	const char *mode = child_mode(argc, argv);

	find_calls();
	if (mode)
		return run_case(!strcmp(mode, "@rounds") ? rounds : edges, 400, true);
	tap_init(argc, argv);
	free(HIDE(malloc(1)));
	if (tap_emulated())
		tap_skip_all("resident memory is the emulator's");
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		child(rounds, sizes[i], "until NULL, again and again, objects of");
	child(edges, 0, "what fits, and what does not");
	for (size_t size = 16; size <= 1 << 20; size *= 32)
		child(keeps_block, size, "realloc fails and keeps the block of");
	child(together, 4, "threads meet the limit together:");
	child(in_child, 100, "a child keeps the limit, objects of");
	child(in_child, 50000, "a child keeps the limit, objects of");
	child(moved, 500, "a limit is moved while there are objects of");
	child(arguments, 0, "arguments");
	option("@rounds", "limit:64M");
	option("@edges", "limit:65536K");
	return tap_done();
}
