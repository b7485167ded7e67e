// SPDX-License-Identifier: MIT
/*
 * Last words.
 *
 * The fast paths only find out that a pointer is not a live object's start; which
 * of the possible faults it is, is worked out here from the metadata: no arena or
 * no span (not ours), off an object's start (interior), or a start whose state is
 * free (double free).  Runs in a process that is about to die, possibly in a
 * signal handler, possibly beside other threads: reads only, no locks.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <util/line.h>
#include "debug.h"
#include "heap_arena.h"
#include "mheap.h"
#include "mspan.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open		434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd		438
#endif

__tls bool debug_no_files;

int debug_stderr(void)
{
	int pidfd, fd;

	if (!debug_no_files)
		return STDERR_FILENO;
	pidfd = syscall(SYS_pidfd_open, getpid(), 0);
	fd = syscall(SYS_pidfd_getfd, pidfd, STDERR_FILENO, 0);
	if (pidfd >= 0)
		close(pidfd);
	return fd;
}

static void line_span(struct line *l, const struct mspan *s, unsigned int idx)
{
	line_str(l, "object ");
	line_dec(l, idx);
	line_str(l, " of span ");
	line_ptr(l, s->start);
	line_str(l, " (");
	line_dec(l, s->size ? s->size : mspan_size(s));
	line_str(l, " bytes x ");
	line_dec(l, s->nelems);
	line_str(l, ", node ");
	line_dec(l, s->nid);
	line_char(l, ')');
}

static struct mspan *debug_span(uintptr_t addr)
{
	struct mspan *s = heap_arena_find_span(addr);

	if (!s || __atomic_load_n(&s->state, __ATOMIC_ACQUIRE) == MSPAN_DEAD ||
	    !mspan_contains(s, addr))
		return NULL;
	return s;
}

/* No span, yet a page of the heap's that was in use or will be: its span is gone. */
static bool debug_page_free(uintptr_t addr)
{
	struct heap_arena *ha = arena_lookup(addr);

	return ha && page_alloc_count_free(&mheaps[ha->nid].pages,
					   align_down(addr, HA_PAGE_SIZE), 1);
}

static void line_freed(struct line *l, const char *op)
{
	if (strcmp(op, "free") == 0) {
		line_str(l, "double free of ");
		return;
	}
	line_str(l, op);
	line_str(l, " of freed ");
}

void debug_bad_pointer(const char *op, uintptr_t addr)
{
	struct mspan *s = debug_span(addr);
	unsigned int idx = s ? mspan_index(s, addr) : 0;
	uintptr_t in = s ? addr - (uintptr_t)mspan_object(s, idx) : 0;
	bool released, start;
	struct line l;

	released = !s && debug_page_free(addr);
	/* where no span is left, what may have been an object most likely was one */
	start = s ? !in && idx < s->nelems : released && is_aligned(addr, 16);
	line_start(&l);
	line_str(&l, "heaparena: ");
	if (start) {
		line_freed(&l, op);
	} else {
		line_str(&l, "invalid ");
		line_str(&l, op);
		line_str(&l, " of ");
	}
	line_ptr(&l, addr);
	line_str(&l, ": ");
	if (s && !start) {
		line_dec(&l, in);
		line_str(&l, " bytes inside ");
	}
	if (s)
		line_span(&l, s, idx);
	else
		line_str(&l, released ? "in free pages of the heap" :
			 "not allocated by heaparena");
	line_write(&l, debug_stderr());
	abort();
}

void debug_size_mismatch(uintptr_t addr, size_t said, size_t has)
{
	struct line l;

	line_start(&l);
	line_str(&l, "heaparena: size mismatch in free of ");
	line_ptr(&l, addr);
	line_str(&l, ": freed as ");
	line_dec(&l, said);
	line_str(&l, " bytes, object has ");
	line_dec(&l, has);
	line_write(&l, debug_stderr());
	abort();
}

void debug_bad_handle(const char *op, const char *what, const void *handle)
{
	struct line l;

	line_start(&l);
	line_str(&l, "heaparena: ");
	line_str(&l, op);
	line_str(&l, " of ");
	line_ptr(&l, (uintptr_t)handle);
	line_str(&l, ": no ");
	line_str(&l, what);
	line_str(&l, " in use");
	line_write(&l, STDERR_FILENO);
	abort();
}

void debug_bad_owner(uintptr_t addr, const char *what)
{
	struct line l;

	line_start(&l);
	line_str(&l, "heaparena: invalid free of ");
	line_ptr(&l, addr);
	line_str(&l, ": freed to ");
	line_str(&l, what);
	line_str(&l, " that it is not from");
	line_write(&l, STDERR_FILENO);
	abort();
}
