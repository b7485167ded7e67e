// SPDX-License-Identifier: MIT
/*
 * A cpuset (cgroup v2) that takes nodes away from a process that allocates, and
 * gives them back: nothing fails meanwhile, what is new lies where it may, and
 * afterwards each node has its own again.  With numa:strict the kernel remembers
 * the binding of memory whose node was taken away.
 *
 *	mems 0-3 --> 0-1 --> 0 --> 0-3, CPUs alike
 *
 * Back at four nodes, what is looked at are pages that were all free: the test has
 * freed what it had, malloc_trim() has given it back, and the next touch decides anew.
 * That cannot be so of a page that holds a live object of someone else: it stays where
 * the cpuset has moved it, and must, and so does all that lies on it.  The loader and
 * the C library have some such objects, on the same heap, from before main().  They are
 * written down there, and what malloc finds beside one that still lives is put aside and
 * another object looked at in its place: each node is asked about as many as before.
 */
#include "numa.h"
#include <sys/stat.h>

#define GROUP	"/sys/fs/cgroup/ha-cpuset"
#define NR_KEPT	512
#define NR_OTHERS	1024
#define NR_ASIDE	256

static void *churn(struct worker *w)
{
	struct obj kept[NR_KEPT] = { 0 };

	while (!stress_stop()) {
		struct obj *o = &kept[rnd_below(&w->rng, NR_KEPT)];

		obj_end(o, "kept");
		obj_new(o, size_mixed(&w->rng), rnd(&w->rng));
		w->ops++;
	}
	for (unsigned int i = 0; i < NR_KEPT; i++)
		obj_end(&kept[i], "kept");
	return NULL;
}

/*
 * CPUs and memory of nodes below @n.  CPUs go first and come last: an arena that a
 * CPU asks for on a node that is not allowed stays without a policy.
 */
static void set_nodes(unsigned int n)
{
	static unsigned int old;
	char text[32];

	snprintf(text, sizeof(text), "0-%u", n - 1);
	if ((n < old && !file_write(text, GROUP "/cpuset.cpus")) ||
	    !file_write(text, GROUP "/cpuset.mems") ||
	    (n >= old && !file_write(text, GROUP "/cpuset.cpus")))
		tap_bail("cpuset %s: %s", text, strerror(errno));
	old = n;
	nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
}

/* Live objects that are not the test's. */
struct others {
	struct span {
		uintptr_t start, end;
	} obj[NR_OTHERS];
	unsigned int nr;
};

static struct others at_start;	/* all that main() has found */
static struct others living;	/* those of them that live on, by whole kernel pages */

static void others_add(struct others *o, uintptr_t start, uintptr_t end)
{
	if (o->nr == NR_OTHERS)
		tap_bail("more than %u objects", NR_OTHERS);
	o->obj[o->nr++] = (struct span){ start, end };
}

static int note(const struct ha_object *obj, void *arg)
{
	uintptr_t start = (uintptr_t)obj->start;

	others_add(&at_start, start, start + obj->usable);
	return 0;
}

static int note_living(const struct ha_object *obj, void *arg)
{
	uintptr_t start = (uintptr_t)obj->start, end = start + obj->usable;
	uintptr_t page = sysconf(_SC_PAGESIZE);

	for (unsigned int i = 0; i < at_start.nr; i++)
		if (at_start.obj[i].start == start && at_start.obj[i].end == end)
			others_add(&living, start & -page, (end + page - 1) & -page);
	return 0;
}

static void walk(int (*visit)(const struct ha_object *obj, void *arg))
{
	int (*ha_walk)(int (*)(const struct ha_object *, void *), void *) =
		dlsym(RTLD_DEFAULT, "ha_walk");

	if (!ha_walk || ha_walk(visit, NULL))
		tap_bail("no walk");
}

static bool is_others(const char *p)
{
	for (unsigned int i = 0; i < living.nr; i++)
		if ((uintptr_t)p >= living.obj[i].start && (uintptr_t)p < living.obj[i].end)
			return true;
	return false;
}

static char *aside[NR_ASIDE];
static unsigned int nr_aside;

/* An object whose last page, which is looked at, has nothing of others. */
static char *alloc_own(size_t size)
{
	char *p;

	while ((p = malloc(size)) && is_others(p + size - 1)) {
		if (nr_aside == NR_ASIDE)
			tap_bail("%u objects on pages of others", NR_ASIDE);
		aside[nr_aside++] = p;
	}
	return p;
}

#define NR_LOOKS	150

/* New pages: how many lie elsewhere than on the node of the CPU, how many not below @n. */
static void look(unsigned int n, unsigned int *elsewhere, unsigned int *forbidden)
{
	static char *objs[MAX_TEST_NODES][NR_LOOKS];

	*elsewhere = *forbidden = 0;
	for (unsigned int m = 0; m < n; m++) {
		node_enter(m);
		for (unsigned int i = 0; i < NR_LOOKS; i++) {
			size_t size = i % 3 ? 2000 + i : 100000;
			char *p = alloc_own(size);
			int node;

			if (!p)
				tap_bail("no memory");
			memset(p, 1, size);
			node = page_node(p + size - 1);
			*elsewhere += node != (int)m;
			*forbidden += node < 0 || (unsigned int)node >= n;
			objs[m][i] = p;
		}
	}
	for (unsigned int m = 0; m < n; m++)
		for (unsigned int i = 0; i < NR_LOOKS; i++)
			free(objs[m][i]);
}

/* The affinity that a look has left would keep the thread off other CPUs. */
static void roam(void)
{
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
}

static void step(unsigned int n)
{
	unsigned int elsewhere, forbidden;

	roam();
	set_nodes(n);
	look(n, &elsewhere, &forbidden);
	ok(!forbidden, "%u nodes: %u objects on one that is not allowed", n, forbidden);
	diag("%u nodes: %u objects elsewhere than their CPU", n, elsewhere);
}

/*
 * All is free and given back, so that nothing of the test's is where the set had moved it.
 */
static void home_again(void)
{
	unsigned int elsewhere, forbidden;

	malloc_trim(0);
	walk(note_living);
	look(nr_nodes, &elsewhere, &forbidden);
	ok(!elsewhere && !forbidden, "all %u nodes again: %u objects elsewhere than their CPU",
	   nr_nodes, elsewhere);
	diag("%u put aside, on pages of %u that live from before", nr_aside, living.nr);
	while (nr_aside)
		free(aside[--nr_aside]);
}

/*
 * Memory that was never touched, in arenas of before and after.  What get_mempolicy
 * says of it is no witness: a kernel that rebinds a preferred policy with static
 * nodes writes the cpuset's over the mask that it reports, not over the one it uses.
 */
static void fresh_home(void)
{
	unsigned int wrong = 0;

	for (unsigned int n = 0; n < nr_nodes; n++) {
		char *p;

		node_enter(n);
		p = malloc(100 << 20);
		if (!p)
			tap_bail("no memory");
		for (size_t off = 0; off < 100 << 20; off += 10 << 20) {
			p[off] = 1;
			wrong += page_node(p + off) != (int)n;
		}
		free(p);
	}
	ok(!wrong, "untouched memory: %u of %u pages elsewhere", wrong, 10 * nr_nodes);
}

int main(int argc, char **argv)
{
	struct worker w[2];
	unsigned long ops;
	char pid[16];

	tap_init(argc, argv);
	vm_need();
	nodes_need(3);
	walk(note);
	watchdog(80);
	if (mkdir(GROUP, 0755) && errno != EEXIST)
		tap_skip_all("no cgroup v2 here");
	set_nodes(nr_nodes);
	snprintf(pid, sizeof(pid), "%d", getpid());
	if (!file_write(pid, GROUP "/cgroup.procs"))
		tap_bail("cannot enter the group: %s", strerror(errno));
	workers_start(w, 2, churn);
	step(nr_nodes);
	step(2);
	step(1);
	step(nr_nodes);
	__atomic_store_n(&stress_stopped, 1, __ATOMIC_RELAXED);
	ops = workers_join(w, 2);
	stress_end("%lu objects meanwhile", ops);
	home_again();
	fresh_home();
	file_write(pid, "/sys/fs/cgroup/cgroup.procs");
	rmdir(GROUP);
	return tap_done();
}
