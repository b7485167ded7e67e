// SPDX-License-Identifier: MIT
/*
 * A child is one thread on one CPU, with the caches of all CPUs in its copy
 * of the heap. What lies in the others' caches must come within its reach.
 *
 * First: two threads free objects, each on a CPU of its own, so that they lie
 * in two caches; a child that allocates as many as its heap has room for must
 * be given nearly all of them again. Then a chain
 * of generations, each of which frees on every CPU and forks: its memory
 * must stay where it is.
 */
#include "conform.h"
#include <sched.h>

#define GENERATIONS	150
#define NR		2000
#define SIZE		1024

#define REACH		64

struct sample {
	long first_kb, last_kb;
	int generations, status;
};

static void *all[NR];
static uintptr_t left[REACH];
static void *neighbour[REACH];

static void *free_part(void *arg)
{
	cpu_set_t one;
	int cpu = (uintptr_t)arg;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
	for (unsigned int i = cpu % 2; i < NR; i += 2) {
		free(all[i]);
		all[i] = NULL;
	}
	return NULL;
}

/* Allocate the working set, and free it from two CPUs: both caches fill. */
static bool generation(int cpu0, int cpu1)
{
	pthread_t t;
	int ret;

	for (unsigned int i = 0; i < NR; i++) {
		all[i] = HIDE(malloc(SIZE));
		if (!all[i])
			return false;
		memset(all[i], 1, SIZE);
	}
	ret = pthread_create(&t, NULL, free_part, (void *)(uintptr_t)cpu1);
	if (ret)
		return false;
	pthread_join(t, NULL);
	free_part((void *)(uintptr_t)cpu0);
	for (unsigned int i = 0; i < NR; i++)
		free(all[i]);
	return true;
}

static int freed;

static void *free_half(void *arg)
{
	cpu_set_t one;
	int cpu = (uintptr_t)arg;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
	for (unsigned int i = 0; i < REACH; i += 2)
		free((void *)left[i]);
	__atomic_store_n(&freed, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&freed, __ATOMIC_ACQUIRE) != 2)
		;
	return NULL;
}

/* In the child: how many of the freed addresses come back. */
static int come_back(size_t size)
{
	bool seen[REACH] = { false };
	int n = 0;

	for (unsigned int i = 0; i < REACH * 100; i++) {
		uintptr_t p = (uintptr_t)HIDE(malloc(size));

		for (unsigned int k = 0; k < REACH; k++)
			if (p == left[k] && !seen[k])
				seen[k] = true, n++;
	}
	return n;
}

static void test_reach(size_t size, int cpu0, int cpu1)
{
	int status = 0;
	cpu_set_t one, all_cpus;
	pthread_t t;
	pid_t pid;

	sched_getaffinity(0, sizeof(all_cpus), &all_cpus);
	CPU_ZERO(&one);
	CPU_SET(cpu0, &one);
	sched_setaffinity(0, sizeof(one), &one);
	/* Neighbours stay live, so that no span empties and goes elsewhere. */
	for (unsigned int i = 0; i < REACH; i++) {
		left[i] = (uintptr_t)HIDE(malloc(size));
		neighbour[i] = HIDE(malloc(size));
	}
	freed = 0;
	if (pthread_create(&t, NULL, free_half, (void *)(uintptr_t)cpu1))
		tap_bail("pthread_create");
	/*
	 * Each frees its half while the other is busy: asleep, it would leave
	 * its place to it. Whose place the child has does not matter then.
	 */
	while (!__atomic_load_n(&freed, __ATOMIC_ACQUIRE))
		;
	for (unsigned int i = 1; i < REACH; i += 2)
		free((void *)left[i]);
	__atomic_store_n(&freed, 2, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
	pid = fork();
	if (!pid)
		_exit(come_back(size));
	waitpid(pid, &status, 0);
	for (unsigned int i = 0; i < REACH; i++)
		free(neighbour[i]);
	sched_setaffinity(0, sizeof(all_cpus), &all_cpus);
	ok(WIFEXITED(status) && WEXITSTATUS(status) >= REACH * 9 / 10,
	   "a child gets back %d of %d objects of %zu bytes that two CPUs had freed",
	   WEXITSTATUS(status), REACH, size);
}

static bool several_nodes(void)
{
	const char *conf = getenv("HEAPARENA_CONF");

	return (conf && strstr(conf, "numa:fake")) ||
	       !access("/sys/devices/system/node/node1", F_OK);
}

static long anonymous_kb(void)
{
	static char buf[4096];
	int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	char *p;

	if (fd >= 0)
		close(fd);
	buf[n > 0 ? n : 0] = 0;
	p = strstr(buf, "\nAnonymous:");
	return p ? strtol(p + 11, NULL, 10) : tap_status_kb("RssAnon");
}

/* Each process is the parent of the next and waits for it. */
static void chain(struct sample *s, int cpu0, int cpu1)
{
	for (int depth = 0; depth < GENERATIONS; depth++) {
		int status;
		pid_t pid;

		alarm(100);
		if (!generation(cpu0, cpu1))
			_exit(1);
		s->last_kb = anonymous_kb();
		if (depth == 4)
			s->first_kb = s->last_kb;
		s->generations = depth + 1;
		if (depth + 1 == GENERATIONS)
			break;
		pid = fork();
		if (pid < 0)
			_exit(2);
		if (!pid)
			continue;
		if (waitpid(pid, &status, 0) != pid || status)
			_exit(3);
		break;
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	struct sample *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int cpu0 = -1, cpu1 = -1, status;
	cpu_set_t set;
	pid_t pid;

	tap_init(argc, argv);
	sched_getaffinity(0, sizeof(set), &set);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &set) && cpu0 < 0 && cpu % 2 == 0)
			cpu0 = cpu;
		else if (CPU_ISSET(cpu, &set) && cpu1 < 0 && cpu % 2 == 1)
			cpu1 = cpu;
	}
	if (cpu0 < 0 || cpu1 < 0)
		tap_skip_all("needs an even and an odd CPU");
	if (several_nodes())
		tap_skip("what two CPUs had freed", "a child on another node takes from there");
	else
		for (size_t size = 16; size <= 2048; size *= 2)
			test_reach(size, cpu0, cpu1);
	pid = fork();
	if (!pid)
		chain(s, cpu0, cpu1);
	waitpid(pid, &status, 0);
	ok(!status && s->generations == GENERATIONS, "%d generations (status 0x%x)",
	   s->generations, status);
	ok(s->last_kb - s->first_kb < 1536,
	   "from generation 5 to %d the heap grows by %ld KiB (%ld -> %ld)", GENERATIONS,
	   s->last_kb - s->first_kb, s->first_kb, s->last_kb);
	return tap_done();
}
