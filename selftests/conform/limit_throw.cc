// SPDX-License-Identifier: MIT
/*
 * The hard limit in C++: new throws std::bad_alloc, the nothrow forms return
 * NULL, containers unwind, and it all works again once something is freed.
 */
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <string>
#include <vector>

static unsigned int nr, failed;

static void ok(bool good, const char *what)
{
	if (!good)
		failed++;
	std::printf("%sok %u - %s\n", good ? "" : "not ", ++nr, what);
	std::fflush(stdout);
}

template <typename T> static T hide(T x)
{
	__asm__ volatile("" : "+r"(x) : : "memory");
	return x;
}

/* True when it threw, after some of it had been had. */
static bool vector_throws()
{
	std::vector<std::string> v;

	try {
		for (;;)
			v.push_back(std::string(5000, 'x'));
	} catch (const std::bad_alloc &) {
		for (const std::string &s : v)
			if (s.size() != 5000 || s[4999] != 'x')
				return false;
		return v.size() > 1000;
	}
}

static bool map_throws()
{
	std::map<int, std::vector<char>> m;

	try {
		for (int i = 0;; i++)
			m[i].resize(100000, 'y');
	} catch (const std::bad_alloc &) {
		return m.size() > 100;
	}
}

static bool array_throws(std::size_t size)
{
	try {
		delete[] hide(new char[hide(size)]);
	} catch (const std::bad_alloc &) {
		return true;
	}
	return false;
}

int main()
{
	typedef int (*set_fn)(std::size_t, std::size_t);
	set_fn set = reinterpret_cast<set_fn>(dlsym(RTLD_DEFAULT, "ha_limit_set"));
	bool good = true;

	if (!set || set(0, 48u << 20)) {
		std::printf("Bail out! no ha_limit_set\n");
		return 1;
	}
	for (int i = 0; i < 5; i++)
		good = good && vector_throws() && map_throws();
	ok(good, "containers meet the limit, throw, and start again");
	ok(array_throws(100u << 20), "new of more than the limit throws");
	ok(!hide(::operator new(100u << 20, std::nothrow)), "the nothrow form returns NULL");
	ok(!array_throws(20u << 20), "new of less does not");
	ok(set(0, 0) == 0 && !array_throws(100u << 20), "without a limit it is to be had");
	std::printf("1..%u\n", nr);
	return failed != 0;
}
