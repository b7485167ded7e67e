// SPDX-License-Identifier: MIT
/*
 * Reachability: a conservative mark from outside.
 *
 *	roots      what the process has written, private or without a file, but for the
 *	           allocator's own: arenas, metadata (meta_maps), the library's data.
 *	           Of a thread's stack what it uses.  Registers.
 *	objects    live ones as ha walk has them: spans with a state for each object
 *
 *	  roots --words--> objects --words--> objects ...      reachable
 *	  lost  --words--> lost                                lost with others
 *
 * Objects of heaps of the user's (ha_heap) go with their heap, whether or not the program
 * keeps their addresses: they are roots.
 *
 * A word that is an address anywhere in a live object is a pointer to it, whatever it
 * was meant to be: what is said to be lost is, what is reachable may not be.  Words are
 * read where pointers lie, at multiples of 8.  Hidden from this are pointers that are
 * not in memory: kept by the kernel (epoll, timers), in files, encoded; and in a process
 * that is not stopped, in registers.
 *
 * A process that runs changes while it is looked at: a pointer can move from where we
 * shall look to where we have, and an object that was live when the walk came by be free
 * when its pointer would.  So there are several rounds, and lost is what was lost in all
 * of them, and what nobody freed or wrote to between them, as far as could be seen: what
 * is lost stays as it is.
 *
 * Of objects that are lost, one that another lost one leads to is lost with it.  Of a
 * ring, that at the lowest address counts as the one that leads to the others.
 *
 * Pages that are not there are not read: reading them would make them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "maps.h"
#include "reach.h"
#include "spans.h"

#define STEP		(256UL << 10)
#define NO_SPAN		UINT32_MAX
#define RED_ZONE	128
#define MAX_STACK	(64UL << 20)
#define ROUND_MS	50

enum state {
	OBJ_FREE,
	OBJ_LIVE,		/* not reached, so far */
	OBJ_REACHED,		/* reached, its words not yet looked at */
	OBJ_DONE,
	OBJ_LEADER,		/* lost: nothing was seen to lead to it */
	OBJ_INDIRECT,
};

struct rspan {
	uint64_t start;
	uint64_t bytes;
	uint64_t object_size;
	uint32_t nelems;
	uint64_t states;	/* address of the library's */
	bool queued;
	uint8_t *state;		/* [nelems] enum state */
};

struct interval {
	uint64_t start;
	uint64_t end;
};

struct intervals {
	struct interval *v;
	size_t nr;
};

struct scan {
	struct heap heap;
	struct target *t;
	struct maps maps;
	struct threads *threads;
	struct intervals own;	/* the allocator's, by address */
	struct rspan *span;
	size_t nr_spans;
	uint32_t *page;		/* [arena][page] which span; NO_SPAN */
	uint64_t pages;		/* of an arena */
	uint32_t *queue;	/* spans with something to do, a ring of nr_spans */
	size_t head, nr_queued;
	uint64_t mask;		/* of a pointer's bits */
	char *buf;		/* STEP bytes */
	int pagemap;		/* -1: none */
	bool written_only;	/* of a file's pages, those that are the process's own */
	uint64_t kernel_page;
	uint64_t *stack;	/* addresses of lost objects to look into */
	size_t nr_stack;
	uint64_t leader;	/* that these are lost with */
	uint64_t leaving_sp;	/* of who called exit(); 0: nobody yet */
};

/*
 * Memory.
 */

/* What the kernel says of some pages of a live process. */
struct pages {
	uint64_t entry[512];
	uint64_t from;
	size_t nr;
};

static uint64_t next_page(const struct scan *s, uint64_t addr)
{
	return (addr / s->kernel_page + 1) * s->kernel_page;
}

/*
 * Is there something in the page of @addr?  Where the kernel does not say, yes.  An entry:
 * bit 63 present, 62 swapped out, 61 of a file.
 */
static bool is_present(struct scan *s, struct pages *p, uint64_t addr, uint64_t end)
{
	uint64_t page = addr / s->kernel_page, want, entry;
	ssize_t n;

	if (s->pagemap < 0)
		return !s->written_only || !s->t->live;
	if (page < p->from || page >= p->from + p->nr) {
		want = (end - 1) / s->kernel_page - page + 1;
		want = want < ARRAY_SIZE(p->entry) ? want : ARRAY_SIZE(p->entry);
		n = pread(s->pagemap, p->entry, want * 8, page * 8);
		if (n < 8)
			return true;
		p->from = page;
		p->nr = n / 8;
	}
	entry = p->entry[page - p->from];
	return entry >> 62 && !(s->written_only && entry >> 61 & 1);
}

/* Where the part of a range ends that is there from @addr on, at most STEP further. */
static uint64_t part_end(struct scan *s, struct pages *p, uint64_t addr, uint64_t end)
{
	uint64_t stop = addr;

	if (end - addr > STEP)
		end = addr + STEP;
	while (stop < end && is_present(s, p, stop, end))
		stop = next_page(s, stop);
	return stop < end ? stop : end;
}

/*
 * Behind a part that ends at @stop and cannot be read whole.  What is not in a core file
 * is passed over at once: a damaged one may speak of petabytes.
 */
static uint64_t behind(const struct scan *s, uint64_t stop, uint64_t end)
{
	uint64_t next = s->t->live ? stop : core_next(s->t, stop);

	return next < end ? next : end;
}

/* @visit the parts of a range that are there, each word once, in s->buf. */
static void each_part(struct scan *s, uint64_t addr, uint64_t size,
		      void (*visit)(struct scan *s, uint64_t addr, size_t size))
{
	uint64_t end = addr + size, stop;
	struct pages p = { .nr = 0 };

	for (; addr < end; addr = stop) {
		stop = part_end(s, &p, addr, end);
		if (stop > addr && target_read(s->t, addr, s->buf, stop - addr)) {
			visit(s, addr, stop - addr);
			continue;
		}
		if (stop <= next_page(s, addr)) {
			stop = behind(s, next_page(s, addr), end);
			continue;
		}
		/* one of its pages cannot be read: the first by itself, then the rest */
		stop = next_page(s, addr);
		if (target_read(s->t, addr, s->buf, stop - addr))
			visit(s, addr, stop - addr);
		else
			stop = behind(s, stop, end);
	}
}

/*
 * Objects.
 */

static struct rspan *find_span(struct scan *s, uint64_t addr)
{
	const struct arenas *a = &s->heap.arenas;
	size_t low = 0, high = a->nr;
	uint32_t n;

	if (!a->nr || addr < a->a[0].base || addr >= a->a[a->nr - 1].base + a->size)
		return NULL;
	while (high - low > 1) {
		size_t mid = (low + high) / 2;

		if (addr < a->a[mid].base)
			high = mid;
		else
			low = mid;
	}
	if (addr - a->a[low].base >= a->size)
		return NULL;
	n = s->page[low * s->pages + ((addr - a->a[low].base) >> s->heap.page_shift)];
	return n == NO_SPAN ? NULL : &s->span[n];
}

/* The object that @addr is in, by its span and number; NULL: none that is known. */
static struct rspan *find_object(struct scan *s, uint64_t addr, uint32_t *idx)
{
	struct rspan *span = find_span(s, addr);

	if (!span || addr < span->start || addr - span->start >= span->bytes)
		return NULL;
	*idx = (addr - span->start) / span->object_size;
	return *idx < span->nelems ? span : NULL;
}

static void queue_span(struct scan *s, struct rspan *span)
{
	if (span->queued)
		return;
	span->queued = true;
	s->queue[(s->head + s->nr_queued++) % s->nr_spans] = span - s->span;
}

static void mark_word(struct scan *s, uint64_t word)
{
	struct rspan *span;
	uint32_t i;

	span = find_object(s, word & s->mask, &i);
	if (!span || span->state[i] != OBJ_LIVE)
		return;
	span->state[i] = OBJ_REACHED;
	queue_span(s, span);
}

/* What is in s->buf, from @addr. */
static void mark_words(struct scan *s, uint64_t addr, size_t size)
{
	for (size_t i = -addr & 7; i + 8 <= size; i += 8) {
		uint64_t word;

		memcpy(&word, s->buf + i, sizeof(word));
		mark_word(s, word);
	}
}

/* Objects of a span that were reached, read together where they are small. */
static void look_into(struct scan *s, struct rspan *span)
{
	for (uint32_t i = 0; i < span->nelems; i++) {
		uint32_t from = i;

		if (span->state[i] != OBJ_REACHED)
			continue;
		while (i < span->nelems && span->state[i] == OBJ_REACHED)
			span->state[i++] = OBJ_DONE;
		each_part(s, span->start + from * span->object_size,
			  (i - from) * span->object_size, mark_words);
		i--;
	}
}

static void mark_all(struct scan *s)
{
	while (s->nr_queued) {
		struct rspan *span = &s->span[s->queue[s->head]];

		s->head = (s->head + 1) % s->nr_spans;
		s->nr_queued--;
		/* what is reached from here on queues it again */
		span->queued = false;
		look_into(s, span);
	}
}

static void take_span(const struct span *from, void *arg)
{
	struct scan *s = arg;
	const struct arenas *a = &s->heap.arenas;
	struct rspan *span;

	if (!from->nr_live)
		return;
	s->span = xgrow(s->span, s->nr_spans, sizeof(*s->span));
	span = &s->span[s->nr_spans++];
	*span = (struct rspan){
		.start = from->start,
		.bytes = from->nr_pages << s->heap.page_shift,
		.object_size = span_object_bytes(&s->heap, from),
		.nelems = from->nelems,
		.states = from->states,
		.state = xalloc(from->nelems, 1),
	};
	for (uint32_t i = 0; i < from->nelems; i++)
		span->state[i] = !from->live[i] ? OBJ_FREE : from->heap ? OBJ_REACHED : OBJ_LIVE;
	for (uint64_t i = 0; i < a->nr; i++) {
		uint64_t first, nr = from->nr_pages;

		/* a large one may go on in the arenas that follow */
		if (span->start + span->bytes <= a->a[i].base ||
		    span->start >= a->a[i].base + a->size)
			continue;
		first = span->start < a->a[i].base ? 0 :
			(span->start - a->a[i].base) >> s->heap.page_shift;
		if (span->start < a->a[i].base)
			nr -= (a->a[i].base - span->start) >> s->heap.page_shift;
		for (uint64_t k = 0; k < nr && first + k < s->pages; k++)
			s->page[i * s->pages + first + k] = s->nr_spans - 1;
	}
}

static int take_spans(struct scan *s, struct reach *r)
{
	const struct arenas *a = &s->heap.arenas;

	s->pages = a->size >> s->heap.page_shift;
	s->page = xalloc(a->nr * s->pages, sizeof(*s->page));
	memset(s->page, 0xff, a->nr * s->pages * sizeof(*s->page));
	r->nr_spans_lost = 0;
	for (uint64_t i = 0; i < a->nr; i++)
		if (!heap_visit(&s->heap, i, take_span, s, &r->nr_spans_lost) || target_gone(s->t))
			return target_failed(s->t, "the heap");
	s->queue = xalloc(s->nr_spans, sizeof(*s->queue));
	r->nr_live = r->live_bytes = 0;
	for (size_t i = 0; i < s->nr_spans; i++)
		for (uint32_t k = 0; k < s->span[i].nelems; k++) {
			if (s->span[i].state[k] == OBJ_FREE)
				continue;
			r->nr_live++;
			r->live_bytes += s->span[i].object_size;
			if (s->span[i].state[k] == OBJ_REACHED)
				queue_span(s, &s->span[i]);
		}
	return 0;
}

/*
 * Roots.
 */

static void own_add(struct scan *s, uint64_t start, uint64_t end)
{
	if (end <= start)
		return;
	s->own.v = xgrow(s->own.v, s->own.nr, sizeof(*s->own.v));
	s->own.v[s->own.nr++] = (struct interval){ start, end };
}

static int by_start(const void *a, const void *b)
{
	const struct interval *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static bool own_metadata(struct scan *s)
{
	const struct layout *l = s->heap.l;
	size_t stride = size_of(l, O_meta_maps);
	uint64_t nr, max = count_of(l, O_meta_maps);
	char *maps;

	if (!object(s->t, l, O_nr_meta_maps, &nr))
		return false;
	nr = nr < max ? nr : max;
	maps = xalloc(nr, stride);
	if (!target_read(s->t, value_of(l, O_meta_maps), maps, nr * stride)) {
		free(maps);
		return false;
	}
	for (uint64_t i = 0; i < nr; i++) {
		uint64_t start = member(l, M_meta_map_start, maps + i * stride);
		uint64_t size = member(l, M_meta_map_size, maps + i * stride);

		if (start + size > start)
			own_add(s, start, start + size);
	}
	free(maps);
	return true;
}

/* What none of the program's pointers are in. */
static bool own_read(struct scan *s)
{
	const struct layout *l = s->heap.l;
	const struct arenas *a = &s->heap.arenas;
	uint64_t image = value_of(l, O_image), image_end = value_of(l, O_image_end);

	for (uint64_t i = 0; i < a->nr; i++)
		own_add(s, a->a[i].base, a->a[i].base + a->size);
	if (s->t->program < image || s->t->program >= image_end)
		own_add(s, image, image_end);
	/* in a static link the program's data is there too: what is known by name */
	for (int i = 0; i < NR_ITEMS; i++)
		if (item_is_object(i) && i != O_image && i != O_image_end)
			own_add(s, value_of(l, i), value_of(l, i) +
				(uint64_t)size_of(l, i) * count_of(l, i));
	if (!own_metadata(s))
		return false;
	qsort(s->own.v, s->own.nr, sizeof(*s->own.v), by_start);
	return true;
}

static void mark_range(struct scan *s, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < s->own.nr && start < end; i++) {
		const struct interval *own = &s->own.v[i];

		if (own->end <= start)
			continue;
		if (own->start >= end)
			break;
		if (own->start > start)
			each_part(s, start, own->start - start, mark_words);
		start = own->end;
	}
	if (start < end)
		each_part(s, start, end - start, mark_words);
}

static bool is_file(const struct map *m)
{
	return m->file[0] == '/' && strncmp(m->file, "/dev/zero", 9) &&
	       strncmp(m->file, "/memfd:", 7) && strncmp(m->file, "/SYSV", 5);
}

static bool is_root(const struct map *m)
{
	/* the kernel's */
	if (!m->read || !strncmp(m->file, "[vvar", 5) || !strncmp(m->file, "[vdso", 5))
		return false;
	/* shared files are of others as well */
	return !m->shared || (m->write && !is_file(m));
}

/*
 * Where the part of @m begins that is in use, if it is the stack of a thread, and nothing
 * else: below there is a guard or a hole, or it is too large for one.  Of one that is in
 * exit(), its caller's: what exit() and the destructors use has words of calls before.
 */
static uint64_t stack_start(const struct scan *s, const struct map *m)
{
	const struct map *below = m > s->maps.map ? m - 1 : NULL;
	uint64_t start = m->end;
	bool guarded = true;

	/* gdb may write a guard to a core file too, as a page that can be read */
	if (below && below->end == m->start)
		guarded = !below->read || (!s->t->live && !below->write);
	if (m->end - m->start > MAX_STACK || !guarded)
		return m->start;
	for (size_t i = 0; i < s->threads->nr; i++) {
		uint64_t sp = s->threads->th[i].sp;

		if (sp >= m->start && sp < m->end && sp < start)
			start = sp;
	}
	/* one that is on its way into a system call has no pointer that is known */
	if (s->leaving_sp >= m->start && s->leaving_sp < m->end &&
	    (s->leaving_sp >= start || start == m->end))
		return s->leaving_sp & ~7UL;
	if (start == m->end || start - m->start < RED_ZONE)
		return m->start;
	return (start - RED_ZONE) & ~7UL;
}

/* Registers of who has called exit(), which are saved in frames that are not looked at. */
static void mark_leaving(struct scan *s)
{
	const struct layout *l = s->heap.l;
	uint64_t regs[64], nr = count_of(l, O_leaving_regs);

	if (!object(s->t, l, O_leaving_sp, &s->leaving_sp) || !s->leaving_sp ||
	    nr > ARRAY_SIZE(regs) || size_of(l, O_leaving_regs) != sizeof(regs[0]) ||
	    !target_read(s->t, value_of(l, O_leaving_regs), regs, nr * sizeof(regs[0]))) {
		s->leaving_sp = 0;
		return;
	}
	for (uint64_t i = 0; i < nr; i++)
		mark_word(s, regs[i]);
}

static void mark_roots(struct scan *s)
{
	mark_leaving(s);
	for (size_t i = 0; i < s->maps.nr; i++) {
		const struct map *m = &s->maps.map[i];

		if (!is_root(m))
			continue;
		/* what was made read-only keeps its pointers */
		s->written_only = is_file(m) && !m->write;
		mark_range(s, stack_start(s, m), m->end);
	}
	s->written_only = false;
	for (size_t i = 0; i < s->threads->nr; i++)
		for (size_t k = 0; k < s->threads->th[i].regs.nr; k++)
			mark_word(s, s->threads->th[i].regs.word[k]);
}

/*
 * What is lost.
 */

static void lose_word(struct scan *s, uint64_t word)
{
	struct rspan *span;
	uint64_t addr;
	uint32_t i;

	span = find_object(s, word & s->mask, &i);
	if (!span || (span->state[i] != OBJ_LIVE && span->state[i] != OBJ_LEADER))
		return;
	addr = span->start + i * span->object_size;
	if (addr == s->leader)
		return;
	/* a leader has been looked into already */
	if (span->state[i] == OBJ_LIVE) {
		s->stack = xgrow(s->stack, s->nr_stack, sizeof(*s->stack));
		s->stack[s->nr_stack++] = addr;
	}
	span->state[i] = OBJ_INDIRECT;
}

static void lose_words(struct scan *s, uint64_t addr, size_t size)
{
	for (size_t i = -addr & 7; i + 8 <= size; i += 8) {
		uint64_t word;

		memcpy(&word, s->buf + i, sizeof(word));
		lose_word(s, word);
	}
}

/* All that an object leads to, and that nobody else does, is lost with it. */
static void lead(struct scan *s, struct rspan *span, uint32_t i)
{
	uint64_t addr = span->start + i * span->object_size;

	s->leader = addr;
	span->state[i] = OBJ_LEADER;
	each_part(s, addr, span->object_size, lose_words);
	while (s->nr_stack) {
		addr = s->stack[--s->nr_stack];
		span = find_object(s, addr, &i);
		each_part(s, addr, span->object_size, lose_words);
	}
}

static void take_lost(struct scan *s, struct reach *r)
{
	struct lost *lost = NULL;
	size_t nr = 0;

	for (size_t i = 0; i < s->nr_spans; i++)
		for (uint32_t k = 0; k < s->span[i].nelems; k++)
			if (s->span[i].state[k] == OBJ_LIVE)
				lead(s, &s->span[i], k);
	for (size_t i = 0; i < s->nr_spans; i++) {
		const struct rspan *span = &s->span[i];

		for (uint32_t k = 0; k < span->nelems; k++) {
			if (span->state[k] != OBJ_LEADER && span->state[k] != OBJ_INDIRECT)
				continue;
			lost = xgrow(lost, nr, sizeof(*lost));
			lost[nr++] = (struct lost){
				span->start + k * span->object_size, span->object_size,
				span->state[k] == OBJ_INDIRECT, span->states + k,
			};
		}
	}
	free(r->lost);
	r->lost = lost;
	r->nr_lost = nr;
}

static void scan_free(struct scan *s)
{
	for (size_t i = 0; i < s->nr_spans; i++)
		free(s->span[i].state);
	free(s->span);
	free(s->page);
	free(s->queue);
	free(s->stack);
	free(s->own.v);
	free(s->buf);
	maps_free(&s->maps);
	heap_free(&s->heap);
	if (s->pagemap >= 0)
		close(s->pagemap);
}

static int look(struct target *t, const struct layout *l, struct threads *held,
		struct reach *r)
{
	struct scan s = { .t = t, .pagemap = -1, .kernel_page = sysconf(_SC_PAGESIZE) };
	struct threads now = { 0 };
	char path[32];
	int ret;

	/* the upper byte of an address is the program's to use there */
	s.mask = strcmp(l->arch, "arm64") ? ~0UL : (1UL << 56) - 1;
	s.buf = xalloc(1, STEP);
	if (t->live) {
		snprintf(path, sizeof(path), "/proc/%d/pagemap", t->pid);
		s.pagemap = open(path, O_RDONLY | O_CLOEXEC);
	}
	s.threads = held ? held : &now;
	ret = held ? 0 : threads_read(t, l->arch, false, &now);
	if (!ret)
		ret = heap_read(t, l, &s.heap);
	if (!ret && !s.heap.check)
		ret = fail("%s: check:off: free objects in caches cannot be told from lost ones",
			   t->name);
	if (!ret)
		ret = take_spans(&s, r);
	if (!ret && (!maps_read(t, &s.maps) || !own_read(&s)))
		ret = target_failed(t, "its mappings");
	if (!ret) {
		mark_roots(&s);
		mark_all(&s);
		take_lost(&s, r);
		r->all_regs = !t->live || held;
		if (target_gone(t))
			ret = target_failed(t, "the heap");
	}
	scan_free(&s);
	threads_free(&now);
	return ret;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000UL + ts.tv_nsec / 1000000;
}

static int by_addr(const void *a, const void *b)
{
	const struct lost *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

const struct lost *reach_lost(const struct reach *r, uint64_t addr)
{
	const struct lost key = { .addr = addr };

	return r->nr_lost ? bsearch(&key, r->lost, r->nr_lost, sizeof(key), by_addr) : NULL;
}

void reach_free(struct reach *r)
{
	free(r->lost);
	*r = (struct reach){ 0 };
}

/* What an object begins with. */
#define BEGINS		64

struct watched {
	uint8_t state;
	char begins[BEGINS];
};

/* States of all, and what they begin with if @contents. */
static void watch_read(struct target *t, const struct reach *r, struct watched *w, bool contents)
{
	struct piece *p = xalloc(r->nr_lost, 2 * sizeof(*p));
	size_t n = 0;

	for (size_t i = 0; i < r->nr_lost; i++) {
		const struct lost *lost = &r->lost[i];

		p[n++] = (struct piece){ lost->state_at, &w[i].state, 1, false };
		if (contents)
			p[n++] = (struct piece){ lost->addr, w[i].begins,
						 lost->size < BEGINS ? lost->size : BEGINS, false };
	}
	target_read_pieces(t, p, n);
	free(p);
}

/* For a while: what is seen to be freed, or written to, is not lost. */
static void watch(struct target *t, const struct layout *l, struct reach *r)
{
	const struct timespec pause = { .tv_nsec = 200000 };
	uint8_t free_state = value_of(l, N_object_free);
	struct watched *at_first = xalloc(r->nr_lost, sizeof(*at_first));
	struct watched *now = xalloc(r->nr_lost, sizeof(*now));
	bool *gone = xalloc(r->nr_lost, sizeof(*gone));
	uint64_t until = now_ms() + ROUND_MS;
	size_t kept = 0;
	bool last;

	watch_read(t, r, at_first, true);
	do {
		nanosleep(&pause, NULL);
		last = now_ms() >= until;
		watch_read(t, r, now, last);
		for (size_t i = 0; i < r->nr_lost; i++)
			gone[i] |= now[i].state != at_first[i].state || now[i].state == free_state;
	} while (!last);
	for (size_t i = 0; i < r->nr_lost; i++)
		if (!gone[i] && !memcmp(now[i].begins, at_first[i].begins, BEGINS))
			r->lost[kept++] = r->lost[i];
	r->nr_lost = kept;
	free(at_first);
	free(now);
	free(gone);
}

int reach_find(struct target *t, const struct layout *l, struct threads *held,
	       unsigned int rounds, struct reach *r)
{
	struct reach before;
	int ret;

	*r = (struct reach){ 0 };
	ret = look(t, l, held, r);
	for (unsigned int i = 1; i < rounds && !ret && r->nr_lost; i++) {
		size_t kept = 0;

		watch(t, l, r);
		before = *r;
		*r = (struct reach){ 0 };
		ret = look(t, l, held, r);
		for (size_t k = 0; k < r->nr_lost; k++) {
			const struct lost *old = reach_lost(&before, r->lost[k].addr);

			if (old && old->size == r->lost[k].size)
				r->lost[kept++] = r->lost[k];
		}
		r->nr_lost = kept;
		reach_free(&before);
	}
	return ret;
}
