// SPDX-License-Identifier: MIT
/*
 * The heap profile as the library has it in memory (lib/profile_table.c), read from
 * outside:
 *
 *	stacks_newest --> profile_stack --older--> profile_stack --> ...
 *	                  counts, return addresses
 *
 *	samples_buckets[hash of the address] --> profile_sample --next--> ...
 *
 * Stacks are only ever added, and their counts are words: what is read is what the
 * process would write at this moment. It need not be able to: it may be idle, stopped,
 * or dead, a core file. Samples come and go. One that is recycled while it is read leads
 * to another chain, or makes no sense; the walk is bounded, an address counts once, and
 * who asks for them checks that the object is one.
 *
 * Everything stays until the command ends.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "maps.h"
#include "outside.h"

#define MAX_STACKS	(1UL << 22)
#define MAX_SAMPLES	(1UL << 24)
#define SPARE_SAMPLES	(1UL << 16)
#define MAX_BUCKETS	(1UL << 26)
#define MAX_NOTES	4096
#define BUCKETS_AT_ONCE	4096

/* profile_stack.count, in the order of lib/profile_table.h. */
enum count {
	ALLOC_OBJECTS, ALLOC_BYTES, LIVE_OBJECTS, LIVE_BYTES, PEAK_OBJECTS, PEAK_BYTES,
	SHORT_OBJECTS, MIDDLE_OBJECTS, LONG_OBJECTS, NR_COUNTS
};

/* As lib/pprof.c writes them. */
static const struct {
	const char *type, *unit;
	enum count count;
	bool objects;
} values[] = {
	{ "alloc_objects", "count", ALLOC_OBJECTS, true },
	{ "alloc_space", "bytes", ALLOC_BYTES, false },
	{ "inuse_objects", "count", LIVE_OBJECTS, true },
	{ "inuse_space", "bytes", LIVE_BYTES, false },
	{ "peak_objects", "count", PEAK_OBJECTS, true },
	{ "peak_space", "bytes", PEAK_BYTES, false },
	{ "freed_10ms", "count", SHORT_OBJECTS, true },
	{ "freed_1s", "count", MIDDLE_OBJECTS, true },
	{ "freed_later", "count", LONG_OBJECTS, true },
};

struct raw_stack {
	uint64_t at;
	int64_t count[NR_COUNTS];
	uint64_t *pc;
	size_t nr;
};

struct reading {
	struct target *t;
	const struct layout *l;
	struct raw_stack *stack;	/* newest first */
	size_t nr;
	bool at_peak;			/* more lives than at the last peak: that is now */
};

bool outside_session(struct target *t, const struct layout *l, bool *on, bool *never)
{
	uint64_t session, mean;

	if (!object(t, l, O_profile_session, &session) || !object(t, l, O_profile_mean, &mean))
		return false;
	*on = session;
	*never = !mean;
	return true;
}

/*
 * Stacks.
 */

static bool read_stack(struct reading *r, uint64_t at, uint64_t *older)
{
	const struct layout *l = r->l;
	char head[4096];
	struct raw_stack *s;

	if (!target_read(r->t, at, head, value_of(l, N_sizeof_profile_stack)))
		return false;
	r->stack = xgrow(r->stack, r->nr, sizeof(*r->stack));
	s = &r->stack[r->nr++];
	*s = (struct raw_stack){ .at = at, .nr = member(l, M_profile_stack_nr, head) };
	if (s->nr > count_of(l, M_profile_stack_pc))
		s->nr = 0;
	for (int i = 0; i < NR_COUNTS; i++)
		s->count[i] = member_at(l, M_profile_stack_count, head, i);
	s->pc = xalloc(s->nr, sizeof(*s->pc));
	*older = member(l, M_profile_stack_older, head);
	return target_read(r->t, at + value_of(l, M_profile_stack_pc), s->pc,
			   s->nr * sizeof(*s->pc));
}

static bool read_stacks(struct reading *r)
{
	uint64_t at, mark = 0;

	if (!object(r->t, r->l, O_stacks_newest, &at))
		return false;
	while (at && r->nr < MAX_STACKS) {
		if (!read_stack(r, at, &at))
			return false;
		/* a ring comes back to one that was met at a power of two */
		if (at && at == mark) {
			r->t->damage = "its stacks are a ring";
			return false;
		}
		if (!(r->nr & (r->nr - 1)))
			mark = at;
	}
	return true;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* One for each address, which is that of the call. */
static void take_locations(const struct reading *r, struct profile *p)
{
	size_t nr = 0, n = 0;
	uint64_t *pc;

	for (size_t i = 0; i < r->nr; i++)
		nr += r->stack[i].nr;
	pc = xalloc(nr, sizeof(*pc));
	for (size_t i = 0; i < r->nr; i++)
		for (size_t k = 0; k < r->stack[i].nr; k++)
			pc[n++] = r->stack[i].pc[k] - 1;
	qsort(pc, n, sizeof(*pc), by_number);
	p->locations = xalloc(n, sizeof(*p->locations));
	for (size_t i = 0; i < n; i++)
		if (!i || pc[i] != pc[i - 1])
			p->locations[p->nr_locations++] = (struct location){
				.id = pc[i], .addr = pc[i],
			};
	free(pc);
}

static int by_id(const void *a, const void *b)
{
	return by_number(&((const struct location *)a)->id, &((const struct location *)b)->id);
}

static void take_sample(const struct reading *r, const struct raw_stack *raw,
			struct profile *p)
{
	unsigned int shift = value_of(r->l, N_profile_unit_shift);
	struct sample *s = &p->samples[p->nr_samples++];

	s->location = xalloc(raw->nr, sizeof(*s->location));
	for (size_t i = 0; i < raw->nr; i++) {
		const struct location key = { .id = raw->pc[i] - 1 };

		s->location[s->nr++] = bsearch(&key, p->locations, p->nr_locations,
					       sizeof(key), by_id);
	}
	s->value = xalloc(p->nr_types, sizeof(*s->value));
	for (size_t i = 0; i < p->nr_types; i++) {
		enum count c = values[i].count;
		int64_t v;

		if (r->at_peak && (c == PEAK_OBJECTS || c == PEAK_BYTES))
			c = c - PEAK_OBJECTS + LIVE_OBJECTS;
		v = raw->count[c];
		if (values[i].objects && shift)
			v = (v + (1LL << (shift - 1))) >> shift;
		/* a free may have been counted before its allocation */
		s->value[i] = v < 0 ? 0 : v;
	}
}

/*
 * Mappings.
 */

/* The build id among the notes of a file, as hexadecimal digits; NULL: it has none. */
static const char *notes_build_id(const char *note, size_t size)
{
	while (size >= sizeof(Elf64_Nhdr)) {
		size_t name, desc;
		Elf64_Nhdr n;
		char *hex;

		memcpy(&n, note, sizeof(n));
		name = (n.n_namesz + 3UL) & ~3UL;
		desc = (n.n_descsz + 3UL) & ~3UL;
		if (name > size || desc > size || sizeof(n) + name + desc > size)
			return NULL;
		if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 &&
		    !memcmp(note + sizeof(n), "GNU", 4)) {
			const unsigned char *id = (const unsigned char *)note + sizeof(n) + name;

			hex = xalloc(n.n_descsz + 1, 2);
			for (size_t i = 0; i < n.n_descsz; i++)
				sprintf(hex + 2 * i, "%02x", id[i]);
			return hex;
		}
		note += sizeof(n) + name + desc;
		size -= sizeof(n) + name + desc;
	}
	return NULL;
}

/* Of the file whose headers are in memory at @base; "" for none. */
static const char *build_id(struct target *t, uint64_t base)
{
	char notes[MAX_NOTES];
	const char *id = NULL;
	Elf64_Ehdr eh;
	Elf64_Phdr ph;

	if (!target_read(t, base, &eh, sizeof(eh)) || memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_phentsize != sizeof(ph))
		return "";
	for (unsigned int i = 0; i < eh.e_phnum && !id; i++) {
		size_t n;

		if (!target_read(t, base + eh.e_phoff + i * sizeof(ph), &ph, sizeof(ph)))
			break;
		/* notes lie in the first segment, where addresses are offsets */
		n = ph.p_filesz < sizeof(notes) ? ph.p_filesz : sizeof(notes);
		if (ph.p_type == PT_NOTE && target_read(t, base + ph.p_offset, notes, n))
			id = notes_build_id(notes, n);
	}
	return id ? id : "";
}

/* Those that have code in a stack. */
static void take_mappings(struct reading *r, struct profile *p, const struct maps *m)
{
	const struct map **used = xalloc(m->nr, sizeof(*used));
	uint64_t *base = xalloc(m->nr, sizeof(*base));
	size_t *number = xalloc(m->nr, sizeof(*number)), n = 0;

	for (size_t i = 0; i < m->nr; i++) {
		/* where the file begins that this is a part of */
		base[i] = !i || m->map[i].offset == 0 || strcmp(m->map[i].file,
								m->map[i - 1].file) ?
			  m->map[i].start : base[i - 1];
	}
	for (size_t i = 0; i < p->nr_locations; i++) {
		const struct map *map = maps_find(m, p->locations[i].addr);

		if (map && !number[map - m->map]) {
			used[n++] = map;
			number[map - m->map] = n;
		}
	}
	p->mappings = xalloc(n, sizeof(*p->mappings));
	for (; p->nr_mappings < n; p->nr_mappings++) {
		const struct map *map = used[p->nr_mappings];

		p->mappings[p->nr_mappings] = (struct mapping){
			.id = p->nr_mappings + 1, .start = map->start, .limit = map->end,
			.offset = map->offset, .file = strdup(map->file),
			.build_id = *map->file == '/' ? build_id(r->t, base[map - m->map]) : "",
		};
	}
	for (size_t i = 0; i < p->nr_locations; i++) {
		const struct map *map = maps_find(m, p->locations[i].addr);

		if (map)
			p->locations[i].map = &p->mappings[number[map - m->map] - 1];
	}
	free(used);
	free(base);
	free(number);
}

/*
 * Samples.
 */

static void follow(struct followed_list *list, const struct layout *l, const char *sample)
{
	list->f = xgrow(list->f, list->nr, sizeof(*list->f));
	list->f[list->nr++] = (struct followed){
		.addr = member(l, M_profile_sample_addr, sample),
		.size = member(l, M_profile_sample_size, sample),
		.weight = member(l, M_profile_sample_weight, sample),
		.stack = member(l, M_profile_sample_stack, sample),
	};
}

static int by_addr(const void *a, const void *b)
{
	return by_number(&((const struct followed *)a)->addr,
			 &((const struct followed *)b)->addr);
}

static bool read_samples(struct reading *r, struct followed_list *list)
{
	const struct layout *l = r->l;
	uint64_t head[BUCKETS_AT_ONCE], buckets, nr, at, max;
	char sample[4096];

	if (!object(r->t, l, O_samples_buckets, &buckets) ||
	    !object(r->t, l, O_samples_nr_buckets, &nr) || nr > MAX_BUCKETS ||
	    !object(r->t, l, O_samples_nr, &max))
		return false;
	/* so many, were it not for those that come and go */
	max = max < MAX_SAMPLES ? 2 * max + SPARE_SAMPLES : MAX_SAMPLES;
	for (uint64_t i = 0; i < nr; i++) {
		if (i % BUCKETS_AT_ONCE == 0 &&
		    !target_read(r->t, buckets + 8 * i, head, 8 *
				 (nr - i < BUCKETS_AT_ONCE ? nr - i : BUCKETS_AT_ONCE)))
			return false;
		for (at = head[i % BUCKETS_AT_ONCE]; at && list->nr < max;
		     at = member(l, M_profile_sample_next, sample)) {
			/* the chain may have led to nothing that was */
			if (!target_read(r->t, at, sample, value_of(l, N_sizeof_profile_sample)))
				break;
			follow(list, l, sample);
		}
	}
	return true;
}

static int by_at(const void *a, const void *b)
{
	return by_number(&((const struct raw_stack *)a)->at, &((const struct raw_stack *)b)->at);
}

/* By address, each once, with the number of its stack. */
static void sort_samples(struct reading *r, struct followed_list *list)
{
	size_t kept = 0;
	struct raw_stack *sorted = xalloc(r->nr, sizeof(*sorted));

	for (size_t i = 0; i < r->nr; i++) {
		sorted[i] = r->stack[i];
		/* which one it was */
		sorted[i].nr = i;
	}
	qsort(sorted, r->nr, sizeof(*sorted), by_at);
	if (list->nr)
		qsort(list->f, list->nr, sizeof(*list->f), by_addr);
	for (size_t i = 0; i < list->nr; i++) {
		const struct raw_stack key = { .at = list->f[i].stack };
		const struct raw_stack *s = bsearch(&key, sorted, r->nr, sizeof(key), by_at);

		if (!s || (kept && list->f[kept - 1].addr == list->f[i].addr))
			continue;
		list->f[kept] = list->f[i];
		list->f[kept++].sample = s->nr;
	}
	list->nr = kept;
	free(sorted);
}

/*
 * The rest.
 */

static bool read_facts(struct reading *r, struct profile *p)
{
	uint64_t session, live, peak, dropped, lost;
	struct timespec now;
	char *text;

	if (!object(r->t, r->l, O_profile_session, &session) ||
	    !object(r->t, r->l, O_profile_mean, &p->period) ||
	    !object(r->t, r->l, O_profile_started, &p->time_ns) ||
	    !object(r->t, r->l, O_profile_duration, &p->duration_ns) ||
	    !object(r->t, r->l, O_stacks_live, &live) ||
	    !object(r->t, r->l, O_stacks_peak, &peak) ||
	    !object(r->t, r->l, O_samples_dropped, &dropped) ||
	    !object(r->t, r->l, O_stacks_lost, &lost))
		return false;
	r->at_peak = (int64_t)live > (int64_t)peak;
	if (session && r->t->live && !clock_gettime(CLOCK_REALTIME, &now))
		p->duration_ns = now.tv_sec * 1000000000UL + now.tv_nsec - p->time_ns;
	if ((dropped || lost) &&
	    asprintf(&text, "heaparena: table full: %llu objects not followed, %llu stacks lost",
		     (unsigned long long)dropped, (unsigned long long)lost) > 0)
		p->comment = text;
	return true;
}

static const char *read_drop(struct reading *r)
{
	size_t size = count_of(r->l, O_pprof_drop);
	char *text = xalloc(1, size + 1);

	return target_read(r->t, value_of(r->l, O_pprof_drop), text, size) ? text : "";
}

static bool read_all(struct reading *r, struct profile *p, struct followed_list *list)
{
	if (!read_facts(r, p) || !read_stacks(r))
		return false;
	if (list) {
		*list = (struct followed_list){
			.unit_shift = value_of(r->l, N_profile_unit_shift),
		};
		if (!read_samples(r, list))
			return false;
		sort_samples(r, list);
	}
	p->nr_types = ARRAY_SIZE(values);
	p->types = xalloc(p->nr_types, sizeof(*p->types));
	p->units = xalloc(p->nr_types, sizeof(*p->units));
	for (size_t i = 0; i < p->nr_types; i++) {
		p->types[i] = values[i].type;
		p->units[i] = values[i].unit;
	}
	take_locations(r, p);
	p->samples = xalloc(r->nr, sizeof(*p->samples));
	for (size_t i = 0; i < r->nr; i++)
		take_sample(r, &r->stack[i], p);
	p->drop = read_drop(r);
	return true;
}

int outside_profile(struct target *t, const struct layout *l, struct profile *p,
		    struct followed_list *list)
{
	struct reading r = { .t = t, .l = l };
	struct maps maps;

	*p = (struct profile){ .path = t->name, .pid = t->live ? t->pid : 0 };
	if (count_of(l, M_profile_stack_count) < NR_COUNTS)
		return fail("%s: heaparena's description is damaged: profile_stack.count", t->name);
	if (!read_all(&r, p, list))
		return target_failed(t, "the heap profile");
	if (!maps_read(t, &maps))
		return target_failed(t, "its mappings");
	take_mappings(&r, p, &maps);
	maps_free(&maps);
	return target_gone(t) ? target_failed(t, "the heap profile") : 0;
}
