// SPDX-License-Identifier: MIT
/*
 * The heap profile against allocations that are known: which call site, how many
 * objects, of what size, how many of them freed.
 *
 * With a mean of 1 every object is a sample, and the profile has to be exact.  With
 * a larger one, an object of s bytes is sampled with p = 1 - exp(-s / mean), so that
 * the estimate for n of them has the standard deviation sqrt(n (1 - p) / p): five of
 * these are allowed, which a right profile exceeds once in a million times.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <math.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "pprof.h"
#include "stress.h"

#define NR_OBJECTS	20000
#define MEAN		8192
#define MAX_NR		64

static void *kept[8][NR_OBJECTS];

/* Each has a KiB of code for itself: see SITE. */
SITE static void *site_malloc(size_t size)
{
	return HIDE(malloc(size));
}

SITE static void *site_calloc(size_t size)
{
	return HIDE(calloc(1, size));
}

SITE static void *site_aligned(size_t size)
{
	return HIDE(aligned_alloc(256, size));
}

SITE static void *site_realloc(size_t size)
{
	return HIDE(realloc(NULL, size));
}

SITE static void *site_resize(void *p, size_t size)
{
	return HIDE(realloc(p, size));
}

static struct ha_heap *heap;
static struct ha_cache *cache;

SITE static void *site_heap(size_t size)
{
	return HIDE(ha_heap_alloc(heap, size, 0, 0));
}

SITE static void *site_cache(size_t size)
{
	(void)size;
	return HIDE(ha_cache_alloc(cache));
}

static void plain_free(void *p)
{
	free(p);
}

static void cache_free(void *p)
{
	ha_cache_free(cache, p);
}

static const struct site {
	const char *name;
	void *(*alloc)(size_t size);
	void (*end)(void *p);
	size_t size;
	unsigned int nr;
} sites[] = {
	{ "malloc of 24 bytes", site_malloc, plain_free, 24, NR_OBJECTS },
	{ "calloc of 100 bytes", site_calloc, plain_free, 100, NR_OBJECTS },
	{ "aligned_alloc of 1000 bytes", site_aligned, plain_free, 1000, 8000 },
	{ "realloc of 20000 bytes", site_realloc, plain_free, 20000, 2000 },
	{ "ha_heap_alloc of 64 bytes", site_heap, plain_free, 64, NR_OBJECTS },
	{ "ha_cache_alloc of 200 bytes", site_cache, cache_free, 200, 5000 },
};

/* More of the same sites: medium and large. */
static const struct site big_sites[] = {
	{ "malloc of 100 KiB", site_malloc, plain_free, 100 << 10, 300 },
	{ "calloc of 2 MiB", site_calloc, plain_free, 2 << 20, 40 },
	{ "aligned_alloc of 40000 bytes", site_aligned, plain_free, 40000, 300 },
	{ "ha_heap_alloc of 100 KiB", site_heap, plain_free, 100 << 10, 40 },
};

static double nr_expected(const int64_t *v, enum pprof_value objects, double n, size_t usable,
			  size_t mean)
{
	double p = mean > 1 ? 1 - exp(-(double)usable / mean) : 1;
	double sigma = sqrt(n * (1 - p) / p);

	/* rounding of each stack, and of a weight */
	if (fabs(v[objects] - n) > 5 * sigma + 2 + n / 50000)
		return v[objects];
	if (fabs(v[objects + 1] - n * usable) > (5 * sigma + 2 + n / 50000) * usable)
		return v[objects + 1];
	return -1;
}

/* Two of three are freed.  The case of one site, at one mean. */
static void run_site(const struct site *t, void **obj, size_t mean)
{
	int64_t v[NR_VALUES];
	unsigned int live = 0;
	struct pprof f;
	size_t usable = 0;
	double bad;

	if (ha_profile_start(mean))
		tap_bail("ha_profile_start: %s", strerror(errno));
	for (unsigned int i = 0; i < t->nr; i++)
		obj[i] = t->alloc(t->size);
	for (unsigned int i = 0; i < t->nr; i++) {
		if (!obj[i])
			tap_bail("no memory");
		usable = malloc_usable_size(obj[i]);
		if (i % 3 == 0)
			live++;
		else
			t->end(obj[i]);
	}
	if (pprof_take(&f))
		tap_bail("ha_profile_dump: %s", strerror(errno));
	ha_profile_stop();
	pprof_sum(&f, t->alloc, v);
	bad = nr_expected(v, ALLOC_OBJECTS, t->nr, usable, mean);
	ok(bad < 0, "%s, mean %zu: allocated", t->name, mean);
	if (bad >= 0)
		diag("%.0f where %u objects of %zu bytes were", bad, t->nr, usable);
	bad = nr_expected(v, INUSE_OBJECTS, live, usable, mean);
	ok(bad < 0, "%s, mean %zu: live", t->name, mean);
	if (bad >= 0)
		diag("%.0f where %u objects of %zu bytes are", bad, live, usable);
	bad = v[FREED_10MS] + v[FREED_1S] + v[FREED_LATER];
	if (mean == 1)
		ok(bad == t->nr - live, "%s: lifetimes of what was freed", t->name);
	ok(f.whole && f.period == mean && f.nr_mappings && f.nr_locations,
	   "%s, mean %zu: the file is whole", t->name, mean);
	pprof_drop(&f);
	for (unsigned int i = 0; i < t->nr; i += 3)
		t->end(obj[i]);
	pprof_take(&f);
	pprof_sum(&f, t->alloc, v);
	ok(v[INUSE_OBJECTS] == 0 && v[INUSE_SPACE] == 0,
	   "%s, mean %zu: after the session a free counts", t->name, mean);
	pprof_drop(&f);
}

/* Where it is from, or where realloc moved it to. */
static void sum_resized(const struct pprof *f, int64_t *v)
{
	int64_t moved[NR_VALUES];

	pprof_sum(f, site_malloc, v);
	pprof_sum(f, site_resize, moved);
	for (unsigned int i = 0; i < NR_VALUES; i++)
		v[i] += moved[i];
}

/* Objects that change their size where they are, and those that move. */
static void resized(size_t mean)
{
	enum { NR = 60 };
	size_t bytes = 0, want = 0;
	int64_t v[NR_VALUES];
	struct pprof f;
	double sigma = 0;
	void *obj[NR];

	ha_profile_start(mean);
	for (unsigned int i = 0; i < NR; i++)
		obj[i] = site_malloc(i % 2 ? 3 << 20 : 50000);
	for (unsigned int i = 0; i < NR; i++) {
		size_t size = i % 4 == 1 ? 1200 << 10 : (4 << 20) + i * 10000;
		double p;

		obj[i] = site_resize(obj[i], size);
		bytes = malloc_usable_size(obj[i]);
		want += bytes;
		p = mean > 1 ? 1 - exp(-(double)bytes / mean) : 1;
		sigma += (1 - p) / p * bytes * bytes;
	}
	pprof_take(&f);
	ha_profile_stop();
	sum_resized(&f, v);
	ok(fabs(v[INUSE_SPACE] - (double)want) <= 5 * sqrt(sigma) + 2 * NR,
	   "realloc, mean %zu: what is live has its new size", mean);
	if (mean == 1)
		ok(v[INUSE_OBJECTS] == NR, "realloc: each of %d once", NR);
	diag("%lld of %zu bytes, sigma %.0f", (long long)v[INUSE_SPACE], want, sqrt(sigma));
	pprof_drop(&f);
	for (unsigned int i = 0; i < NR; i++)
		free(obj[i]);
	pprof_take(&f);
	sum_resized(&f, v);
	ok(v[INUSE_OBJECTS] == 0 && v[INUSE_SPACE] == 0, "realloc: and all are freed");
	pprof_drop(&f);
}

static void peak(void)
{
	enum { NR = 4000 };
	int64_t v[NR_VALUES];
	struct pprof f;

	ha_profile_start(1);
	for (unsigned int i = 0; i < NR; i++)
		kept[0][i] = site_malloc(1024);
	for (unsigned int i = 0; i < NR; i++)
		free(kept[0][i]);
	for (unsigned int i = 0; i < NR / 4; i++)
		kept[0][i] = site_calloc(1024);
	pprof_take(&f);
	ha_profile_stop();
	pprof_sum(&f, site_malloc, v);
	ok(v[PEAK_OBJECTS] >= NR * 98 / 100 && v[PEAK_OBJECTS] <= NR && !v[INUSE_OBJECTS],
	   "the peak: %lld of %d objects, all gone since", (long long)v[PEAK_OBJECTS], NR);
	pprof_sum(&f, site_calloc, v);
	ok(v[PEAK_OBJECTS] == 0 && v[INUSE_OBJECTS] == NR / 4,
	   "and what came after it is not in it");
	pprof_drop(&f);
	for (unsigned int i = 0; i < NR / 4; i++)
		free(kept[0][i]);
}

/* A heap that goes with what it has. */
static void whole_heap(void)
{
	int64_t v[NR_VALUES];
	struct pprof f;

	ha_profile_start(1);
	for (unsigned int i = 0; i < 1000; i++)
		site_heap(i % 100 ? 64 : 100000);
	ha_heap_reset(heap);
	pprof_take(&f);
	ha_profile_stop();
	pprof_sum(&f, site_heap, v);
	ok(v[ALLOC_OBJECTS] == 1000 && v[INUSE_OBJECTS] == 0 && v[INUSE_SPACE] == 0,
	   "a reset frees all samples of a heap");
	pprof_drop(&f);
}

static void *thread(struct worker *w)
{
	for (unsigned int i = 0; i < NR_OBJECTS; i++)
		kept[w->id][i] = site_malloc(48);
	return NULL;
}

static void threads(void)
{
	unsigned int nr = tap_opts.threads < 8 ? tap_opts.threads : 8;
	struct worker w[8];
	int64_t v[NR_VALUES];
	struct pprof f;
	pid_t pid;
	int status;
	double bad;

	ha_profile_start(MEAN);
	workers_start(w, nr, thread);
	workers_join(w, nr);
	pprof_take(&f);
	pprof_sum(&f, site_malloc, v);
	bad = nr_expected(v, INUSE_OBJECTS, nr * NR_OBJECTS, 48, MEAN);
	ok(bad < 0, "%u threads", nr);
	pprof_drop(&f);
	pid = fork();
	if (!pid) {
		for (unsigned int i = 0; i < NR_OBJECTS; i++)
			free(kept[0][i]), kept[0][i] = site_calloc(96);
		pprof_take(&f);
		pprof_sum(&f, site_malloc, v);
		bad = nr_expected(v, INUSE_OBJECTS, (nr - 1) * NR_OBJECTS, 48, MEAN);
		pprof_sum(&f, site_calloc, v);
		_exit(bad >= 0 ||
		      nr_expected(v, INUSE_OBJECTS, NR_OBJECTS, 96, MEAN) >= 0);
	}
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && !status,
	   "a child goes on from there");
	for (unsigned int k = 0; k < nr; k++)
		for (unsigned int i = 0; i < NR_OBJECTS; i++)
			free(kept[k][i]);
	pprof_take(&f);
	ha_profile_stop();
	pprof_sum(&f, site_malloc, v);
	ok(v[INUSE_OBJECTS] == 0 && v[INUSE_SPACE] == 0, "freed by another thread");
	pprof_drop(&f);
}

/*
 * Threads that do nothing but allocate an object and free it, always the same one, while
 * profiles begin and end beside them.
 */
static struct {
	uint64_t pairs[8 * 64];		/* (a) each 64th: of a thread */
	bool stop;			/* (a) */
} beside;

static void *keep_on(struct worker *w)
{
	uint64_t n = beside.pairs[w->id * 64];

	while (!__atomic_load_n(&beside.stop, __ATOMIC_RELAXED)) {
		free(site_malloc(80));
		__atomic_store_n(&beside.pairs[w->id * 64], ++n, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static uint64_t nr_pairs(unsigned int nr)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < nr; i++)
		n += __atomic_load_n(&beside.pairs[i * 64], __ATOMIC_SEQ_CST);
	return n;
}

static bool session_beside(unsigned int nr, size_t mean)
{
	double p = 1 - exp(-80. / mean), least, most, sigma;
	uint64_t before = nr_pairs(nr), first, last;
	int64_t v[NR_VALUES];
	struct pprof f;
	bool good;

	ha_profile_start(mean);
	first = nr_pairs(nr);
	usleep(30000);
	last = nr_pairs(nr);
	ha_profile_stop();
	/* not before the start began nor after the stop is done; a pair is on its way */
	most = nr_pairs(nr) - before + nr;
	least = last - first > nr ? last - first - nr : 0;
	sigma = sqrt(most * (1 - p) / p);
	pprof_take(&f);
	pprof_sum(&f, site_malloc, v);
	good = v[ALLOC_OBJECTS] >= least - 5 * sigma - 2 - least / 50000 &&
	       v[ALLOC_OBJECTS] <= most + 5 * sigma + 2 + most / 50000 &&
	       v[INUSE_OBJECTS] <= nr * (1 / p + 1);
	diag("mean %zu: %.0f to %.0f, sigma %.0f: %lld, %lld live", mean, least, most, sigma,
	     (long long)v[ALLOC_OBJECTS], (long long)v[INUSE_OBJECTS]);
	pprof_drop(&f);
	return good;
}

/* How many of nine were wrong. */
static unsigned int begins_beside(void)
{
	static const size_t means[] = { 8192, 65536, 3000 };
	unsigned int nr = tap_opts.threads < 8 ? tap_opts.threads : 8, bad = 0;
	struct worker w[8];

	__atomic_store_n(&beside.stop, false, __ATOMIC_RELAXED);
	workers_start(w, nr, keep_on);
	for (unsigned int i = 0; i < 9; i++)
		bad += !session_beside(nr, means[i % 3]);
	__atomic_store_n(&beside.stop, true, __ATOMIC_RELAXED);
	workers_join(w, nr);
	return bad;
}

/* As some containers have it. */
static bool without_membarrier(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = 4, .filter = code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) &&
	       syscall(SYS_membarrier, 0, 0, 0) < 0;
}

static void beside_others(void)
{
	int status;
	pid_t pid;

	ok(begins_beside() == 0, "profiles of threads that were in the midst of it");
	pid = fork();
	if (!pid)
		_exit(without_membarrier() ? begins_beside() : 100);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		tap_bail("fork: %s", strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 100)
		tap_skip("the same without membarrier", "no filter of system calls here");
	else
		ok(!status, "the same without membarrier");
}

/*
 * Stacks that stand at the same addresses and differ in a caller further out, or in
 * the size of a frame: each sample is that of its own.
 */
SITE static void *path_a(size_t size)
{
	return HIDE(site_malloc(size));
}

SITE static void *path_b(size_t size)
{
	return HIDE(site_malloc(size));
}

SITE static void *path_c(size_t size)
{
	char *room = __builtin_alloca(16 + size % 1024);

	/* what other paths left on the stack stays in it */
	(void)HIDE(room);
	return HIDE(path_b(size));
}

static void paths(void)
{
	static void *(*const path[])(size_t) = { path_a, path_b, path_c };
	long long want[3] = { 0 };
	uint64_t rng = tap_opts.seed;
	int64_t v[NR_VALUES];
	struct pprof f;

	ha_profile_start(1);
	for (unsigned int i = 0; i < NR_OBJECTS; i++) {
		unsigned int k = rnd_below(&rng, 3);

		free(path[k](1 + rnd_below(&rng, 2000)));
		want[k]++;
	}
	pprof_take(&f);
	ha_profile_stop();
	want[1] += want[2];
	for (unsigned int k = 0; k < 3; k++) {
		pprof_sum(&f, path[k], v);
		ok(v[ALLOC_OBJECTS] == want[k], "path %c of three", 'a' + k);
		if (v[ALLOC_OBJECTS] != want[k])
			diag("%lld of %lld", (long long)v[ALLOC_OBJECTS], want[k]);
	}
	pprof_sum(&f, site_malloc, v);
	ok(v[ALLOC_OBJECTS] == NR_OBJECTS, "all of them to one site");
	pprof_drop(&f);
}

/* Deep stacks that are alike further out, further in, or in the middle. */
SITE static void *deep(unsigned int depth, uint32_t way);

SITE static void *deeper(unsigned int depth, uint32_t way)
{
	return HIDE(deep(depth - 1, way));
}

SITE static void *deep(unsigned int depth, uint32_t way)
{
	if (!depth)
		return HIDE(way & 1 ? path_a(64) : path_b(64));
	if (way >> (depth & 31) & 1)
		return HIDE(deeper(depth, way));
	return HIDE(deep(depth - 1, way));
}

SITE static void *root_a(unsigned int depth, uint32_t way)
{
	return HIDE(deep(depth, way));
}

SITE static void *root_b(unsigned int depth, uint32_t way)
{
	return HIDE(deep(depth, way));
}

static void deep_paths(void)
{
	const void *site[] = { root_a, root_b, path_a, path_b };
	long long want[4] = { 0 };
	uint64_t rng = tap_opts.seed;
	int64_t v[NR_VALUES];
	struct pprof f;

	ha_profile_start(1);
	for (unsigned int i = 0; i < NR_OBJECTS / 4; i++) {
		uint32_t way = rnd_below(&rng, 4) ? rnd_below(&rng, 8) : rnd(&rng);
		unsigned int depth = 20 + rnd_below(&rng, 4), root = rnd_below(&rng, 2);

		free(root ? root_b(depth, way) : root_a(depth, way));
		want[root]++;
		want[way & 1 ? 2 : 3]++;
	}
	pprof_take(&f);
	ha_profile_stop();
	for (unsigned int k = 0; k < 4; k++) {
		pprof_sum(&f, site[k], v);
		ok(v[ALLOC_OBJECTS] == want[k], "deep stacks, by function %u", k);
		if (v[ALLOC_OBJECTS] != want[k])
			diag("%lld of %lld", (long long)v[ALLOC_OBJECTS], want[k]);
	}
	pprof_drop(&f);
}

/* operator new, by the name that compilers give it. */
static void *(*cxx_new)(size_t size);

SITE static void *site_new(size_t size)
{
	return HIDE(cxx_new(size));
}

/*
 * An object that is freed at once is allocated again: the caches are as they were, and
 * all the same each time counts.
 */
static void pairs(size_t mean)
{
	static void *(*const alloc[])(size_t) = { site_malloc, site_calloc, site_new };
	static const size_t size[] = { 16, 64, 200, 3000 };
	enum { NR = 100000 };
	int64_t v[NR_VALUES];
	struct pprof f;
	double bad;

	for (unsigned int k = 0; k < 3 * 4; k++) {
		if (!cxx_new && alloc[k / 4] == site_new)
			continue;
		ha_profile_start(mean);
		for (unsigned int i = 0; i < NR; i++)
			free(alloc[k / 4](size[k % 4]));
		pprof_take(&f);
		ha_profile_stop();
		pprof_sum(&f, alloc[k / 4], v);
		bad = nr_expected(v, ALLOC_OBJECTS, NR, ha_good_size(size[k % 4]), mean);
		ok(bad < 0 && !v[INUSE_OBJECTS], "pairs of %zu bytes by function %u, mean %zu",
		   size[k % 4], k / 4, mean);
		if (bad >= 0)
			diag("%.0f where %d objects were", bad, NR);
		pprof_drop(&f);
	}
}

/* What a session left of a distance is good for the next one, whatever its mean. */
static void sessions(void)
{
	static const size_t mean[] = { 2000, 1, 100000, 1 << 20 };
	enum { NR = 100, TIMES = 400 };
	const size_t usable = ha_good_size(1000);
	int64_t sum[4][NR_VALUES] = { 0 }, v[NR_VALUES];
	struct pprof f;
	double bad;

	for (unsigned int n = 0; n < TIMES * 4; n++) {
		ha_profile_start(mean[n % 4]);
		for (unsigned int i = 0; i < NR; i++)
			free(site_malloc(1000));
		pprof_take(&f);
		ha_profile_stop();
		pprof_sum(&f, site_malloc, v);
		for (unsigned int i = 0; i < NR_VALUES; i++)
			sum[n % 4][i] += v[i];
		pprof_drop(&f);
	}
	for (unsigned int k = 0; k < 4; k++) {
		bad = nr_expected(sum[k], ALLOC_OBJECTS, NR * TIMES, usable, mean[k]);
		ok(bad < 0, "%d sessions in turn, mean %zu", TIMES, mean[k]);
		if (bad >= 0)
			diag("%.0f where %d objects were", bad, NR * TIMES);
	}
}

static void refusals(void)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	ok(ha_profile_dump(fd) == -1 && errno == EINVAL, "nothing to write before a session");
	ok(ha_profile_start((size_t)1 << 41) == -1 && errno == EINVAL, "a mean that is none");
	ok(ha_profile_start(0) == 0 && ha_profile_start(0) == -1 && errno == EBUSY,
	   "one session at a time");
	ok(ha_profile_dump(fd) == -1 && errno == ENOSPC, "a file that is full");
	ok(ha_profile_dump(-1) == -1 && errno == EBADF, "no file");
	ok(ha_profile_dump_file("/nowhere/at/all") == -1 && errno == ENOENT, "no folder");
	ha_profile_stop();
	ha_profile_stop();
	close(fd);
}

int main(int argc, char **argv)
{
	const struct ha_cache_options opt = { .size = sizeof(opt), .object_size = 200 };
	const char *conf = getenv("HEAPARENA_CONF");

	tap_init(argc, argv);
	watchdog(100);
	if (conf && strstr(conf, "check:off")) {
		ok(ha_profile_start(0) == -1 && errno == ENOTSUP,
		   "without states there is no profile, and it says so");
		return tap_done();
	}
	heap = ha_heap_create("profiled", 0);
	cache = ha_cache_create("profiled", &opt);
	refusals();
	for (unsigned int i = 0; i < sizeof(sites) / sizeof(sites[0]); i++) {
		run_site(&sites[i], kept[i], 1);
		run_site(&sites[i], kept[i], MEAN);
	}
	for (unsigned int i = 0; i < sizeof(big_sites) / sizeof(big_sites[0]); i++) {
		run_site(&big_sites[i], kept[i], 1);
		run_site(&big_sites[i], kept[i], 1 << 20);
	}
	/* ThreadSanitizer has an operator of its own */
	if (!TAP_TSAN)
		cxx_new = (void *(*)(size_t))dlsym(RTLD_DEFAULT, "_Znwm");
	pairs(1);
	pairs(MEAN);
	sessions();
	resized(1);
	resized(4 << 20);
	peak();
	whole_heap();
	paths();
	deep_paths();
	threads();
	beside_others();
	return tap_done();
}
