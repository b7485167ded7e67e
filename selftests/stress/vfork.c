// SPDX-License-Identifier: MIT
/*
 * A vfork child shares the memory of its parent, has no rseq area of its
 * own, and may run on any CPU: an allocator that trusts the parent's area
 * would work on a cache that another thread is working on. The child here
 * allocates and frees before it executes a program, as shells do, while
 * other threads keep all CPUs busy in the allocator.
 *
 * The allocator may turn vfork into fork: nothing here tells them apart.
 */
#include "stress.h"

#define SLOTS	64
#define CHILD	200

extern char **environ;

static void *run(struct worker *w)
{
	struct obj slot[SLOTS] = { { NULL, 0 } };

	for (; !stress_stop(); w->ops++) {
		struct obj *o = &slot[rnd_below(&w->rng, SLOTS)];

		obj_end(o, "beside vfork");
		obj_new(o, 16 << rnd_below(&w->rng, 5), 7);
	}
	for (unsigned int i = 0; i < SLOTS; i++)
		obj_end(&slot[i], "at the end");
	return NULL;
}

/* In the child: a command line is put together in memory of its own. */
static __attribute__((__noinline__)) int child_work(uint64_t seed)
{
	struct obj o[CHILD];
	int bad = 0;

	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int i = 0; i < CHILD; i++) {
			o[i].size = 16 << (seed + i + round) % 5;
			o[i].p = malloc(o[i].size);
			if (!o[i].p)
				return 1;
			obj_fill(&o[i]);
		}
		for (unsigned int i = 0; i < CHILD; i++) {
			bad += pattern_walk(o[i].p, o[i].p, o[i].size, o[i].size,
					    false) != o[i].size;
			free(o[i].p);
		}
	}
	return bad;
}

static void vfork_once(uint64_t seed)
{
	static char *args[] = { "true", NULL };
	int status;
	pid_t pid = vfork();

	if (!pid) {
		if (child_work(seed))
			_exit(99);
		execve("/bin/true", args, environ);
		_exit(98);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		stress_fail("vfork: %s", strerror(errno));
	else if (status)
		stress_fail("the vfork child ended with status 0x%x", status);
}

int main(int argc, char **argv)
{
	unsigned long ops, forks = 0;
	struct worker *w;
	double end;
	uint64_t rng;

	tap_init(argc, argv);
	if (tap_emulated())
		tap_skip_all("no exec where the processor is emulated");
	if (TAP_TSAN)
		tap_skip_all("the sanitizer's shadow does not follow a vfork child");
	watchdog(60);
	rng = tap_opts.seed;
	w = calloc(tap_opts.threads, sizeof(*w));
	workers_start(w, tap_opts.threads, run);
	end = now_seconds() + tap_opts.seconds;
	while (!stress_stop() && now_seconds() < end) {
		vfork_once(rnd(&rng));
		forks++;
	}
	__atomic_store_n(&stress_stopped, 1, __ATOMIC_RELAXED);
	ops = workers_join(w, tap_opts.threads);
	free(w);
	stress_end("%lu vfork children allocated, beside %lu operations", forks, ops);
	return tap_done();
}
