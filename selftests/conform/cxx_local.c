// SPDX-License-Identifier: MIT
/*
 * libstdc++ in a scope of its own: opened with RTLD_LOCAL by a program in C.  An
 * operator new that finds no memory still does what the language says.
 *
 * Nothrow new stands for both: the library's calls the next one, libstdc++'s, that
 * calls new, which throws, and catches what it throws.
 */
#include "conform.h"

#define CXX "libstdc++.so.6"

/*
 * Nothing of 64 bytes to 16 KiB is to be had: the way to the next definition needs
 * no memory.  (What it costs to throw is an exception of some 150 bytes, for which
 * libstdc++ has a reserve.)
 */
static int without_memory(void)
{
	void *(*nothrow)(size_t, const void *) = dlsym(RTLD_DEFAULT, "_ZnwmRKSt9nothrow_t");

	for (size_t n = 16384; n >= 64; n -= 16)
		while (HIDE(malloc(n)))
			;
	return HIDE(nothrow(16384, "")) != NULL;
}

int main(int argc, char **argv)
{
	static const char *const limit[] = { "HEAPARENA_CONF=limit:24M,background:off", NULL };
	static const char *const ops[] = { "_ZnwmRKSt9nothrow_t", "_ZnamRKSt9nothrow_t" };
	static struct run_result r;
	size_t huge = HIDE((size_t)PTRDIFF_MAX - 4096);
	bool child = child_mode(argc, argv);
	void *aligned, *lib;

	if (!child)
		tap_init(argc, argv);
	lib = dlopen(CXX, RTLD_NOW | RTLD_LOCAL);
	if (!lib && !child)
		tap_skip_all("no " CXX " here");
	if (child)
		return lib ? without_memory() : 3;
	if (dlsym(RTLD_DEFAULT, "__cxa_throw"))
		tap_skip_all(CXX " is in the global scope");
	for (unsigned int i = 0; i < 2; i++) {
		void *(*op)(size_t, const void *) = dlsym(RTLD_DEFAULT, ops[i]);

		if (op)
			ok(!HIDE(op(huge, "")), "%s gives NULL", ops[i]);
		else
			ok(false, "%s", ops[i]);
	}
	aligned = dlsym(RTLD_DEFAULT, "_ZnwmSt11align_val_tRKSt9nothrow_t");
	ok(aligned && !HIDE(((void *(*)(size_t, size_t, const void *))aligned)(huge, 64, "")),
	   "the aligned one too");
	if (!can_run_self())
		tap_skip("without memory", NO_SELF);
	else if (!ok(run_self("@full", limit, 0, &r) && run_ok(&r), "and at the limit"))
		run_diag(&r);
	dlclose(lib);
	return tap_done();
}
