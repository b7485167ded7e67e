// SPDX-License-Identifier: MIT
/*
 * Three hundred threads that have allocated and now wait: what they freed
 * is not theirs to keep, so they cost their stacks and nothing more. A
 * process with that many threads forks as fast as any, because nothing is
 * done per thread, and its children allocate at once.
 */
#include "stress.h"

#define NR		300
#define FORKS		100
#define MAX_KB_THREAD	64

static pthread_barrier_t filled, leave;

static void *run(struct worker *w)
{
	struct obj slot[64];

	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int i = 0; i < 64; i++)
			obj_new(&slot[i], rnd_size(&w->rng, 12), rnd(&w->rng));
		for (unsigned int i = 0; i < 64; i++)
			obj_end(&slot[i], "idle");
	}
	pthread_barrier_wait(&filled);
	pthread_barrier_wait(&leave);
	/* Awake again: what it left behind is still in order. */
	for (unsigned int i = 0; i < 64; i++)
		if (obj_new(&slot[i], rnd_size(&w->rng, 12), 7))
			obj_end(&slot[i], "awake");
	return NULL;
}

static double fork_ms(uint64_t *rng)
{
	double begin = now_seconds();
	int status;
	pid_t pid = fork();

	if (!pid) {
		alarm(30);
		for (unsigned int i = 0; i < 50; i++) {
			struct obj o;

			if (!obj_new(&o, size_mixed(rng), rnd(rng)))
				_exit(1);
			obj_end(&o, "child of many");
		}
		_exit(stress_failures ? 1 : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		stress_fail("fork with %d threads", NR);
	return (now_seconds() - begin) * 1000;
}

int main(int argc, char **argv)
{
	double alone = 0, many = 0;
	long before, after;
	struct worker *w;
	uint64_t rng;

	tap_init(argc, argv);
	watchdog(100);
	rng = tap_opts.seed;
	pthread_barrier_init(&filled, NULL, NR + 1);
	pthread_barrier_init(&leave, NULL, NR + 1);
	w = calloc(NR, sizeof(*w));
	free(HIDE(malloc(100)));
	for (int i = 0; i < FORKS; i++)
		alone += fork_ms(&rng);
	before = tap_status_kb("VmRSS");
	workers_start(w, NR, run);
	pthread_barrier_wait(&filled);
	after = tap_status_kb("VmRSS");
	for (int i = 0; i < FORKS; i++)
		many += fork_ms(&rng);
	pthread_barrier_wait(&leave);
	workers_join(w, NR);
	free(w);
	stress_end("%d threads allocate, wait, allocate again; %d children beside them", NR,
		   FORKS);
	if (TAP_TSAN || tap_emulated()) {
		tap_skip("resident memory", "not ours alone under a sanitizer or emulator");
		return tap_done();
	}
	ok(after - before < NR * MAX_KB_THREAD, "%d idle threads cost %ld KiB, %ld each", NR,
	   after - before, (after - before) / NR);
	ok(many < alone * 10 + 20 * FORKS, "a fork and its child: %.2f ms alone, %.2f ms with %d threads",
	   alone / FORKS, many / FORKS, NR);
	return tap_done();
}
