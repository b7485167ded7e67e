// SPDX-License-Identifier: MIT
/*
 * What ha_stats_get() says against what the kernel says in /proc/self/smaps:
 *
 *	mapped             = read-write bytes of the arenas
 *	reserved           = their bytes without access
 *	in_use + free      = resident bytes of the arenas, where all was touched
 *	mapped             = in_use + free + returned
 *
 * Arenas are told by their name, or, on a kernel without names, by their address:
 * no other mapping of this program comes near. Changes are compared, to the page:
 * what the C library had allocated and never touched is not ours to know.
 *
 * The background thread is off, so that nothing changes between two looks.
 */
#include "conform.h"
#include "../../include/heaparena/heaparena.h"

#define NR_SMALL	40000
#define NR_LARGE	40

struct kernel {
	size_t writable, reserved, resident;
};

struct look {
	struct ha_stats st;
	struct kernel k;
};

static int (*stats_get)(struct ha_stats *st);
static size_t (*release)(void);
static char text[1 << 20];

static void read_smaps(void)
{
	int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += n;
	close(fd);
	text[len] = '\0';
}

/* The arenas' own: the pattern of a 64 MiB aligned start, or the name. */
static bool is_arena(const char *line, uintptr_t from, bool names)
{
	static uintptr_t home;

	if (names)
		return strstr(line, "[anon:heaparena heap]") != NULL;
	if (!home)
		home = (uintptr_t)HIDE(malloc(100)) >> 32;
	return from >> 32 == home;
}

static struct kernel look_kernel(void)
{
	struct kernel k = { 0, 0, 0 };
	bool ours = false, names;
	unsigned long from, to, kb;
	char *line, *save, prot[8];

	read_smaps();
	names = strstr(text, "[anon:heaparena heap]");
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, prot) == 3) {
			ours = is_arena(line, from, names);
			if (ours && prot[1] == 'w')
				k.writable += to - from;
			else if (ours)
				k.reserved += to - from;
		} else if (ours && sscanf(line, "Rss: %lu kB", &kb) == 1) {
			k.resident += kb << 10;
		}
	}
	return k;
}

static struct look look(const char *what)
{
	struct look l;

	l.k = look_kernel();
	l.st.size = sizeof(l.st);
	if (stats_get(&l.st))
		tap_bail("ha_stats_get");
	ok(l.st.mapped == l.st.in_use + l.st.free + l.st.returned,
	   "%s: mapped %zu = in use %zu + free %zu + returned %zu", what, l.st.mapped,
	   l.st.in_use, l.st.free, l.st.returned);
	ok(l.st.mapped == l.k.writable && l.st.reserved == l.k.reserved,
	   "%s: mapped %zu, reserved %zu: the kernel has %zu and %zu", what, l.st.mapped,
	   l.st.reserved, l.k.writable, l.k.reserved);
	ok(l.k.resident <= l.st.in_use + l.st.free,
	   "%s: no more resident (%zu) than in use and free", what, l.k.resident);
	return l;
}

/* From one look to the next both grew by the same. */
static void same_change(const char *what, const struct look *a, const struct look *b)
{
	long ours = (long)(b->st.in_use + b->st.free - a->st.in_use - a->st.free);
	long theirs = (long)(b->k.resident - a->k.resident);

	if (sysconf(_SC_PAGESIZE) > 8192)
		tap_skip(what, "the kernel's page is larger than the allocator's");
	else
		ok(ours == theirs, "%s: in use and free changed by %ld, resident by %ld", what,
		   ours, theirs);
}

static void *get(size_t size)
{
	void *p = malloc(size);

	if (!p)
		tap_bail("malloc");
	return memset(p, 1, size);
}

static int child(void)
{
	static void *small[NR_SMALL], *large[NR_LARGE];
	struct look a, b, c, d, e;

	stats_get = (int (*)(struct ha_stats *))dlsym(RTLD_DEFAULT, "ha_stats_get");
	release = (size_t (*)(void))dlsym(RTLD_DEFAULT, "ha_release");
	if (!stats_get || !release)
		tap_bail("no ha_stats_get or ha_release");
	/* there is a heap; what is allocated by now is touched as far as it will be */
	free(get(16));
	look("before");
	free(get(72));
	free(get(1024));
	release();
	a = look("at the start");
	for (unsigned int i = 0; i < NR_LARGE; i++)
		large[i] = get((130 + i * 6) * 8192);
	for (unsigned int i = 0; i < NR_SMALL; i++)
		small[i] = get(i % 2 ? 1024 : 72);
	/* what caches have left over goes, untouched as it is */
	release();
	b = look("with objects");
	same_change("with objects", &a, &b);
	for (unsigned int i = 0; i < NR_LARGE; i += 2)
		free(large[i]);
	c = look("some large ones freed");
	ok(c.st.free - b.st.free > 20 * 1000000ul, "their pages are free and resident");
	same_change("some large ones freed", &b, &c);
	release();
	d = look("and returned");
	ok(d.st.free == 0 && d.st.returned > c.st.returned, "nothing free stays resident");
	same_change("and returned", &c, &d);
	/* pages inside spans in use go back as well */
	for (unsigned int i = 0; i < NR_SMALL; i++)
		if (i % 64)
			free(small[i]);
	release();
	e = look("most small ones freed and returned");
	same_change("most small ones freed and returned", &d, &e);
	for (unsigned int i = 0; i < NR_SMALL; i += 64)
		free(small[i]);
	for (unsigned int i = 1; i < NR_LARGE; i += 2)
		free(large[i]);
	release();
	e = look("all freed and returned");
	ok(e.k.resident <= a.k.resident, "all freed and returned: as at the start");
	return tap_done();
}

int main(int argc, char **argv)
{
	const char *old = getenv("HEAPARENA_CONF");
	char conf[600];
	const char *set[] = { conf, NULL };
	static struct run_result r;

	if (child_mode(argc, argv))
		return child();
	tap_init(argc, argv);
	if (!can_run_self())
		tap_skip_all(NO_SELF);
	snprintf(conf, sizeof(conf), "HEAPARENA_CONF=%s%sbackground:off", old ? old : "",
		 old && *old ? "," : "");
	if (!run_self("@child", set, 0, &r))
		tap_bail("fork");
	/* its lines are ours */
	if (write(STDOUT_FILENO, r.out, strlen(r.out)) < 0 || !WIFEXITED(r.status))
		tap_bail("the child ended with status 0x%x", r.status);
	return WEXITSTATUS(r.status);
}
