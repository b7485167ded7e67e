/* SPDX-License-Identifier: MIT */
/* What a process has mapped. See tools/ha/maps.c. */
#ifndef HA_MAPS_H
#define HA_MAPS_H

#include "target.h"

struct map {
	uint64_t start;
	uint64_t end;
	uint64_t offset;	/* in the file */
	char *file;		/* or a name in brackets; "" for none */
	bool read;
	bool write;
	bool exec;		/* live alone */
	bool shared;		/* live alone */
};

struct maps {
	struct map *map;	/* by address */
	size_t nr;
};

/* False when they cannot be read. */
bool maps_of_process(pid_t pid, struct maps *m);
bool maps_read(struct target *t, struct maps *m);
void maps_free(struct maps *m);
/* The one that @addr is in, or NULL. */
const struct map *maps_find(const struct maps *m, uint64_t addr);

#endif /* HA_MAPS_H */
