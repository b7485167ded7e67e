// SPDX-License-Identifier: MIT
/*
 * A memory cgroup (v2) with memory.max: a program whose live objects are well
 * below it lives, whatever it does with them.  The figures of the group are the
 * kernel's: memory.peak (where it has that) and the oom_kill count of
 * memory.events.
 *
 * Each phase is a process of its own in a fresh group, whose limit the library has
 * to have found by the end.
 */
#include "numa.h"
#include <sys/stat.h>

#define GROUP	"/sys/fs/cgroup/ha-memcg"
#define MAX	(96UL << 20)
#define THREADS	4

/* Threads with @live bytes of live objects together, sizes mixed. */
static void *mixed(struct worker *w)
{
	size_t live = 0, most = (MAX / 3) / THREADS;
	bool full = false;
	static struct obj slots[THREADS][4096];
	struct obj *mine = slots[w->id];

	/* however slow the machine: the time begins when it is full */
	for (unsigned int i = 0; !full || !stress_stop(); i++) {
		struct obj *o = &mine[rnd_below(&w->rng, 4096)];

		full |= live >= most || i > 1000000;
		if (o->p)
			live -= o->size;
		obj_end(o, "mixed");
		if (live < most && obj_new(o, 1 + rnd_below(&w->rng, 16384), rnd(&w->rng)))
			live += o->size;
	}
	for (unsigned int i = 0; i < 4096; i++)
		obj_end(&mine[i], "mixed");
	return NULL;
}

/* All of one size, then all of another: pages have to change hands. */
static void *waves(struct worker *w)
{
	static void *objs[THREADS][65536];
	size_t most = (MAX / 2) / THREADS;

	for (size_t size = 100; !stress_stop(); size = size * 3 % 40000 + 100) {
		unsigned int n = most / size < 65536 ? most / size : 65536;

		for (unsigned int i = 0; i < n; i++) {
			objs[w->id][i] = malloc(size);
			if (!objs[w->id][i])
				stress_fail("no memory for %zu bytes", size);
			else
				memset(objs[w->id][i], 1, size);
		}
		for (unsigned int i = 0; i < n; i++)
			free(objs[w->id][i]);
	}
	return NULL;
}

static const struct phase {
	const char *name;
	void *(*run)(struct worker *w);
	size_t live;
} phases[] = {
	{ "mixed sizes", mixed, MAX / 3 },
	{ "waves of one size", waves, MAX / 2 },
};

static bool enter_group(void)
{
	char text[32];

	snprintf(text, sizeof(text), "%lu", MAX);
	if (!file_write(text, GROUP "/memory.max"))
		return false;
	snprintf(text, sizeof(text), "%d", getpid());
	return file_write(text, GROUP "/cgroup.procs");
}

/* The library has found the group's limit; true when it knows of none at all. */
static bool limit_known(void)
{
	void (*get)(size_t *, size_t *) = dlsym(RTLD_DEFAULT, "ha_limit_get");
	size_t soft = 0, hard = 0;

	if (!get)
		return true;
	get(&soft, &hard);
	if (!soft || soft > MAX)
		diag("soft limit %zu in a group of %lu", soft, MAX);
	return soft && soft <= MAX;
}

/* In the group from its first instruction on: executed by a child that entered. */
static int phase_run(const struct phase *ph)
{
	struct worker w[THREADS];

	workers_start(w, THREADS, ph->run);
	stress_run(0.5);
	workers_join(w, THREADS);
	return stress_failures ? 1 : limit_known() ? 0 : 4;
}

static int child(const struct phase *ph, char **argv)
{
	char nr[16], seconds[32];

	if (!enter_group())
		return 3;
	snprintf(nr, sizeof(nr), "%d", (int)(ph - phases));
	snprintf(seconds, sizeof(seconds), "%g", tap_opts.seconds);
	setenv("HA_MEMCG_PHASE", nr, 1);
	setenv("HA_MEMCG_SECONDS", seconds, 1);
	execv("/proc/self/exe", argv);
	return 5;
}

static unsigned long group_value(const char *file, const char *key)
{
	char path[128], buf[512] = "", *p;

	snprintf(path, sizeof(path), GROUP "/%s", file);
	if (!file_read(buf, sizeof(buf), path))
		return 0;
	p = key ? strstr(buf, key) : buf;
	return p ? strtoul(p + (key ? strlen(key) : 0), NULL, 10) : 0;
}

static void run_phase(const struct phase *ph, char **argv)
{
	unsigned long killed, hit;
	int status;
	pid_t pid;

	if (mkdir(GROUP, 0755))
		tap_bail("cgroup: %s", strerror(errno));
	pid = fork();
	if (!pid)
		_exit(child(ph, argv));
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		tap_bail("no child");
	killed = group_value("memory.events", "oom_kill ");
	hit = group_value("memory.events", "max ");
	ok(!status && !killed,
	   "%s: %zu MiB live below %lu: status %#x, %lu killed, at the limit %lu times, peak %lu MiB",
	   ph->name, ph->live >> 20, MAX >> 20, status, killed, hit,
	   group_value("memory.peak", NULL) >> 20);
	rmdir(GROUP);
}

int main(int argc, char **argv)
{
	const char *phase = getenv("HA_MEMCG_PHASE");

	if (phase) {
		tap_opts.seconds = strtod(getenv("HA_MEMCG_SECONDS"), NULL);
		return phase_run(&phases[atoi(phase)]);
	}
	tap_init(argc, argv);
	vm_need();
	if (access("/sys/fs/cgroup/memory.pressure", F_OK) &&
	    access("/sys/fs/cgroup/cgroup.controllers", F_OK))
		tap_skip_all("no cgroup v2 here");
	watchdog(80);
	for (unsigned int i = 0; i < sizeof(phases) / sizeof(phases[0]); i++)
		run_phase(&phases[i], argv);
	return tap_done();
}
