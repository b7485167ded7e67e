// SPDX-License-Identifier: MIT
/*
 * Reads a heap profile in pprof's format (profile.proto, uncompressed), as the
 * library writes it.  Strings may come behind those that name them, so that they are
 * numbered in a pass of their own.
 *
 * Everything stays until the command ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "profile.h"
#include "text.h"

struct reader {
	const uint8_t *p, *end;
	bool bad;
};

struct field {
	unsigned int nr;
	uint64_t value;			/* of a number; length of bytes */
	struct reader bytes;
	bool is_bytes;
};

static uint64_t read_varint(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; shift < 64 && r->p < r->end; shift += 7) {
		v |= (uint64_t)(*r->p & 0x7f) << shift;
		if (!(*r->p++ & 0x80))
			return v;
	}
	r->bad = true;
	r->p = r->end;
	return 0;
}

/* False at the end, or where it makes no sense (r->bad). */
static bool read_field(struct reader *r, struct field *f)
{
	uint64_t key;

	if (r->p == r->end)
		return false;
	key = read_varint(r);
	f->nr = key >> 3;
	f->is_bytes = (key & 7) == 2;
	f->value = read_varint(r);
	if (f->is_bytes) {
		if (f->value > (uint64_t)(r->end - r->p)) {
			r->bad = true;
			return false;
		}
		f->bytes = (struct reader){ r->p, r->p + f->value, false };
		r->p += f->value;
	} else if (key & 7) {
		r->bad = true;
	}
	return !r->bad;
}

struct strings {
	const char **s;
	size_t nr;
};

static const char *string(const struct strings *t, uint64_t i)
{
	return i < t->nr ? t->s[i] : "";
}

/* How many messages of each field there are, and all strings. */
static bool count_all(struct profile *p, struct reader r, struct strings *t)
{
	size_t nr[16] = { 0 }, i = 0;
	struct reader again = r;
	struct field f;

	while (read_field(&r, &f))
		nr[f.nr < 16 && f.is_bytes ? f.nr : 0]++;
	if (r.bad || !nr[1] || !nr[6])
		return false;
	t->nr = nr[6];
	t->s = xalloc(t->nr, sizeof(*t->s));
	while (read_field(&again, &f))
		if (f.nr == 6 && f.is_bytes)
			t->s[i++] = strndup((const char *)f.bytes.p, f.value);
	p->types = xalloc(nr[1], sizeof(*p->types));
	p->units = xalloc(nr[1], sizeof(*p->units));
	p->samples = xalloc(nr[2], sizeof(*p->samples));
	p->mappings = xalloc(nr[3], sizeof(*p->mappings));
	p->locations = xalloc(nr[4], sizeof(*p->locations));
	return true;
}

static void read_type(struct profile *p, struct reader r, const struct strings *t)
{
	struct field f;

	p->types[p->nr_types] = p->units[p->nr_types] = "";
	while (read_field(&r, &f)) {
		if (f.nr == 1)
			p->types[p->nr_types] = string(t, f.value);
		else if (f.nr == 2)
			p->units[p->nr_types] = string(t, f.value);
	}
	p->nr_types++;
}

static void read_mapping(struct profile *p, struct reader r, const struct strings *t)
{
	struct mapping *m = &p->mappings[p->nr_mappings++];
	struct field f;

	m->file = m->build_id = "";
	while (read_field(&r, &f)) {
		switch (f.nr) {
		case 1: m->id = f.value; break;
		case 2: m->start = f.value; break;
		case 3: m->limit = f.value; break;
		case 4: m->offset = f.value; break;
		case 5: m->file = string(t, f.value); break;
		case 6: m->build_id = string(t, f.value); break;
		}
	}
}

static void read_location(struct profile *p, struct reader r)
{
	struct location *l = &p->locations[p->nr_locations++];
	uint64_t map = 0;
	struct field f;

	while (read_field(&r, &f)) {
		switch (f.nr) {
		case 1: l->id = f.value; break;
		case 2: map = f.value; break;
		case 3: l->addr = f.value; break;
		}
	}
	for (size_t i = 0; i < p->nr_mappings && map; i++)
		if (p->mappings[i].id == map)
			l->map = &p->mappings[i];
}

static int by_id(const void *a, const void *b)
{
	const struct location *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static bool add_location(struct profile *p, struct sample *s, uint64_t id)
{
	const struct location key = { .id = id };
	struct location *l = bsearch(&key, p->locations, p->nr_locations, sizeof(key), by_id);

	if (l)
		s->location[s->nr++] = l;
	return l;
}

static bool read_sample(struct profile *p, struct reader r)
{
	struct sample *s = &p->samples[p->nr_samples++];
	size_t nr_values = 0;
	bool ok = true;
	struct field f;

	s->value = xalloc(p->nr_types, sizeof(*s->value));
	/* each takes a byte at least */
	s->location = xalloc(r.end - r.p, sizeof(*s->location));
	while (ok && read_field(&r, &f)) {
		if (f.nr == 1 && !f.is_bytes)
			ok = add_location(p, s, f.value);
		while (ok && f.nr == 1 && f.is_bytes && f.bytes.p < f.bytes.end)
			ok = add_location(p, s, read_varint(&f.bytes));
		while (f.nr == 2 && f.is_bytes && f.bytes.p < f.bytes.end &&
		       nr_values < p->nr_types)
			s->value[nr_values++] = read_varint(&f.bytes);
	}
	return ok && !r.bad && nr_values == p->nr_types;
}

static void read_number(struct profile *p, const struct field *f, const struct strings *t)
{
	switch (f->nr) {
	case 9: p->time_ns = f->value; break;
	case 10: p->duration_ns = f->value; break;
	case 12: p->period = f->value; break;
	case 13: p->comment = clean_name(string(t, f->value)); break;
	}
}

int profile_parse(struct profile *p, const char *path, const uint8_t *data, size_t size)
{
	struct reader all = { data, data + size, false }, r = all;
	struct strings t;
	struct field f;

	*p = (struct profile){ .path = path };
	if (size > 2 && data[0] == 0x1f && data[1] == 0x8b)
		return fail("%s: is compressed; gunzip it first", path);
	if (!count_all(p, r, &t))
		return fail("%s: is no profile", path);
	while (read_field(&r, &f)) {
		if (f.nr == 1 && f.is_bytes)
			read_type(p, f.bytes, &t);
		else if (f.nr == 3 && f.is_bytes)
			read_mapping(p, f.bytes, &t);
		else if (!f.is_bytes)
			read_number(p, &f, &t);
	}
	for (r = all; read_field(&r, &f);)
		if (f.nr == 4 && f.is_bytes)
			read_location(p, f.bytes);
	qsort(p->locations, p->nr_locations, sizeof(*p->locations), by_id);
	for (r = all; read_field(&r, &f);)
		if (f.nr == 2 && f.is_bytes && !read_sample(p, f.bytes))
			return fail("%s: a sample makes no sense", path);
	if (p->comment && !*p->comment)
		p->comment = NULL;
	return 0;
}

int profile_read(struct profile *p, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	void *data;

	if (fd < 0 || fstat(fd, &st))
		return fail("%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || !st.st_size) {
		close(fd);
		return fail("%s: is no profile", path);
	}
	data = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (data == MAP_FAILED)
		return fail("%s: %s", path, strerror(errno));
	return profile_parse(p, path, data, st.st_size);
}

int profile_type(const struct profile *p, const char *type)
{
	for (size_t i = 0; i < p->nr_types; i++)
		if (!strcmp(p->types[i], type))
			return i;
	return -1;
}
