// SPDX-License-Identifier: MIT
/*
 * Heaps and object caches used by all threads at once.
 *
 * Every worker makes heaps, fills them, gives them up whole or object by object;
 * all allocate from heaps and caches that all share, and free what another one
 * allocated, by whichever call. Contents are checked before every free, and what
 * a whole heap had, before it goes. One thread walks and asks for figures, one
 * forks: a child goes on with what it inherited.
 */
#include "api.h"
#include "stress.h"

#define SHARED		3
#define SLOTS		256
#define CHILD_OK	42

static struct ha_heap *shared[SHARED];
static struct ha_cache *cache;
static struct obj slots[SLOTS];		/* p is exchanged: who has it, has it */
static unsigned long nr_heaps, nr_walked, nr_forks;

static int construct(void *obj, void *arg)
{
	memcpy(obj, &arg, sizeof(arg));
	return 0;
}

static void destroy(void *obj, void *arg)
{
	if (memcmp(obj, &arg, sizeof(arg)))
		stress_fail("an object that is destroyed is not as constructed");
}

static void free_any(struct obj *o, uint64_t *rng)
{
	obj_check(o, "an object of a heap");
	if (rnd_below(rng, 2))
		ha_free(o->p);
	else
		ha_free_batch((void *const *)&o->p, 1);
}

/* The size is found in the object: its first word, behind the exchange. */
static void use_shared(uint64_t *rng)
{
	struct obj o = { .size = 16 + rnd_size(rng, rnd_below(rng, 50) ? 11 : 17) };
	struct obj *slot = &slots[rnd_below(rng, SLOTS)];
	unsigned char *old;

	o.p = ha_heap_alloc(shared[rnd_below(rng, SHARED)], o.size, 0, 0);
	if (!o.p) {
		stress_fail("no memory for %zu bytes", o.size);
		return;
	}
	/* a pattern over the usable size, so that whoever frees it can tell */
	o.size = malloc_usable_size(o.p);
	obj_fill(&o);
	old = __atomic_exchange_n(&slot->p, o.p, __ATOMIC_ACQ_REL);
	if (old) {
		o.p = old;
		o.size = malloc_usable_size(old);
		free_any(&o, rng);
	}
}

static void use_cache(uint64_t *rng)
{
	void *p[10], *want = &cache;
	unsigned int n = rnd_below(rng, 10) + 1;

	for (unsigned int i = 0; i < n; i++) {
		p[i] = ha_cache_alloc(cache);
		if (!p[i] || memcmp(p[i], &want, sizeof(want)))
			stress_fail("an object is not as constructed");
		else
			memset((char *)p[i] + sizeof(want), i, 40);
	}
	for (unsigned int i = 0; i < n; i++)
		ha_cache_free(cache, p[i]);
	if (!rnd_below(rng, 500))
		ha_cache_shrink(cache);
}

/* A heap of one's own, from beginning to end. */
static void own_heap(uint64_t *rng)
{
	struct ha_heap *h = ha_heap_create("own", 0);
	struct ha_heap_stats st = { .size = sizeof(st) };
	unsigned int n = rnd_below(rng, 300), left = 0, tiny = 0;
	struct obj o[300];
	char *t[300];

	if (!h) {
		stress_fail("no heap");
		return;
	}
	for (unsigned int i = 0; i < n; i++) {
		o[i].size = rnd_size(rng, rnd_below(rng, 30) ? 10 : 16);
		o[i].p = ha_heap_alloc(h, o[i].size, 0, 0);
		t[i] = ha_heap_alloc_tiny(h, i % 16 + 1);
		if (!o[i].p || !t[i]) {
			stress_fail("no memory in a heap");
			return;
		}
		obj_fill(&o[i]);
		memset(t[i], i, i % 16 + 1);
		tiny++;
	}
	for (unsigned int i = 0; i < n; i++) {
		obj_check(&o[i], "an object of an own heap");
		if (t[i][0] != (char)i || t[i][i % 16] != (char)i)
			stress_fail("a tiny object is damaged");
		if (rnd_below(rng, 2))
			free_any(&o[i], rng);
		else
			left++;
	}
	ha_heap_stats_get(h, &st);
	if (st.nr_tiny != tiny || st.nr_live < left)
		stress_fail("%zu of %u, %zu of %u tiny", st.nr_live, left, st.nr_tiny, tiny);
	if (rnd_below(rng, 2)) {
		ha_heap_reset(h);
		ha_heap_stats_get(h, &st);
		if (st.mapped || st.nr_live)
			stress_fail("a heap that was reset has %zu bytes", st.mapped);
	}
	ha_heap_destroy(h);
	__atomic_fetch_add(&nr_heaps, 1, __ATOMIC_RELAXED);
}

static void *run(struct worker *w)
{
	for (; !stress_stop(); w->ops++) {
		switch (rnd_below(&w->rng, 64)) {
		case 0:
			own_heap(&w->rng);
			break;
		case 1 ... 15:
			use_cache(&w->rng);
			break;
		default:
			use_shared(&w->rng);
		}
	}
	return NULL;
}

static int visit(const struct ha_object *o, void *arg)
{
	unsigned long *n = arg;

	*n += o->heap == shared[0];
	return stress_stop();
}

static void *watch(void *arg)
{
	static char text[1 << 16];

	while (!stress_stop()) {
		ha_walk(visit, &nr_walked);
		ha_stats_format(HA_FORMAT_JSON, text, sizeof(text));
		malloc_trim(0);
		nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL);
	}
	return NULL;
}

static void child(void)
{
	uint64_t rng = tap_opts.seed ^ (uint64_t)getpid();

	alarm(20);
	for (unsigned int i = 0; i < 300; i++) {
		use_shared(&rng);
		use_cache(&rng);
	}
	own_heap(&rng);
	for (unsigned int i = 0; i < SHARED; i++)
		ha_heap_reset(shared[i]);
	_exit(stress_failures ? 1 : CHILD_OK);
}

static void *forks(void *arg)
{
	while (!stress_stop()) {
		pid_t pid = fork();
		int status;

		if (!pid)
			child();
		if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
		    WEXITSTATUS(status) != CHILD_OK)
			stress_fail("a child ended with %#x", status);
		nr_forks++;
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct ha_cache_options opt = {
		.size = sizeof(opt), .object_size = 50,
		.construct = construct, .destroy = destroy, .arg = &cache,
	};
	struct ha_cache_stats cs = { .size = sizeof(cs) };
	struct worker w[64];
	pthread_t helper[2];
	unsigned int nr;
	unsigned long ops;

	tap_init(argc, argv);
	watchdog(90);
	nr = tap_opts.threads < 64 ? tap_opts.threads : 64;
	for (unsigned int i = 0; i < SHARED; i++)
		shared[i] = ha_heap_create("shared", 0);
	cache = ha_cache_create("storm", &opt);
	if (!shared[SHARED - 1] || !cache)
		tap_bail("no heap or no cache");
	workers_start(w, nr, run);
	if (pthread_create(&helper[0], NULL, watch, NULL) ||
	    pthread_create(&helper[1], NULL, forks, NULL))
		tap_bail("pthread_create");
	stress_run(1);
	pthread_join(helper[0], NULL);
	pthread_join(helper[1], NULL);
	ops = workers_join(w, nr);
	stress_end("%lu operations by %u threads, %lu heaps, %lu forks, %lu objects walked",
		   ops, nr, nr_heaps, nr_forks, nr_walked);
	ha_cache_stats_get(cache, &cs);
	ok(cs.nr_allocs == cs.nr_frees && cs.nr_allocs > 0, "the cache's counts agree (%zu, %zu)",
	   cs.nr_allocs, cs.nr_frees);
	ok(ha_cache_destroy(cache) == 0, "nothing of it is live");
	for (unsigned int i = 0; i < SHARED; i++)
		ha_heap_destroy(shared[i]);
	ok(ops && nr_heaps && nr_forks, "there was a storm");
	return tap_done();
}
