// SPDX-License-Identifier: MIT
/*
 * CPUs go offline and come back while all allocate, free and hand objects to each
 * other: nothing is damaged, nothing hangs.  What an absent CPU's cache holds is
 * within reach of malloc_trim; back online, the CPU allocates from its node again.
 */
#include "numa.h"

#define NR_SLOTS	4096
#define MAX_CPUS	64

static struct obj slots[NR_SLOTS];
static pthread_mutex_t locks[16];

/* Objects change hands through the slots; each is checked by who ends it. */
static void *churn(struct worker *w)
{
	while (!stress_stop()) {
		unsigned int i = rnd_below(&w->rng, NR_SLOTS);
		struct obj mine, theirs;

		if (!obj_new(&mine, size_mixed(&w->rng), rnd(&w->rng)))
			return NULL;
		pthread_mutex_lock(&locks[i % 16]);
		theirs = slots[i];
		slots[i] = mine;
		pthread_mutex_unlock(&locks[i % 16]);
		obj_end(&theirs, "handed over");
		w->ops++;
	}
	return NULL;
}

static bool cpu_online(int cpu, bool on)
{
	return file_write(on ? "1" : "0", "/sys/devices/system/cpu/cpu%d/online", cpu);
}

static bool cpu_can_go(int cpu)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	return access(path, W_OK) == 0;
}

static size_t cached(void)
{
	struct ha_stats st;

	return stats_get(&st) ? st.cached : 0;
}

static void storm(int nr_cpus)
{
	struct worker w[8];
	double end = now_seconds() + tap_opts.seconds;
	unsigned int n = 0, refused = 0;
	uint64_t rng = tap_opts.seed;
	unsigned long ops;

	workers_start(w, 8, churn);
	while (now_seconds() < end && !stress_stop()) {
		int cpu = rnd_below(&rng, nr_cpus);

		if (!cpu_can_go(cpu))
			continue;
		refused += !cpu_online(cpu, n++ / 3 % 2);
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
	for (int cpu = 0; cpu < nr_cpus; cpu++)
		if (cpu_can_go(cpu))
			cpu_online(cpu, true);
	__atomic_store_n(&stress_stopped, 1, __ATOMIC_RELAXED);
	ops = workers_join(w, 8);
	for (unsigned int i = 0; i < NR_SLOTS; i++)
		obj_end(&slots[i], "left over");
	stress_end("%lu objects while CPUs went and came %u times, %u refused", ops, n, refused);
	ok(n >= refused + 4, "CPUs did go and come");
}

/* @cpu caches 256 KiB and goes: it must not stay there. */
static void absent(int cpu)
{
	static void *objs[4096];
	size_t before, with, after;

	malloc_trim(0);
	before = cached();
	cpu_enter(cpu);
	for (unsigned int i = 0; i < 4096; i++)
		objs[i] = HIDE(malloc(128 + i % 512));
	for (unsigned int i = 0; i < 4096; i++)
		free(objs[i]);
	with = cached();
	cpu_enter(0);
	if (!cpu_online(cpu, false))
		tap_bail("CPU %d does not go: %s", cpu, strerror(errno));
	malloc_trim(0);
	after = cached();
	ok(with > before + 65536 && after < 32768,
	   "CPU %d is gone: %zu KiB cached, %zu KiB after a trim", cpu, with >> 10, after >> 10);
	cpu_online(cpu, true);
}

static void back_again(void)
{
	unsigned int wrong = 0;

	for (unsigned int n = 0; n < nr_nodes && nr_nodes > 1; n++) {
		node_enter(n);
		for (unsigned int i = 0; i < 500; i++) {
			char *p = malloc(i * 20 + 1);

			memset(p, 1, i * 20 + 1);
			wrong += page_node(p) != (int)n;
			HIDE(p);	/* kept: the next is another page's sooner */
		}
	}
	ok(!wrong, "all CPUs are back, %u objects lie on another node", wrong);
}

int main(int argc, char **argv)
{
	int nr_cpus = sysconf(_SC_NPROCESSORS_CONF), last = -1;
	struct ha_stats st;

	tap_init(argc, argv);
	vm_need();
	nodes_read();
	watchdog(60);
	for (int cpu = 1; cpu < nr_cpus && cpu < MAX_CPUS; cpu++)
		if (cpu_can_go(cpu))
			last = cpu;
	if (last < 0)
		tap_skip_all("no CPU can go offline");
	for (unsigned int i = 0; i < 16; i++)
		pthread_mutex_init(&locks[i], NULL);
	storm(nr_cpus);
	absent(last);
	/* Without sequences a thread asks for its node now and then only. */
	if (stats_get(&st) && st.rseq)
		back_again();
	else
		tap_skip("back again", "no restartable sequences");
	return tap_done();
}
