// SPDX-License-Identifier: MIT
/*
 * The heap profile while everything else happens: threads that allocate and free
 * for each other, sessions that come and go with all means, dumps, dlopen and
 * dlclose, forks whose children write profiles, a signal handler that writes one
 * in the middle of whatever it meets, malloc_trim.
 *
 * Each sample takes from its stack's counts what it added: when all objects are
 * freed, nothing of the workers' is live, to the byte.
 */
#include <sys/syscall.h>

#include "pprof.h"
#include "stress.h"

#define SLOTS	200

static const char *const libs[] = {
	"libm.so.6", "libresolv.so.2", "libstdc++.so.6", "libz.so.1", "libutil.so.1",
	"libanl.so.1", "libthread_db.so.1", "libcrypt.so.1",
};

/* Handed from worker to worker. */
static struct obj shared[SLOTS];
static unsigned long nr_dumps, nr_handled, nr_sessions, nr_children;
static int handler_fd = -1;

SITE static void *churn(struct worker *w)
{
	struct obj slot[SLOTS] = { { NULL, 0 } };

	for (; !stress_stop(); w->ops++) {
		struct obj *o = &slot[rnd_below(&w->rng, SLOTS)], other;
		unsigned int i;

		switch (rnd_below(&w->rng, 16)) {
		case 0:
			if (o->p)
				obj_resize(o, size_mixed(&w->rng), "churn");
			break;
		case 1:
			i = rnd_below(&w->rng, SLOTS);
			other.p = __atomic_exchange_n(&shared[i].p, NULL, __ATOMIC_ACQ_REL);
			free(other.p);
			other.p = malloc(1 + rnd_size(&w->rng, 12));
			free(__atomic_exchange_n(&shared[i].p, other.p, __ATOMIC_ACQ_REL));
			break;
		case 2:
			if (!rnd_below(&w->rng, 1000))
				malloc_trim(0);
			break;
		default:
			obj_end(o, "churn");
			obj_new(o, size_mixed(&w->rng), rnd(&w->rng));
		}
	}
	for (unsigned int i = 0; i < SLOTS; i++)
		obj_end(&slot[i], "at the end");
	return NULL;
}

static void dump(void)
{
	struct pprof f;
	int err = pprof_take(&f);

	if (err && err != EBUSY)
		stress_fail("ha_profile_dump: %s", strerror(err));
	if (!err && !f.whole)
		stress_fail("a profile of %zu bytes is not whole", f.size);
	nr_dumps += !err;
	pprof_drop(&f);
}

static void *sessions(void *arg)
{
	uint64_t rng = tap_opts.seed + 77;

	(void)arg;
	while (!stress_stop()) {
		size_t mean = rnd_below(&rng, 4) ? (size_t)1 << (6 + rnd_below(&rng, 16)) : 1;

		if (ha_profile_start(mean))
			stress_fail("ha_profile_start: %s", strerror(errno));
		for (unsigned int i = 0; i < 3; i++) {
			nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
			dump();
		}
		ha_profile_stop();
		nr_sessions++;
	}
	return NULL;
}

static void child(void)
{
	void *p[100];
	struct pprof f;

	for (unsigned int i = 0; i < 100; i++)
		p[i] = malloc(i * i);
	if (pprof_take(&f) || !f.whole)
		_exit(1);
	for (unsigned int i = 0; i < 100; i++)
		free(p[i]);
	ha_profile_stop();
	_exit(ha_profile_start(1) ? 2 : 0);
}

static void one_fork(void)
{
	pid_t pid;
	int status;

	/* neither the sanitizer nor an emulator survives a fork among threads */
	if (TAP_TSAN || tap_emulated())
		return;
	pid = fork();
	if (!pid)
		child();
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		stress_fail("a child ended with status %#x", pid < 0 ? -1 : status);
	nr_children++;
}

static void handler(int sig)
{
	int keep = errno;

	(void)sig;
	if (!ha_profile_dump(handler_fd))
		__atomic_fetch_add(&nr_handled, 1, __ATOMIC_RELAXED);
	errno = keep;
}

extern char __executable_start[], etext[];

/*
 * What the workers allocated by calls of their own.  Not what libc did for them: a
 * free may start the background thread, whose storage stays.
 */
static void sum_own(const struct pprof *f, int64_t *sum)
{
	struct pprof_sample s;
	size_t at = 0;

	memset(sum, 0, NR_VALUES * sizeof(*sum));
	while (pprof_next(f, &at, &s))
		for (unsigned int i = 0; i < NR_VALUES; i++)
			if (s.nr && s.pc[0] >= (uintptr_t)__executable_start &&
			    s.pc[0] < (uintptr_t)etext && pprof_is_at(&s, churn))
				sum[i] += s.value[i];
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART };
	const char *conf = getenv("HEAPARENA_CONF");
	struct worker w[16];
	unsigned int nr;
	unsigned long ops;
	int64_t v[NR_VALUES];
	struct pprof f;
	pthread_t s;
	uint64_t rng;
	double end;

	tap_init(argc, argv);
	watchdog(100);
	if (conf && strstr(conf, "check:off")) {
		tap_skip("profile_storm", "check:off excludes a profile");
		return tap_done();
	}
	if (tap_emulated())
		tap_skip("forks", "the emulator itself hangs in them");
	rng = tap_opts.seed;
	free(HIDE(malloc(1)));
	handler_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	ha_profile_start(1);
	ha_profile_stop();
	sigaction(SIGUSR1, &sa, NULL);
	nr = tap_opts.threads < 16 ? tap_opts.threads : 16;
	workers_start(w, nr, churn);
	if (pthread_create(&s, NULL, sessions, NULL))
		tap_bail("pthread_create");
	end = now_seconds() + tap_opts.seconds;
	while (!stress_stop() && now_seconds() < end) {
		void *lib = dlopen(libs[rnd_below(&rng, sizeof(libs) / sizeof(libs[0]))],
				   RTLD_NOW);

		if (!TAP_TSAN)
			pthread_kill(w[rnd_below(&rng, nr)].thread, SIGUSR1);
		if (lib)
			dlclose(lib);
		else
			(void)dlerror();
		if (!rnd_below(&rng, 8))
			one_fork();
	}
	__atomic_store_n(&stress_stopped, 1, __ATOMIC_RELAXED);
	ops = workers_join(w, nr);
	pthread_join(s, NULL);
	for (unsigned int i = 0; i < SLOTS; i++)
		free(shared[i].p);
	if (pprof_take(&f))
		stress_fail("the last profile: %s", strerror(errno));
	sum_own(&f, v);
	if (v[INUSE_OBJECTS] || v[INUSE_SPACE])
		stress_fail("%lld objects of %lld bytes are live, they say",
			    (long long)v[INUSE_OBJECTS], (long long)v[INUSE_SPACE]);
	pprof_drop(&f);
	diag("%lu profiles, %lu by the handler, %lu sessions, %lu children", nr_dumps,
	     nr_handled, nr_sessions, nr_children);
	if (!nr_dumps || !nr_sessions)
		stress_fail("nothing happened");
	stress_end("%lu operations under profiles", ops);
	return tap_done();
}
