// SPDX-License-Identifier: MIT
/*
 * The heap as it lies in memory: arenas, and the spans in them, with their objects.
 *
 *	arenas_walk -> blocks -> struct heap_arena -> page entries -> states
 *	                                                               |  descriptor, in
 *	                                                 struct mspan <+  front of them
 *
 * A span is taken as lib/lookup.c takes it from within: page entry, descriptor, bits
 * and states, and then the entry and the number of the descriptor's life again. If
 * they are the same, all of it was of one life, since states and descriptors belong
 * together for ever. What has changed is looked at again, ROUNDS times; in a live
 * process a few spans of a busy class may be lost to that.
 *
 * All spans of an arena are read together, a few system calls for hundreds of them.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "spans.h"

#define MAX_ARENAS	(1UL << 22)
#define MAX_ELEMS	(1UL << 16)
#define ROUNDS		20

void arenas_free(struct arenas *a)
{
	free(a->a);
	*a = (struct arenas){ 0 };
}

static int by_base(const void *a, const void *b)
{
	const struct arena *x = a, *y = b;

	return x->base < y->base ? -1 : x->base > y->base;
}

static int by_at(const void *a, const void *b)
{
	const struct arena *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/*
 * The addresses of the arenas' descriptions, from the blocks that list them.  No two of
 * them overlap, so that there are no more than there is memory for.
 */
static bool read_list(struct target *t, const struct layout *l, struct arenas *a)
{
	uint64_t block = value_of(l, N_walk_block), walk, from;

	if (!object(t, l, O_arenas_walk, &walk))
		return false;
	for (uint64_t i = 0; i < a->nr; i++)
		if ((i % block == 0 && !target_read(t, walk + i / block * 8, &from, 8)) ||
		    !target_read(t, from + i % block * 8, &a->a[i].at, 8))
			return false;
	qsort(a->a, a->nr, sizeof(*a->a), by_at);
	for (uint64_t i = 1; i < a->nr; i++)
		if (a->a[i].at - a->a[i - 1].at < value_of(l, N_sizeof_heap_arena))
			t->damage = "descriptions of arenas overlap";
	return !t->damage;
}

/* By address, each in a place of its own: what is done for each is done once a page. */
static bool places_apart(struct target *t, const struct layout *l, struct arenas *a)
{
	uint64_t end = 1UL << value_of(l, N_addr_bits);

	qsort(a->a, a->nr, sizeof(*a->a), by_base);
	for (uint64_t i = 0; i < a->nr; i++) {
		if (a->a[i].base >= end || a->a[i].reserved > a->size)
			t->damage = "an arena is nowhere";
		else if (i && a->a[i].base - a->a[i - 1].base < a->size)
			t->damage = "arenas overlap";
	}
	return !t->damage;
}

bool arenas_read(struct target *t, const struct layout *l, struct arenas *a)
{
	char *buf = xalloc(1, value_of(l, N_sizeof_heap_arena));
	bool ok;

	*a = (struct arenas){ .size = 1UL << value_of(l, N_arena_shift) };
	ok = object(t, l, O_arenas_nr, &a->nr) && a->nr <= MAX_ARENAS;
	if (ok) {
		a->a = xalloc(a->nr, sizeof(*a->a));
		ok = read_list(t, l, a);
	}
	for (uint64_t i = 0; ok && i < a->nr; i++) {
		struct arena *at = &a->a[i];

		ok = target_read(t, at->at, buf, value_of(l, N_sizeof_heap_arena));
		at->base = member(l, M_heap_arena_base, buf);
		at->reserved = member(l, M_heap_arena_reserved, buf);
		at->nid = member(l, M_heap_arena_nid, buf);
	}
	free(buf);
	ok = ok && places_apart(t, l, a);
	if (!ok)
		arenas_free(a);
	return ok;
}

static bool read_classes(struct heap *h)
{
	const struct layout *l = h->l;
	size_t stride = size_of(l, O_size_classes);
	char *buf = xalloc(h->nr_classes, stride);
	bool ok = target_read(h->t, value_of(l, O_size_classes), buf, h->nr_classes * stride);

	h->classes = xalloc(h->nr_classes, sizeof(*h->classes));
	for (unsigned int sc = 0; sc < h->nr_classes && ok; sc++) {
		const char *k = buf + sc * stride;

		h->classes[sc].size = member(l, M_size_class_size, k);
		h->classes[sc].nelems = sc ? member(l, M_size_class_nelems, k) : 1;
		h->classes[sc].pages = member(l, M_size_class_pages, k);
		if (sc && (!h->classes[sc].size || !h->classes[sc].nelems ||
			   h->classes[sc].nelems > MAX_ELEMS))
			ok = false;
	}
	free(buf);
	return ok;
}

int heap_read(struct target *t, const struct layout *l, struct heap *h)
{
	uint64_t check;

	*h = (struct heap){ .t = t, .l = l };
	h->nr_classes = value_of(l, N_nr_classes);
	h->page_shift = value_of(l, N_page_shift);
	if (!object(t, l, O_conf_check, &check) || !object(t, l, O_nr_nodes, &h->nr_nodes) ||
	    !arenas_read(t, l, &h->arenas) || !read_classes(h)) {
		heap_free(h);
		return target_failed(t, "the heap");
	}
	h->check = check;
	if (h->arenas.nr)
		return 0;
	heap_free(h);
	return fail("%s: its heap has not been used yet", t->name);
}

void heap_free(struct heap *h)
{
	arenas_free(&h->arenas);
	free(h->classes);
	h->classes = NULL;
}

/*
 * One arena.
 */

/* A span on its way to be known. */
struct found {
	struct span span;
	uint64_t entry;		/* address of its page entry */
	uint64_t states;	/* what stood there */
	uint64_t desc;		/* address of its descriptor */
	uint64_t seq;
	char *head;		/* the descriptor */
	char *bits;		/* and behind it the states */
	uint64_t again[2];	/* states and seq, read once more */
	bool stands;		/* so far */
	bool done;
};

struct scan {
	struct heap *h;
	struct found *found;
	size_t nr;
	struct piece *pieces;	/* two a span */
	char *arena;		/* struct heap_arena */
	char *entries;
	uint64_t nr_pages;	/* of an arena */
};

/* Read @size bytes at each @addr that is asked for; those that fail do not stand. */
static void read_each(struct scan *s, struct piece (*ask)(struct scan *s, struct found *f))
{
	size_t n = 0;

	for (size_t i = 0; i < s->nr; i++)
		if (s->found[i].stands && !s->found[i].done)
			s->pieces[n++] = ask(s, &s->found[i]);
	target_read_pieces(s->h->t, s->pieces, n);
	n = 0;
	for (size_t i = 0; i < s->nr; i++)
		if (s->found[i].stands && !s->found[i].done)
			s->found[i].stands = s->pieces[n++].ok;
}

static struct piece ask_desc(struct scan *s, struct found *f)
{
	return (struct piece){ f->states - 8, &f->desc, 8, false };
}

static struct piece ask_head(struct scan *s, struct found *f)
{
	return (struct piece){ f->desc, f->head, value_of(s->h->l, N_sizeof_mspan), false };
}

static size_t bits_size(const struct scan *s, const struct found *f)
{
	unsigned int word = size_of(s->h->l, M_mspan_bits);

	return (f->span.nelems + word * 8 - 1) / (word * 8) * word;
}

static struct piece ask_bits(struct scan *s, struct found *f)
{
	return (struct piece){ f->desc + value_of(s->h->l, M_mspan_bits), f->bits,
			       bits_size(s, f), false };
}

static struct piece ask_states(struct scan *s, struct found *f)
{
	return (struct piece){ f->states, f->bits + bits_size(s, f), f->span.nelems, false };
}

static struct piece ask_entry_again(struct scan *s, struct found *f)
{
	const struct layout *l = s->h->l;

	f->again[0] = 0;
	return (struct piece){ f->entry + value_of(l, M_page_entry_states), &f->again[0],
			       size_of(l, M_page_entry_states), false };
}

static struct piece ask_seq_again(struct scan *s, struct found *f)
{
	const struct layout *l = s->h->l;

	f->again[1] = 0;
	return (struct piece){ f->desc + value_of(l, M_mspan_seq), &f->again[1],
			       size_of(l, M_mspan_seq), false };
}

/* Does the descriptor make sense at this page? Then the span has its shape. */
static bool take_head(const struct scan *s, struct found *f)
{
	const struct layout *l = s->h->l;
	struct span *span = &f->span;
	uint64_t sc = member(l, M_mspan_sc, f->head), nelems;
	uint64_t end = 1UL << value_of(l, N_addr_bits);

	if (sc >= s->h->nr_classes || member(l, M_mspan_start, f->head) != span->start ||
	    member(l, M_mspan_object_state, f->head) != f->states)
		return false;
	nelems = s->h->classes[sc].nelems;
	span->nr_pages = member(l, M_mspan_nr_pages, f->head);
	if (member(l, M_mspan_nelems, f->head) != nelems || !span->nr_pages ||
	    span->nr_pages > (end - span->start) >> s->h->page_shift)
		return false;
	span->sc = sc;
	span->nid = member(l, M_mspan_nid, f->head);
	span->nelems = nelems;
	span->object_size = s->h->classes[sc].size;
	f->seq = member(l, M_mspan_seq, f->head);
	return true;
}

/* Who is live: by the state, or where states say nothing, by the bit. */
static void take_objects(struct scan *s, struct found *f, bool of_heap)
{
	uint8_t *states = (uint8_t *)f->bits + bits_size(s, f);
	uint64_t free_state = value_of(s->h->l, N_object_free);
	bool by_state = s->h->check || !f->span.sc || of_heap;

	f->span.nr_out = 0;
	f->span.nr_live = 0;
	for (uint32_t i = 0; i < f->span.nelems; i++) {
		/* little-endian words: bit i is in byte i / 8 */
		bool out = (uint8_t)f->bits[i / 8] >> (i % 8) & 1;
		bool live = by_state ? states[i] != free_state : out;

		states[i] = live;
		f->span.nr_live += live;
		f->span.nr_out += f->span.sc ? out : live;
	}
	f->span.states = f->states;
	f->span.live = states;
}

/* The first pages of spans, as the arena has them now. */
static bool scan_begin(struct scan *s, uint64_t arena, bool first)
{
	const struct layout *l = s->h->l;
	uint64_t base = s->h->arenas.a[arena].base, pages;
	size_t stride = value_of(l, N_sizeof_page_entry);

	if (!target_read(s->h->t, s->h->arenas.a[arena].at, s->arena,
			 value_of(l, N_sizeof_heap_arena)))
		return false;
	pages = member(l, M_heap_arena_page, s->arena);
	if (!target_read(s->h->t, pages, s->entries, s->nr_pages * stride))
		return false;
	for (uint64_t i = 0; i < s->nr_pages && first; i++) {
		unsigned int word = size_of(l, M_heap_arena_start) * 8;

		if (!(member_at(l, M_heap_arena_start, s->arena, i / word) >> (i % word) & 1))
			continue;
		s->found[s->nr++] = (struct found){
			.span.start = base + (i << s->h->page_shift),
			.entry = pages + i * stride,
		};
	}
	for (size_t i = 0; i < s->nr; i++) {
		struct found *f = &s->found[i];
		const char *e = s->entries + (f->entry - pages);

		if (f->done)
			continue;
		f->states = member(l, M_page_entry_states, e);
		/* gone meanwhile: none of its objects lived throughout */
		f->done = !f->states;
		f->stands = true;
	}
	return true;
}

static void scan_round(struct scan *s)
{
	const struct layout *l = s->h->l;
	size_t head = value_of(l, N_sizeof_mspan);

	for (size_t i = 0; i < s->nr; i++)
		if (!s->found[i].done && !s->found[i].head)
			s->found[i].head = xalloc(1, head);
	read_each(s, ask_desc);
	read_each(s, ask_head);
	for (size_t i = 0; i < s->nr; i++) {
		struct found *f = &s->found[i];

		if (f->done || !f->stands)
			continue;
		f->stands = take_head(s, f);
		free(f->bits);
		f->bits = f->stands ? xalloc(1, bits_size(s, f) + f->span.nelems) : NULL;
	}
	read_each(s, ask_bits);
	read_each(s, ask_states);
	read_each(s, ask_entry_again);
	read_each(s, ask_seq_again);
	for (size_t i = 0; i < s->nr; i++) {
		struct found *f = &s->found[i];
		uint64_t place, route;

		if (f->done || !f->stands || f->again[0] != f->states || f->again[1] != f->seq)
			continue;
		place = member(l, M_page_entry_place, s->entries + (f->entry -
			       member(l, M_heap_arena_page, s->arena)));
		route = place >> value_of(l, N_route_shift);
		f->span.heap = route == value_of(l, N_route_heap) ?
			       member(l, M_mspan_heap, f->head) : 0;
		take_objects(s, f, f->span.heap != 0);
		f->done = true;
	}
}

static size_t scan_left(const struct scan *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->nr; i++)
		n += !s->found[i].done;
	return n;
}

bool heap_visit(struct heap *h, uint64_t arena, void (*visit)(const struct span *s, void *arg),
		void *arg, uint64_t *nr_lost)
{
	struct scan s = { .h = h, .nr_pages = h->arenas.size >> h->page_shift };
	uint32_t bits = count_of(h->l, M_heap_arena_start) * size_of(h->l, M_heap_arena_start);
	bool ok = true;

	if (s.nr_pages > bits * 8UL)
		s.nr_pages = bits * 8UL;
	s.found = xalloc(s.nr_pages, sizeof(*s.found));
	s.pieces = xalloc(s.nr_pages, sizeof(*s.pieces));
	s.arena = xalloc(1, value_of(h->l, N_sizeof_heap_arena));
	s.entries = xalloc(s.nr_pages, value_of(h->l, N_sizeof_page_entry));
	for (int i = 0; i < ROUNDS && ok && (!i || scan_left(&s)); i++) {
		if (i)
			nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
		ok = scan_begin(&s, arena, !i);
		if (ok)
			scan_round(&s);
		if (!h->t->live)
			break;
	}
	for (size_t i = 0; i < s.nr; i++) {
		if (ok && s.found[i].done && s.found[i].span.live)
			visit(&s.found[i].span, arg);
		free(s.found[i].head);
		free(s.found[i].bits);
	}
	*nr_lost += scan_left(&s);
	free(s.found);
	free(s.pieces);
	free(s.arena);
	free(s.entries);
	return ok;
}
