/* SPDX-License-Identifier: MIT */
/*
 * Where things are in a heap that is read from outside, as its library says. See
 * tools/ha/layout.c.
 */
#ifndef HA_LAYOUT_H
#define HA_LAYOUT_H

#include <heaparena/inspect.h>

#include "target.h"

/* N_page_shift, O_mheaps, M_mspan_start, ...: numbers, objects, members. */
enum item {
#define N(name)		N_##name,
#define O(name)		O_##name,
#define M(type, name)	M_##type##_##name,
	HA_INSPECT_NAMES(N, O, M)
#undef N
#undef O
#undef M
	NR_ITEMS
};

struct layout {
	struct {
		uint64_t value;
		uint32_t size;
		uint32_t count;
		bool known;
	} item[NR_ITEMS];
	char version[17];
	char arch[17];
};

/* Is it one that has an address? */
bool item_is_object(enum item i);
/* Reads and checks it; 0, or the exit status with one line said. */
int layout_read(struct target *t, struct layout *l);
/* The same of @what, which stays open when it returns 0. */
int layout_open(struct target *t, const char *what, struct layout *l);

static inline uint64_t value_of(const struct layout *l, enum item i)
{
	return l->item[i].value;
}

static inline uint32_t size_of(const struct layout *l, enum item i)
{
	return l->item[i].size;
}

static inline uint32_t count_of(const struct layout *l, enum item i)
{
	return l->item[i].count;
}

/* Member @i of the structure at @p, element @n of it, as a number. */
uint64_t member_at(const struct layout *l, enum item i, const void *p, uint32_t n);

static inline uint64_t member(const struct layout *l, enum item i, const void *p)
{
	return member_at(l, i, p, 0);
}

static inline const char *member_ptr(const struct layout *l, enum item i, const void *p,
				     uint32_t n)
{
	return (const char *)p + value_of(l, i) + (size_t)n * size_of(l, i);
}

/* Object @i, a number; false when it cannot be read. */
bool object(struct target *t, const struct layout *l, enum item i, uint64_t *value);

#endif /* HA_LAYOUT_H */
