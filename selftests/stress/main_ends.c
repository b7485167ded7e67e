// SPDX-License-Identifier: MIT
/*
 * main() calls pthread_exit() before other threads end.  The process ends with the last of
 * the program's own threads, by exit(), although there is the background thread.
 * Memory still goes back.
 */
#include "stress.h"
#include <dirent.h>

#define MIB		(1ul << 20)
#define BLOCKS		128
#define SLOW_SECONDS	20
#define STORM		60

static pthread_t main_thread;
static bool storm;

/* The threads of this process by that name. */
static unsigned int nr_threads(const char *name)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned int nr = 0;
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		char path[300], comm[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", d->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fgets(comm, sizeof(comm), f))
			nr += !strcspn(comm, "\n") ? 0 : !strncmp(comm, name, strcspn(comm, "\n"));
		fclose(f);
	}
	if (dir)
		closedir(dir);
	return nr;
}

static size_t resident(void)
{
	FILE *f = fopen("/proc/thread-self/statm", "r");
	size_t pages = 0;

	if (!f || fscanf(f, "%*u %zu", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return pages * sysconf(_SC_PAGESIZE);
}

static void fill(void)
{
	static char *block[BLOCKS];

	for (unsigned int i = 0; i < BLOCKS; i++) {
		block[i] = malloc(MIB);
		if (!block[i])
			tap_bail("no memory");
		memset(block[i], 1, MIB);
	}
	for (unsigned int i = 0; i < BLOCKS; i++)
		free(block[i]);
}

/* The words that the parent looks for are in the buffer of a stream, until exit(). */
static void *outlives_main(void *arg)
{
	bool had = false, has = false, back = false;
	double end;

	fill();
	end = now_seconds() + SLOW_SECONDS;
	while (!had && now_seconds() < end)
		had = nr_threads("heaparena") == 1;
	pthread_kill(main_thread, SIGUSR1);
	if (pthread_join(main_thread, NULL))
		return NULL;
	printf("%s;", had ? "had a thread" : "had none");
	fill();
	end = now_seconds() + SLOW_SECONDS;
	while (!back && now_seconds() < end) {
		usleep(10000);
		has |= nr_threads("heaparena") == 1;
		back = resident() < BLOCKS * MIB / 2;
	}
	printf("%s;", has ? "has one" : "has none");
	printf("%s;", back ? "went back" : "stayed");
	return NULL;
}

/* Grows past the size at which there is a thread, at the moment when main ends. */
static void *grows(void *arg)
{
	for (unsigned int i = 0; i < 24; i++)
		free(HIDE(malloc((i + 8) * MIB)));
	return NULL;
}

static void on_signal(int sig)
{
}

static void main_part(void)
{
	pthread_t t;
	sigset_t set;
	int sig;

	main_thread = pthread_self();
	if (storm) {
		pthread_create(&t, NULL, grows, NULL);
		pthread_create(&t, NULL, grows, NULL);
		printf("storm;");
		pthread_exit(NULL);
	}
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_create(&t, NULL, outlives_main, NULL);
	sigwait(&set, &sig);
	pthread_exit(NULL);
}

static void *fork_part(void *arg)
{
	pid_t pid = fork();
	int status = -1;

	if (!pid)
		main_part();
	waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* A child's words in @text, and its exit code; its main thread is one that forked. */
static int run(bool by_thread, char *text, size_t size)
{
	int fd[2], status = -1;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	fflush(stdout);
	if (pipe(fd) || (pid = fork()) < 0)
		tap_bail("fork: %s", strerror(errno));
	if (!pid) {
		pthread_t t;

		dup2(fd[1], STDOUT_FILENO);
		close(fd[0]);
		close(fd[1]);
		setvbuf(stdout, NULL, _IOFBF, 4096);
		signal(SIGALRM, SIG_DFL);
		alarm(3 * SLOW_SECONDS);
		if (!by_thread)
			main_part();
		pthread_create(&t, NULL, fork_part, NULL);
		pthread_join(t, NULL);
	}
	close(fd[1]);
	while (n < size - 1 && (got = read(fd[0], text + n, size - 1 - n)) > 0)
		n += got;
	text[n] = 0;
	close(fd[0]);
	waitpid(pid, &status, 0);
	return status;
}

static void outlived(bool by_thread, const char *who)
{
	char text[200];
	int status = run(by_thread, text, sizeof(text));

	ok(!status, "%s: the process ends", who);
	ok(!strcmp(text, "had a thread;has one;went back;"), "%s: %s", who, text);
}

int main(int argc, char **argv)
{
	unsigned int good = 0;
	char text[200];

	tap_init(argc, argv);
	if (TAP_TSAN || tap_emulated())
		tap_skip_all("threads after a fork are not for this variant");
	watchdog(200);
	signal(SIGUSR1, on_signal);
	outlived(false, "forked by main");
	outlived(true, "forked by a thread");
	storm = true;
	for (unsigned int i = 0; i < STORM; i++)
		good += !run(i % 2, text, sizeof(text)) && !strcmp(text, "storm;");
	ok(good == STORM, "main ends while the thread is started: %u of %u", good, STORM);
	return tap_done();
}
