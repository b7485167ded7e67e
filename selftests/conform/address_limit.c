// SPDX-License-Identifier: MIT
/*
 * RLIMIT_AS: the library runs where a 64 MiB arena cannot be reserved, and
 * takes less. Under each limit the program allocates, uses threads, frees
 * and allocates again.
 */
#include "conform.h"

#define NR	1000

static void *work(void *arg)
{
	static __thread unsigned char *all[NR];
	size_t scale = (uintptr_t)arg;

	for (unsigned int i = 0; i < NR; i++) {
		all[i] = HIDE(malloc(i * scale / 16 + 1));
		if (!all[i])
			_exit(3);
		memset(all[i], i, i * scale / 16 + 1);
	}
	for (unsigned int i = 0; i < NR; i++) {
		if (all[i][i * scale / 16] != (unsigned char)i)
			_exit(4);
		free(all[i]);
	}
	return NULL;
}

static int child(void)
{
	pthread_attr_t attr;
	pthread_t t[2];
	void *big;

	work((void *)64);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 262144);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 2; i++)
			if (pthread_create(&t[i], &attr, work, (void *)32))
				return 5;
		for (int i = 0; i < 2; i++)
			pthread_join(t[i], NULL);
	}
	big = HIDE(malloc(1 << 20));
	if (!big)
		return 6;
	free(memset(big, 1, 1 << 20));
	errno = 0;
	if (HIDE(malloc((size_t)2 << 30)) || errno != ENOMEM)
		return 7;
	work((void *)64);
	return 0;
}

int main(int argc, char **argv)
{
	static const unsigned int limit_mb[] = { 2000, 500, 200, 150, 100, 80, 64 };
	static struct run_result r;

	if (child_mode(argc, argv))
		return child();
	tap_init(argc, argv);
	if (!can_run_self())
		tap_skip_all(NO_SELF);
	for (unsigned int i = 0; i < sizeof(limit_mb) / sizeof(limit_mb[0]); i++)
		if (!ok(run_self("@limit", NULL, (size_t)limit_mb[i] << 20, &r) &&
			run_ok(&r), "runs in %u MiB of address space", limit_mb[i]))
			run_diag(&r);
	return tap_done();
}
