// SPDX-License-Identifier: MIT
/*
 * Arenas that cannot follow the first one.
 *
 * Somebody else has mapped what lies behind it, so that all later arenas are where
 * the kernel says, apart from each other and from the table of page entries that
 * free() looks in first.  Objects of all kinds there are allocated by one thread and
 * freed by others, resized, and freed twice: all as anywhere else.
 */
#include <sys/mman.h>
#include <sys/wait.h>

#include "stress.h"

#define ARENA		(64ul << 20)
#define NR_BLOCKS	512		/* arenas that are in the way */
#define LIVE		(3 * ARENA)
#define NR_OBJECTS	(1u << 20)

static struct obj *objs;
static unsigned int nr_objs;
static uintptr_t first;			/* of the first arena */

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		tap_bail("mmap");
	return p;
}

/* Take the place of the arenas that would come next. */
static void block(void)
{
	void *p = HIDE(malloc(1));

	first = (uintptr_t)p & ~(ARENA - 1);
	free(p);
	for (uintptr_t i = 1; i <= NR_BLOCKS; i++)
		mmap((void *)(first + i * ARENA), 4096, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static bool is_far(const void *p)
{
	return p && (uintptr_t)p - first >= ARENA;
}

static size_t some_size(uint64_t *rng)
{
	switch (rnd_below(rng, 64)) {
	case 0:
		return 1 + rnd_below(rng, 3 << 20);
	case 1 ... 4:
		return 1 + rnd_below(rng, 200000);
	default:
		return 1 + rnd_below(rng, 2000);
	}
}

/* Each of its share: look, resize some, free. */
static void *run(struct worker *w)
{
	for (unsigned int i = w->id; i < nr_objs; i += tap_opts.threads, w->ops++) {
		if (malloc_usable_size(objs[i].p) < objs[i].size)
			stress_fail("%p has less than it was asked for", (void *)objs[i].p);
		if (rnd_below(&w->rng, 4) == 0)
			obj_resize(&objs[i], some_size(&w->rng), "resized");
		obj_end(&objs[i], "freed by another thread");
	}
	return NULL;
}

/* A child that frees something twice, or its inside, must abort. */
static bool aborts(void *p, void *then)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		free(HIDE(p));
		if (then)
			free(HIDE(then));
		_exit(0);
	}
	return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
	       WTERMSIG(status) == SIGABRT;
}

static void test_misuse(void)
{
	static const size_t sizes[] = { 100, 3000, 100000, 5 << 20 };
	const char *conf = getenv("HEAPARENA_CONF");
	bool checked = !conf || !strstr(conf, "check:off");

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *p = NULL;

		/* what comes from the first arena is kept, until one does not */
		for (unsigned int k = 0; k < 1000000 && !is_far(p); k++)
			p = HIDE(malloc(sizes[i]));
		if (!is_far(p)) {
			stress_fail("no object of %zu bytes in another arena", sizes[i]);
			continue;
		}
		if (checked && !aborts(p, p))
			stress_fail("%zu bytes were freed twice", sizes[i]);
		if (!aborts(p + 1, NULL) || !aborts(p + sizes[i] / 2 + 1, NULL))
			stress_fail("the inside of %zu bytes was freed", sizes[i]);
	}
	stress_end("misuse in arenas elsewhere is caught");
}

int main(int argc, char **argv)
{
	unsigned long far = 0, ops;
	struct worker *w;
	uint64_t rng;
	size_t bytes = 0;

	tap_init(argc, argv);
	watchdog(100);
	rng = tap_opts.seed;
	objs = map(NR_OBJECTS * sizeof(*objs));
	w = map(tap_opts.threads * sizeof(*w));
	block();
	for (; bytes < LIVE && nr_objs < NR_OBJECTS; nr_objs++) {
		struct obj *o = &objs[nr_objs];

		if (!obj_new(o, some_size(&rng), rnd_below(&rng, 64)))
			break;
		far += is_far(o->p);
		bytes += o->size;
	}
	ok(far > nr_objs / 4, "%lu of %u objects are in arenas elsewhere", far, nr_objs);
	workers_start(w, tap_opts.threads, run);
	ops = workers_join(w, tap_opts.threads);
	stress_end("%lu objects resized and freed by %u threads", ops, tap_opts.threads);
	test_misuse();
	return tap_done();
}
