// SPDX-License-Identifier: MIT
/*
 * A heap profile as a file, in pprof's format (profile.proto, uncompressed), with the
 * same fields and strings as lib/pprof.c writes.
 */
#include <stdlib.h>
#include <string.h>

#include "profile.h"

struct buf {
	uint8_t *p;
	size_t len, room;
};

struct out {
	struct buf all, part;		/* the file; a message on its way into it */
	uint64_t nr_strings;
};

static void put(struct buf *b, const void *data, size_t size)
{
	if (b->room - b->len < size) {
		b->room = 2 * b->room + size + 256;
		b->p = realloc(b->p, b->room);
		if (!b->p)
			exit(fail("out of memory"));
	}
	memcpy(b->p + b->len, data, size);
	b->len += size;
}

static void put_varint(struct buf *b, uint64_t v)
{
	uint8_t byte;

	for (; v >= 0x80; v >>= 7) {
		byte = v | 0x80;
		put(b, &byte, 1);
	}
	byte = v;
	put(b, &byte, 1);
}

static void put_number(struct buf *b, unsigned int field, uint64_t v)
{
	put_varint(b, field << 3);
	put_varint(b, v);
}

static void put_bytes(struct buf *b, unsigned int field, const void *data, size_t size)
{
	put_varint(b, field << 3 | 2);
	put_varint(b, size);
	put(b, data, size);
}

/* What is in o->part becomes field @field of the file. */
static void put_part(struct out *o, unsigned int field)
{
	put_bytes(&o->all, field, o->part.p, o->part.len);
	o->part.len = 0;
}

static uint64_t put_string(struct out *o, const char *s)
{
	put_bytes(&o->all, 6, s, strlen(s));
	return o->nr_strings++;
}

static void put_type(struct out *o, unsigned int field, uint64_t type, uint64_t unit)
{
	put_number(&o->part, 1, type);
	put_number(&o->part, 2, unit);
	put_part(o, field);
}

static void put_head(struct out *o, const struct profile *p)
{
	uint64_t space, bytes, drop, note, live = 0;

	put_string(o, "");
	space = put_string(o, "space");
	bytes = put_string(o, "bytes");
	drop = put_string(o, p->drop ? p->drop : "");
	note = put_string(o, p->comment ? p->comment : "");
	for (size_t i = 0; i < p->nr_types; i++) {
		uint64_t type = put_string(o, p->types[i]);

		if (!strcmp(p->types[i], "inuse_space"))
			live = type;
		put_type(o, 1, type, put_string(o, p->units[i]));
	}
	put_number(&o->all, 7, drop);
	put_number(&o->all, 9, p->time_ns);
	put_number(&o->all, 10, p->duration_ns);
	put_type(o, 11, space, bytes);
	put_number(&o->all, 12, p->period);
	put_number(&o->all, 13, note);
	put_number(&o->all, 14, live);
}

static void put_mapping(struct out *o, const struct mapping *m)
{
	uint64_t file = put_string(o, m->file), id = put_string(o, m->build_id);

	put_number(&o->part, 1, m->id);
	put_number(&o->part, 2, m->start);
	put_number(&o->part, 3, m->limit);
	put_number(&o->part, 4, m->offset);
	put_number(&o->part, 5, file);
	put_number(&o->part, 6, id);
	put_part(o, 3);
}

static void put_location(struct out *o, const struct location *l)
{
	put_number(&o->part, 1, l->id);
	put_number(&o->part, 2, l->map ? l->map->id : 0);
	put_number(&o->part, 3, l->addr);
	put_part(o, 4);
}

static void put_sample(struct out *o, const struct profile *p, const struct sample *s)
{
	struct buf list = { NULL };
	bool any = false;

	for (size_t i = 0; i < p->nr_types; i++)
		any |= s->value[i];
	if (!any)
		return;
	for (size_t i = 0; i < s->nr; i++)
		put_varint(&list, s->location[i]->id);
	put_bytes(&o->part, 1, list.p, list.len);
	list.len = 0;
	for (size_t i = 0; i < p->nr_types; i++)
		put_varint(&list, s->value[i]);
	put_bytes(&o->part, 2, list.p, list.len);
	put_part(o, 2);
	free(list.p);
}

void profile_encode(const struct profile *p, uint8_t **data, size_t *size)
{
	struct out o = { .nr_strings = 0 };

	put_head(&o, p);
	for (size_t i = 0; i < p->nr_mappings; i++)
		put_mapping(&o, &p->mappings[i]);
	for (size_t i = 0; i < p->nr_locations; i++)
		put_location(&o, &p->locations[i]);
	for (size_t i = 0; i < p->nr_samples; i++)
		put_sample(&o, p, &p->samples[i]);
	put_string(&o, "heaparena: end of profile");
	free(o.part.p);
	*data = o.all.p;
	*size = o.all.len;
}
