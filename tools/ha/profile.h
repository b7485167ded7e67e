/* SPDX-License-Identifier: MIT */
/*
 * A heap profile that was read: samples (stacks with values), and what its addresses
 * are called.  See tools/ha/profile.c and tools/ha/symbols.c.
 */
#ifndef HA_PROFILE_H
#define HA_PROFILE_H

#include <sys/types.h>

#include "ha.h"

/* One function at an address; where functions were inlined there are several. */
struct frame {
	const char *function;	/* or "file+0x123" */
	const char *file;	/* of the source, or NULL */
	unsigned int line;
};

struct mapping {
	uint64_t id, start, limit, offset;
	const char *file;
	const char *build_id;
};

struct location {
	uint64_t id, addr;
	const struct mapping *map;	/* or NULL */
	struct frame *frames;		/* innermost first */
	size_t nr_frames;
};

struct sample {
	struct location **location;	/* innermost first */
	size_t nr;
	int64_t *value;
};

struct profile {
	const char *path;
	pid_t pid;			/* of a process that runs: files are those that it has; or 0 */
	struct mapping *mappings;
	struct location *locations;	/* by id */
	struct sample *samples;
	size_t nr_mappings, nr_locations, nr_samples;
	const char **types;
	const char **units;
	size_t nr_types;
	uint64_t period;
	uint64_t time_ns, duration_ns;
	const char *comment;		/* or NULL */
	const char *drop;		/* functions to leave out, a pattern; or NULL */
};

/* 0, or the exit status with one line said. */
int profile_read(struct profile *p, const char *path);
int profile_parse(struct profile *p, const char *path, const uint8_t *data, size_t size);
/* The same as a file, in memory that stays. */
void profile_encode(const struct profile *p, uint8_t **data, size_t *size);
/* The number of the value called @type, or -1. */
int profile_type(const struct profile *p, const char *type);

/* Names for all locations, as far as files and their debug information give them. */
void profile_symbolise(struct profile *p);

/*
 * The frames of a sample from the caller of the allocator on, innermost first, in
 * @frames with room for @max; how many.
 */
size_t sample_frames(const struct sample *s, const struct frame **frames, size_t max);
#define MAX_FRAMES	1024

#endif /* HA_PROFILE_H */
