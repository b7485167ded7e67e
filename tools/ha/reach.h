/* SPDX-License-Identifier: MIT */
/* Which live objects nothing points to any more. See tools/ha/reach.c. */
#ifndef HA_REACH_H
#define HA_REACH_H

#include "layout.h"
#include "threads.h"

/* An object that is lost. */
struct lost {
	uint64_t addr;
	uint64_t size;
	bool indirect;		/* another that is lost points to it */
	uint64_t state_at;	/* address of its state */
};

struct reach {
	struct lost *lost;	/* by address */
	size_t nr_lost;
	uint64_t nr_live, live_bytes;
	uint64_t nr_spans_lost;	/* that never stood still, and were not looked at */
	bool all_regs;		/* registers of all threads were seen */
};

/*
 * @held: the threads of a live process that is stopped, or NULL.  @rounds: what is lost
 * is lost in each of so many looks.  0, or the exit status with one line said.
 */
int reach_find(struct target *t, const struct layout *l, struct threads *held,
	       unsigned int rounds, struct reach *r);
void reach_free(struct reach *r);
/* The lost object at @addr, or NULL. */
const struct lost *reach_lost(const struct reach *r, uint64_t addr);

#endif /* HA_REACH_H */
