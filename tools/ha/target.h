/* SPDX-License-Identifier: MIT */
/*
 * What is looked at: a process that runs, or a core file. Memory of it by address,
 * and where in it heaparena's description of itself is. See tools/ha/target.c.
 */
#ifndef HA_TARGET_H
#define HA_TARGET_H

#include <sys/types.h>

#include "ha.h"

/* A piece of address space with data in it. */
struct range {
	uint64_t start;
	uint64_t end;
	uint64_t offset;	/* core: where in it */
	char *file;		/* that it maps; NULL for none */
	bool may_hold;		/* it can hold the library's constants */
	bool write;		/* core: the process may have written there */
};

/* What of a file is mapped where. */
struct file_map {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	char *file;
};

/* Registers of a thread, in the order of the kernel's (NT_PRSTATUS). */
struct regs {
	uint64_t word[40];
	size_t nr;
};

struct target {
	const char *name;	/* as given */
	pid_t pid;		/* core: the process that it was; 0: not known */
	bool live;
	int mem;		/* live: /proc/PID/mem, -1 for none */
	uint64_t started;	/* live: when, to tell it from another of its number */
	struct range *ranges;	/* by address */
	size_t nr_ranges;
	const char *image;	/* core: all of it */
	size_t image_size;
	struct file_map *files;	/* core: by address */
	size_t nr_files;
	struct regs *threads;	/* core */
	size_t nr_threads;
	uint64_t program;	/* address of the program's headers, AT_PHDR; 0: not known */
	uint64_t inspect;	/* address of struct ha_inspect */
	const char *damage;	/* what made no sense of that which was read last, or NULL */
	char command[64];	/* name of the program, fit to be shown */
};

struct piece {
	uint64_t addr;
	void *buf;
	size_t size;
	bool ok;
};

/* "PID" or the path of a core file; 0, or the exit status with one line said. */
int target_open(struct target *t, const char *what);
void target_close(struct target *t);

/* All of it, or false. */
bool target_read(struct target *t, uint64_t addr, void *buf, size_t size);
/* The one thing that is written to a live process: a word, where it wants one. */
bool target_write(struct target *t, uint64_t addr, const void *buf, size_t size);
/* Each of them, as far as it goes, in few system calls. */
void target_read_pieces(struct target *t, struct piece *p, size_t nr);
/* Has the process ended, or become another? Cores stay. */
bool target_gone(const struct target *t);
/* Says that the kernel does not let us @what, and whom it would; the exit status. */
int target_forbidden(const struct target *t, const char *what);
/* Says why the memory of @t could not be read; the exit status. */
int target_failed(const struct target *t, const char *what);

/*
 * Between target.c and core.c.
 */
#define TARGET_MAX_RANGES	(1UL << 22)

/* A new one at the end of t->ranges, zeroed. */
struct range *target_range_add(struct target *t);
/* Searches the ranges for the description; false when there is none. */
bool target_find_inspect(struct target *t);
int core_open(struct target *t, const char *path);
void core_close(struct target *t);
bool core_read(const struct target *t, uint64_t addr, char *buf, size_t size);
/* The lowest address from @addr on that a core file has; UINT64_MAX for none. */
uint64_t core_next(const struct target *t, uint64_t addr);

#endif /* HA_TARGET_H */
