// SPDX-License-Identifier: MIT
/*
 * The C++ operators new and delete, all of them: plain, array, nothrow,
 * sized, aligned; the new_handler is called, bad_alloc is thrown and can be
 * caught; containers work; what new gives, free takes in practice.
 *
 * TAP on stdout; malloc itself is the matter of the programs in C.
 */
#include <dlfcn.h>
#include <malloc.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

static unsigned int nr, failed, handler_calls;

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

static bool aligned(const void *p, std::size_t align)
{
	return p && !(reinterpret_cast<std::uintptr_t>(p) & (align - 1));
}

struct alignas(256) wide {
	char data[300];
};

struct thrower {
	thrower() { throw 42; }
	char data[100];
};

static void test_plain()
{
	bool good = true;

	for (std::size_t n = 0; n < 70000; n += 37) {
		void *p = hide(::operator new(n)), *q = hide(::operator new[](n));
		void *r = hide(::operator new(n, std::nothrow));
		void *s = hide(::operator new[](n, std::nothrow));

		good &= p && q && r && s && p != q && r != s && malloc_usable_size(p) >= n;
		std::memset(p, 1, n);
		std::memset(s, 2, n);
		::operator delete(p);
		::operator delete[](q);
		::operator delete(r, std::nothrow);
		::operator delete[](s, std::nothrow);
	}
	ok(good, "new, new[], nothrow, and their deletes");
	::operator delete(nullptr);
	::operator delete[](nullptr);
	::operator delete(nullptr, std::size_t(8));
	::operator delete(nullptr, std::align_val_t(64));
	ok(true, "delete of nullptr");
	for (std::size_t n = 0; n < 70000; n += 37) {
		::operator delete(hide(::operator new(n)), n);
		::operator delete[](hide(::operator new[](n)), n);
	}
	ok(true, "sized delete and delete[]");
}

static void test_aligned()
{
	bool good = true;

	for (std::size_t a = 1; a <= 1 << 20; a <<= 1) {
		for (std::size_t n = 0; n < 200000; n = n * 3 + 1) {
			std::align_val_t align{a};
			void *p = hide(::operator new(n, align));
			void *q = hide(::operator new[](n, align));
			void *r = hide(::operator new(n, align, std::nothrow));
			void *s = hide(::operator new[](n, align, std::nothrow));

			good &= aligned(p, a) && aligned(q, a) && aligned(r, a) && aligned(s, a);
			std::memset(p, 1, n);
			std::memset(r, 1, n);
			::operator delete(p, align);
			::operator delete[](q, n, align);
			::operator delete(r, n, align);
			::operator delete[](s, align, std::nothrow);
		}
	}
	ok(good, "aligned new and delete, 1 byte to 1 MiB");
	wide *w = hide(new wide), *v = hide(new wide[10]);
	ok(aligned(w, 256) && aligned(v, 256), "new of an over-aligned type");
	delete w;
	delete[] v;
}

static void handler()
{
	if (++handler_calls == 3)
		std::set_new_handler(nullptr);
}

template <typename F> static bool throws(F f)
{
	try {
		f();
	} catch (const std::bad_alloc &) {
		return true;
	}
	return false;
}

static void test_failure()
{
	std::size_t huge = hide(SIZE_MAX / 2 + 100), most = hide(SIZE_MAX - 4);

	ok(throws([&] { hide(::operator new(huge)); }), "new of PTRDIFF_MAX + 100 throws bad_alloc");
	ok(throws([&] { hide(::operator new[](most)); }), "new[] of SIZE_MAX - 4 throws");
	ok(throws([&] { hide(::operator new(huge, std::align_val_t(64))); }), "aligned new throws");
	ok(throws([&] { hide(::operator new[](most, std::align_val_t(4096))); }),
	   "aligned new[] throws");
	ok(throws([&] { hide(new char[huge]); }), "new char[] throws");
	ok(!hide(::operator new(huge, std::nothrow)) && !hide(::operator new[](most, std::nothrow)) &&
	   !hide(::operator new(huge, std::align_val_t(64), std::nothrow)) &&
	   !hide(::operator new[](most, std::align_val_t(64), std::nothrow)),
	   "nothrow new returns nullptr");

	std::set_new_handler(handler);
	ok(throws([&] { hide(::operator new(huge)); }) && handler_calls == 3,
	   "the new_handler is called until there is none");
	handler_calls = 0;
	std::set_new_handler(handler);
	ok(!hide(::operator new(huge, std::nothrow)) && handler_calls == 3,
	   "nothrow new calls the new_handler too");
	handler_calls = 0;
	std::set_new_handler(handler);
	ok(throws([&] { hide(::operator new(huge, std::align_val_t(128))); }) && handler_calls == 3,
	   "aligned new calls the new_handler");
	std::set_new_handler([] { throw std::bad_alloc(); });
	ok(throws([&] { hide(::operator new(huge)); }), "a new_handler may throw");
	ok(!hide(::operator new(huge, std::nothrow)), "nothrow new catches what it throws");
	std::set_new_handler(nullptr);

	bool caught = false;
	try {
		hide(new thrower);
	} catch (int v) {
		caught = v == 42;
	}
	ok(caught, "a constructor that throws frees the object");
	ok(throws([] { std::vector<char> v(hide(std::size_t(SIZE_MAX / 4))); }),
	   "a vector that is too large throws");
}

static void test_containers()
{
	std::vector<std::thread> threads;
	unsigned long sum[4] = {};

	for (int t = 0; t < 4; t++)
		threads.emplace_back([t, &sum] {
			std::map<std::string, std::vector<int>> m;

			for (int i = 0; i < 20000; i++)
				m[std::to_string(i * 7919 % 1009) + std::string(i % 60, 'x')]
					.push_back(i);
			for (auto &e : m)
				sum[t] += e.second.size();
		});
	for (auto &t : threads)
		t.join();
	ok(sum[0] == 20000 && sum[1] == 20000 && sum[2] == 20000 && sum[3] == 20000,
	   "maps of strings and vectors in four threads");

	auto p = std::make_shared<std::vector<std::unique_ptr<std::string>>>();
	for (int i = 0; i < 10000; i++)
		p->push_back(std::make_unique<std::string>(i % 500, 'y'));
	std::thread([p] { p->clear(); }).join();
	ok(p->empty(), "freed by another thread");
}

int main()
{
	void *ours = dlsym(RTLD_DEFAULT, "ha_malloc");
	Dl_info a, b;
	const char *any = std::getenv("HA_ALLOW_ANY");

	if (!(any && !std::strcmp(any, "1")) &&
	    (!ours || !dladdr(ours, &a) || !dladdr(dlsym(RTLD_DEFAULT, "_Znwm"), &b) ||
	     a.dli_fbase != b.dli_fbase)) {
		std::printf("Bail out! operator new is not heaparena's\n");
		return 1;
	}
	test_plain();
	test_aligned();
	test_failure();
	test_containers();
	std::printf("1..%u\n", nr);
	return failed != 0;
}
