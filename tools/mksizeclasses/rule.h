/* SPDX-License-Identifier: MIT */
/*
 * rule.h - the size class rule: from a few constants to a table of classes
 *
 * The rule itself is apart from the program that prints its result, so that
 * the unit test of the table can run it and compare against a literal list.
 *
 * Pure: no state, no I/O, no allocation. Build-time and test code only,
 * nothing of the library links against it.
 */
#ifndef TOOLS_MKSIZECLASSES_RULE_H
#define TOOLS_MKSIZECLASSES_RULE_H

#define RULE_MAX_CLASSES 256

/* What one table is made from. All sizes in bytes. */
struct rule_params {
	unsigned int page_size;
	unsigned int max_small;		/* the largest that shares spans */
	unsigned int step_pow2;		/* from this size on, step by size / 8 ... */
	unsigned int step_coarse;	/* ... and from this size on by 256 */
	unsigned int waste_div;		/* tail waste <= span / waste_div */
	unsigned int span_objects;	/* small spans are multiplied up to so many, */
	unsigned int span_pages;	/* to no more than these pages; 0: are not */
	unsigned int max_medium;	/* the largest of one object a span; 0: none */
};

struct rule_class {
	unsigned int size;		/* bytes an object */
	unsigned int nr_pages;		/* pages a span */
};

/* The table that the project started from; kept so that it can be checked. */
extern const struct rule_params rule_seed;
/* The table that the library is built with. */
extern const struct rule_params rule_project;

/* Medium classes from one power of two to the next. */
#define RULE_MEDIUM_STEPS 4

/*
 * Fill @tab (RULE_MAX_CLASSES entries) by the rule. Entry 0 is the class of
 * large objects: size 0, no pages. Returns the number of entries.
 */
unsigned int rule_make_table(const struct rule_params *p,
			     struct rule_class *tab);

#endif
