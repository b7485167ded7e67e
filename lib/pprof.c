// SPDX-License-Identifier: MIT
/*
 * The heap profile in pprof's format: a protocol buffer, profile.proto, written as a
 * stream, uncompressed.
 *
 *	field  1 sample_type {type, unit}    one each of value_types[]
 *	       2 sample {location ids, values}      one a stack
 *	       3 mapping {id, start, limit, offset, file, build id}
 *	                                     the executable ones of /proc/self/maps
 *	       4 location {id, mapping, address}    one a return address
 *	       6 string, numbered as they come
 *	       9 time, 10 duration, 11 period_type, 12 period, 13 comment, 14 default
 *
 * A location's id is its address, which is that of the call: one less than where it
 * returns to.  Functions and lines are left to who reads the file.  Code that has
 * been unloaded meanwhile has no mapping.
 *
 * Callable in a signal handler, whatever it interrupted: takes no lock, allocates
 * nothing, and uses little stack; what room it needs is there since pprof_prepare(),
 * for one at a time.  Counters are read while they change: each is right, and two of
 * them may be an allocation apart.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <asm/atomic.h>
#include <util/align.h>
#include "fixalloc.h"
#include "inspect.h"
#include "poisson.h"
#include "pprof.h"
#include "profile_session.h"
#include "profile_table.h"

#define MAX_MAPS	4096
#define MAX_NOTES	1024
#define BUILD_ID_MAX	32

enum wire {
	WIRE_VARINT,
	WIRE_BYTES = 2,
};

struct map {
	uintptr_t start;
	uintptr_t end;
};

static struct room {
	int fd;
	int err;
	size_t len;
	uint64_t nr_strings;
	unsigned int nr_maps;
	uint8_t out[4096];
	char line[4352];		/* of maps: a path and its numbers */
	uint8_t note[MAX_NOTES];
	struct map map[MAX_MAPS];
} *room;

static uint32_t writing;		/* (a) room is in use */

/* By value: of the counts, and what they are called. */
static const struct value_type {
	const char *type;
	const char *unit;
	uint8_t count;			/* enum profile_count */
	bool objects;
} value_types[] = {
	{ "alloc_objects", "count", PROFILE_ALLOC_OBJECTS, true },
	{ "alloc_space", "bytes", PROFILE_ALLOC_BYTES, false },
	{ "inuse_objects", "count", PROFILE_LIVE_OBJECTS, true },
	{ "inuse_space", "bytes", PROFILE_LIVE_BYTES, false },
	{ "peak_objects", "count", PROFILE_PEAK_OBJECTS, true },
	{ "peak_space", "bytes", PROFILE_PEAK_BYTES, false },
	{ "freed_10ms", "count", PROFILE_SHORT_OBJECTS, true },
	{ "freed_1s", "count", PROFILE_MIDDLE_OBJECTS, true },
	{ "freed_later", "count", PROFILE_LONG_OBJECTS, true },
};

#define NR_VALUES	ARRAY_SIZE(value_types)

/* Strings that come first, numbered as here. */
enum fixed_string {
	STR_EMPTY,
	STR_SPACE,
	STR_BYTES,
	STR_INUSE,
	STR_DROP,
	STR_NOTE,
};

int pprof_prepare(void)
{
	struct room *r;

	if (smp_load_acquire(&room))
		return 0;
	r = meta_alloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	/* two at once: one of them is wasted, once */
	smp_store_release(&room, r);
	return 0;
}

/*
 * Bytes.
 */

static void out_flush(struct room *r)
{
	size_t done = 0;

	while (done < r->len && !r->err) {
		ssize_t n = write(r->fd, r->out + done, r->len - done);

		if (n < 0 && errno != EINTR)
			r->err = errno;
		else if (n > 0)
			done += n;
		else if (n == 0)
			r->err = EIO;
	}
	r->len = 0;
}

static void out_byte(struct room *r, uint8_t b)
{
	if (r->len == sizeof(r->out))
		out_flush(r);
	r->out[r->len++] = b;
}

static void out_varint(struct room *r, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		out_byte(r, v | 0x80);
	out_byte(r, v);
}

static size_t varint_len(uint64_t v)
{
	size_t n = 1;

	for (; v >= 0x80; v >>= 7)
		n++;
	return n;
}

static void out_key(struct room *r, unsigned int field, enum wire wire)
{
	out_varint(r, field << 3 | wire);
}

static void out_field(struct room *r, unsigned int field, uint64_t v)
{
	out_key(r, field, WIRE_VARINT);
	out_varint(r, v);
}

/* Fields of up to 15 have a key of one byte. */
static size_t field_len(uint64_t v)
{
	return 1 + varint_len(v);
}

/* The start of a message of @len bytes. */
static void out_message(struct room *r, unsigned int field, size_t len)
{
	out_key(r, field, WIRE_BYTES);
	out_varint(r, len);
}

static uint64_t out_string(struct room *r, const char *s, size_t len)
{
	out_message(r, 6, len);
	while (len--)
		out_byte(r, *s++);
	return r->nr_strings++;
}

/*
 * Mappings.
 */

static void parse_hex(const char **p, uint64_t *v)
{
	const char *s = *p;

	for (*v = 0;; s++) {
		if (*s >= '0' && *s <= '9')
			*v = *v << 4 | (*s - '0');
		else if (*s >= 'a' && *s <= 'f')
			*v = *v << 4 | (*s - 'a' + 10);
		else
			break;
	}
	*p = s;
}

/* The build id among the notes of a file, as hexadecimal digits; how many. */
static size_t notes_build_id(const uint8_t *note, size_t size, char *hex)
{
	while (size >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr n;
		size_t name, desc;

		memcpy(&n, note, sizeof(n));
		name = align_up(n.n_namesz, 4);
		desc = align_up(n.n_descsz, 4);
		if (name > size || desc > size || sizeof(n) + name + desc > size)
			return 0;
		if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 &&
		    n.n_descsz <= BUILD_ID_MAX && !memcmp(note + sizeof(n), "GNU", 4)) {
			const uint8_t *id = note + sizeof(n) + name;

			for (size_t i = 0; i < n.n_descsz * 2; i++)
				hex[i] = "0123456789abcdef"[id[i / 2] >> (i % 2 ? 0 : 4) & 15];
			return n.n_descsz * 2;
		}
		note += sizeof(n) + name + desc;
		size -= sizeof(n) + name + desc;
	}
	return 0;
}

static size_t file_build_id(struct room *r, const char *path, char *hex)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	size_t len = 0;
	Elf64_Ehdr eh;
	Elf64_Phdr ph;

	if (fd < 0)
		return 0;
	if (pread(fd, &eh, sizeof(eh), 0) != sizeof(eh) ||
	    memcmp(eh.e_ident, ELFMAG, SELFMAG) || eh.e_phentsize != sizeof(ph))
		eh.e_phnum = 0;
	for (unsigned int i = 0; i < eh.e_phnum && !len; i++) {
		ssize_t n;

		if (pread(fd, &ph, sizeof(ph), eh.e_phoff + i * sizeof(ph)) != sizeof(ph))
			break;
		if (ph.p_type != PT_NOTE)
			continue;
		n = pread(fd, r->note, min_size(ph.p_filesz, sizeof(r->note)), ph.p_offset);
		if (n > 0)
			len = notes_build_id(r->note, n, hex);
	}
	close(fd);
	return len;
}

static void out_mapping(struct room *r, const struct map *m, uint64_t offset,
			const char *path)
{
	char hex[BUILD_ID_MAX * 2];
	size_t hex_len = path[0] == '/' ? file_build_id(r, path, hex) : 0;
	uint64_t name = out_string(r, path, strlen(path));
	uint64_t build_id = hex_len ? out_string(r, hex, hex_len) : STR_EMPTY;

	out_message(r, 3, field_len(r->nr_maps) + field_len(m->start) + field_len(m->end) +
		    field_len(offset) + field_len(name) + field_len(build_id));
	out_field(r, 1, r->nr_maps);
	out_field(r, 2, m->start);
	out_field(r, 3, m->end);
	out_field(r, 4, offset);
	out_field(r, 5, name);
	out_field(r, 6, build_id);
}

/* start-end perms offset dev inode path */
static void map_line(struct room *r, const char *p)
{
	uint64_t start, end, offset;
	struct map *m;

	parse_hex(&p, &start);
	if (*p++ != '-')
		return;
	parse_hex(&p, &end);
	if (strlen(p) < 6 || p[3] != 'x' || r->nr_maps == MAX_MAPS)
		return;
	p += 6;
	parse_hex(&p, &offset);
	/* device, inode, and the path behind blanks */
	for (unsigned int i = 0; i < 2; i++) {
		p += strspn(p, " ");
		p += strcspn(p, " ");
	}
	p += strspn(p, " ");
	m = &r->map[r->nr_maps++];
	m->start = start;
	m->end = end;
	out_mapping(r, m, offset, p);
}

static void out_mappings(struct room *r)
{
	int fd = open("/proc/thread-self/maps", O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;
	char *nl;

	if (fd < 0)
		return;
	for (;;) {
		n = read(fd, r->line + len, sizeof(r->line) - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += n;
		while ((nl = memchr(r->line, '\n', len))) {
			*nl++ = '\0';
			map_line(r, r->line);
			len -= nl - r->line;
			memmove(r->line, nl, len);
		}
		if (len == sizeof(r->line) - 1)
			len = 0;
	}
	close(fd);
}

/* Mappings come in the order of their addresses; 0 for none. */
static unsigned int find_map(const struct room *r, uintptr_t addr)
{
	unsigned int lo = 0, hi = r->nr_maps;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (addr >= r->map[mid].end)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < r->nr_maps && addr >= r->map[lo].start ? lo + 1 : 0;
}

/*
 * The profile.
 */

static void out_locations(struct room *r)
{
	for (struct profile_pc *p = profile_table_pcs(); p; p = p->older) {
		uintptr_t addr = p->pc - 1;
		unsigned int map = find_map(r, addr);

		out_message(r, 4, 2 * field_len(addr) + field_len(map));
		out_field(r, 1, addr);
		out_field(r, 2, map);
		out_field(r, 3, addr);
	}
}

static bool stack_values(const struct profile_stack *s, uint64_t *value)
{
	bool any = false;

	for (unsigned int i = 0; i < NR_VALUES; i++) {
		int64_t v = atomic_load_relaxed(&s->count[value_types[i].count]);

		if (value_types[i].objects)
			v = (v + (1 << (POISSON_UNIT_SHIFT - 1))) >> POISSON_UNIT_SHIFT;
		/* a free may have been counted before its allocation */
		value[i] = v < 0 ? 0 : v;
		any |= v > 0;
	}
	return any;
}

static void out_stack(struct room *r, const struct profile_stack *s)
{
	size_t ids = 0, values = 0;
	uint64_t value[NR_VALUES];

	if (!stack_values(s, value))
		return;
	for (unsigned int i = 0; i < s->nr; i++)
		ids += varint_len(s->pc[i] - 1);
	for (unsigned int i = 0; i < NR_VALUES; i++)
		values += varint_len(value[i]);
	out_message(r, 2, 1 + varint_len(ids) + ids + 1 + varint_len(values) + values);
	out_message(r, 1, ids);
	for (unsigned int i = 0; i < s->nr; i++)
		out_varint(r, s->pc[i] - 1);
	out_message(r, 2, values);
	for (unsigned int i = 0; i < NR_VALUES; i++)
		out_varint(r, value[i]);
}

static void out_value_type(struct room *r, unsigned int field, uint64_t type, uint64_t unit)
{
	out_message(r, field, field_len(type) + field_len(unit));
	out_field(r, 1, type);
	out_field(r, 2, unit);
}

static size_t put_number(char *to, uint64_t v)
{
	char tmp[20];
	size_t n = 0, len;

	do {
		tmp[n++] = '0' + v % 10;
		v /= 10;
	} while (v);
	for (len = n; n--;)
		*to++ = tmp[n];
	return len;
}

/* What a reader has to know, where there is something. */
static void out_losses(struct room *r)
{
	struct profile_totals t;
	char text[100];
	size_t len;

	profile_table_totals(&t);
	if (!t.nr_dropped && !t.nr_lost_stacks) {
		out_string(r, "", 0);
		return;
	}
	memcpy(text, "heaparena: table full: ", 23);
	len = 23;
	len += put_number(text + len, t.nr_dropped);
	memcpy(text + len, " objects not followed, ", 23);
	len += 23;
	len += put_number(text + len, t.nr_lost_stacks);
	memcpy(text + len, " stacks lost", 12);
	out_string(r, text, len + 12);
}

/* The library's own functions in a static link, where no address tells them. */
static const char drop[] __in_core = "(ha_.*|malloc|calloc|realloc|reallocarray|"
	"aligned_alloc|memalign|posix_memalign|valloc|pvalloc|heap_alloc.*|"
	"alloc_class.*|malloc_slow|malloc_big|malloc_fast|take_slot|take_due|zalloc|"
	"alloc_large.*|state_profiled|profile_.*|"
	"uheap_.*|cache_fresh|realloc_in_place|operator new.*)";

/* In the order of enum fixed_string. */
static void out_head(struct room *r)
{
	struct profile_facts f;

	profile_facts(&f);
	out_string(r, "", 0);
	out_string(r, "space", 5);
	out_string(r, "bytes", 5);
	out_string(r, "inuse_space", 11);
	out_string(r, drop, sizeof(drop) - 1);
	out_losses(r);
	for (unsigned int i = 0; i < NR_VALUES; i++) {
		const struct value_type *v = &value_types[i];
		uint64_t type = out_string(r, v->type, strlen(v->type));
		uint64_t unit = out_string(r, v->unit, strlen(v->unit));

		out_value_type(r, 1, type, unit);
	}
	out_field(r, 7, STR_DROP);
	out_field(r, 9, f.started_ns);
	out_field(r, 10, f.duration_ns);
	out_value_type(r, 11, STR_SPACE, STR_BYTES);
	out_field(r, 12, f.mean);
	out_field(r, 13, STR_NOTE);
	out_field(r, 14, STR_INUSE);
}

int pprof_write(int fd)
{
	struct room *r = smp_load_acquire(&room);
	int saved = errno, err;

	if (!r)
		return -EINVAL;
	if (!try_cmpxchg_acquire(&writing, 0, 1))
		return -EBUSY;
	profile_table_settle();
	r->fd = fd;
	r->err = 0;
	r->len = 0;
	r->nr_strings = 0;
	r->nr_maps = 0;
	out_head(r);
	out_mappings(r);
	out_locations(r);
	for (struct profile_stack *s = profile_table_stacks(); s; s = s->older)
		out_stack(r, s);
	out_string(r, PPROF_END, sizeof(PPROF_END) - 1);
	out_flush(r);
	err = r->err;
	smp_store_release(&writing, 0);
	errno = saved;
	return -err;
}

/* Who was writing stayed in the parent. */
void pprof_fork_child(void)
{
	atomic_store_relaxed(&writing, 0);
}

INSPECT_TABLE(pprof) = {
	INSPECT_ARRAY(pprof_drop, drop),
	INSPECT_END
};
