// SPDX-License-Identifier: MIT
/*
 * dlopen and dlclose in a loop while threads allocate: the loader calls
 * malloc and free from inside, holds its own lock, and thread-local storage
 * of the libraries comes and goes under the threads.
 */
#include "stress.h"

#define SLOTS 64

static const char *const libs[] = {
	"libm.so.6", "libresolv.so.2", "libstdc++.so.6", "libz.so.1", "libutil.so.1",
	"libanl.so.1", "libthread_db.so.1", "libnsl.so.1", "libnss_files.so.2",
	"libBrokenLocale.so.1", "libgomp.so.1", "libcrypt.so.1",
};
#define NR_LIBS (sizeof(libs) / sizeof(libs[0]))

static void *run(struct worker *w)
{
	struct obj slot[SLOTS] = { { NULL, 0 } };

	for (; !stress_stop(); w->ops++) {
		struct obj *o = &slot[rnd_below(&w->rng, SLOTS)];

		obj_end(o, "beside dlopen");
		obj_new(o, size_mixed(&w->rng), rnd(&w->rng));
		/* Errors of the loader are kept per thread, in memory. */
		if (!rnd_below(&w->rng, 2000) && !dlsym(RTLD_DEFAULT, "no_such_symbol_here"))
			(void)dlerror();
	}
	for (unsigned int i = 0; i < SLOTS; i++)
		obj_end(&slot[i], "at the end");
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned long ops, opened = 0, missing = 0;
	struct worker *w;
	double end;
	uint64_t rng;

	tap_init(argc, argv);
	watchdog(60);
	rng = tap_opts.seed;
	w = calloc(tap_opts.threads, sizeof(*w));
	workers_start(w, tap_opts.threads, run);
	end = now_seconds() + tap_opts.seconds;
	while (!stress_stop() && now_seconds() < end) {
		void *lib[4];

		for (unsigned int i = 0; i < 4; i++) {
			lib[i] = dlopen(libs[rnd_below(&rng, NR_LIBS)],
					rnd_below(&rng, 2) ? RTLD_NOW : RTLD_LAZY);
			if (lib[i])
				opened++;
			else
				missing++, (void)dlerror();
		}
		for (unsigned int i = 0; i < 4; i++)
			if (lib[i] && dlclose(lib[i]))
				stress_fail("dlclose: %s", dlerror());
	}
	__atomic_store_n(&stress_stopped, 1, __ATOMIC_RELAXED);
	ops = workers_join(w, tap_opts.threads);
	free(w);
	if (!opened)
		stress_fail("no library could be opened");
	stress_end("%lu times opened (%lu not there), beside %lu operations", opened,
		   missing, ops);
	return tap_done();
}
