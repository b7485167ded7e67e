// SPDX-License-Identifier: MIT
/*
 * GLIBC_TUNABLES=glibc.pthread.rseq=0: the C library registers no rseq area.
 * Its fields then read as CPU-less (cpu_id -2) with mm_cid 0 for every
 * thread, so a fast path that trusts mm_cid alone would let all threads work
 * on one cache at once. Threads hammer a few classes; an object that two of
 * them were given is seen by its mark.
 */
#include "conform.h"
#include "../stress/owner.h"
#include <sys/rseq.h>

#define NR_THREADS	8
#define ROUNDS		500000
#define SLOTS		48

static pthread_barrier_t begin;

static void *hammer(void *arg)
{
	uint64_t rng = (uintptr_t)arg;
	void *slot[SLOTS] = { NULL };

	pthread_barrier_wait(&begin);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		unsigned int k = rnd_below(&rng, SLOTS);

		if (slot[k])
			owner_drop(slot[k]), free(slot[k]);
		slot[k] = HIDE(malloc(16 << rnd_below(&rng, 3)));
		if (!slot[k])
			_exit(3);
		owner_take(slot[k]);
	}
	for (unsigned int k = 0; k < SLOTS; k++)
		if (slot[k])
			owner_drop(slot[k]), free(slot[k]);
	return NULL;
}

static int child(bool registered)
{
	pthread_t t[NR_THREADS];

	/* A C library that registers all the same would make this test empty. */
	if (!registered && __rseq_size)
		return 5;
	owner_init();
	pthread_barrier_init(&begin, NULL, NR_THREADS);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		if (pthread_create(&t[i], NULL, hammer, (void *)(i + 1)))
			return 4;
	for (unsigned int i = 0; i < NR_THREADS; i++)
		pthread_join(t[i], NULL);
	if (owner_errors()) {
		fprintf(stderr, "%lu objects had two owners\n", owner_errors());
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const char *const off[] = { "GLIBC_TUNABLES=glibc.pthread.rseq=0", NULL };
	static const char *const off_conf[] = { "GLIBC_TUNABLES=glibc.pthread.rseq=0",
						"HEAPARENA_CONF=rseq:on", NULL };
	static struct run_result r;

	const char *mode = child_mode(argc, argv);

	if (mode)
		return child(!strcmp(mode, "@registered"));
	tap_init(argc, argv);
	if (!can_run_self())
		tap_skip_all(NO_SELF);
	for (int i = 0; i < 3; i++)
		if (!ok(run_self("@hammer", off, 0, &r) && run_ok(&r) && !r.err[0],
			"%d threads without a registered rseq area", NR_THREADS))
			run_diag(&r);
	if (!ok(run_self("@hammer", off_conf, 0, &r) && run_ok(&r),
		"also when rseq:on asks for it"))
		run_diag(&r);
	if (!ok(run_self("@registered", NULL, 0, &r) && run_ok(&r),
		"the same with the area registered"))
		run_diag(&r);
	return tap_done();
}
