// SPDX-License-Identifier: MIT
/*
 * Look-ups, walks and forks while what they read is given back and comes again.
 *
 *	makers     fill hundreds of spans with objects of one size, keep a few, free the
 *	           rest, and give back everything at once: descriptors, states and page
 *	           entries go by the slab and the page, and come back in the next round
 *	lookers    ask for any address that was ever shown
 *	a walker   walks; what it holds itself must come, and once
 *	a forker   has children that do all of it in what the fork left them
 *
 * What a maker keeps is found, live and of its size, all the time.
 */
#include <sys/wait.h>

#include "api.h"
#include "stress.h"

#define ROUND_BYTES	(3UL << 20)
#define MAX_ROUND	40000
#define KEPT		64
#define SHOWN		256
#define MINE		500
#define MAX_MAKERS	4
#define NR_OTHERS	4

static unsigned char *shown[SHOWN];
static unsigned long nr_found, nr_walks, nr_children;
static bool checked;

static void show(uint64_t *rng, unsigned char *p)
{
	__atomic_store_n(&shown[rnd_below(rng, SHOWN)], p, __ATOMIC_RELAXED);
}

static bool fits(const struct ha_object *o, const void *addr)
{
	uintptr_t a = (uintptr_t)addr, start = (uintptr_t)o->start;
	uintptr_t span = (uintptr_t)o->span;

	return a - start < o->usable && o->usable && o->index < o->nr_objects &&
	       start == span + o->index * o->usable &&
	       start + o->usable <= span + o->span_size;
}

/* Somebody's, of the past perhaps: any answer that makes sense. */
static void look_at_any(uint64_t *rng)
{
	unsigned char *p = __atomic_load_n(&shown[rnd_below(rng, SHOWN)], __ATOMIC_RELAXED);
	struct ha_object o = { .size = sizeof(o) };

	if (!p)
		return;
	p += rnd_below(rng, 1 << 16) - (1 << 15);
	if (ha_lookup(p, &o) == 0)
		return;
	__atomic_fetch_add(&nr_found, 1, __ATOMIC_RELAXED);
	if (!fits(&o, p))
		stress_fail("%p is told to be in %zu bytes at %p of span %p, number %u of %u",
			    (void *)p, o.usable, o.start, o.span, o.index, o.nr_objects);
}

static void look_at_mine(const struct obj *mine)
{
	struct ha_object o = { .size = sizeof(o) };

	if (ha_lookup(mine->p + mine->size / 2, &o) != 1 || o.start != mine->p ||
	    !fits(&o, mine->p) || o.usable < mine->size)
		stress_fail("%p of %zu bytes is not found: %p of %zu", (void *)mine->p,
			    mine->size, o.start, o.usable);
	else if (checked && o.state != HA_OBJECT_LIVE)
		stress_fail("%p of %zu bytes is live, and said to be %u", (void *)mine->p,
			    mine->size, o.state);
}

static bool get(struct obj *o, size_t size)
{
	*o = (struct obj){ malloc(size), size };
	if (!o->p) {
		stress_fail("no memory");
		return false;
	}
	obj_fill(o);
	return true;
}

/* One burst of a size; some of it takes the place of what was kept. */
static void burst(uint64_t *rng, unsigned char **p, struct obj *kept)
{
	size_t size = rnd_size(rng, rnd_below(rng, 4) ? 9 : 14) + 15;
	unsigned int nr = ROUND_BYTES / size < MAX_ROUND ? ROUND_BYTES / size : MAX_ROUND;
	unsigned int n;

	for (n = 0; n < nr && !stress_stop(); n++) {
		p[n] = malloc(size);
		if (!p[n]) {
			stress_fail("no memory");
			break;
		}
		p[n][0] = (unsigned char)n;
		if (n % 64 == 0)
			show(rng, p[n]);
	}
	for (unsigned int i = 0; i < 4 && n; i++) {
		struct obj *k = &kept[rnd_below(rng, KEPT)];

		obj_end(k, "kept");
		*k = (struct obj){ p[--n], size };
		obj_fill(k);
	}
	for (unsigned int i = 0; i < KEPT; i++)
		if (kept[i].p)
			look_at_mine(&kept[i]);
	while (n-- > 0) {
		if (p[n][0] != (unsigned char)n)
			stress_fail("%p of %zu bytes is damaged", (void *)p[n], size);
		free(p[n]);
	}
}

static void *maker(struct worker *w)
{
	static unsigned char *all[MAX_MAKERS][MAX_ROUND];
	struct obj kept[KEPT] = { { NULL, 0 } };

	for (; !stress_stop(); w->ops++) {
		burst(&w->rng, all[w->id % MAX_MAKERS], kept);
		if (w->ops % 2)
			ha_release();
	}
	for (unsigned int i = 0; i < KEPT; i++)
		obj_end(&kept[i], "the last ones");
	return NULL;
}

static void *looker(struct worker *w)
{
	for (; !stress_stop(); w->ops++)
		look_at_any(&w->rng);
	return NULL;
}

struct mine {
	struct obj o[MINE];
	unsigned char seen[MINE];
};

static int see(const struct ha_object *obj, void *arg)
{
	struct mine *m = arg;

	for (unsigned int i = 0; i < MINE; i++)
		if (obj->start == m->o[i].p)
			m->seen[i]++;
	return 0;
}

static void walk(struct mine *m)
{
	memset(m->seen, 0, sizeof(m->seen));
	if (ha_walk(see, m)) {
		stress_fail("ha_walk");
		return;
	}
	for (unsigned int i = 0; i < MINE; i++)
		if (m->seen[i] != 1)
			stress_fail("%p of %zu bytes was met %u times", (void *)m->o[i].p,
				    m->o[i].size, m->seen[i]);
}

static void *walker(struct worker *w)
{
	static struct mine m;

	for (unsigned int i = 0; i < MINE; i++)
		if (!get(&m.o[i], rnd_size(&w->rng, 12)))
			return NULL;
	for (; !stress_stop(); w->ops++) {
		if (checked)
			walk(&m);
		for (unsigned int i = 0; i < MINE; i++)
			look_at_mine(&m.o[i]);
		__atomic_fetch_add(&nr_walks, 1, __ATOMIC_RELAXED);
	}
	for (unsigned int i = 0; i < MINE; i++)
		obj_end(&m.o[i], "the walker's");
	return NULL;
}

static int child(uint64_t *rng)
{
	static unsigned char *p[MAX_ROUND];
	struct obj kept[KEPT] = { { NULL, 0 } };

	stress_stopped = 0;
	for (unsigned int i = 0; i < 6; i++) {
		burst(rng, p, kept);
		ha_release();
		for (unsigned int k = 0; k < 200; k++)
			look_at_any(rng);
	}
	for (unsigned int i = 0; i < KEPT; i++)
		obj_end(&kept[i], "the child's");
	return stress_failures ? 1 : 0;
}

static void *forker(struct worker *w)
{
	for (; !stress_stop(); w->ops++) {
		pid_t pid = fork();
		int status;

		if (pid < 0)
			stress_fail("fork");
		if (!pid) {
			alarm(60);
			_exit(child(&w->rng));
		}
		if (pid > 0 && (waitpid(pid, &status, 0) != pid || status))
			stress_fail("a child: status %#x", status);
		__atomic_fetch_add(&nr_children, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	void *(*const others[NR_OTHERS])(struct worker *) = { looker, looker, walker, forker };
	/* the last one does not survive a sanitizer's idea of a fork among threads */
	unsigned int nr, nr_others = TAP_TSAN ? NR_OTHERS - 1 : NR_OTHERS;
	struct worker makers[MAX_MAKERS], w[NR_OTHERS];
	const char *conf = getenv("HEAPARENA_CONF");
	unsigned long ops;

	tap_init(argc, argv);
	watchdog(60);
	checked = !conf || !strstr(conf, "check:off");
	nr = tap_opts.threads < MAX_MAKERS ? tap_opts.threads : MAX_MAKERS;
	for (unsigned int i = 0; i < nr_others; i++)
		workers_start(&w[i], 1, others[i]);
	workers_start(makers, nr, maker);
	stress_run(1);
	ops = workers_join(makers, nr);
	for (unsigned int i = 0; i < nr_others; i++)
		workers_join(&w[i], 1);
	stress_end("%lu bursts of %u threads, %lu of others' objects met, %lu walks, %lu children",
		   ops, nr, nr_found, nr_walks, nr_children);
	ok(nr_found && nr_walks, "look-ups and walks had their turn");
	if (TAP_TSAN)
		tap_skip("forks", "ThreadSanitizer: a child of many threads");
	else
		ok(nr_children > 0, "so had forks");
	return tap_done();
}
