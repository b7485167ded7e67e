/* SPDX-License-Identifier: MIT */
/*
 * heaparena: a memory allocator for Linux daemons.
 *
 * The library exports the C malloc family and the C++ operators under their own
 * names; each is also here as ha_NAME, together with what goes beyond them.
 *
 * Common to all functions:
 *   Threads   every function may be called by any thread at any time, unless it
 *             says otherwise; an object may be freed by any thread.
 *   Signals   as malloc: not from a handler, with the exception that a handler
 *             which interrupted any of these may fork and exec.
 *   Fork      a child may call everything at once, whatever other threads of the
 *             parent were doing.
 *   Misuse    a pointer that is not a live object's start ends the process with
 *             one line on stderr and SIGABRT (option check:off leaves it
 *             undefined).
 *   errno     is changed on failure only; ha_free() never changes it.
 */
#ifndef HEAPARENA_H
#define HEAPARENA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HEAPARENA_VERSION_MAJOR	0
#define HEAPARENA_VERSION_MINOR	1

#if defined(__GNUC__)
#define HA_MALLOC	__attribute__((malloc, warn_unused_result))
#define HA_SIZE(n)	__attribute__((alloc_size(n)))
#define HA_SIZE2(a, b)	__attribute__((alloc_size(a, b)))
#define HA_USED		__attribute__((warn_unused_result))
#else
#define HA_MALLOC
#define HA_SIZE(n)
#define HA_SIZE2(a, b)
#define HA_USED
#endif

/*
 * A program may define this: options as in HEAPARENA_CONF, which overrides them
 * (man heaparena.conf).
 *
 *	const char *heaparena_conf = "background:off";
 *
 * The library finds it in programs that are linked with it, or with -rdynamic.
 */
extern const char *heaparena_conf;

/**
 * ha_malloc - allocate an object
 * @size: bytes, 0 is allowed
 *
 * Return: uninitialised memory of at least @size bytes, aligned to 16 bytes (8
 * for @size of at most 8), owned by the caller until ha_free(); NULL with ENOMEM
 * when there is none, or @size is over PTRDIFF_MAX.
 */
void *ha_malloc(size_t size) HA_MALLOC HA_SIZE(1);

/**
 * ha_calloc - allocate a zeroed array
 * @nmemb: elements
 * @size: bytes an element
 *
 * Return: as ha_malloc() of the product, zeroed, all that ha_malloc_usable_size()
 * says of it; NULL with ENOMEM also when the product overflows.
 */
void *ha_calloc(size_t nmemb, size_t size) HA_MALLOC HA_SIZE2(1, 2);

/**
 * ha_realloc - change the size of an object
 * @ptr: object, or NULL for ha_malloc()
 * @size: bytes; 0 with an object frees it and returns NULL
 *
 * Stays in place where the object's class or its neighbouring pages allow, and where it
 * shrinks and there is no memory to move to: who shrinks an object does not fail.
 *
 * Return: the object, moved or not, contents kept up to the smaller size; NULL
 * with ENOMEM and the old object untouched on failure.
 */
void *ha_realloc(void *ptr, size_t size) HA_USED HA_SIZE(2);

/**
 * ha_reallocarray - ha_realloc() of a product
 * @ptr: object or NULL
 * @nmemb: elements
 * @size: bytes an element
 *
 * Return: as ha_realloc(); NULL with ENOMEM when the product overflows, the old
 * object untouched.
 */
void *ha_reallocarray(void *ptr, size_t nmemb, size_t size) HA_USED HA_SIZE2(2, 3);

/**
 * ha_free - release an object
 * @ptr: object or NULL
 *
 * Context: keeps errno.
 */
void ha_free(void *ptr);

/**
 * ha_free_sized - release an object whose size is known (C23 free_sized)
 * @ptr: object from ha_malloc(), ha_calloc() or ha_realloc(), or NULL
 * @size: the size asked for
 *
 * A size that the object cannot have is misuse.
 */
void ha_free_sized(void *ptr, size_t size);

/**
 * ha_free_aligned_sized - release an aligned object (C23 free_aligned_sized)
 * @ptr: object from ha_aligned_alloc(), or NULL
 * @align: the alignment asked for
 * @size: the size asked for
 */
void ha_free_aligned_sized(void *ptr, size_t align, size_t size);

/**
 * ha_aligned_alloc - allocate at an alignment
 * @align: power of two, bytes
 * @size: bytes; need not be a multiple of @align
 *
 * Return: as ha_malloc(); NULL with EINVAL when @align is not a power of two.
 */
void *ha_aligned_alloc(size_t align, size_t size) HA_MALLOC HA_SIZE(2);

/**
 * ha_memalign - as ha_aligned_alloc(), any alignment rounded up to a power of two
 * @align: bytes
 * @size: bytes
 *
 * Return: as ha_malloc(); NULL with EINVAL when @align cannot be rounded up.
 */
void *ha_memalign(size_t align, size_t size) HA_MALLOC HA_SIZE(2);

/**
 * ha_posix_memalign - allocate at an alignment
 * @memptr: where the pointer goes; unchanged on failure
 * @align: power of two and multiple of sizeof(void *), bytes
 * @size: bytes
 *
 * Return: 0, EINVAL or ENOMEM; errno is kept.
 */
int ha_posix_memalign(void **memptr, size_t align, size_t size) HA_USED;

/**
 * ha_valloc - allocate at a kernel page's alignment
 * @size: bytes
 */
void *ha_valloc(size_t size) HA_MALLOC HA_SIZE(1);

/**
 * ha_pvalloc - allocate whole kernel pages
 * @size: bytes, rounded up to pages; 0 gives one page
 */
void *ha_pvalloc(size_t size) HA_MALLOC;

/**
 * ha_malloc_usable_size - bytes that may be used of an object
 * @ptr: object or NULL (0)
 */
size_t ha_malloc_usable_size(void *ptr);

/**
 * ha_good_size - the usable size that ha_malloc() of @size would give
 * @size: bytes
 */
size_t ha_good_size(size_t size);

/** HA_ZERO - flag of ha_alloc() and its like: the object is zeroed, all of its usable size */
#define HA_ZERO		1u
/**
 * HA_DENSE - flag of ha_alloc(): from the fullest pages that have room
 *
 * Past the caches, under a lock: for objects that are moved, see ha_sparse().
 */
#define HA_DENSE	2u

/**
 * ha_alloc - allocate, aligned and zeroed in one call
 * @size: bytes, 0 is allowed
 * @align: power of two, bytes; 0 for that of ha_malloc()
 * @flags: 0, or HA_ZERO and HA_DENSE
 *
 * Return: as ha_malloc(); NULL with EINVAL when @align is no power of two or
 * @flags has other bits.
 */
void *ha_alloc(size_t size, size_t align, unsigned int flags) HA_MALLOC HA_SIZE(1);

/**
 * ha_resize - change the size of an object in place, or not at all
 * @ptr: object, not NULL
 * @size: bytes
 *
 * Succeeds where ha_realloc() would not move the object: for sizes from half of its
 * usable size up to all of it, and for one above 32 KiB also for larger ones that its
 * neighbouring pages allow.  One above 1 MiB, and one that has grown so, shrinks to any
 * size above 32 KiB.  Objects of heaps do not grow.
 *
 * Return: 0; -1 with ENOMEM, and the object as it was.
 */
int ha_resize(void *ptr, size_t size);

/**
 * ha_alloc_batch - allocate many objects of one size
 * @size: bytes each
 * @n: how many
 * @out: where the @n pointers go
 *
 * The same objects that @n calls of ha_malloc() would give, without the calls.
 * Each is freed on its own, or in any batch.
 *
 * Return: how many there are, from @out[0] on; fewer than @n with ENOMEM.
 */
size_t ha_alloc_batch(size_t size, size_t n, void **out) HA_USED;

/**
 * ha_free_batch - release many objects
 * @ptrs: objects of any sizes, or NULL
 * @n: how many
 *
 * Context: keeps errno.
 */
void ha_free_batch(void *const *ptrs, size_t n);

/**
 * ha_sparse - would moving an object help to empty its pages
 * @ptr: live object
 *
 * For programs that defragment: where the answer is 1, allocate another with
 * ha_alloc() and HA_DENSE, copy, and ha_free() this one.  The pages of an object
 * that is to be moved are used no more than the mean of those partly used by objects
 * of its size, and are not those that HA_DENSE would take from.  Without end: ask
 * again as objects come and go; there is no threshold to choose.
 *
 * Context: takes a lock for some instructions; not from a signal handler.
 * Return: 1, or 0; 0 also for large objects, objects of heaps, and what is no object.
 */
int ha_sparse(const void *ptr);

/**
 * ha_release - give free memory back to the kernel now
 *
 * Takes back what per-CPU caches hold and returns every free page, and what the
 * allocator knew of objects that are gone.
 *
 * Context: slow (system calls, a memory barrier on all CPUs); not from a signal
 * handler.
 * Return: bytes returned by this call.
 */
size_t ha_release(void);

/**
 * ha_limit_set - limit the memory of the heap
 * @soft: bytes, 0 for none: above it memory is given back sooner, and allocations
 * help with that, for half of a CPU at most
 * @hard: bytes, 0 for none: what would pass it fails
 *
 * What counts is what is resident or would be if it were touched: objects, free
 * memory not given back yet, and the allocator's own.  Takes the place of the
 * options limit and soft; limits of the control group go on beside it.  A limit may
 * be below what is in use: the heap then shrinks as objects are freed.
 *
 * Context: at any time, also below what is in use.
 * Return: 0, or -1 with EINVAL for a limit below 1 MiB, or @soft above @hard.
 */
int ha_limit_set(size_t soft, size_t hard);

/**
 * ha_limit_get - the limits in force
 * @soft: where the soft one goes, bytes: the least of ha_limit_set()'s, the options'
 * and what the control group leaves to the heap; 0 for none
 * @hard: where the hard one goes, 0 for none
 */
void ha_limit_get(size_t *soft, size_t *hard);

/**
 * ha_background_work - do one step of what the background thread does
 *
 * For programs that forbid the thread (option background:off): call it every
 * 100 ms or so, from any one thread, whether or not the heap is used.  A step
 * takes about a millisecond at most, and returns at once while another thread is
 * in one.
 *
 * Context: not from a signal handler.
 * Return: 1 when there may be more to do, 0 when there is nothing until the heap
 * is used again.
 */
int ha_background_work(void);

/**
 * ha_malloc_trim - ha_release() under its traditional name
 * @pad: ignored
 *
 * Return: 1 when memory was returned, else 0.
 */
int ha_malloc_trim(size_t pad);

/**
 * enum ha_object_state - what an object is at the moment of a look-up
 * @HA_OBJECT_FREE: free
 * @HA_OBJECT_LIVE: allocated
 * @HA_OBJECT_CACHED: free, in a cache of the allocator
 * @HA_OBJECT_UNKNOWN: allocated or cached; with option check:off alone, which
 *	keeps no account of it
 */
enum ha_object_state {
	HA_OBJECT_FREE,
	HA_OBJECT_LIVE,
	HA_OBJECT_CACHED,
	HA_OBJECT_UNKNOWN
};

struct ha_heap;

/**
 * struct ha_object - an object, live or not, and where it is
 * @size: sizeof(struct ha_object), set by the caller before ha_lookup()
 * @start: its first byte
 * @usable: bytes of it
 * @heap: the heap it is from, NULL when it is from malloc() and its like
 * @span: first byte of its span: the pages cut into objects of its size
 * @span_size: bytes of the span
 * @index: its number in the span
 * @nr_objects: how many objects the span has
 * @size_class: number of its size class, 0 for a large object
 * @node: NUMA node it is on
 * @state: enum ha_object_state
 * @reserved: 0
 */
struct ha_object {
	size_t size;
	void *start;
	size_t usable;
	struct ha_heap *heap;
	void *span;
	size_t span_size;
	unsigned int index;
	unsigned int nr_objects;
	unsigned int size_class;
	unsigned int node;
	unsigned int state;
	unsigned int reserved;
};

/**
 * ha_lookup - what is at an address
 * @addr: any address, of an object's start, of its inside, or of anything else
 * @obj: caller's, @obj->size set; only that many bytes are written
 *
 * The answer was true at a moment of the call.  An object that another thread may
 * free meanwhile can have become something else since.
 *
 * Context: any thread, and any signal handler; takes no lock, allocates nothing,
 * and never faults, whatever @addr is.  Time: a few loads; inside a large object,
 * or in free pages, one more for each 512 KiB to the start of the span before.
 * Return: 1 and @obj filled in; 0 where heaparena has no object (@obj unchanged);
 * -1 with EINVAL when @obj->size is too small to hold anything.
 */
int ha_lookup(const void *addr, struct ha_object *obj);

/**
 * ha_walk - visit every live object
 * @visit: called for each, with a description that is gone when it returns; other
 *	than 0 ends the walk
 * @arg: handed to @visit
 *
 * Other threads may allocate and free meanwhile.  An object that lives from
 * before the call until it returns is reported exactly once; one that comes or
 * goes meanwhile at most once, and only if it was live a moment before.  An object
 * that moves (ha_realloc()) counts as two.  Objects come in the order of their
 * addresses within 64 MiB.  A tiny object (ha_heap_alloc_tiny()) is reported with
 * the block it lies in; a free object that an object cache holds is not live.
 *
 * Context: @visit runs with no lock held, and may call everything here, free what
 * it is told of, and leave by longjmp().  Not from a signal handler, except that
 * ha_walk() itself neither locks nor allocates: a handler may walk when @visit is
 * as careful.
 * Return: 0, or what @visit returned last; -1 with ENOTSUP under option check:off,
 * which keeps no account of what is live.
 */
int ha_walk(int (*visit)(const struct ha_object *obj, void *arg), void *arg);

/**
 * struct ha_stats - what the allocator holds, in bytes unless it says otherwise
 * @size: sizeof(struct ha_stats), set by the caller before ha_stats_get()
 * @mapped: read-write address space of the heap: in_use + free + returned, exactly
 * @in_use: pages of spans that hold an object or a cached one, less what was given
 * back inside them
 * @free: pages of no span that may be resident
 * @returned: given back to the kernel, or never touched
 * @live: objects with the user, in whole size classes, and large objects
 * @cached: objects in per-CPU caches and depots
 * @metadata: the allocator's own
 * @reserved: address space without access
 * @nr_spans: spans in use
 * @nr_spans_total: small spans made so far
 * @nr_large: large objects allocated so far
 * @nr_refill: objects handed to caches so far
 * @nr_refills: batches they came in
 * @nr_flushes: batches that went back to spans
 * @nr_nodes: NUMA nodes known
 * @rseq: 1 when caches work by restartable sequences
 * @soft_limit: in force, 0 for none; see ha_limit_get()
 * @hard_limit: in force, 0 for none
 * @nr_assists: allocations that gave memory back because of the soft limit so far
 * @assist_bytes: what they and those at the hard limit gave back
 * @nr_limited: times that an allocation met the hard limit, served or not
 * @large: of @live, bytes of objects that have a span of their own
 * @nr_large_live: how many these are
 */
struct ha_stats {
	size_t size;
	size_t mapped;
	size_t in_use;
	size_t free;
	size_t returned;
	size_t live;
	size_t cached;
	size_t metadata;
	size_t reserved;
	size_t nr_spans;
	size_t nr_spans_total;
	size_t nr_large;
	size_t nr_refill;
	size_t nr_refills;
	size_t nr_flushes;
	unsigned int nr_nodes;
	unsigned int rseq;
	size_t soft_limit;
	size_t hard_limit;
	size_t nr_assists;
	size_t assist_bytes;
	size_t nr_limited;
	size_t large;
	size_t nr_large_live;
};

/**
 * ha_stats_get - fill in statistics
 * @st: caller's, @st->size set; only that many bytes are written
 *
 * A moment's view: figures read while other threads work may be off by what they
 * did meanwhile.
 *
 * Return: 0, or -1 with EINVAL when @st->size is too small to hold anything.
 */
int ha_stats_get(struct ha_stats *st);

/**
 * struct ha_class_stats - one size class, all nodes
 * @object_size: bytes an object; 0 for large ones, each of which has a span alone
 * @span_size: bytes a span; 0 for large ones
 * @nr_spans: spans in use, without those of heaps (ha_heap_create())
 * @nr_objects: objects that these have room for
 * @nr_live: of these, allocated; the large ones of heaps too
 * @nr_cached: of these, free and in caches
 * @nr_refill: objects handed to caches so far
 * @nr_refills: batches they came in
 * @nr_flushes: batches that went back to spans
 */
struct ha_class_stats {
	size_t object_size;
	size_t span_size;
	size_t nr_spans;
	size_t nr_objects;
	size_t nr_live;
	size_t nr_cached;
	size_t nr_refill;
	size_t nr_refills;
	size_t nr_flushes;
};

/**
 * ha_stats_classes - statistics of every size class
 * @st: array of @nr elements, by number of class; [0] is for large objects
 * @st_size: sizeof(struct ha_class_stats); only that many bytes of each are written
 * @nr: elements there are
 *
 * Return: how many classes there are, whether or not they fit; 0 with ENOMEM when
 * the allocator cannot start.
 */
unsigned int ha_stats_classes(struct ha_class_stats *st, size_t st_size, unsigned int nr);

/**
 * struct ha_node_stats - one NUMA node, in bytes unless it says otherwise
 * @mapped: read-write address space of its heap
 * @in_use: pages of spans
 * @free: pages of no span, resident or returned
 * @returned: of @free, given back to the kernel
 * @out: objects that are live or cached
 * @large: of these, objects with a span of their own
 * @nr_spans: spans in use
 */
struct ha_node_stats {
	size_t mapped;
	size_t in_use;
	size_t free;
	size_t returned;
	size_t out;
	size_t large;
	size_t nr_spans;
};

/**
 * ha_stats_nodes - statistics of every node
 * @st: array of @nr elements, by number of node
 * @st_size: sizeof(struct ha_node_stats); only that many bytes of each are written
 * @nr: elements there are
 *
 * Return: how many nodes there are, whether or not they fit; 0 with ENOMEM when
 * the allocator cannot start.
 */
unsigned int ha_stats_nodes(struct ha_node_stats *st, size_t st_size, unsigned int nr);

/**
 * ha_stats_text - write all statistics for people to read
 * @fd: file descriptor, by write(2) in pieces of up to 1000 bytes
 *
 * Totals, nodes, size classes that are in use, object caches, heaps.
 *
 * Context: allocates nothing.
 * Return: 0; -1 with the errno of write(2), or ENOMEM.
 */
int ha_stats_text(int fd);

/**
 * ha_stats_json - write all statistics as one JSON object and a newline
 * @fd: as for ha_stats_text()
 *
 * The names are those of the members of struct ha_stats and its like.
 *
 * Return: as ha_stats_text().
 */
int ha_stats_json(int fd);

/**
 * enum ha_format - forms of ha_stats_format()
 * @HA_FORMAT_TEXT: as ha_stats_text()
 * @HA_FORMAT_JSON: as ha_stats_json()
 */
enum ha_format {
	HA_FORMAT_TEXT,
	HA_FORMAT_JSON
};

/**
 * ha_stats_format - statistics into memory
 * @format: which form
 * @buf: caller's, may be NULL when @size is 0
 * @size: bytes of it; what does not fit is cut, and a null byte ends it
 *
 * Context: allocates nothing.
 * Return: the length of all of it, without the null byte, as snprintf() does; 0
 * with ENOMEM or EINVAL.
 */
size_t ha_stats_format(enum ha_format format, char *buf, size_t size);

/*
 * Heap profiles: which call stacks allocate, by samples.
 */

/**
 * ha_profile_start - begin to sample allocations
 * @mean: bytes from one sample to the next, in the mean; 0 for 512 KiB, 1 for every
 *	object.  At most 2^40
 *
 * Samples are taken at random among the bytes that are allocated, so that what they
 * say of all allocations is right in the mean, whatever the sizes.  An object counts
 * with the bytes that it takes, ha_good_size() of those asked for.  All doors are
 * watched: malloc and its kin, heaps, object caches.
 *
 * What was allocated since (alloc), live at the peak, and lifetimes count from here;
 * what is live includes objects of earlier sessions.  A sampled object stays known
 * until it is freed, session or not.
 *
 * A malloc takes some nanoseconds more during a session, and a sample some
 * microseconds; memory is 64 bytes a sampled live object, up to 4 million of them,
 * and some hundred bytes a call stack, up to 65536.
 *
 * Context: not from a signal handler; see option prof_signal for that.
 * Return: 0; -1 with EBUSY during a session, ENOTSUP under option check:off, which
 * keeps no account of what is live, EINVAL for @mean, or ENOMEM.
 */
int ha_profile_start(size_t mean);

/**
 * ha_profile_stop - end the session, if there is one
 *
 * What is known stays, and can be written.
 *
 * Context: not from a signal handler.
 */
void ha_profile_stop(void);

/**
 * ha_profile_dump - write the profile in pprof's format
 * @fd: file descriptor, by write(2)
 *
 * A protocol buffer, uncompressed, that `ha prof` and `go tool pprof` read.  For each
 * call stack: objects and bytes allocated since the session began (alloc_objects,
 * alloc_space), live (inuse_objects, inuse_space), live when most bytes were
 * (peak_objects, peak_space), and objects freed within 10 ms of their allocation,
 * within a second, and later.  All are estimates for all objects, not counts of
 * samples.
 *
 * Context: any thread, any signal handler, during a session and after; takes no lock,
 * allocates nothing.  Others go on allocating meanwhile.
 * Return: 0; -1 with EBUSY while another call writes, EINVAL before the first
 * session, or the errno of write(2).
 */
int ha_profile_dump(int fd);

/**
 * ha_profile_dump_file - write the profile to a file
 * @path: of the file, which is made or replaced; %p in it is the process id, %n
 *	a number that counts up.  NULL for option prof_file, or heaparena.%p.%n.pb
 *
 * The file is written as PATH.PID.N.part in the same folder and then renamed: under its
 * name is a whole profile, or the one before.  What is no regular file (a FIFO, a
 * device, a link), or lies in a folder where no file can be made, is written where it
 * is.
 *
 * Context: as ha_profile_dump().
 * Return: as ha_profile_dump(), also with the errno of open(2).
 */
int ha_profile_dump_file(const char *path);

/**
 * enum ha_profile_order - the value of the signal that option prof_signal names
 * @HA_PROFILE_ORDER_NEXT: start a session, or during one write to prof_file; what a
 *	signal without a value (kill) means
 * @HA_PROFILE_ORDER_START: start a session
 * @HA_PROFILE_ORDER_STOP: end it
 * @HA_PROFILE_ORDER_DUMP: write to an open file of the sender's; its number, times
 *	256, is added
 *
 * For sigqueue(3).  The file is opened as /proc/PID/fd/NUMBER with the rights of the
 * process that writes.  A session starts and ends with the next allocation that the
 * caches cannot serve.
 */
enum ha_profile_order {
	HA_PROFILE_ORDER_NEXT,
	HA_PROFILE_ORDER_START,
	HA_PROFILE_ORDER_STOP,
	HA_PROFILE_ORDER_DUMP
};

/*
 * Object caches: objects of one type, constructed once and used many times.
 */
struct ha_cache;

/**
 * struct ha_cache_options - what ha_cache_create() is told
 * @size: sizeof(struct ha_cache_options)
 * @object_size: bytes an object, not 0
 * @align: power of two, bytes; 0 for that of ha_malloc()
 * @flags: 0, or HA_ZERO: objects are zeroed before they are constructed
 * @reserved: 0, or there is no cache
 * @construct: called once for each object that comes from the heap, before it is
 *	first handed out; NULL for none.  Returns 0, or an errno: the allocation fails
 *	with it
 * @destroy: called before a constructed object goes back to the heap; NULL for none
 * @arg: handed to both
 *
 * @construct and @destroy are called with no lock held, by whatever thread is in
 * ha_cache_alloc(), ha_cache_free(), ha_cache_shrink(), ha_cache_destroy(),
 * ha_release() or malloc_trim().
 */
struct ha_cache_options {
	size_t size;
	size_t object_size;
	size_t align;
	unsigned int flags;
	unsigned int reserved;
	int (*construct)(void *obj, void *arg);
	void (*destroy)(void *obj, void *arg);
	void *arg;
};

/**
 * ha_cache_create - make an object cache
 * @name: for statistics; up to 31 characters are kept
 * @opt: what its objects are like; copied
 *
 * Free objects are kept constructed, up to 32 of them or 64 KiB near each of up to
 * 16 CPUs; nothing above 1 MiB is kept.
 *
 * Return: the cache, owned by the caller until ha_cache_destroy(); NULL with
 * EINVAL for options that make no sense, or ENOMEM.
 */
struct ha_cache *ha_cache_create(const char *name, const struct ha_cache_options *opt) HA_USED;

/**
 * ha_cache_destroy - give a cache up
 * @cache: one that no other thread uses, or NULL
 *
 * What it keeps is destroyed and freed.
 *
 * Return: 0; -1 with EBUSY and the cache as it was while objects of it are live.
 */
int ha_cache_destroy(struct ha_cache *cache);

/**
 * ha_cache_alloc - an object, constructed
 * @cache: cache
 *
 * Costs an uncontended lock where an object is kept, else ha_malloc() and the
 * constructor: worth it for objects that take longer to make than that.
 *
 * Return: an object in the state that it was constructed in, or that it was freed
 * in; NULL with ENOMEM, or what the constructor returned.
 */
void *ha_cache_alloc(struct ha_cache *cache) HA_USED;

/**
 * ha_cache_free - release an object
 * @cache: the cache it is from; another size of object is misuse
 * @ptr: object in its constructed state, or NULL
 *
 * ha_free() may be used instead, and then neither destroys the object nor counts it
 * as freed.
 */
void ha_cache_free(struct ha_cache *cache, void *ptr);

/**
 * ha_cache_shrink - destroy and free what a cache keeps
 * @cache: cache
 *
 * ha_release() does it for all caches.
 *
 * Return: how many objects these were.
 */
size_t ha_cache_shrink(struct ha_cache *cache);

/**
 * struct ha_cache_stats - what happened to a cache
 * @size: sizeof(struct ha_cache_stats), set by the caller
 * @name: as created; valid as long as the cache
 * @object_size: as created, bytes
 * @usable: bytes that an object takes
 * @nr_live: objects with the user
 * @nr_kept: free and constructed
 * @nr_allocs: successful calls of ha_cache_alloc()
 * @nr_frees: calls of ha_cache_free()
 * @nr_constructed: objects that came from the heap
 * @nr_destroyed: objects that went back
 */
struct ha_cache_stats {
	size_t size;
	const char *name;
	size_t object_size;
	size_t usable;
	size_t nr_live;
	size_t nr_kept;
	size_t nr_allocs;
	size_t nr_frees;
	size_t nr_constructed;
	size_t nr_destroyed;
};

/**
 * ha_cache_stats_get - fill in statistics of a cache
 * @cache: cache
 * @st: caller's, @st->size set; only that many bytes are written
 *
 * Exact while nobody else uses the cache.
 *
 * Return: 0, or -1 with EINVAL when @st->size is too small to hold anything.
 */
int ha_cache_stats_get(struct ha_cache *cache, struct ha_cache_stats *st);

/*
 * Heaps: objects that die together.
 */

/**
 * ha_heap_create - make a heap
 * @name: for statistics; up to 31 characters are kept
 * @limit: bytes of pages that it may have at most, 0 for no limit
 *
 * A heap has pages of its own: the first object of each size class takes a span of 8
 * to 80 KiB that further ones share; one above 32 KiB takes what it needs, in steps of
 * 8 KiB.  It is an ordinary heap otherwise: any thread may allocate
 * from it and free to it; ha_free(), ha_realloc() (which stays in the heap) and
 * ha_malloc_usable_size() of its objects work.  Calls that allocate or free take a
 * lock, which some of the heaps share.
 *
 * Context: threads as said; in a child of fork heaps are as they were.
 * Return: the heap, owned by the caller until ha_heap_destroy(); NULL with ENOMEM.
 */
struct ha_heap *ha_heap_create(const char *name, size_t limit) HA_USED;

/**
 * ha_heap_destroy - give a heap up, and all its objects
 * @heap: one that no other thread uses, or NULL
 *
 * Takes time by the pages that it has, not by its objects.
 */
void ha_heap_destroy(struct ha_heap *heap);

/**
 * ha_heap_reset - free all objects of a heap
 * @heap: heap; nobody else may be using it
 */
void ha_heap_reset(struct ha_heap *heap);

/**
 * ha_heap_alloc - allocate from a heap
 * @heap: heap
 * @size: bytes, 0 is allowed
 * @align: power of two, bytes; 0 for that of ha_malloc()
 * @flags: 0 or HA_ZERO
 *
 * Return: as ha_alloc(); NULL with ENOMEM also when the heap's limit is reached.
 */
void *ha_heap_alloc(struct ha_heap *heap, size_t size, size_t align, unsigned int flags)
	HA_USED HA_SIZE(2);

/**
 * ha_heap_alloc_tiny - allocate a few bytes that live as long as the heap's rest
 * @heap: heap
 * @size: bytes, at most 16
 *
 * Many of them share a block: a 3-byte object takes 3 bytes.  It is aligned to the
 * largest power of two, up to 8, that @size is a multiple of.  To free it alone is
 * misuse.
 *
 * Return: uninitialised memory, gone with ha_heap_reset() and ha_heap_destroy();
 * NULL with EINVAL for a larger size, or ENOMEM.
 */
void *ha_heap_alloc_tiny(struct ha_heap *heap, size_t size) HA_USED HA_SIZE(2);

/**
 * ha_heap_free - release an object of a heap
 * @heap: the heap it is from; that of another heap is misuse
 * @ptr: object or NULL
 *
 * As ha_free(), with that check.
 *
 * Context: keeps errno.
 */
void ha_heap_free(struct ha_heap *heap, void *ptr);

/**
 * ha_heap_set_limit - change a heap's limit
 * @heap: heap
 * @limit: bytes of pages, 0 for no limit; below what it has, it cannot grow
 */
void ha_heap_set_limit(struct ha_heap *heap, size_t limit);

/**
 * struct ha_heap_stats - what a heap has, in bytes unless it says otherwise
 * @size: sizeof(struct ha_heap_stats), set by the caller
 * @name: as created; valid as long as the heap
 * @limit: of @mapped, 0 for none
 * @mapped: its pages
 * @live: its live objects, in whole size classes
 * @nr_live: how many these are; blocks of tiny objects count as one
 * @nr_allocs: objects allocated since it was created
 * @nr_frees: objects freed since, one by one or by ha_heap_reset()
 * @nr_tiny: tiny objects, since it was created or reset
 */
struct ha_heap_stats {
	size_t size;
	const char *name;
	size_t limit;
	size_t mapped;
	size_t live;
	size_t nr_live;
	size_t nr_allocs;
	size_t nr_frees;
	size_t nr_tiny;
};

/**
 * ha_heap_stats_get - fill in statistics of a heap
 * @heap: heap
 * @st: caller's, @st->size set; only that many bytes are written
 *
 * Return: 0, or -1 with EINVAL when @st->size is too small to hold anything.
 */
int ha_heap_stats_get(struct ha_heap *heap, struct ha_heap_stats *st);

#ifdef __cplusplus
}
#endif

#endif /* HEAPARENA_H */
