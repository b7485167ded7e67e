// SPDX-License-Identifier: MIT
/*
 * The heap walk against a truth that the test keeps, while all threads allocate.
 *
 * Every worker has pins: objects entered in a table that walkers read. A pin is
 * replaced now and then; its number is odd meanwhile, and counts. A walker takes
 * a copy of the table, walks, and looks at the numbers again: each object whose
 * number is as before lived throughout, and must have been reported exactly once,
 * with its size. No address may come twice in one walk, pinned or not. Between
 * the pins the workers allocate and free everything else there is.
 */
#include <sys/mman.h>


#include "api.h"
#include "stress.h"

#define MAX_THREADS	64
#define PINS		300
#define CHURN		200
#define MAX_WALKERS	2

struct pin {
	unsigned long seq;		/* odd: being replaced */
	char *p;
	size_t usable;
};

struct copy {
	char *p;
	size_t usable;
	unsigned long seq;
	struct pin *pin;
	unsigned int seen;
};

struct walker {
	pthread_t thread;
	uintptr_t last;
	size_t nr, nr_objects;
	unsigned long walks, held;
	struct copy copy[MAX_THREADS * PINS];
};

static struct pin pins[MAX_THREADS][PINS];
static struct walker *walkers;

static size_t pin_size(uint64_t *rng)
{
	return rnd_size(rng, rnd_below(rng, 20) ? 14 : 22);
}

static void pin_set(struct pin *pin, size_t size)
{
	char *p;

	__atomic_fetch_add(&pin->seq, 1, __ATOMIC_SEQ_CST);
	free(pin->p);
	p = size ? malloc(size) : NULL;
	__atomic_store_n(&pin->p, p, __ATOMIC_RELAXED);
	__atomic_store_n(&pin->usable, p ? malloc_usable_size(p) : 0, __ATOMIC_RELAXED);
	__atomic_fetch_add(&pin->seq, 1, __ATOMIC_SEQ_CST);
}

static void *run(struct worker *w)
{
	struct obj slot[CHURN] = { { NULL, 0 } };
	struct pin *mine = pins[w->id];

	for (unsigned int i = 0; i < PINS; i++)
		pin_set(&mine[i], pin_size(&w->rng));
	for (; !stress_stop(); w->ops++) {
		struct obj *o = &slot[rnd_below(&w->rng, CHURN)];

		switch (rnd_below(&w->rng, 64)) {
		case 0:
			pin_set(&mine[rnd_below(&w->rng, PINS)], pin_size(&w->rng));
			break;
		case 1:
			if (o->p)
				obj_resize(o, size_mixed(&w->rng), "churn");
			break;
		case 2:
			if (!rnd_below(&w->rng, 2000))
				malloc_trim(0);
			break;
		default:
			obj_end(o, "churn");
			obj_new(o, size_mixed(&w->rng), rnd(&w->rng));
		}
	}
	for (unsigned int i = 0; i < CHURN; i++)
		obj_end(&slot[i], "at the end");
	for (unsigned int i = 0; i < PINS; i++)
		pin_set(&mine[i], 0);
	return NULL;
}

static int by_address(const void *a, const void *b)
{
	const struct copy *x = a, *y = b;

	return x->p < y->p ? -1 : x->p > y->p;
}

static void take_copy(struct walker *k)
{
	k->nr = 0;
	for (unsigned int i = 0; i < MAX_THREADS * PINS; i++) {
		struct pin *pin = &pins[i / PINS][i % PINS];
		struct copy *c = &k->copy[k->nr];

		c->seq = __atomic_load_n(&pin->seq, __ATOMIC_ACQUIRE);
		c->p = __atomic_load_n(&pin->p, __ATOMIC_ACQUIRE);
		c->usable = __atomic_load_n(&pin->usable, __ATOMIC_ACQUIRE);
		c->pin = pin;
		c->seen = 0;
		if (!(c->seq & 1) && c->p &&
		    __atomic_load_n(&pin->seq, __ATOMIC_ACQUIRE) == c->seq)
			k->nr++;
	}
	qsort(k->copy, k->nr, sizeof(k->copy[0]), by_address);
}

/* An address stands twice where one pin's became another's while it was copied. */
static void saw(struct walker *k, const struct ha_object *o)
{
	struct copy key = { .p = o->start };
	struct copy *c = bsearch(&key, k->copy, k->nr, sizeof(key), by_address);

	while (c && c > k->copy && c[-1].p == o->start)
		c--;
	for (; c && c < k->copy + k->nr && c->p == o->start; c++)
		/* judged behind the walk: the pin may have been replaced */
		c->seen += o->usable == c->usable ? 1 : 100;
}

static int visit(const struct ha_object *o, void *arg)
{
	struct walker *k = arg;
	uintptr_t a = (uintptr_t)o->start;

	k->nr_objects++;
	/* arenas of 64 MiB come in any order, the objects of one upwards */
	if (a >> 26 == k->last >> 26 && a <= k->last)
		stress_fail("%p came after %p", o->start, (void *)k->last);
	k->last = a;
	if (o->state != HA_OBJECT_LIVE || !o->usable || o->heap)
		stress_fail("%p is reported as state %u of %zu bytes", o->start,
			    o->state, o->usable);
	saw(k, o);
	/* a visitor may call everything */
	if (k->nr_objects % 64 == 0)
		free(HIDE(malloc(o->usable)));
	return stress_stop();
}

static void one_walk(struct walker *k)
{
	take_copy(k);
	k->last = 0;
	if (ha_walk(visit, k))
		return;
	k->walks++;
	for (size_t i = 0; i < k->nr; i++) {
		const struct copy *c = &k->copy[i];

		if (__atomic_load_n(&c->pin->seq, __ATOMIC_ACQUIRE) != c->seq)
			continue;
		k->held++;
		if (c->seen != 1)
			stress_fail("%p of %zu bytes lived throughout: %u",
				    (void *)c->p, c->usable, c->seen);
	}
}

static void *walk(void *arg)
{
	while (!stress_stop())
		one_walk(arg);
	return NULL;
}

static int never(const struct ha_object *o, void *arg)
{
	return 1;
}

int main(int argc, char **argv)
{
	const char *conf = getenv("HEAPARENA_CONF");
	unsigned long ops, walks = 0, held = 0;
	struct worker w[MAX_THREADS];
	unsigned int nr;

	tap_init(argc, argv);
	watchdog(60);
	free(HIDE(malloc(1)));
	if (conf && strstr(conf, "check:off")) {
		ok(ha_walk(never, NULL) == -1 && errno == ENOTSUP,
		   "without states there is no walk, and it says so");
		return tap_done();
	}
	nr = 2 * tap_opts.threads < MAX_THREADS ? 2 * tap_opts.threads : MAX_THREADS;
	walkers = mmap(NULL, MAX_WALKERS * sizeof(*walkers), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (walkers == MAP_FAILED)
		tap_bail("mmap");
	workers_start(w, nr, run);
	for (unsigned int i = 0; i < MAX_WALKERS; i++)
		if (pthread_create(&walkers[i].thread, NULL, walk, &walkers[i]))
			tap_bail("pthread_create");
	stress_run(1);
	for (unsigned int i = 0; i < MAX_WALKERS; i++) {
		pthread_join(walkers[i].thread, NULL);
		walks += walkers[i].walks;
		held += walkers[i].held;
	}
	ops = workers_join(w, nr);
	stress_end("%lu walks met %lu pins, each once, beside %lu operations of %u threads",
		   walks, held, ops, nr);
	ok(walks > 1 && held > PINS, "there were walks, and pins in them");
	return tap_done();
}
