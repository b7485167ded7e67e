/* SPDX-License-Identifier: MIT */
/* What the files of the ha command share: its verbs, and how they fail. */
#ifndef HA_HA_H
#define HA_HA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXIT_FAILED	1
#define EXIT_USAGE	2

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define __printf(a, b)	__attribute__((format(printf, a, b)))

/* One line on stderr, "ha: ...", fit to be shown; the exit status. */
int fail(const char *format, ...) __printf(1, 2);
/* Who has changed the terminal puts it back before that line; NULL: nobody. */
extern void (*before_fail)(void);
/* Memory or the end: a command of a moment has nothing to save. */
void *xalloc(size_t nr, size_t size);
/* A list of @nr elements, which has room for one more, zeroes, behind them: what @list is now. */
void *xgrow(void *list, size_t nr, size_t size);
/* Is it "-", which stands for standard output? */
bool is_stdout(const char *path);
/* Reads all of stdin's kind of numbers: a count from 1 to @max; 0 when it is none. */
unsigned long parse_number(const char *text, unsigned long max);

/* argv[0] is the verb; an exit status, EXIT_USAGE for a mistake in the command line. */
int cmd_run(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_map(int argc, char **argv);
int cmd_walk(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_prof(int argc, char **argv);
int cmd_leaks(int argc, char **argv);

#endif /* HA_HA_H */
