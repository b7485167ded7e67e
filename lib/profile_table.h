/* SPDX-License-Identifier: MIT */
/*
 * What a heap profile knows: sampled objects that live, by address, and call
 * stacks with what was allocated there.  See lib/profile_table.c.
 */
#ifndef _LIB_PROFILE_TABLE_H
#define _LIB_PROFILE_TABLE_H

#include <util/compiler.h>

#define PROFILE_MAX_FRAMES	128

/*
 * Estimates for all objects, of which the sampled ones are some.  Counts of objects
 * are in units of 2^-POISSON_UNIT_SHIFT.
 */
enum profile_count {
	PROFILE_ALLOC_OBJECTS,		/* since the profile was started */
	PROFILE_ALLOC_BYTES,
	PROFILE_LIVE_OBJECTS,
	PROFILE_LIVE_BYTES,
	PROFILE_PEAK_OBJECTS,		/* live when most bytes were */
	PROFILE_PEAK_BYTES,
	PROFILE_SHORT_OBJECTS,		/* freed within PROFILE_SHORT_MS */
	PROFILE_MIDDLE_OBJECTS,		/* within PROFILE_MIDDLE_MS */
	PROFILE_LONG_OBJECTS,		/* later */
	NR_PROFILE_COUNTS
};

#define PROFILE_SHORT_MS	10
#define PROFILE_MIDDLE_MS	1000

struct profile_stack {
	struct profile_stack *next;	/* (a) of the same hash */
	struct profile_stack *older;	/* (c) all of them */
	uint64_t hash;			/* (c) */
	uint32_t nr;			/* (c) frames, innermost first; 0: not known */
	int64_t count[NR_PROFILE_COUNTS];	/* (a) */
	uintptr_t pc[];			/* (c) return addresses */
};

/* A return address that is in some stack. */
struct profile_pc {
	struct profile_pc *next;	/* (a) of the same hash */
	struct profile_pc *older;	/* (c) all of them */
	uintptr_t pc;			/* (c) */
};

struct profile_totals {
	size_t nr_samples;		/* live ones */
	size_t nr_dropped;		/* objects that there was no room for */
	size_t nr_lost_stacks;		/* samples whose stack there was no room for */
	int64_t live_bytes;		/* estimated */
	int64_t peak_bytes;		/* of the last peak taken */
};

/* Memory for the tables; @exact: for as many samples as objects.  Once; 0 or -ENOMEM. */
int profile_table_init(bool exact);

/* A new session: what was allocated, the peak and lifetimes start at nothing. */
void profile_table_reset(void);

/* What a point of the process fell into: a new object, or what one grew by. */
struct profile_event {
	uintptr_t addr;
	size_t size;			/* of the object */
	uint64_t weight;		/* objects of that size that it stands for, in units */
	size_t grown;			/* of @size, what was allocated now */
	uint64_t grown_weight;		/* the same for these bytes alone */
};

/*
 * The event happened at a stack: the object is followed from here on, if it was not
 * already.  False: there is no room for it.
 */
bool profile_table_add(const struct profile_event *ev, const uintptr_t *pc, unsigned int nr);
/* A followed object is freed. */
void profile_table_del(uintptr_t addr);
/* It is @size bytes now.  @weight: what it stands for if it had a chance for them; or 0. */
void profile_table_resize(uintptr_t addr, size_t size, uint64_t weight);

/* For readers without a lock: newest first, follow ->older. */
struct profile_stack *profile_table_stacks(void);
struct profile_pc *profile_table_pcs(void);
void profile_table_totals(struct profile_totals *t);
/* If more is live than at the last peak, that is now. */
void profile_table_settle(void);

bool profile_table_fork_held(void);
void profile_table_fork_prepare(bool nested);
void profile_table_fork_done(bool child);

#ifdef CONFIG_FAULT_INJECTION
/* Room for so many samples and stacks, for tests. */
void profile_table_limit(size_t samples, size_t stacks);
#endif

#endif /* _LIB_PROFILE_TABLE_H */
