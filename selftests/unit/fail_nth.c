// SPDX-License-Identifier: MIT
/*
 * Failure of each system call there is: mmap, mprotect, madvise, mbind.
 *
 *	for N = 1, 2, ...  until the whole script passes without a failure
 *	    in a fresh process: the Nth call fails (once, or from then on)
 *	        the script: objects of all kinds, made, changed, freed
 *	        the fault is lifted: all of it works
 *	        everything is freed and returned: nothing is left
 *
 * With HA_EACH=K it is one N in K, from another one each run.
 *
 * A call that fails does so with NULL and ENOMEM, and changes nothing: objects
 * keep their contents, the heap walks clean, and what was lost for want of memory
 * is not lost for good.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "assist.h"
#include "conf.h"
#include "limit.h"
#include "mheap.h"
#include "vm.h"

#include "fake/early.h"

#define NR_OBJECTS	120
#define NR_SHIFTS	22
#define SMALLER_SHIFTS	17
#define MAX_CALLS	2000	/* more than the script makes */
#define END		4096UL
#define MAX_WRONG	8	/* words enough */

/* A process of its own for one N: how it went. */
enum outcome {
	OUT_FAILED,		/* the fault was met, and lived with */
	OUT_PASSED,		/* the script ended before it */
	OUT_WRONG,
};

static const struct heap_mode modes[] = {
	{ .name = "percpu" },
	{ .name = "locked", .locked = true },
	{ .name = "nodes", .fake = 3 },
	{ .name = "strict nodes", .fake = 2, .strict = true },
	{ .name = "huge" },
	{ .name = "limits" },
};

static void no_wake(void)
{
}

static const struct limit_ops limits = {
	.wake = no_wake,
	.assist = assist_soft,
	.make_room = assist_hard,
};

/* Words of a child: Check knows only its own. */
#define must(c)		must_hold(c, #c, __LINE__)

static void must_hold(bool c, const char *what, int line)
{
	if (likely(c))
		return;
	dprintf(STDOUT_FILENO, "# line %d: %s\n", line, what);
	_exit(OUT_WRONG);
}

static void must_walk(struct heap_sum *sum)
{
	const char *bad = heap_walk(sum);

	must_hold(!bad, bad, __LINE__);
}

static unsigned int nr_null;	/* calls of the script that failed */

struct object {
	unsigned char *p;
	size_t size;
};

static struct object obj[NR_OBJECTS];

static unsigned char tag(const struct object *o)
{
	return 1 + (o - obj) % 250;
}

/* Of large ones the ends alone: there are many processes. */
static bool all_bytes(const unsigned char *p, size_t size, unsigned char c)
{
	if (size > 3 * END)
		return all_bytes(p, END, c) && all_bytes(p + size - END, END, c);
	return size == 0 || (p[0] == c && memcmp(p, p + 1, size - 1) == 0);
}

static void fill(unsigned char *p, size_t size, unsigned char c)
{
	if (size > 3 * END) {
		memset(p, c, END);
		memset(p + size - END, c, END);
	} else {
		memset(p, c, size);
	}
}

static void verify(const struct object *o)
{
	must(!o->p || all_bytes(o->p, o->size, tag(o)));
}

/* The result of a call: an object, or NULL with ENOMEM. */
static bool take(struct object *o, void *p, size_t size, size_t align)
{
	if (!p) {
		must(errno == ENOMEM);
		errno = 77;
		nr_null++;
		return false;
	}
	must(errno == 77 && is_aligned((uintptr_t)p, align));
	must(ha_malloc_usable_size(p) >= size);
	o->p = p;
	o->size = size;
	fill(p, size, tag(o));
	return true;
}

static void drop(struct object *o)
{
	verify(o);
	ha_free(o->p);
	must(errno == 77);
	o->p = NULL;
}

static void step_alloc(struct object *o, unsigned int kind, size_t size)
{
	unsigned char *p;
	void *q = NULL;
	int err;

	switch (kind % 4) {
	case 0:
		take(o, ha_malloc(size), size, 8);
		break;
	case 1:
		p = ha_calloc(1, size);
		must(!p || all_bytes(p, size, 0));
		take(o, p, size, 8);
		break;
	case 2:
		take(o, ha_aligned_alloc(4096, size), size, 4096);
		break;
	default:
		err = ha_posix_memalign(&q, 1 << 16, size);
		must(err == (q ? 0 : ENOMEM) && errno == 77);
		errno = q ? 77 : ENOMEM;
		take(o, q, size, 1 << 16);
	}
}

static void step_realloc(struct object *o, size_t size)
{
	struct object old = *o;
	unsigned char *p = ha_realloc(o->p, size);
	size_t keep = min_size(min_size(old.size, size), END);

	if (!p) {
		/* the old one is as it was */
		verify(o);
		take(o, NULL, size, 8);
		return;
	}
	must(!old.p || all_bytes(p, keep, tag(o)));
	take(o, p, size, 8);
}

static void step_fork(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		void *p = ha_malloc(100);

		must(p || errno == ENOMEM);
		if (p)
			ha_free(p);
		for (unsigned int i = 0; i < NR_OBJECTS; i++)
			verify(&obj[i]);
		_exit(0);
	}
	must(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
	errno = 77;
}

/* The same calls for each N. */
static void script(void)
{
	static const size_t sizes[] = {
		1, 100, 2000, 10000, 32768, 40000, 300000, 5 << 20, 70 << 20,
	};
	struct unit_rand r = { 5 };

	errno = 77;
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < NR_OBJECTS; i++) {
			size_t size = sizes[rand_below(&r, round == 1 ? 9 : 7)];

			if (size > 1 << 20 && i % 16)
				size = 64;
			if (obj[i].p && rand_below(&r, 2))
				step_realloc(&obj[i], size);
			else if (obj[i].p)
				drop(&obj[i]);
			else
				step_alloc(&obj[i], rand_below(&r, 4), size);
		}
		if (round == 1)
			step_fork();
		must(errno == 77);
		ha_release();
		/* ENOMEM where there is no heap yet, and none could be made */
		must(errno == 77 || errno == ENOMEM);
		errno = 77;
		for (unsigned int i = 0; i < NR_OBJECTS; i++)
			verify(&obj[i]);
	}
}

/* All sizes up to 2 MiB once, and then smaller ones: there are many processes. */
static size_t size_again(unsigned int i)
{
	return 1UL << (i < NR_SHIFTS ? i : i % SMALLER_SHIFTS);
}

/* With memory again: one of each kind, on all that went wrong before. */
static void works_again(void)
{
	errno = 77;
	nr_null = 0;
	for (unsigned int i = 0; i < NR_OBJECTS; i++) {
		if (obj[i].p)
			drop(&obj[i]);
		step_alloc(&obj[i], i, size_again(i));
	}
	for (unsigned int i = 0; i < NR_OBJECTS; i++)
		step_realloc(&obj[i], size_again((i + 3) % NR_OBJECTS));
	must(nr_null == 0);
}

static void nothing_is_left(void)
{
	struct ha_stats st = { .size = sizeof(st) };
	struct heap_sum sum;

	must_walk(&sum);
	for (unsigned int i = 0; i < NR_OBJECTS; i++)
		drop(&obj[i]);
	ha_release();
	must_walk(&sum);
	must(sum.spans == 0);
	must(ha_stats_get(&st) == 0);
	must(st.in_use == 0 && st.live == 0 && st.cached == 0);
	must(st.free == 0 && st.returned == st.mapped);
}

/* The fault is still to come if one of the next @n calls meets it. */
static bool fault_pending(long n)
{
	void *p = mmap(NULL, vm_page_size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED);
	while (n--)
		if (vm_return(p, vm_page_size))
			return true;
	return false;
}

static void in_child(const struct heap_mode *mode, long n, bool sticky)
{
	bool pending;

	heap_mode_set(mode);
	if (!strcmp(mode->name, "huge"))
		conf.thp = THP_ALWAYS;
	if (!strcmp(mode->name, "limits")) {
		limit_ops = &limits;
		limit_set(24UL << 20, 160UL << 20);
	}
	fork_init();
	vm_fail_nth(n, sticky);
	script();
	pending = !sticky && fault_pending(n);
	vm_fail_nth(0, false);
	works_again();
	nothing_is_left();
	_exit(pending ? OUT_PASSED : OUT_FAILED);
}

static enum outcome run(const struct heap_mode *mode, long n, bool sticky)
{
	int status;
	pid_t pid = fork();

	check(pid >= 0);
	if (!pid)
		in_child(mode, n, sticky);
	check(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) < OUT_WRONG)
		return WEXITSTATUS(status);
	dprintf(STDOUT_FILENO, "# %s: call %ld%s: status %#x\n", mode->name, n,
		sticky ? " and all after it" : "", status);
	return OUT_WRONG;
}

START_TEST(each_call)
{
	const struct heap_mode *mode = &modes[_i];
	const char *env = getenv("HA_EACH");
	long n, end = 0, each = env ? max_size(strtoul(env, NULL, 10), 1) : 1;
	struct unit_rand r = unit_rand(_i);
	unsigned int wrong = 0;

	for (n = 1 + rand_below(&r, each); n < MAX_CALLS && !end && wrong < MAX_WRONG;
	     n += each) {
		enum outcome once = run(mode, n, false);

		wrong += once == OUT_WRONG;
		if (once == OUT_PASSED)
			end = n;
		else
			wrong += run(mode, n, true) == OUT_WRONG;
	}
	if (wrong)
		ck_abort_msg("%u of %ld failures were not lived with", wrong, 2 * n);
	/* the script makes calls, and comes to an end */
	check(end > 20);
}
END_TEST

/*
 * Too little memory for good, and a caller who asks again and again: each time
 * the first calls succeed and a later one fails.  What they made is used the next
 * time, or given back: it must not add up.
 */
static size_t footprint(void)
{
	size_t sum = 0;

	for (unsigned int k = 0; k < NR_VM_KINDS; k++)
		sum += vm_stat.reserved[k] + vm_stat.prepared[k];
	return sum;
}

static const size_t asked[] = { 100, 20000, 1 << 20, 70 << 20, 200 << 20 };

/* False when the object could be had. */
static bool short_child(size_t size, long n)
{
	size_t before = 0, maps = 0;

	for (unsigned int i = 0; i < 200; i++) {
		void *p;

		vm_fail_nth(n, true);
		p = ha_malloc(size);
		vm_fail_nth(0, false);
		if (p) {
			ha_free(p);
			return false;
		}
		if (i == 20) {
			before = footprint();
			maps = vm_stat.nr_maps;
		}
	}
	if (footprint() > before || vm_stat.nr_maps > maps) {
		dprintf(STDOUT_FILENO,
			"# %zu bytes, call %ld: %zu bytes in %zu mappings became %zu in %zu\n",
			size, n, before, maps, footprint(), vm_stat.nr_maps);
		_exit(2);
	}
	return true;
}

START_TEST(again_and_again)
{
	unsigned int wrong = 0;
	bool failed = true;

	for (long n = 1; n < 100 && failed; n++) {
		int status;
		pid_t pid = fork();

		if (!pid)
			_exit(short_child(asked[_i], n));
		check(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
		wrong += WEXITSTATUS(status) == 2;
		failed = WEXITSTATUS(status) != 0;
	}
	check(!failed);
	if (wrong)
		ck_abort_msg("memory adds up for %u of the calls that fail", wrong);
}
END_TEST

/*
 * Little address space from the start: what there is goes as far as half of it,
 * less the index and the metadata; then NULL; then on with what is freed.
 */
#define OVERHEAD	(22UL << 20)
#define OBJECT		20000

START_TEST(little_room)
{
	size_t room = (size_t)_i << 20, has = 0;
	static void *p[8000];
	unsigned int nr = 0, i;

	heap_limit_as(room);
	for (; nr < ARRAY_SIZE(p) && (p[nr] = ha_malloc(OBJECT)); nr++)
		*(char *)p[nr] = 1;
	check(errno == ENOMEM);
	for (i = 0; i < nr; i++)
		has += ha_malloc_usable_size(p[i]);
	if (room > OVERHEAD && has < (room - OVERHEAD) / 2)
		ck_abort_msg("%zu of %zu bytes", has, room);
	for (i = 0; i < nr; i += 2)
		ha_free(p[i]);
	for (i = 0; i < nr; i += 2) {
		p[i] = ha_malloc(OBJECT);
		check(p[i]);
	}
	for (i = 0; i < nr; i++)
		ha_free(p[i]);
	if (!nr)
		return;
	ha_release();
	heap_check(&(struct heap_sum){ 0 });
}
END_TEST

Suite *unit_suite(void)
{
	Suite *s = suite_create("fail_nth");
	TCase *tc = tcase_create("faults");
	const char *why = heap_no_short_arenas();

	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, each_call, 0, ARRAY_SIZE(modes));
	tcase_add_loop_test(tc, again_and_again, 0, ARRAY_SIZE(asked));
	if (!why)
		tcase_add_loop_test(tc, little_room, 15, 90);
	else
		unit_skip("little_room", why);
	suite_add_tcase(s, tc);
	return s;
}
