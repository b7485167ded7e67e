// SPDX-License-Identifier: MIT
/*
 * No memory, again and again: a child under a low RLIMIT_AS allocates until
 * NULL. Each failure is NULL with ENOMEM and changes nothing; what is freed
 * can be allocated again, as much as before and in large pieces; realloc keeps
 * the old block, and shrinks it; threads that cannot start leave no trace.
 *
 * Each case runs in a process of its own and reports by its exit code, so
 * that a limit cannot reach the program that judges.
 */
#include "stress.h"
#include <sys/mman.h>
#include <sys/resource.h>

#define ROOM	(96ul << 20)

struct node {
	struct node *next;
	size_t size;
};

/* The address space in use, and @room more, is all there is from here on. */
static void limit(size_t room)
{
	size_t now = (size_t)tap_status_kb("VmSize") << 10;
	struct rlimit lim = { now + room, now + room };

	if (setrlimit(RLIMIT_AS, &lim))
		_exit(100);
}

static unsigned long fill(struct node **list, size_t size, size_t max)
{
	unsigned long n = 0;

	while (n < max) {
		struct node *p;

		errno = 0;
		switch (n % 4) {
		case 0:
			p = HIDE(calloc(1, size));
			break;
		case 1:
			p = HIDE(aligned_alloc(16, size));
			break;
		default:
			p = HIDE(malloc(size));
		}
		if (!p) {
			if (errno != ENOMEM)
				_exit(10);
			return n;
		}
		p->next = *list;
		p->size = size;
		*list = p;
		if (size > 64)
			memset((char *)p + size - 16, n, 16);
		n++;
	}
	return n;
}

static void empty(struct node **list, size_t size)
{
	while (*list) {
		struct node *p = *list;

		*list = p->next;
		if (p->size != size)
			_exit(11);
		free(p);
	}
}

/* Fill, empty, fill: the second time must bring nearly as many. */
static int rounds(size_t size)
{
	struct node *list = NULL;
	unsigned long first = 0;

	limit(ROOM);
	for (int i = 0; i < (tap_opts.seconds < 2 ? 3 : 5); i++) {
		unsigned long n = fill(&list, size, SIZE_MAX);

		if (!n || n * size < ROOM / 4)
			return 12;
		for (int k = 0; k < 1000; k++)
			if (fill(&list, size, 1) && k > 900)
				return 13;
		if (!i)
			first = n;
		if (n < first - first / 4)
			return 14;
		empty(&list, size);
	}
	return 0;
}

static int resizing(size_t size)
{
	struct node *list = NULL;
	unsigned char *p;

	limit(ROOM);
	p = HIDE(malloc(size));
	if (!p)
		return 20;
	memset(p, 0x77, size);
	/* From coarse to fine, until nothing is left for the new block. */
	for (size_t n = 8 << 20; n >= 32; n /= 4)
		fill(&list, n, SIZE_MAX);
	for (int i = 0; i < 1000; i++) {
		unsigned char *q;

		errno = 0;
		q = HIDE(realloc(HIDE(p), size * 2 + (16 << 20)));
		if (q || errno != ENOMEM)
			return 21;
		if (HIDE(reallocarray(HIDE(p), 1 << 20, 4096)) || errno != ENOMEM)
			return 22;
		if (HIDE(calloc(1 << 10, 1 << 20)) || errno != ENOMEM)
			return 23;
	}
	for (size_t i = 0; i < size; i++)
		if (p[i] != 0x77)
			return 24;
	free(p);
	while (list) {
		struct node *next = list->next;

		free(list);
		list = next;
	}
	p = HIDE(malloc(16 << 20));
	if (!p)
		return 25;
	free(p);
	return 0;
}

/* A block that shrinks is there already: no lack of memory can be in the way. */
static int shrinking(size_t size)
{
	struct node *list = NULL;
	unsigned char *p;

	limit(ROOM);
	p = HIDE(malloc(size));
	if (!p)
		return 60;
	memset(p, 0x66, size);
	for (size_t n = 8 << 20; n >= 128; n /= 4)
		fill(&list, n, SIZE_MAX);
	for (size_t n = size; n >= 16; n /= 2) {
		errno = 0;
		p = HIDE(realloc(HIDE(p), n));
		if (!p || errno)
			return 61;
		for (size_t i = 0; i < n; i++)
			if (p[i] != 0x66)
				return 62;
	}
	free(p);
	return 0;
}

/* What the tables of small objects took must not lie all over the heap. */
static int large_after(size_t size)
{
	struct node *list = NULL;
	void *p;

	limit(ROOM);
	for (size_t n = size; n <= 64 * size; n *= 4) {
		fill(&list, n, SIZE_MAX);
		empty(&list, n);
	}
	p = HIDE(malloc(ROOM / 4));
	free(p);
	return p ? 0 : 63;
}

static int aligned(size_t align)
{
	void *kept[4096];
	unsigned int n = 0, failures = 0;

	limit(ROOM);
	for (unsigned int i = 0; i < 100000 && failures < 100; i++) {
		void *p = &kept, *mark = p;
		int err = posix_memalign(&p, align, align / 2 + 1);

		if (err) {
			if (err != ENOMEM || p != mark)
				return 30;
			errno = 0;
			if (HIDE(memalign(align, align * 2)) && errno)
				return 31;
			failures++;
			continue;
		}
		if ((uintptr_t)p & (align - 1))
			return 32;
		if (n == 4096)
			break;
		kept[n++] = p;
	}
	if (!n)
		return 33;
	while (n)
		free(kept[--n]);
	return HIDE(malloc(1 << 20)) ? 0 : 34;
}

static int threads_short;
/* Before all have their stacks none takes what there is. */
static pthread_barrier_t all_there;

static void *greedy(void *arg)
{
	size_t size = 100 + (uintptr_t)arg * 1000;

	pthread_barrier_wait(&all_there);
	for (int i = 0; i < 8; i++) {
		struct node *list = NULL;

		if (!fill(&list, size, SIZE_MAX))
			__atomic_fetch_add(&threads_short, 1, __ATOMIC_RELAXED);
		empty(&list, size);
	}
	return NULL;
}

/*
 * Several threads run into the limit at once, and come back from it. A
 * thread may find that the others have taken all, but not each time.
 */
static int together(size_t unused)
{
	pthread_t t[4];
	struct node *list = NULL;
	unsigned long n;

	(void)unused;
	limit(ROOM);
	pthread_barrier_init(&all_there, NULL, 4);
	for (uintptr_t i = 0; i < 4; i++)
		if (pthread_create(&t[i], NULL, greedy, (void *)i))
			return 40;
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	n = fill(&list, 1000, SIZE_MAX);
	empty(&list, 1000);
	if (threads_short == 4 * 8)
		return 42;
	return n * 1000 > ROOM / 8 ? 0 : 41;
}

static void *nothing(void *arg)
{
	free(HIDE(malloc(100)));
	return arg;
}

/*
 * Without room for a stack pthread_create says EAGAIN, whatever it had
 * allocated by then; with room again it works. The program itself takes the
 * room, and then malloc gives what it still has.
 */
static int threads(size_t unused)
{
	static struct obj taken[4096];
	struct node *list = NULL;
	unsigned int n = 0;
	pthread_t t;

	(void)unused;
	limit(ROOM);
	for (size_t size = 4 << 20; size >= 65536; size /= 4)
		while (n < 4096) {
			void *p = mmap(NULL, size, PROT_NONE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			if (p == MAP_FAILED)
				break;
			taken[n].p = p;
			taken[n++].size = size;
		}
	for (int i = 0; i < 200; i++) {
		int err = pthread_create(&t, NULL, nothing, NULL);

		if (!err)
			return 50;
		if (err != EAGAIN && err != ENOMEM)
			return 51;
		/* Half of the failures come with an exhausted malloc, too. */
		if (i == 100)
			for (size_t size = 1 << 20; size >= 32; size /= 4)
				fill(&list, size, SIZE_MAX);
	}
	while (list) {
		struct node *next = list->next;

		free(list);
		list = next;
	}
	while (n--)
		munmap(taken[n].p, taken[n].size);
	for (int i = 0; i < 50; i++) {
		if (pthread_create(&t, NULL, nothing, NULL))
			return 52;
		pthread_join(t, NULL);
	}
	return 0;
}

static void child(int (*fn)(size_t), size_t arg, const char *what)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		signal(SIGALRM, SIG_DFL);
		alarm(60);
		_exit(fn(arg));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		tap_bail("fork");
	ok(!status, "%s %zu (status 0x%x)", what, arg, status);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 16, 48, 100, 1000, 5000, 32768, 40000, 100000,
					1 << 20, 5 << 20 };

	tap_init(argc, argv);
	if (TAP_TSAN)
		tap_skip_all("a sanitizer's shadow does not fit under RLIMIT_AS");
	if (tap_emulated())
		tap_skip_all("the limit would be the emulator's");
	watchdog(100);
	free(HIDE(malloc(1)));
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		child(rounds, sizes[i], "until NULL, in loops, objects of");
	for (size_t size = 16; size <= 1 << 20; size *= 16)
		child(resizing, size, "realloc fails and keeps the block of");
	for (size_t size = 512; size <= 2 << 20; size *= 16)
		child(shrinking, size, "with no memory left, realloc shrinks a block of");
	for (size_t size = 16; size <= 256; size *= 16)
		child(large_after, size, "a quarter in one piece, after all was full of sizes from");
	for (size_t align = 64; align <= 4 << 20; align *= 16)
		child(aligned, align, "aligned objects run out at");
	child(together, 4, "threads run out together:");
	child(threads, 200, "pthread_create fails and recovers:");
	return tap_done();
}
