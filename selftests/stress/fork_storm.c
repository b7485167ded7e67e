// SPDX-License-Identifier: MIT
/*
 * fork while other threads are anywhere inside the allocator. The child
 * must find a heap in order: it frees what it inherited, allocates, starts
 * threads, forks again, and says by its exit code that it came to the end.
 *
 * Three phases: one thread forks and all others allocate; every thread
 * forks; a signal handler that interrupted the allocator forks and executes
 * another program. A child that hangs is ended by its own alarm.
 *
 * But not one that hangs in the emulator, or in the thread sanitizer's start of a thread,
 * with all signals blocked: it was forked while another thread held a lock of theirs.
 * Such a child still lives when its alarm is overdue, is killed, and does not count,
 * neither as a failure nor as a fork.
 */
#include "stress.h"

#define MINE		64
#define CHILD_OK	42
#define CHILD_SECONDS	30
#define OVERDUE_SECONDS	5
#define LOST		(-2)

extern char **environ;

static unsigned long nr_forks, nr_handler_forks, nr_lost;
static int handler_busy;

static void churn(uint64_t *rng, unsigned int n)
{
	struct obj slot[64] = { { NULL, 0 } };

	for (unsigned int i = 0; i < n && !stress_stop(); i++) {
		struct obj *o = &slot[rnd_below(rng, 64)];

		obj_end(o, "churn");
		obj_new(o, size_mixed(rng), rnd(rng));
	}
	for (unsigned int i = 0; i < 64; i++)
		obj_end(&slot[i], "churn, at the end");
}

/*
 * More of every size than a cache holds: whatever lock or list another thread
 * had in its hands at the moment of the fork, the child comes to need it.
 */
static void every_size(void)
{
	static void *all[80 * 40];
	unsigned int n = 0;

	for (size_t size = 8; size <= 40000; size += size / 8 + 8)
		for (unsigned int i = 0; i < 40 && n < 80 * 40; i++) {
			all[n] = malloc(size);
			if (!all[n++])
				stress_fail("no memory for %zu bytes in a child", size);
		}
	while (n)
		free(all[--n]);
}

/* Spans come and go all the time: most of the work is done under locks. */
static void *span_churn(struct worker *w)
{
	static const unsigned int max = 160;
	struct obj *o = calloc(max, sizeof(*o));

	while (o && !stress_stop()) {
		size_t size = rnd_size(&w->rng, 16);

		for (unsigned int i = 0; i < max; i++) {
			o[i].size = size;
			o[i].p = malloc(size);
			if (o[i].p)
				memcpy(o[i].p, &o[i].p, size < 8 ? size : 8);
		}
		for (unsigned int i = 0; i < max; i++) {
			if (!o[i].p || memcmp(o[i].p, &o[i].p, size < 8 ? size : 8))
				stress_fail("an object of %zu bytes is damaged", size);
			free(o[i].p);
		}
	}
	free(o);
	return NULL;
}

static void *child_thread(struct worker *w)
{
	churn(&w->rng, 500);
	return NULL;
}

static bool has_ended(pid_t pid, int *status, int options)
{
	pid_t ret;

	do
		ret = waitpid(pid, status, options);
	while (ret < 0 && errno == EINTR);
	if (ret < 0)
		*status = -1;
	return ret != 0;
}

static bool may_be_lost(void)
{
	return TAP_TSAN || tap_emulated();
}

/* Its status; LOST: it hung in what is not ours. It has an alarm of @seconds. */
static int wait_for(pid_t pid, unsigned int seconds)
{
	double end = now_seconds() + seconds + OVERDUE_SECONDS;
	int status;

	if (!may_be_lost()) {
		has_ended(pid, &status, 0);
		return status;
	}
	while (!has_ended(pid, &status, WNOHANG)) {
		if (now_seconds() > end) {
			kill(pid, SIGKILL);
			has_ended(pid, &status, 0);
			return LOST;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return status;
}

/* What a child does. Its memory is a copy: the counters are its own. */
static void child(struct obj *mine, uint64_t *rng, unsigned int round)
{
	signal(SIGALRM, SIG_DFL);
	alarm(CHILD_SECONDS);
	stress_stopped = 0;
	for (unsigned int i = 0; i < MINE; i++)
		obj_end(&mine[i], "inherited");
	every_size();
	churn(rng, 100);
	/* A sanitizer's threads do not survive a fork; ours must. */
	if (round % 8 == 1 && !TAP_TSAN) {
		struct worker w[2];

		workers_start(w, 2, child_thread);
		workers_join(w, 2);
	}
	if (round % 4 == 2) {
		pid_t pid = fork();
		int status = -1;

		if (!pid) {
			alarm(CHILD_SECONDS / 2);
			every_size();
			_exit(stress_failures ? 1 : CHILD_OK);
		}
		if (pid > 0)
			status = wait_for(pid, CHILD_SECONDS / 2);
		if (status != CHILD_OK << 8 && status != LOST)
			stress_fail("the grandchild failed");
	}
	if (round % 16 == 5 && !TAP_TSAN)
		exit(stress_failures ? 1 : CHILD_OK);
	_exit(stress_failures ? 1 : CHILD_OK);
}

static void fork_once(uint64_t *rng, unsigned int round)
{
	struct obj mine[MINE];
	pid_t pid;
	int status;

	for (unsigned int i = 0; i < MINE; i++)
		if (!obj_new(&mine[i], size_mixed(rng), rnd(rng)))
			return;
	pid = fork();
	if (!pid)
		child(mine, rng, round);
	if (pid < 0) {
		stress_fail("fork: %s", strerror(errno));
		return;
	}
	for (unsigned int i = 0; i < MINE; i++)
		obj_end(&mine[i], "the parent's");
	status = wait_for(pid, CHILD_SECONDS);
	if (status == LOST) {
		__atomic_fetch_add(&nr_lost, 1, __ATOMIC_RELAXED);
		return;
	}
	if (status != CHILD_OK << 8)
		stress_fail("round %u: the child ended with status 0x%x%s", round, status,
			    WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ?
			    " (it hung)" : "");
	__atomic_fetch_add(&nr_forks, 1, __ATOMIC_RELAXED);
}

static void *allocate(struct worker *w)
{
	if (w->id % 2)
		return span_churn(w);
	while (!stress_stop())
		churn(&w->rng, 1000);
	return NULL;
}

static void *fork_too(struct worker *w)
{
	for (unsigned int round = w->id; !stress_stop(); round++) {
		churn(&w->rng, 100);
		fork_once(&w->rng, round);
	}
	return NULL;
}

/* Most children end at once: an exec takes as long as a hundred forks. */
static void fork_exec(int sig)
{
	static char *argv[] = { "true", NULL };
	int keep = errno, status;
	pid_t pid = fork();

	(void)sig;
	if (!pid) {
		if (nr_handler_forks % 16)
			_exit(0);
		execve("/bin/true", argv, environ);
		_exit(1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		stress_fail("a child of the handler failed");
	nr_handler_forks++;
	__atomic_store_n(&handler_busy, 0, __ATOMIC_RELEASE);
	errno = keep;
}

static void phase_one_forks(struct worker *w, unsigned int n)
{
	double end = now_seconds() + tap_opts.seconds * 0.4;
	uint64_t rng = tap_opts.seed;

	workers_start(w, n, allocate);
	for (unsigned int round = 0; (!nr_forks && round < 2) ||
	     (!stress_stop() && now_seconds() < end); round++)
		fork_once(&rng, round);
	__atomic_store_n(&stress_stopped, 1, __ATOMIC_RELAXED);
	workers_join(w, n);
	if (nr_lost)
		printf("# %lu children hung in the emulator\n", nr_lost);
	if (!nr_forks)
		stress_fail("not one fork");
	stress_end("%lu forks while %u threads allocate", nr_forks, n);
}

static void phase_all_fork(struct worker *w, unsigned int n)
{
	nr_forks = 0;
	workers_start(w, n, fork_too);
	stress_run(0.3);
	workers_join(w, n);
	stress_end("%lu forks by %u threads at once", nr_forks, n);
}

static void phase_handler(struct worker *w, unsigned int n)
{
	struct sigaction sa = { .sa_handler = fork_exec, .sa_flags = SA_RESTART };
	double end = now_seconds() + tap_opts.seconds * 0.3;
	uint64_t rng = tap_opts.seed + 1;

	sigaction(SIGUSR1, &sa, NULL);
	workers_start(w, n, span_churn);
	while (!stress_stop() && now_seconds() < end) {
		/* One at a time, at any instruction of the allocating thread. */
		__atomic_store_n(&handler_busy, 1, __ATOMIC_RELEASE);
		pthread_kill(w[rnd_below(&rng, n)].thread, SIGUSR1);
		while (__atomic_load_n(&handler_busy, __ATOMIC_ACQUIRE))
			nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
	}
	__atomic_store_n(&stress_stopped, 1, __ATOMIC_RELAXED);
	workers_join(w, n);
	if (!nr_handler_forks)
		stress_fail("not one fork by the handler");
	stress_end("%lu times a handler interrupted malloc, forked and executed a program",
		   nr_handler_forks);
}

int main(int argc, char **argv)
{
	struct worker *w;
	unsigned int n;

	tap_init(argc, argv);
	watchdog(CHILD_SECONDS + 20 + (may_be_lost() ? CHILD_SECONDS + OVERDUE_SECONDS : 0));
	n = tap_opts.threads;
	w = calloc(n, sizeof(*w));
	phase_one_forks(w, n);
	stress_again();
	if (tap_emulated())
		tap_skip("forks by all threads at once", "the emulator itself hangs in them");
	else
		phase_all_fork(w, n);
	stress_again();
	if (tap_emulated())
		tap_skip("fork and exec in a handler", "no exec where the processor is emulated");
	else if (TAP_TSAN)
		tap_skip("fork and exec in a handler", "the sanitizer defers signals");
	else
		phase_handler(w, n);
	free(w);
	return tap_done();
}
