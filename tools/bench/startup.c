// SPDX-License-Identifier: MIT
/*
 * startup.c - what an allocator adds to the start of a short program
 *
 * Source of the workload: process creation as L. McVoy and C. Staelin measure
 * it in "lmbench: Portable Tools for Performance Analysis", USENIX Annual
 * Technical Conference, 1996. Shells and build systems start programs that
 * live a millisecond; there the set-up of the allocator is all that shows.
 *
 *	startup [-n rounds] [-m median|min] [-x program] NAME=LIBRARY...
 *
 * Every round starts the program once under each library in turn (an empty
 * LIBRARY is no preload), so that a slow moment of the machine hits all.
 * One line a name; ns_per_op is the median (or the minimum) over the rounds
 * from posix_spawn() to the return of wait4(). Peak memory is the child's
 * ru_maxrss, which is at least this program's own: compare, do not subtract.
 * There is no memory after the work, printed as -.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define NR_MAX	16

struct subject {
	char		*name;
	char		preload[4096];
	uint64_t	*wall;		/* ns of each round */
	uint64_t	cpu;		/* ns, all rounds */
	long		rss_kb;
	long		nr_faults;	/* of the last round */
	long		voluntary;	/* context switches, all rounds */
	long		involuntary;
};

static struct subject subjects[NR_MAX];
static posix_spawn_file_actions_t actions;

static void run_once(struct subject *s, const char *program, uint64_t round)
{
	char *const argv[] = { (char *)program, NULL };
	char *envp[3] = { "PATH=/usr/bin:/bin", s->preload, NULL };
	struct rusage ru;
	uint64_t start;
	pid_t pid;
	int status;

	if (!s->preload[0])
		envp[1] = NULL;
	start = bench_now();
	if (posix_spawn(&pid, program, &actions, NULL, argv, envp))
		bench_die("cannot start %s", program);
	if (wait4(pid, &status, 0, &ru) != pid || status)
		bench_die("%s under %s ended with status %#x", program,
			  s->name, status);
	s->wall[round] = bench_now() - start;
	s->cpu += (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000000ull +
		  (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * 1000ull;
	s->nr_faults = ru.ru_minflt;
	s->voluntary += ru.ru_nvcsw;
	s->involuntary += ru.ru_nivcsw;
	if (ru.ru_maxrss > s->rss_kb)
		s->rss_kb = ru.ru_maxrss;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void add_subject(struct subject *s, char *arg, uint64_t nr_rounds)
{
	char *lib = strchr(arg, '=');

	if (!lib)
		bench_die("'%s' is not NAME=LIBRARY", arg);
	*lib++ = 0;
	/* The loader only warns about a library that is not there. */
	if (*lib && access(lib, R_OK))
		bench_die("no library %s", lib);
	s->name = arg;
	if (*lib)
		snprintf(s->preload, sizeof(s->preload), "LD_PRELOAD=%s", lib);
	s->wall = bench_map(nr_rounds * sizeof(*s->wall));
}

int main(int argc, char **argv)
{
	const char *program = "/bin/true";
	uint64_t nr_rounds = 300, i;
	unsigned int nr = 0, j;
	int c, want_min = 0;

	while ((c = getopt(argc, argv, "n:m:x:")) != -1) {
		switch (c) {
		case 'n':
			nr_rounds = bench_number(optarg);
			break;
		case 'm':
			want_min = !strcmp(optarg, "min");
			break;
		case 'x':
			program = optarg;
			break;
		default:
			bench_die("usage: startup [-n rounds] [-m median|min] [-x program] NAME=LIBRARY...");
		}
	}
	if (!nr_rounds || optind == argc || argc - optind > NR_MAX)
		bench_die("need 1 to %d NAME=LIBRARY and a round", NR_MAX);
	for (; optind < argc; optind++)
		add_subject(&subjects[nr++], argv[optind], nr_rounds);

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	for (j = 0; j < nr; j++) {	/* page cache */
		run_once(&subjects[j], program, 0);
		subjects[j].cpu = 0;
		subjects[j].voluntary = 0;
		subjects[j].involuntary = 0;
	}
	for (i = 0; i < nr_rounds; i++)
		for (j = 0; j < nr; j++)
			run_once(&subjects[j], program, i);

	for (j = 0; j < nr; j++) {
		struct subject *s = &subjects[j];

		qsort(s->wall, nr_rounds, sizeof(*s->wall), compare);
		/* Nothing is left after the end of a process: no memory then. */
		printf("startup preload=%s,program=%s %.2f %ld %ld %.2f - %ld %ld %llu\n",
		       s->name, program,
		       (double)s->wall[want_min ? 0 : nr_rounds / 2],
		       s->rss_kb, s->nr_faults, (double)s->cpu / nr_rounds,
		       s->voluntary, s->involuntary, (unsigned long long)nr_rounds);
	}
	return 0;
}
