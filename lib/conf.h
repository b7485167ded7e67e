/* SPDX-License-Identifier: MIT */
/*
 * Options, "key:value,key:value": built in, the program's, the machine's, the
 * environment's (lib/conf.c).  Read once at initialisation; constant after it.
 */
#ifndef _LIB_CONF_H
#define _LIB_CONF_H

#include <util/compiler.h>
#include "vm.h"

enum conf_thp {
	THP_OFF,
	THP_AUTO,
	THP_ALWAYS,
};

/* Bytes, or a percentage of what the machine or the control group has; 0: none. */
struct conf_size {
	size_t bytes;
	unsigned int percent;
};

struct heap_conf {
	bool check;			/* misuse detection */
	bool rseq;			/* per-CPU caches by restartable sequences */
	enum vm_bind numa;		/* how arenas are bound to nodes */
	bool numa_on;			/* false: one node, whatever the machine has */
	unsigned int numa_fake;		/* logical nodes, 0: real ones */
	enum conf_thp thp;
	bool hugetlb;			/* arenas from the kernel's pool of huge pages */
	bool background;		/* a thread may give memory back */
	bool orders;			/* who may debug the process may start its profile */
	struct conf_size limit;		/* allocation fails above it */
	struct conf_size soft;		/* memory is given back sooner above it */
	bool cgroup;			/* heed the limits of the control group */
	unsigned int headroom;		/* percent of a group's limit left to others */
	char report[256];		/* file for the report at exit, or "" */
	uint64_t prof_mean;		/* bytes between samples of the profile, 0: off */
	unsigned int prof_signal;	/* that controls it, 0: none */
	char prof_file[256];		/* where profiles go, or "" */
	char prof_hold[104];		/* socket of who looks at the process at its exit, or "" */
};

extern struct heap_conf conf;

/* Where an option stands, for messages. */
struct conf_source {
	const char *name;
	unsigned int line;		/* of a file, from 1 on */
};

/*
 * Parse all that there is.  Callable before libc's own initialisation: the
 * environment is then found on the initial stack.  Bad input: one line on stderr
 * each, never fatal.
 */
void conf_init(void);
/* Parse @text into @c; @name is where it comes from, in messages. */
void conf_parse(struct heap_conf *c, const char *text, const char *name);
/* The same for the @len bytes of a file: lines, blanks, comments. */
void conf_parse_file(struct heap_conf *c, const char *text, size_t len,
		     const char *name);

#endif /* _LIB_CONF_H */
