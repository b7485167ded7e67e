/* SPDX-License-Identifier: MIT */
/*
 * A metadata allocator for tests: zeroed, page-aligned, each block between two
 * pages that fault, with a count of what became resident and a failure on
 * demand.
 */
#ifndef SELFTESTS_FAKE_META_H
#define SELFTESTS_FAKE_META_H

#include <util/compiler.h>

#define FAKE_META_BLOCKS	256

struct fake_meta {
	long fail_nth;		/* this call from now fails; 0: none */
	bool fail_all;		/* and all after it */
	unsigned long nr_calls;
	size_t bytes;
	unsigned int nr_blocks;
	struct {
		char *addr;
		size_t size;
	} block[FAKE_META_BLOCKS];
};

/* A page_alloc_meta_fn; @arg is a struct fake_meta that began as zeroes. */
void *fake_meta_alloc(void *arg, size_t size);
/* Kernel pages of all blocks that are resident. */
size_t fake_meta_resident(const struct fake_meta *m);
void fake_meta_release(struct fake_meta *m);

#endif /* SELFTESTS_FAKE_META_H */
