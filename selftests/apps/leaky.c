// SPDX-License-Identifier: MIT
/*
 * leaky FOLDER [abort|exit|threads] - objects of which it is known who points to them
 *
 * Writes to FOLDER/truth a line for each object that it allocates, "KIND ADDRESS":
 *
 *	kept	something leads to it: a global, a stack, thread-local memory, a register, a
 *		mapping, another object
 *	lost	nothing does
 *	with	only what is lost does
 *
 * and FOLDER/pid, last. Addresses are written as text, by functions whose stacks are
 * cleared afterwards, so that the only ones in memory are those that are meant.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <heaparena/heaparena.h>

#define APART		__attribute__((noinline, noclone))
#define NR_THREADS	3

struct node {
	struct node *next;
	char text[40];
};

static int truth;
static void *volatile global[64];
static char *volatile inside;
static __thread void *volatile in_tls;
static void *volatile *volatile mapped;
static pthread_barrier_t ready;
static volatile int stop;

static int file(const char *folder, const char *name)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
	if (fd < 0)
		_exit(3);
	return fd;
}

APART static void tell(const char *kind, const void *p)
{
	char line[100];
	int len = sprintf(line, "%s %p\n", kind, p);

	if (!p || write(truth, line, len) != len)
		_exit(3);
}

APART static void *make(const char *kind, size_t size)
{
	void *p = ha_malloc(size);

	memset(p, 0, size < 100 ? size : 100);
	tell(kind, p);
	return p;
}

/* What calls have left below the stack pointer. */
APART static void clear(int depth)
{
	volatile char room[8192];

	for (size_t i = 0; i < sizeof(room); i++)
		room[i] = 0;
	if (depth)
		clear(depth - 1);
}

APART static void globals(void)
{
	static const size_t size[] = { 1, 8, 24, 100, 1000, 5000, 40000, 200000, 3 << 20 };

	for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++)
		global[i] = make("kept", size[i]);
	/* into the middle, to the last byte, and with a bit in it */
	inside = (char *)make("kept", 20000) + 7777;
	global[20] = (char *)make("kept", 2 << 20) + (2 << 20) - 1;
	global[21] = (char *)make("kept", 64) + 1;
	global[22] = ha_aligned_alloc(4096, 10000);
	tell("kept", global[22]);
	in_tls = make("kept", 700);
	mapped = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mapped[70000] = make("kept", 800);
}

APART static struct node *list(const char *first, const char *rest, int n)
{
	struct node *head = NULL;

	while (n--) {
		struct node *x = make(n ? rest : first, sizeof(*x));

		x->next = head;
		head = x;
	}
	return head;
}

/* What other objects lead to: at their beginning, far into them, through a heap's. */
APART static void chains(void)
{
	struct ha_heap *h = ha_heap_create("leaky", 0);
	void **far = make("kept", 3 << 20), **in_heap;

	global[30] = list("kept", "kept", 50);
	far[(3 << 20) / sizeof(void *) - 1] = make("kept", 900);
	global[31] = far;
	/* its address is nowhere, but it lives as long as its heap */
	in_heap = ha_heap_alloc(h, 300, 0, 0);
	tell("kept", in_heap);
	memset(in_heap, 0, 300);
	in_heap[10] = make("kept", 1100);
}

APART static void lose(void)
{
	static const size_t size[] = { 1, 8, 24, 100, 1000, 5000, 40000, 200000, 3 << 20 };
	void **ring, **freed;

	for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++)
		make("lost", size[i]);
	list("lost", "with", 40);
	ring = make("lost", 2000);
	/* at a higher address, of whichever size class comes next */
	do
		ring[0] = ha_malloc(2000);
	while ((uintptr_t)ring[0] < (uintptr_t)ring && (tell("lost", ring[0]), 1));
	tell("with", ring[0]);
	memset(ring[0], 0, 100);
	((void **)ring[0])[0] = ring;
	/* what is freed leads nowhere */
	freed = ha_malloc(1500);
	freed[100] = make("lost", 1300);
	ha_free(freed);
}

static void *thread(void *arg)
{
	void *volatile on_stack[10];

	(void)arg;
	on_stack[5] = make("kept", 600);
	in_tls = make("kept", 601);
	make("lost", 602);
	clear(3);
	pthread_barrier_wait(&ready);
	while (!stop)
		pause();
	return on_stack[5];
}

static void start_threads(void)
{
	pthread_t t;

	pthread_barrier_init(&ready, NULL, NR_THREADS + 1);
	for (int i = 0; i < NR_THREADS; i++)
		if (pthread_create(&t, NULL, thread, NULL))
			_exit(3);
	pthread_barrier_wait(&ready);
}

int main(int argc, char **argv)
{
	const char *how = argc > 2 ? argv[2] : "";
	void *volatile on_stack[3];
	char line[32];
	int fd;

	if (argc < 2)
		return 2;
	truth = file(argv[1], "truth");
	on_stack[1] = make("kept", 500);
	globals();
	chains();
	lose();
	if (!strcmp(how, "threads"))
		start_threads();
	clear(10);
	fd = file(argv[1], "pid");
	if (write(fd, line, sprintf(line, "%d\n", getpid())) < 0)
		return 3;
	if (!strcmp(how, "abort"))
		abort();
	/* with main()'s frame still there */
	if (!strcmp(how, "exit"))
		exit(5);
	for (;;)
		pause();
	return on_stack[1] != NULL;
}
