// SPDX-License-Identifier: MIT
/*
 * cpusim.c - many CPUs, simulated over the library's own structures
 *
 *	cpusim [-o allocations of each CPU] [-n nodes] [-s seed]
 *
 * Not a comparison, and no time is taken: what do 1 to 256 CPUs on 8 nodes hold in
 * their caches, and how often do they meet?  selftests/fake/cpus.c has the machine.
 *
 * One line each for a pattern and a number of CPUs:
 *
 *	cpusim PATTERN CPUS key=value...
 *
 * allocs; cached, one, depots, live, meta: bytes, of all caches at the most, of one
 * CPU's, of the depots, of the user's meanwhile, of the allocator's own; idle: bytes
 * cached after all have rested; and of each thing that CPUs share the uses, the
 * hand-overs (another CPU was there before) and those from another node.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake/cpus.h"

static void die(const char *what)
{
	fprintf(stderr, "cpusim: %s\n", what);
	exit(1);
}

static void print(const struct cpus_plan *plan, const struct cpus_result *r)
{
	printf("cpusim %s %u nodes=%u allocs=%llu cached=%zu one=%zu depots=%zu live=%zu "
	       "meta=%zu idle=%zu", cpus_pattern_names[plan->pattern], plan->nr_cpus,
	       plan->nr_nodes, (unsigned long long)r->allocs, r->cached, r->cached_one,
	       r->depots, r->live, r->meta, r->after_idle);
	for (unsigned int k = 0; k < NR_CPUS_SHARED; k++)
		printf(" %s=%llu/%llu/%llu", cpus_shared_names[k],
		       (unsigned long long)r->count[k].uses,
		       (unsigned long long)r->count[k].handed,
		       (unsigned long long)r->count[k].remote);
	putchar('\n');
	fflush(stdout);
}

/* In a process of its own: a heap is set up once. */
static void run(const struct cpus_plan *plan)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct cpus_result r;

		if (!cpus_run(plan, &r))
			die("no memory");
		if (r.left)
			die("not everything went home");
		print(plan, &r);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		die("a run failed");
}

/* Before the library's constructor: the runs set up heaps of their own. */
__attribute__((constructor(101))) static void early(int argc, char **argv)
{
	struct cpus_plan plan = { .nr_nodes = 8, .nr_threads = 1, .per_cpu = 20000, .seed = 1 };
	int opt;

	while ((opt = getopt(argc, argv, "o:n:s:")) != -1) {
		if (opt == 'o')
			plan.per_cpu = strtod(optarg, NULL);
		else if (opt == 'n')
			plan.nr_nodes = atoi(optarg);
		else if (opt == 's')
			plan.seed = strtoull(optarg, NULL, 0);
		else
			die("usage: cpusim [-o allocations] [-n nodes] [-s seed]");
	}
	for (plan.pattern = 0; plan.pattern < NR_CPUS_PATTERNS; plan.pattern++)
		for (plan.nr_cpus = 1; plan.nr_cpus <= CPUS_MAX; plan.nr_cpus *= 2)
			run(&plan);
	exit(0);
}

int main(void)
{
	return 1;
}
