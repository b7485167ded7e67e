// SPDX-License-Identifier: MIT
/*
 * fork beside threads inside of stdio: one flushes all streams, and waits with libc's list
 * of them in its hands for streams whose owners read lines, and wait for memory.
 */
#include "stress.h"

#define READERS		6
#define FORKERS		3
#define LINE_BYTES	50000
#define CHILD_OK	42

static unsigned long nr_forks, nr_lines;
static char path[] = "/tmp/fork_streams.XXXXXX";

static void write_line(void)
{
	int fd = mkstemp(path);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	if (!f)
		tap_bail("%s: %s", path, strerror(errno));
	for (unsigned int i = 0; i < LINE_BYTES; i++)
		fputc('x', f);
	fputc('\n', f);
	if (fclose(f))
		tap_bail("%s: %s", path, strerror(errno));
}

static void *reader(struct worker *w)
{
	FILE *f = fopen(path, "r");

	while (f && !stress_stop()) {
		char *line = NULL;
		size_t size = 0;

		rewind(f);
		if (getline(&line, &size, f) != LINE_BYTES + 1)
			stress_fail("a line is cut");
		free(line);
		w->ops++;
	}
	if (f)
		fclose(f);
	else
		stress_fail("fopen: %s", strerror(errno));
	return NULL;
}

static void *forker(struct worker *w)
{
	while (!stress_stop()) {
		pid_t pid = fork();
		int status = 0;

		if (!pid) {
			/* what the parent's threads had locked is free here */
			FILE *f = fopen(path, "r");
			int c = f ? fgetc(f) : EOF;

			fflush(NULL);
			_exit(c == 'x' && !fclose(f) ? CHILD_OK : 1);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid ||
		    !WIFEXITED(status) || WEXITSTATUS(status) != CHILD_OK)
			stress_fail("fork: %d, status %#x", pid, status);
		w->ops++;
	}
	return NULL;
}

static void *flusher(struct worker *w)
{
	while (!stress_stop()) {
		if (fflush(NULL))
			stress_fail("fflush: %s", strerror(errno));
		w->ops++;
		/* libc's lock is not fair */
		nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct worker readers[READERS], forkers[FORKERS], flushers[1];

	tap_init(argc, argv);
	if (TAP_TSAN)
		tap_skip_all("libc's lines are of the sanitizer's malloc");
	if (tap_emulated())
		tap_skip_all("the emulator loses children of threads");
	watchdog(60);
	write_line();
	workers_start(readers, READERS, reader);
	workers_start(forkers, FORKERS, forker);
	workers_start(flushers, 1, flusher);
	stress_run(1);
	nr_lines = workers_join(readers, READERS);
	nr_forks = workers_join(forkers, FORKERS);
	workers_join(flushers, 1);
	unlink(path);
	stress_end("fork while all streams are flushed");
	ok(nr_forks && nr_lines, "some of each");
	diag("%lu forks, %lu lines", nr_forks, nr_lines);
	return tap_done();
}
