// SPDX-License-Identifier: MIT
/*
 * The extended functions as a program meets them: each does what its words in
 * heaparena.h say, at its limits and in its failures too.
 */
#include "../stress/api.h"
#include "conform.h"
#include <signal.h>

static bool checked = true;

static void test_alloc(void)
{
	unsigned char *p = ha_alloc(1000, 4096, HA_ZERO);
	size_t sum = 0;

	ok(p && (uintptr_t)p % 4096 == 0, "ha_alloc aligns");
	for (unsigned int i = 0; p && i < 1000; i++)
		sum += p[i];
	ok(p && sum == 0, "ha_alloc zeroes");
	free(p);
	errno = 0;
	ok(!ha_alloc(8, 24, 0) && errno == EINVAL, "ha_alloc: EINVAL for an odd alignment");
	errno = 0;
	ok(!ha_alloc(8, 0, 0x80) && errno == EINVAL, "ha_alloc: EINVAL for unknown flags");
	errno = 0;
	ok(!ha_alloc(HIDE((size_t)PTRDIFF_MAX), 64, HA_ZERO) && errno == ENOMEM,
	   "ha_alloc: ENOMEM");
	for (size_t n = 0; n < 200000; n = n * 9 / 8 + 1) {
		void *q = malloc(n);

		if (ha_good_size(n) != malloc_usable_size(q))
			ok(false, "ha_good_size(%zu) is %zu", n, ha_good_size(n));
		free(q);
	}
	ok(true, "ha_good_size tells the usable size");
}

static void test_resize(void)
{
	char *p = malloc(1000);

	ok(ha_resize(p, malloc_usable_size(p)) == 0 && ha_resize(p, 600) == 0,
	   "ha_resize stays within the usable size");
	ha_free_sized(p, 600);
	p = malloc(100);
	errno = 0;
	ok(ha_resize(p, 1000) == -1 && errno == ENOMEM && malloc_usable_size(p) == 112,
	   "ha_resize: ENOMEM, and the object as it was");
	free(p);
	p = malloc(4 << 20);
	ok(ha_resize(p, 1 << 20) == 0 && malloc_usable_size(p) == 1 << 20 &&
	   ha_resize(p, 2 << 20) == 0 && malloc_usable_size(p) == 2 << 20,
	   "ha_resize changes a large object");
	free(p);
	p = malloc(300000);
	ok(ha_resize(p, malloc_usable_size(p) / 2) == 0 && ha_resize(p, 40000) == -1,
	   "ha_resize keeps one of up to 1 MiB from half on");
	free(p);
}

static void test_first_of_heap(void)
{
	static const size_t sizes[] = { 1, 100, 1000, 9000, 27264, 32768, 32769, 100000, 3000000 };
	struct ha_heap *h = ha_heap_create("first", 0);
	bool good = true;

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct ha_heap_stats st = { .size = sizeof(st) };
		size_t max = sizes[i] <= 32768 ? 81920 : (sizes[i] + 8191) & -8192ul;

		ha_heap_reset(h);
		good &= ha_heap_alloc(h, sizes[i], 0, 0) && !ha_heap_stats_get(h, &st) &&
			st.mapped % 8192 == 0 && st.mapped >= sizes[i] && st.mapped <= max;
	}
	ha_heap_destroy(h);
	ok(good, "the first object of a heap takes a span of at most 80 KiB, or its pages");
}

static void test_batch(void)
{
	void *p[1000];
	size_t n = ha_alloc_batch(48, 1000, p), distinct = 0;

	ok(n == 1000, "ha_alloc_batch gives all");
	for (size_t i = 0; i < n; i++) {
		memset(p[i], (int)i, 48);
		distinct += malloc_usable_size(p[i]) == 48;
	}
	for (size_t i = 0; i < n; i++)
		distinct += ((unsigned char *)p[i])[47] == (unsigned char)i;
	ok(distinct == 2 * n, "each is an object of its own");
	free(p[3]);
	p[3] = NULL;
	errno = 4711;
	ha_free_batch(p, n);
	ok(errno == 4711, "ha_free_batch takes NULL too, and keeps errno");
	errno = 0;
	n = ha_alloc_batch(HIDE((size_t)1 << 60), 3, p);
	ok(n == 0 && errno == ENOMEM, "ha_alloc_batch: ENOMEM");
	ok(ha_alloc_batch(100, 0, NULL) == 0, "a batch of none");
}

struct found {
	const void *p;
	unsigned int nr;
	size_t usable;
	struct ha_heap *heap;
};

static int find(const struct ha_object *o, void *arg)
{
	struct found *f = arg;

	if (o->start == f->p) {
		f->nr++;
		f->usable = o->usable;
		f->heap = o->heap;
	}
	return 0;
}

static int stop_at_third(const struct ha_object *o, void *arg)
{
	return ++*(int *)arg == 3 ? 33 : 0;
}

static void test_lookup_walk(void)
{
	struct ha_object o = { .size = sizeof(o) }, tiny = { .size = 8 };
	struct found f = { .p = malloc(100) };
	void *more[2] = { malloc(1), malloc(5000) };
	int n = 0, ret;

	ok(ha_lookup((char *)f.p + 57, &o) == 1 && o.start == f.p && o.usable == 112 &&
	   !o.heap && (o.state == HA_OBJECT_LIVE || !checked), "ha_lookup from inside");
	ok(ha_lookup(&o, &o) == 0 && ha_lookup(NULL, &o) == 0, "ha_lookup of what is no object");
	errno = 0;
	ok(ha_lookup(f.p, &tiny) == -1 && errno == EINVAL, "ha_lookup: EINVAL");
	errno = 0;
	ret = ha_walk(find, &f);
	if (checked) {
		ok(ret == 0 && f.nr == 1 && f.usable == 112, "ha_walk finds an object once");
		ok(ha_walk(stop_at_third, &n) == 33 && n == 3, "a visitor ends the walk");
	} else {
		ok(ret == -1 && errno == ENOTSUP, "ha_walk: ENOTSUP under check:off");
	}
	free(more[0]);
	free(more[1]);
	free((void *)(uintptr_t)f.p);
	f.nr = 0;
	ok(!checked || (ha_walk(find, &f) == 0 && f.nr == 0), "a freed object is not found");
}

/* Where the JSON value at @s ends; NULL when it is none. */
static const char *json_end(const char *s, unsigned int depth)
{
	char close = *s == '{' ? '}' : ']';

	if (*s == '"')
		return strcspn(s + 1, "\"\\\n") == strcspn(s + 1, "\"") ?
		       s + 2 + strcspn(s + 1, "\"") : NULL;
	if (*s >= '0' && *s <= '9')
		return s + strspn(s, "0123456789");
	if ((*s != '{' && *s != '[') || depth > 5)
		return NULL;
	if (s[1] == close)
		return s + 2;
	do {
		s++;
		if (close == '}') {
			if (*s != '"' || !(s = json_end(s, depth + 1)) || *s++ != ':')
				return NULL;
		}
		s = json_end(s, depth + 1);
	} while (s && *s == ',');
	return s && *s == close ? s + 1 : NULL;
}

static char text[1 << 18], again[1 << 18];

static size_t read_back(int (*print)(int))
{
	int fd = memfd_create("stats", 0);
	ssize_t n;

	if (fd < 0 || print(fd))
		return 0;
	n = pread(fd, text, sizeof(text) - 1, 0);
	close(fd);
	text[n < 0 ? 0 : n] = 0;
	return n < 0 ? 0 : n;
}

static void test_stats(void)
{
	struct ha_stats st = { .size = sizeof(st) };
	struct ha_class_stats c[100];
	struct ha_node_stats node[16];
	const char *end;
	size_t n, len;
	int fds[2];

	n = read_back(ha_stats_json);
	end = json_end(text, 0);
	ok(n && end && !strcmp(end, "\n"), "ha_stats_json writes JSON and a newline (%zu bytes)", n);
	ok(strstr(text, "\"totals\":{\"mapped\":") && strstr(text, "\"classes\":[{\"class\":") &&
	   strstr(text, "\"caches\":[") && strstr(text, "\"heaps\":["), "of all there is");
	n = read_back(ha_stats_text);
	ok(n && text[n - 1] == '\n' && strstr(text, "\nclasses"), "ha_stats_text writes lines");
	len = ha_stats_format(HA_FORMAT_JSON, text, sizeof(text));
	ok(len == strlen(text) && json_end(text, 0), "ha_stats_format returns the length");
	memset(again, 'x', sizeof(again));
	n = ha_stats_format(HA_FORMAT_JSON, again, 100);
	ok(n == len && strlen(again) == 99 && !memcmp(again, text, 99) && again[100] == 'x',
	   "what does not fit is cut");
	ok(ha_stats_format(HA_FORMAT_TEXT, NULL, 0) > 100, "it fits nothing at all, and is told");
	errno = 0;
	ok(!ha_stats_format((enum ha_format)7, text, 10) && errno == EINVAL,
	   "ha_stats_format: EINVAL");
	errno = 0;
	ok(ha_stats_text(-1) == -1 && errno == EBADF, "ha_stats_text: EBADF");
	signal(SIGPIPE, SIG_IGN);
	if (!pipe(fds)) {
		close(fds[0]);
		errno = 0;
		ok(ha_stats_json(fds[1]) == -1 && errno == EPIPE, "ha_stats_json: EPIPE");
		close(fds[1]);
	}
	ok(ha_stats_get(&st) == 0 && ha_stats_classes(c, sizeof(c[0]), 100) > 60 &&
	   ha_stats_nodes(node, sizeof(node[0]), 16) == st.nr_nodes && c[1].object_size == 8,
	   "figures by class and by node");
}

static int construct(void *obj, void *arg)
{
	*(int *)obj = ++*(int *)arg;
	return 0;
}

static void test_cache(void)
{
	int made = 0;
	struct ha_cache_options opt = {
		.size = sizeof(opt), .object_size = 300, .align = 128,
		.construct = construct, .arg = &made,
	};
	struct ha_cache *c = ha_cache_create("conform", &opt);
	struct ha_cache_stats st = { .size = sizeof(st) };
	int *p = ha_cache_alloc(c), *q = ha_cache_alloc(c);

	ok(c && p && q && *p == 1 && *q == 2 && (uintptr_t)q % 128 == 0,
	   "objects of a cache are constructed and aligned");
	for (int i = 0; i < 100; i++) {
		ha_cache_free(c, p);
		p = ha_cache_alloc(c);
	}
	ok(p && made < 60, "an object is constructed once and used often (%d)", made);
	ok(ha_cache_stats_get(c, &st) == 0 && st.nr_live == 2 && st.nr_allocs == 102 &&
	   st.nr_frees == 100 && !strcmp(st.name, "conform"), "a cache counts");
	ha_stats_format(HA_FORMAT_TEXT, text, sizeof(text));
	ok(strstr(text, "\nconform ") != NULL, "and is listed by its name");
	errno = 0;
	ok(ha_cache_destroy(c) == -1 && errno == EBUSY, "ha_cache_destroy: EBUSY");
	ha_cache_free(c, p);
	ha_cache_free(c, q);
	ha_cache_free(c, NULL);
	ha_release();
	ha_cache_stats_get(c, &st);
	ok(st.nr_kept == 0 && st.nr_destroyed == st.nr_constructed,
	   "ha_release takes back what caches keep");
	ok(ha_cache_destroy(c) == 0, "ha_cache_destroy");
}

static void test_heap(void)
{
	struct ha_heap *h = ha_heap_create("conform", 1 << 20);
	struct ha_heap_stats st = { .size = sizeof(st) };
	struct ha_object o = { .size = sizeof(o) };
	struct found f = { .p = NULL };
	char *p, *q;

	p = ha_heap_alloc(h, 200, 0, HA_ZERO);
	q = ha_heap_alloc(h, 70000, 8192, 0);
	ok(p && q && (uintptr_t)q % 8192 == 0 && !p[199], "objects of a heap");
	ok(ha_lookup(p + 100, &o) == 1 && o.heap == h && o.start == p &&
	   o.state == HA_OBJECT_LIVE && malloc_usable_size(p) == 208, "ha_lookup knows its heap");
	f.p = q;
	ok(!checked || (ha_walk(find, &f) == 0 && f.nr == 1 && f.heap == h),
	   "ha_walk reports it, with its heap");
	strcpy(p, "kept");
	p = realloc(p, 5000);
	o.heap = NULL;
	ok(p && !strcmp(p, "kept") && ha_lookup(p, &o) == 1 && o.heap == h,
	   "realloc stays in the heap");
	free(q);
	ok(ha_heap_stats_get(h, &st) == 0 && st.nr_live == 1 && st.limit == 1 << 20 &&
	   st.mapped < 70000, "free returns it");
	errno = 0;
	ok(!ha_heap_alloc(h, 2 << 20, 0, 0) && errno == ENOMEM, "the limit holds");
	ha_heap_set_limit(h, 0);
	ok(ha_heap_alloc(h, 2 << 20, 0, 0) && ha_heap_alloc_tiny(h, 3), "and can be lifted");
	ha_heap_reset(h);
	ha_heap_stats_get(h, &st);
	ok(st.nr_live == 0 && st.mapped == 0 && st.nr_allocs == st.nr_frees,
	   "a heap that was reset is empty");
	ha_heap_destroy(h);
	ok(ha_lookup(p, &o) == 0 && ha_lookup(q, &o) == 0, "with it go all its objects");
}

int main(int argc, char **argv)
{
	const char *conf = getenv("HEAPARENA_CONF");

	tap_init(argc, argv);
	checked = !conf || !strstr(conf, "check:off");
	test_alloc();
	test_resize();
	test_first_of_heap();
	test_batch();
	test_lookup_walk();
	test_stats();
	test_cache();
	test_heap();
	return tap_done();
}
