// SPDX-License-Identifier: MIT
/*
 * ha - the user's command
 *
 *	ha run [-c CONF] [--leaks] PROGRAM [ARGUMENT...]
 *	ha stat PID|CORE ...		each of these in a file of its name
 *	ha version
 *	ha help
 *
 * `run` is exec with two variables set: LD_PRELOAD, to which the library is put
 * in front, and, with -c, HEAPARENA_CONF, behind whose options those of CONF are put:
 * a later one counts. No process of ours stays behind, so
 * signals, status and terminal are the program's own; with --leaks one waits for
 * the program's end to report.
 *
 * The library is looked for beside this program (a build folder), then where
 * `make install` puts it (LIBDIR), in lib/ beside the program's folder, and then
 * left to the dynamic linker's own path. HA_LIB in the environment comes before all of these.
 *
 * Exit status of a failure of ours: 2 for usage; of run, 126 and 127 as the shell
 * has them, else 1. Links nothing of the library.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ha.h"
#include "leaks.h"

#define LIB_NAME "libheaparena.so.1"

static const char usage_text[] =
	"usage: ha run [-c CONF] [--leaks] PROGRAM [ARGUMENT...]\n"
	"       ha stat PID|CORE [--json]\n"
	"       ha top PID [-d SECONDS] [-n PAGES]\n"
	"       ha map PID|CORE -o FILE\n"
	"       ha walk PID|CORE [--json] [-v]\n"
	"       ha diff FILE|PID FILE|PID\n"
	"       ha prof PID start|stop|dump [-o FILE] [-s SIGNAL]\n"
	"       ha prof PID|CORE|FILE [--text|--collapsed|--lifetimes|--svg] [--live|--alloc|--peak] [-o FILE] [-n ROWS] [-s SIGNAL]\n"
	"       ha leaks PID|CORE|FILE [--lost] [--stop] [--json] [-n STACKS] [-s SIGNAL]\n"
	"       ha version\n"
	"       ha help\n"
	"\n"
	"run      start PROGRAM on heaparena; CONF is \"key:value,key:value\", put behind what\n"
	"         HEAPARENA_CONF has; of two with one key the later counts:\n"
	"           check:on|off               detection of misuse\n"
	"           numa:off|advisory|strict|fake=N\n"
	"           rseq:on|off                restartable sequences\n"
	"           thp:off|auto|always        huge pages\n"
	"           limit:SIZE soft:SIZE       limits of the heap; 64M, 2G, 80%\n"
	"           hugetlb:on|off             arenas from the pool of huge pages\n"
	"           cgroup:on|off headroom:N   limits of the control group\n"
	"           report:PATH                counters at exit; %p is the pid\n"
	"           prof:on|SIZE prof_file:PATH prof_signal:N    heap profile\n"
	"           orders:on|off              ha prof PID start is obeyed\n"
	"         --leaks: report what lives and what is lost at its end, by call stack\n"
	"         HA_LIB in the environment names another " LIB_NAME "\n"
	"stat     what a heap has: memory by kind, by node, by size class\n"
	"top      the same live, with rates; q ends it\n"
	"map      the heap as a picture, SVG: every page, its kind, size class and fill;\n"
	"         -o -: on standard output\n"
	"walk     live objects by size class; -v: each of them\n"
	"diff     what has grown between two outputs of stat --json, cores, processes\n"
	"prof     the heap profile of a process, a core file, or in a file: by function,\n"
	"         as stacks, by lifetime, as a flame graph; -o -: on standard output;\n"
	"         -s: by the process's prof_signal\n"
	"leaks    what nothing points to any more, and what lives, by call stack; --lost: the\n"
	"         former alone; --stop: hold the process meanwhile, and see registers\n"
	"version  print the version\n";

static int usage(void)
{
	fputs(usage_text, stderr);
	return EXIT_USAGE;
}

/*
 * The library's path in @path (PATH_MAX bytes), or its bare name where it is
 * neither beside the program nor installed with it.
 */
static void find_library(char *path)
{
	static const char *const places[] = { "", HA_LIBDIR "/", "../lib/" };
	const char *env = getenv("HA_LIB");
	char dir[PATH_MAX];
	ssize_t len;
	size_t i;

	if (env && *env) {
		snprintf(path, PATH_MAX, "%s", env);
		return;
	}
	len = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	if (len > 0) {
		dir[len] = 0;
		*strrchr(dir, '/') = 0;
		for (i = 0; i < ARRAY_SIZE(places); i++) {
			bool absolute = *places[i] == '/';
			int n = snprintf(path, PATH_MAX, "%s%s%s" LIB_NAME, absolute ? "" : dir,
					 absolute ? "" : "/", places[i]);

			if (n < PATH_MAX && !access(path, R_OK))
				return;
		}
	}
	strcpy(path, LIB_NAME);
}

/* The dynamic linker splits LD_PRELOAD at these and knows no quoting. */
static bool splits(const char *path)
{
	return strpbrk(path, ": \t\n");
}

/* The variable @name becomes "@a@between@b"; one alone where the other is not there. */
static int set_both(const char *name, const char *a, const char *between, const char *b)
{
	char *both;
	int err;

	if (!a || !*a || !b || !*b)
		return setenv(name, a && *a ? a : b ? b : "", 1);
	if (asprintf(&both, "%s%s%s", a, between, b) < 0)
		return -1;
	err = setenv(name, both, 1);
	free(both);
	return err;
}

int cmd_run(int argc, char **argv)
{
	static const struct option words[] = {
		{ "leaks", no_argument, NULL, 'l' }, { NULL },
	};
	const char *conf = NULL;
	char lib[PATH_MAX];
	bool leaks = false;
	int c, saved;

	/* "+": what follows the program's name is the program's. */
	while ((c = getopt_long(argc, argv, "+c:", words, NULL)) != -1) {
		if (c == 'c')
			conf = optarg;
		else if (c == 'l')
			leaks = true;
		else
			return EXIT_USAGE;
	}
	if (optind == argc)
		return EXIT_USAGE;
	find_library(lib);
	if (strchr(lib, '/') && access(lib, R_OK)) {
		fprintf(stderr, "ha: %s: %s\n", lib, strerror(errno));
		return 126;
	}
	if (splits(lib)) {
		fprintf(stderr, "ha: %s: LD_PRELOAD cannot hold this path\n",
			lib);
		return 126;
	}
	if (set_both("LD_PRELOAD", lib, ":", getenv("LD_PRELOAD")) ||
	    (conf && set_both("HEAPARENA_CONF", getenv("HEAPARENA_CONF"), ",", conf))) {
		fprintf(stderr, "ha: %s\n", strerror(errno));
		return 126;
	}
	if (leaks)
		return leaks_run(argv + optind);
	execvp(argv[optind], argv + optind);
	saved = errno;
	fprintf(stderr, "ha: %s: %s\n", argv[optind], strerror(saved));
	return saved == ENOENT ? 127 : 126;
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} verbs[] = {
	{ "run", cmd_run },
	{ "stat", cmd_stat },
	{ "top", cmd_top },
	{ "map", cmd_map },
	{ "walk", cmd_walk },
	{ "diff", cmd_diff },
	{ "prof", cmd_prof },
	{ "leaks", cmd_leaks },
};

static int command(int argc, char **argv)
{
	if (argc < 2)
		return usage();
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (!strcmp(argv[1], verbs[i].name)) {
			int ret = verbs[i].run(argc - 1, argv + 1);

			return ret == EXIT_USAGE ? usage() : ret;
		}
	}
	if (!strcmp(argv[1], "version") || !strcmp(argv[1], "--version")) {
		puts("heaparena " HEAPARENA_VERSION);
		return 0;
	}
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help")) {
		fputs(usage_text, stdout);
		return 0;
	}
	fprintf(stderr, "ha: no command '%s'\n", argv[1]);
	return usage();
}

/* Files are read through mappings, whose end is that of the file at the time of reading. */
static void file_shrank(int sig)
{
	static const char text[] = "ha: a file became shorter while it was read\n";
	ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)written;
	_exit(EXIT_FAILED);
}

/* What could not be written is a failure, whichever command it was of. */
int main(int argc, char **argv)
{
	struct sigaction shrank = { .sa_handler = file_shrank };
	int ret;

	/* exec of `ha run` sets it back */
	sigaction(SIGBUS, &shrank, NULL);
	ret = command(argc, argv);
	errno = 0;
	if ((fflush(stdout) || ferror(stdout)) && !ret)
		ret = fail("cannot write%s%s", errno ? ": " : "", errno ? strerror(errno) : "");
	return ret;
}
