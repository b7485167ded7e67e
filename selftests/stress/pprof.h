/* SPDX-License-Identifier: MIT */
/*
 * Reads what ha_profile_dump() wrote: the samples' addresses and values, and enough
 * of the rest to say that it is whole.  Memory is mapped, not allocated, so that
 * reading a profile leaves none of its own.
 */
#ifndef SELFTESTS_STRESS_PPROF_H
#define SELFTESTS_STRESS_PPROF_H

#include <sys/mman.h>
#include <sys/stat.h>

#include "api.h"

enum pprof_value {
	ALLOC_OBJECTS, ALLOC_SPACE, INUSE_OBJECTS, INUSE_SPACE,
	PEAK_OBJECTS, PEAK_SPACE, FREED_10MS, FREED_1S, FREED_LATER, NR_VALUES
};

struct pprof {
	const uint8_t *data;
	size_t size;
	unsigned int nr_types, nr_samples, nr_mappings, nr_locations;
	uint64_t period;
	bool whole;			/* well-formed up to its last string */
};

struct pprof_sample {
	uint64_t pc[128];
	unsigned int nr;
	int64_t value[NR_VALUES];
};

/* A stretch of bytes that is consumed. */
struct pb {
	const uint8_t *p, *end;
	bool bad;
};

static __maybe uint64_t pb_varint(struct pb *b)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; shift < 64; shift += 7) {
		if (b->p == b->end)
			break;
		v |= (uint64_t)(*b->p & 0x7f) << shift;
		if (!(*b->p++ & 0x80))
			return v;
	}
	b->bad = true;
	b->p = b->end;
	return 0;
}

/* The next field: its number, its value, or its bytes in @sub.  0 at the end. */
static __maybe unsigned int pb_field(struct pb *b, uint64_t *v, struct pb *sub)
{
	uint64_t key;

	if (b->p == b->end)
		return 0;
	key = pb_varint(b);
	*v = pb_varint(b);
	if ((key & 7) == 2) {
		if (*v > (uint64_t)(b->end - b->p)) {
			b->bad = true;
			return 0;
		}
		*sub = (struct pb){ b->p, b->p + *v, false };
		b->p += *v;
	} else if ((key & 7) != 0) {
		b->bad = true;
	}
	return b->bad ? 0 : key >> 3;
}

static __maybe bool pb_sample(struct pb b, struct pprof_sample *s)
{
	unsigned int field, n = 0;
	struct pb sub;
	uint64_t v;

	s->nr = 0;
	while ((field = pb_field(&b, &v, &sub))) {
		while (field == 1 && sub.p < sub.end && s->nr < 128)
			s->pc[s->nr++] = pb_varint(&sub);
		while (field == 2 && sub.p < sub.end && n < NR_VALUES)
			s->value[n++] = pb_varint(&sub);
		if (sub.p != sub.end)
			return false;
	}
	return !b.bad && n == NR_VALUES;
}

/* Each sample in turn: *at is where to go on, 0 at first. */
static __maybe bool pprof_next(const struct pprof *f, size_t *at, struct pprof_sample *s)
{
	struct pb b = { f->data + *at, f->data + f->size, false }, sub;
	unsigned int field;
	uint64_t v;

	while ((field = pb_field(&b, &v, &sub))) {
		*at = b.p - f->data;
		if (field == 2)
			return pb_sample(sub, s);
	}
	return false;
}

static __maybe void pprof_scan(struct pprof *f)
{
	static const char end[] = "heaparena: end of profile";
	struct pb b = { f->data, f->data + f->size, false }, sub = { 0 };
	struct pprof_sample s;
	unsigned int field;
	uint64_t v;

	f->whole = false;
	f->nr_types = f->nr_samples = f->nr_mappings = f->nr_locations = 0;
	while ((field = pb_field(&b, &v, &sub))) {
		f->nr_types += field == 1;
		f->nr_samples += field == 2;
		f->nr_mappings += field == 3;
		f->nr_locations += field == 4;
		if (field == 12)
			f->period = v;
		if (field == 2 && !pb_sample(sub, &s))
			return;
		f->whole = field == 6 && sub.end - sub.p == sizeof(end) - 1 &&
			   !memcmp(sub.p, end, sizeof(end) - 1);
	}
	f->whole = f->whole && !b.bad && f->nr_types == NR_VALUES;
}

/* By ha_profile_dump() through a file without a name; 0, or an errno. */
static __maybe int pprof_take(struct pprof *f)
{
	int fd = memfd_create("profile", MFD_CLOEXEC), err = 0;
	struct stat st;

	memset(f, 0, sizeof(*f));
	if (fd < 0)
		tap_bail("memfd_create: %s", strerror(errno));
	if (ha_profile_dump(fd))
		err = errno;
	if (!err && !fstat(fd, &st) && st.st_size) {
		f->size = st.st_size;
		f->data = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (f->data == MAP_FAILED)
			tap_bail("mmap: %s", strerror(errno));
		pprof_scan(f);
	}
	close(fd);
	return err;
}

static __maybe void pprof_drop(struct pprof *f)
{
	if (f->data)
		munmap((void *)f->data, f->size);
	f->data = NULL;
}

/*
 * A call site: a function alone in its KiB of code, so that an address tells it.
 */
#define SITE	__attribute__((noinline, aligned(1024)))

static __maybe bool pprof_is_at(const struct pprof_sample *s, const void *site)
{
	for (unsigned int i = 0; i < s->nr; i++)
		if (s->pc[i] >> 10 == (uintptr_t)site >> 10)
			return true;
	return false;
}

/* The sum over all samples with @site in their stacks; NULL for all. */
static __maybe void pprof_sum(const struct pprof *f, const void *site, int64_t *sum)
{
	struct pprof_sample s;
	size_t at = 0;

	memset(sum, 0, NR_VALUES * sizeof(*sum));
	while (pprof_next(f, &at, &s))
		for (unsigned int i = 0; i < NR_VALUES; i++)
			if (!site || pprof_is_at(&s, site))
				sum[i] += s.value[i];
}

#endif /* SELFTESTS_STRESS_PPROF_H */
