// SPDX-License-Identifier: MIT
/*
 * Span descriptors and states by the slab.
 *
 *	area, whole kernel pages, a multiple of its size        states, whole kernel pages
 *	+-------+-------+-------+-- ... --+-------+             +---+--------+--------+- ...
 *	| slab *|   0   |   1   |         | n - 1 |             |   |   0    |   1    |
 *	+-------+-------+-------+-- ... --+-------+             +---+--------+--------+- ...
 *	    |                                                   ^ front
 *	    +--> struct mspan_slab, which stays
 *
 * A large heap has a span a page or two; what is known of them is 2 to 5 % of it, and
 * would stay at its highest.  So descriptors come in slabs of 63 and more, and a slab
 * none of which is in use gives the pages of both back.  The first POOL_LOOSE of a
 * kind are made one by one, packed with all others' (lib/fixalloc.c), and stay: a
 * small process has no slab, and no page more for this.
 *
 *	                get                 all put            rested
 *	  (new) --> partial <--> full      --------> empty -------------> going
 *	               ^                               |                    |
 *	               +------------- get -------------+                    v
 *	               +------------- get ------------------------------- gone
 *
 * Taken from: what is loose, then the slab that was full most recently, which is
 * among the fullest, so that others empty; then the slab that emptied last.
 *
 * Invariants:
 *  1. Nothing is unmapped.  The pages of a slab, given back, read as zero: to a reader
 *     with a stale pointer, a descriptor that is dead, of no life (seq 0), without
 *     states, and states that are free, of no descriptor.
 *  2. Descriptor i of a slab belongs to states i and to one kind for ever.
 *  3. The number of a life does not come again when the slab has been away: its next
 *     ones begin behind the highest that any of its descriptors had.
 *  4. What may be resident, or half given back when the kernel refused, is touched;
 *     what is not known to be as it was left is fresh, and made anew before its use.
 *
 * The caller locks, and gives the memory back itself, without the lock: a slab on its
 * way is on a list of its own, where the child of a fork finds it.
 */
#include <asm/cache.h>
#include "mspan_pool.h"
#include "vm.h"

/* Bytes of a slab's descriptors; more where its states would not fill a kernel page. */
#define AREA_MIN	(4UL << 10)
#define AREA_MAX	(32UL << 10)

static unsigned int slab_nr(size_t area_size, size_t size)
{
	/* the first place is the slab's */
	return area_size / size - 1;
}

/* In front of the first states is a word; blocks of them are as aligned as they are large. */
static size_t states_front(const struct mspan_pool *p)
{
	size_t align = p->state_size & -p->state_size;

	return min_size(align, 64);
}

static size_t states_bytes(const struct mspan_pool *p)
{
	return align_up(states_front(p) + (size_t)p->nr_slab * p->state_size, vm_page_size);
}

void mspan_pool_init(struct mspan_pool *p, unsigned int sc)
{
	size_t area = max_size(AREA_MIN, vm_page_size);
	size_t max = max_size(AREA_MAX, 4 * vm_page_size);

	p->size = align_up(mspan_bytes(class_nelems(sc)), 16);
	p->state_size = mspan_state_bytes(sc);
	while (area < max && slab_nr(area, p->size) * p->state_size < vm_page_size * 3 / 4)
		area *= 2;
	p->area_size = area;
	p->nr_slab = slab_nr(area, p->size);
	p->spare = NULL;
	fixalloc_init(&p->loose, p->size);
	list_init(&p->partial);
	list_init(&p->empty);
	list_init(&p->going);
	list_init(&p->gone);
}

static void join_states(struct mspan *s, uint8_t *states)
{
	((struct mspan **)states)[-1] = s;
	s->object_state = states;
}

/*
 * Those of no slab.
 */

static struct mspan *loose_get(struct mspan_pool *p)
{
	struct mspan *s = fixalloc_alloc(&p->loose);
	uint8_t *states;

	if (!s || s->object_state)
		return s;
	states = meta_alloc_states(p->state_size);
	if (!states) {
		fixalloc_free(&p->loose, s);
		return NULL;
	}
	join_states(s, states);
	return s;
}

/* One that there is, or that the first few of the kind are made for. */
static struct mspan *loose_first(struct mspan_pool *p)
{
	if (!p->loose.list && p->loose.nr_inuse >= POOL_LOOSE)
		return NULL;
	return loose_get(p);
}

/*
 * Slabs.
 */

static struct mspan_slab *slab_first(const struct list_head *head)
{
	return list_empty(head) ? NULL : list_entry(head->next, struct mspan_slab, link);
}

static void slab_move(struct mspan_slab *slab, struct list_head *to)
{
	list_del(&slab->link);
	list_add(&slab->link, to);
}

/* What there is of a slab is kept when the rest cannot be had. */
static struct mspan_slab *slab_new(struct mspan_pool *p)
{
	struct mspan_slab *slab = p->spare ? p->spare : meta_alloc(sizeof(*slab));

	p->spare = slab;
	if (!slab)
		return NULL;
	if (!slab->area)
		slab->area = meta_alloc_slab(p->area_size);
	if (!slab->area)
		return NULL;
	slab->states = meta_alloc_slab_states(states_bytes(p), &slab->advised);
	if (!slab->states)
		return NULL;
	p->spare = NULL;
	list_init(&slab->link);
	return slab;
}

/* One that was never used, or not since it went: all of it is written that is relied on. */
static struct mspan *slab_fresh(const struct mspan_pool *p, struct mspan_slab *slab)
{
	unsigned int i = slab->fresh++;
	struct mspan *s = (struct mspan *)(slab->area + (i + 1) * p->size);
	char *states = slab->states + states_front(p) + i * p->state_size;

	if (i == 0)
		*(struct mspan_slab **)slab->area = slab;
	if (slab->touched < slab->fresh) {
		slab->touched++;
		meta_count(p->size + p->state_size);
	}
	s->in_slab = true;
	s->seq = slab->seq;
	join_states(s, (uint8_t *)states);
	s->start = 0;
	return s;
}

static struct mspan *slab_get(struct mspan_pool *p, struct mspan_slab *slab)
{
	struct mspan *s = slab->list;

	if (s) {
		slab->list = *(struct mspan **)s;
		/* the next caller's wait begins now */
		prefetch(slab->list);
		*(struct mspan **)s = NULL;
	} else {
		s = slab_fresh(p, slab);
	}
	if (slab->nr_used++ == 0)
		slab_move(slab, &p->partial);
	if (slab->nr_used == p->nr_slab)
		list_del(&slab->link);
	return s;
}

struct mspan *mspan_pool_get(struct mspan_pool *p)
{
	struct mspan *s = loose_first(p);
	struct mspan_slab *slab;

	if (s)
		return s;
	slab = slab_first(&p->partial);
	if (!slab)
		slab = slab_first(&p->empty);
	if (!slab)
		slab = slab_first(&p->gone);
	if (!slab)
		slab = slab_new(p);
	/* no room for a slab: one more by itself, perhaps in a page that was donated */
	return slab ? slab_get(p, slab) : loose_get(p);
}

/* Is @a a later number than @b?  They go round. */
static bool seq_after(uint16_t a, uint16_t b)
{
	return (int16_t)(a - b) > 0;
}

void mspan_pool_put(struct mspan_pool *p, struct mspan *s, uint32_t now)
{
	struct mspan_slab *slab;

	if (!s->in_slab) {
		fixalloc_free(&p->loose, s);
		return;
	}
	slab = *(struct mspan_slab **)align_down((uintptr_t)s, p->area_size);
	if (seq_after(s->seq, slab->seq))
		slab->seq = s->seq;
	*(struct mspan **)s = slab->list;
	slab->list = s;
	if (slab->nr_used-- == p->nr_slab)
		list_add(&slab->link, &p->partial);
	if (slab->nr_used)
		return;
	slab->since = now;
	slab_move(slab, &p->empty);
}

/*
 * Giving back.
 */

struct mspan_slab *mspan_pool_take_empty(struct mspan_pool *p, uint32_t now, uint32_t age,
					 struct iovec ranges[SLAB_RANGES])
{
	struct mspan_slab *slab;

	if (list_empty(&p->empty))
		return NULL;
	slab = list_entry(p->empty.prev, struct mspan_slab, link);
	if (now - slab->since < age)
		return NULL;
	slab_move(slab, &p->going);
	slab->list = NULL;
	slab->fresh = 0;
	/* whole, touched or not: a huge page brings what is beside it */
	ranges[0] = (struct iovec){ slab->area, p->area_size };
	ranges[1] = (struct iovec){ slab->states, states_bytes(p) };
	return slab;
}

void mspan_slab_prepare(const struct mspan_slab *slab)
{
	meta_part_goes(slab->states, slab->advised);
}

size_t mspan_pool_went(struct mspan_pool *p, struct mspan_slab *slab, bool gone, uint32_t now)
{
	size_t bytes = (size_t)slab->touched * (p->size + p->state_size);

	if (!gone) {
		slab->since = now;
		slab_move(slab, &p->empty);
		return 0;
	}
	meta_count(-bytes);
	slab->touched = 0;
	slab_move(slab, &p->gone);
	return bytes;
}

bool mspan_pool_has_empty(const struct mspan_pool *p)
{
	return !list_empty(&p->empty);
}

void mspan_pool_fork_child(struct mspan_pool *p, uint32_t now)
{
	while (!list_empty(&p->going))
		mspan_pool_went(p, slab_first(&p->going), false, now);
}

/*
 * Validation.
 */

static bool slab_validate(const struct mspan_pool *p, const struct mspan_slab *slab)
{
	unsigned int nr = 0;

	for (struct mspan *s = slab->list; s; s = *(struct mspan **)s) {
		size_t off = (char *)s - slab->area;

		if (off % p->size || off / p->size - 1 >= slab->fresh || !s->in_slab ||
		    s->state != MSPAN_DEAD || seq_after(s->seq, slab->seq))
			return false;
		nr++;
	}
	return nr + slab->nr_used == slab->fresh && slab->fresh <= slab->touched &&
	       slab->touched <= p->nr_slab;
}

static bool list_validate(const struct mspan_pool *p, const struct list_head *head,
			  bool used, size_t *nr_used)
{
	struct list_head *pos;

	list_for_each(pos, head) {
		const struct mspan_slab *slab = list_entry(pos, struct mspan_slab, link);

		if (!slab_validate(p, slab) || (slab->nr_used != 0) != used ||
		    slab->nr_used == p->nr_slab)
			return false;
		if (head == &p->gone && slab->touched)
			return false;
		*nr_used += slab->nr_used;
	}
	return true;
}

/* Full slabs are on no list: there may be any number of them. */
bool mspan_pool_validate(const struct mspan_pool *p, size_t nr_used)
{
	size_t nr = p->loose.nr_inuse;

	return list_validate(p, &p->partial, true, &nr) &&
	       list_validate(p, &p->empty, false, &nr) &&
	       list_validate(p, &p->going, false, &nr) &&
	       list_validate(p, &p->gone, false, &nr) &&
	       nr <= nr_used && (nr_used - nr) % p->nr_slab == 0;
}
