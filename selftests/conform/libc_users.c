// SPDX-License-Identifier: MIT
/*
 * Functions of the C library that allocate for the caller, or keep memory
 * of their own: what they return goes to free.
 */
#include "conform.h"
#include <dirent.h>
#include <glob.h>
#include <iconv.h>
#include <locale.h>
#include <netdb.h>
#include <pwd.h>
#include <regex.h>
#include <search.h>
#include <spawn.h>
#include <wchar.h>

static void test_strings(void)
{
	char *s = strdup("heap"), *t = strndup("arena", 3), *u = NULL;
	wchar_t *w = wcsdup(L"wide");

	ok(s && !strcmp(s, "heap") && t && !strcmp(t, "are") && w && !wcscmp(w, L"wide"),
	   "strdup, strndup, wcsdup");
	ok(asprintf(&u, "%s %0*d", s, 5000, 7) == 5005 && strlen(u) == 5005, "asprintf");
	free(s);
	free(t);
	free(u);
	free(w);
}

static void test_stdio(void)
{
	FILE *f = tmpfile(), *m;
	char *line = NULL, *mem = NULL;
	size_t cap = 0, size = 0;
	long sum = 0;

	for (int i = 0; f && i < 2000; i++)
		fprintf(f, "%0*d\n", i + 1, i);
	if (f)
		rewind(f);
	while (f && getline(&line, &cap, f) > 0)
		sum += atol(line);
	ok(sum == 1999000, "getline of growing lines (%ld)", sum);
	free(line);
	if (f)
		fclose(f);
	m = open_memstream(&mem, &size);
	for (int i = 0; m && i < 100000; i++)
		fputc('a' + i % 26, m);
	if (m)
		fclose(m);
	ok(mem && size == 100000 && mem[99999] == 'a' + 99999 % 26, "open_memstream");
	free(mem);
	f = popen("echo from a child", "r");
	line = NULL;
	ok(f && getline(&line, &cap, f) > 0 && !strcmp(line, "from a child\n") && !pclose(f),
	   "popen");
	free(line);
}

static void test_files(void)
{
	struct dirent **list;
	char *cwd = getcwd(NULL, 0), *real = realpath("/proc/../proc", NULL);
	glob_t g;
	int n;

	ok(cwd && real && !strcmp(real, "/proc"), "getcwd and realpath allocate");
	free(cwd);
	free(real);
	n = scandir("/", &list, NULL, alphasort);
	ok(n > 2, "scandir (%d)", n);
	for (int i = 0; i < n; i++)
		free(list[i]);
	if (n > 0)
		free(list);
	ok(!glob("/*", 0, NULL, &g) && g.gl_pathc > 1, "glob");
	globfree(&g);
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a < *(const int *)b ? -1 : *(const int *)a > *(const int *)b;
}

static void test_search(void)
{
	int *n = HIDE(malloc(sizeof(int) * 200000));
	void *root = NULL;
	bool sorted = true;
	regex_t re;

	for (int i = 0; i < 200000; i++)
		n[i] = (i * 7919) % 200003;
	for (int i = 0; i < 5000; i++)
		tsearch(&n[i], &root, compare);
	ok(tfind(&n[77], &root, compare) != NULL, "tsearch");
	for (int i = 0; i < 5000; i++)
		tdelete(&n[i], &root, compare);
	ok(!root, "tdelete");
	qsort(n, 200000, sizeof(*n), compare);
	for (int i = 1; i < 200000; i++)
		sorted &= n[i - 1] <= n[i];
	ok(sorted, "qsort of 800 kB: it allocates");
	free(n);
	ok(!regcomp(&re, "^(a|b)*c{2,30}(x[0-9]+)?$", REG_EXTENDED) &&
	   !regexec(&re, "ababccx12", 0, NULL, 0), "regcomp");
	regfree(&re);
	ok(hcreate(1000), "hcreate");
	hdestroy();
}

static void test_environment(void)
{
	char name[32];

	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "HEAPTEST%d", i);
		setenv(name, "a value", 1);
		setenv(name, "a longer value than before", 1);
	}
	ok(!strcmp(getenv("HEAPTEST499"), "a longer value than before"), "setenv");
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "HEAPTEST%d", i);
		unsetenv(name);
	}
	ok(setlocale(LC_ALL, "C.UTF-8") || setlocale(LC_ALL, "C"), "setlocale");
	setlocale(LC_ALL, "C");
}

static void test_services(void)
{
	struct addrinfo hint = { .ai_flags = AI_NUMERICHOST }, *ai = NULL;
	iconv_t cd = iconv_open("UTF-8", "UTF-16LE");
	pid_t pid;
	int status;
	char *argv[] = { "true", NULL };

	ok(!getaddrinfo("127.0.0.1", "80", &hint, &ai) && ai, "getaddrinfo");
	if (ai)
		freeaddrinfo(ai);
	(void)getpwuid(0);
	endpwent();
	if (cd != (iconv_t)-1) {
		ok(!iconv_close(cd), "iconv_open");
	} else {
		tap_skip("iconv_open", "no converter installed");
	}
	if (tap_emulated()) {
		tap_skip("posix_spawn", NO_SELF);
		return;
	}
	ok(!posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) &&
	   waitpid(pid, &status, 0) == pid && !status, "posix_spawn");
	ok(system("exit 7") >> 8 == 7, "system");
}

int main(int argc, char **argv)
{
	tap_init(argc, argv);
	test_strings();
	if (tap_emulated())
		tap_skip("stdio with children", NO_SELF);
	else
		test_stdio();
	test_files();
	test_search();
	test_environment();
	test_services();
	return tap_done();
}
