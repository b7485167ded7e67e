// SPDX-License-Identifier: MIT
/*
 * A program that replaces new and delete, and nothing else: the other operators
 * call those, as the standard's do.  What they return is no object of malloc's, so
 * that one that went past delete would end the program.
 *
 * TAP on stdout.
 */
#include <dlfcn.h>
#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

/* Preloaded, or linked with. */
extern "C" void *ha_malloc(std::size_t) __attribute__((__weak__));

enum { FRONT = 32, MARK = 0x1234 };

static unsigned int nr, failed, news, deletes;

void *operator new(std::size_t size)
{
	char *p = size < PTRDIFF_MAX - FRONT ? static_cast<char *>(std::malloc(size + FRONT)) : nullptr;

	if (!p)
		throw std::bad_alloc();
	*reinterpret_cast<unsigned long *>(p) = MARK;
	news++;
	return p + FRONT;
}

void operator delete(void *p) noexcept
{
	char *start = static_cast<char *>(p) - FRONT;

	if (!p)
		return;
	if (*reinterpret_cast<unsigned long *>(start) != MARK) {
		std::printf("Bail out! delete of what is not new's\n");
		std::fflush(stdout);
		std::_Exit(1);
	}
	deletes++;
	std::free(start);
}

template <typename T> static T hide(T x)
{
	__asm__ volatile("" : "+r"(x) : : "memory");
	return x;
}

/* @calls of each since the last time, or any number but 0 of both the same. */
static void counted(unsigned int calls, const char *what)
{
	bool good = news == deletes && (calls ? news == calls : news != 0);

	failed += !good;
	std::printf("%sok %u - %s (%u, %u)\n", good ? "" : "not ", ++nr, what, news, deletes);
	std::fflush(stdout);
	news = deletes = 0;
}

struct object {
	virtual ~object() { }
	int field[10];
};

int main()
{
	bool caught = false;

	if (!ha_malloc && !dlsym(RTLD_DEFAULT, "ha_malloc")) {
		std::printf("Bail out! heaparena is not there\n");
		return 1;
	}
	news = deletes = 0;
	for (std::size_t n = 1; n < 100000; n = n * 3) {
		::operator delete(hide(::operator new(n)), n);
		counted(1, "sized delete");
		::operator delete[](hide(::operator new[](n)));
		counted(1, "new[], delete[]");
		::operator delete[](hide(::operator new[](n)), n);
		counted(1, "new[], sized delete[]");
		::operator delete(hide(::operator new(n, std::nothrow)));
		counted(1, "nothrow new, delete");
		::operator delete(hide(::operator new(n, std::nothrow)), std::nothrow);
		counted(1, "nothrow new, nothrow delete");
		::operator delete[](hide(::operator new[](n, std::nothrow)), std::nothrow);
		counted(1, "nothrow new[], nothrow delete[]");
	}
	delete hide(new object);
	delete[] hide(new object[3]);
	counted(2, "new and delete of a type");
	{
		std::vector<int> v;
		std::string s(hide(100), 'x');

		for (int i = 0; i < 1000; i++)
			v.push_back(hide(-i));
		std::stable_sort(v.begin(), v.end());
		s += s;
	}
	counted(0, "containers, and what stable_sort takes");
	try {
		hide(::operator new[](hide(std::size_t(PTRDIFF_MAX))));
	} catch (const std::bad_alloc &) {
		caught = true;
	}
	if (caught && !hide(::operator new(hide(std::size_t(PTRDIFF_MAX)), std::nothrow)))
		news = deletes = 1;
	counted(1, "new[] throws what new throws, nothrow new catches it");
	::operator delete(hide(::operator new(100, std::align_val_t(64))), std::align_val_t(64));
	std::printf("%sok %u - aligned ones are not asked of it\n", news ? "not " : "", ++nr);
	failed += news != 0;
	std::printf("1..%u\n", nr);
	return failed != 0;
}
