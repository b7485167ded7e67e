// SPDX-License-Identifier: MIT
/*
 * What /proc knows of a process whose heap is looked at: resident memory, of the heap
 * alone too, faults, time. A figure that is not to be had stays 0.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "figures.h"
#include "spans.h"

static FILE *proc_open(pid_t pid, const char *file)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	return fopen(path, "re");
}

static void read_status(pid_t pid, struct process_figures *p)
{
	static const struct { const char *key; size_t offset; unsigned int unit; } keys[] = {
		{ "VmRSS:", offsetof(struct process_figures, rss), 1024 },
		{ "VmHWM:", offsetof(struct process_figures, rss_peak), 1024 },
		{ "VmSwap:", offsetof(struct process_figures, swap), 1024 },
		{ "Threads:", offsetof(struct process_figures, threads), 1 },
	};
	FILE *in = proc_open(pid, "status");
	char line[256];

	while (in && fgets(line, sizeof(line), in))
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			if (!strncmp(line, keys[i].key, strlen(keys[i].key)))
				*(uint64_t *)((char *)p + keys[i].offset) =
					strtoull(line + strlen(keys[i].key), NULL, 10) *
					keys[i].unit;
	if (in)
		fclose(in);
}

static void read_faults(pid_t pid, struct process_figures *p)
{
	FILE *in = proc_open(pid, "stat");
	unsigned long long minor, major, utime, stime;
	char line[1024], *at;

	if (!in)
		return;
	at = fgets(line, sizeof(line), in) ? strrchr(line, ')') : NULL;
	fclose(in);
	if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %llu %*u %llu %*u %llu %llu",
			 &minor, &major, &utime, &stime) != 4)
		return;
	p->minor_faults = minor;
	p->major_faults = major;
	p->cpu_ms = (utime + stime) * 1000 / sysconf(_SC_CLK_TCK);
}

static bool in_arenas(const struct arenas *a, uint64_t addr)
{
	for (uint64_t i = 0; i < a->nr; i++)
		if (addr - a->a[i].base < a->size)
			return true;
	return false;
}

/* Resident bytes of the mappings that arenas are. */
static void read_smaps(pid_t pid, const struct arenas *a, struct process_figures *p)
{
	FILE *in = proc_open(pid, "smaps");
	unsigned long long start, end, kb;
	char line[512];
	bool inside = false;

	while (in && fgets(line, sizeof(line), in)) {
		if (sscanf(line, "%llx-%llx ", &start, &end) == 2)
			inside = in_arenas(a, start);
		else if (inside && sscanf(line, "Rss: %llu kB", &kb) == 1)
			p->heap_rss += kb * 1024;
	}
	if (in)
		fclose(in);
}

bool process_read(struct target *t, const struct layout *l, struct process_figures *p)
{
	struct arenas a;

	read_status(t->pid, p);
	read_faults(t->pid, p);
	if (!arenas_read(t, l, &a))
		return false;
	read_smaps(t->pid, &a, p);
	arenas_free(&a);
	return true;
}
