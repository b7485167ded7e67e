// SPDX-License-Identifier: MIT
/*
 * Mappings: of a live process all that /proc/PID/maps lists; of a core file those of
 * files, as its NT_FILE says, with or without their bytes, and what else it has the
 * bytes of.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "maps.h"

static struct map *map_add(struct maps *m)
{
	m->map = xgrow(m->map, m->nr, sizeof(*m->map));
	return &m->map[m->nr++];
}

bool maps_of_process(pid_t pid, struct maps *m)
{
	uint64_t start, end, offset;
	char path[32], perms[5], *line = NULL;
	size_t size = 0;
	int at;
	FILE *f;

	*m = (struct maps){ 0 };
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (getline(&line, &size, f) > 0 && m->nr < TARGET_MAX_RANGES) {
		struct map *map;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %*s %n",
			   &start, &end, perms, &offset, &at) != 4)
			continue;
		line[strcspn(line, "\n")] = 0;
		map = map_add(m);
		map->start = start;
		map->end = end;
		map->offset = offset;
		map->file = strdup(line + at);
		map->read = perms[0] == 'r';
		map->write = perms[1] == 'w';
		map->exec = perms[2] == 'x';
		map->shared = perms[3] == 's';
	}
	free(line);
	fclose(f);
	return true;
}

static int by_start(const void *a, const void *b)
{
	const struct map *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static void read_core(struct target *t, struct maps *m)
{
	for (size_t i = 0; i < t->nr_files; i++) {
		struct map *map = map_add(m);

		map->start = t->files[i].start;
		map->end = t->files[i].end;
		map->offset = t->files[i].offset;
		map->file = strdup(t->files[i].file);
	}
	for (size_t i = 0; i < t->nr_ranges; i++) {
		const struct range *r = &t->ranges[i];
		struct map *map = NULL;

		for (size_t k = 0; k < t->nr_files && !map; k++)
			if (r->start >= m->map[k].start && r->start < m->map[k].end)
				map = &m->map[k];
		if (!map) {
			map = map_add(m);
			map->start = r->start;
			map->end = r->end;
			map->file = strdup("");
		}
		map->read = true;
		map->write |= r->write;
	}
	qsort(m->map, m->nr, sizeof(*m->map), by_start);
}

bool maps_read(struct target *t, struct maps *m)
{
	if (t->live)
		return maps_of_process(t->pid, m);
	*m = (struct maps){ 0 };
	read_core(t, m);
	return true;
}

void maps_free(struct maps *m)
{
	for (size_t i = 0; i < m->nr; i++)
		free(m->map[i].file);
	free(m->map);
	*m = (struct maps){ 0 };
}

const struct map *maps_find(const struct maps *m, uint64_t addr)
{
	size_t low = 0, high = m->nr;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (addr < m->map[mid].start)
			high = mid;
		else if (addr >= m->map[mid].end)
			low = mid + 1;
		else
			return &m->map[mid];
	}
	return NULL;
}
