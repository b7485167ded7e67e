// SPDX-License-Identifier: MIT
/*
 * The header from C++: it compiles, its functions have C's names, and objects,
 * heaps and caches do for C++ types.
 */
#include <heaparena/heaparena.h>

#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <new>

template <typename F> static F symbol(const char *name)
{
	void *fn = dlsym(RTLD_DEFAULT, name);

	if (!fn) {
		std::printf("Bail out! no %s\n", name);
		std::exit(1);
	}
	return reinterpret_cast<F>(fn);
}

#define HA(name)	symbol<decltype(&name)>(#name)

struct counted {
	static int live;
	int value;

	counted() : value(42) { live++; }
	~counted() { live--; }
};

int counted::live;

static int construct(void *obj, void *)
{
	new (obj) counted;
	return 0;
}

static void destroy(void *obj, void *)
{
	static_cast<counted *>(obj)->~counted();
}

static int nr, failed;

static void ok(bool good, const char *what)
{
	failed += !good;
	std::printf("%sok %d - %s\n", good ? "" : "not ", ++nr, what);
}

int main()
{
	ha_cache_options opt = ha_cache_options();
	ha_object o = ha_object();

	opt.size = sizeof(opt);
	opt.object_size = sizeof(counted);
	opt.align = alignof(counted);
	opt.construct = construct;
	opt.destroy = destroy;
	ha_cache *c = HA(ha_cache_create)("counted", &opt);
	counted *p = static_cast<counted *>(HA(ha_cache_alloc)(c));
	ok(p && p->value == 42 && counted::live == 1, "a constructor as a cache's");
	HA(ha_cache_free)(c, p);
	ok(counted::live == 1, "it is kept constructed");
	ok(HA(ha_cache_destroy)(c) == 0 && counted::live == 0, "and destroyed in the end");

	ha_heap *h = HA(ha_heap_create)("cxx", 0);
	void *mem = HA(ha_heap_alloc)(h, sizeof(counted), alignof(counted), 0);
	counted *q = new (mem) counted;
	o.size = sizeof(o);
	ok(HA(ha_lookup)(q, &o) == 1 && o.heap == h && o.start == q, "an object of a heap");
	q->~counted();
	HA(ha_heap_destroy)(h);

	int *n = new int(7);
	ok(HA(ha_lookup)(n, &o) == 1 && o.start == n && !o.heap, "operator new's is found");
	delete n;
	std::printf("1..%d\n", nr);
	return failed != 0;
}
