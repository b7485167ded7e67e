// SPDX-License-Identifier: MIT
/*
 * The metadata allocator of meta.h, on mmap.
 *
 *	| PROT_NONE | block, readable and writable | PROT_NONE |
 *
 * The guards are a kernel page each; a block's tail up to the kernel's page is
 * not guarded.  Huge pages are kept out, or the resident count would mean
 * nothing.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <util/align.h>

#include "meta.h"

void *fake_meta_alloc(void *arg, size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE), inner = align_up(size, page);
	struct fake_meta *m = arg;
	char *p;

	m->nr_calls++;
	if (m->fail_nth && --m->fail_nth == 0) {
		m->fail_nth = m->fail_all;
		return NULL;
	}
	if (m->nr_blocks == FAKE_META_BLOCKS)
		abort();
	p = mmap(NULL, inner + 2 * page, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		abort();
	madvise(p, inner + 2 * page, MADV_NOHUGEPAGE);
	p += page;
	if (mprotect(p, inner, PROT_READ | PROT_WRITE))
		abort();
	m->block[m->nr_blocks].addr = p;
	m->block[m->nr_blocks++].size = inner;
	m->bytes += size;
	return p;
}

size_t fake_meta_resident(const struct fake_meta *m)
{
	size_t page = sysconf(_SC_PAGESIZE), count = 0, i;
	unsigned int b;

	for (b = 0; b < m->nr_blocks; b++) {
		size_t nr = m->block[b].size / page;
		unsigned char *vec = malloc(nr);

		if (!vec || mincore(m->block[b].addr, m->block[b].size, vec))
			abort();
		for (i = 0; i < nr; i++)
			count += vec[i] & 1;
		free(vec);
	}
	return count;
}

void fake_meta_release(struct fake_meta *m)
{
	size_t page = sysconf(_SC_PAGESIZE);
	unsigned int b;

	for (b = 0; b < m->nr_blocks; b++)
		munmap(m->block[b].addr - page, m->block[b].size + 2 * page);
	*m = (struct fake_meta){ 0 };
}
