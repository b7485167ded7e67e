/* SPDX-License-Identifier: MIT */
/*
 * What tests of real nodes share: which there are, the way to one, and which a
 * page lies on.
 *
 *	nodes_need(2)		skips the whole program on a machine with fewer
 *	node_enter(n)		the thread runs on a CPU of node n from here on
 *	page_node(p)		node of the page at p, as the kernel says; -1: none
 *	hog_fill(n)		takes all of node n's free memory
 *
 * Nodes are numbered as the kernel numbers them, without gaps; a node counts
 * when it has memory and a CPU.  Everything is asked by system calls and from
 * /sys: the library under test uses libnuma, this must not.
 *
 * What changes the machine (CPUs, cpusets, sysctls) is for a machine that nobody
 * else uses: vm_need() skips elsewhere.
 */
#ifndef SELFTESTS_NUMA_NUMA_H
#define SELFTESTS_NUMA_NUMA_H

#include "../stress/stress.h"
#include <heaparena/heaparena.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define MAX_TEST_NODES	16

struct node {
	int cpu;			/* the first of it, -1: none */
	int dist[MAX_TEST_NODES];
};

static struct node nodes[MAX_TEST_NODES];
static unsigned int nr_nodes;

/* The first @size - 1 bytes of a file, as a string; false if it cannot be read. */
static __maybe bool file_read(char *buf, size_t size, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0, r;

	if (fd < 0)
		return false;
	while ((size_t)n < size - 1 && (r = read(fd, buf + n, size - 1 - n)) > 0)
		n += r;
	close(fd);
	buf[n] = '\0';
	return true;
}

static __maybe __printf(2, 3) bool file_write(const char *text, const char *fmt, ...)
{
	char path[256];
	va_list ap;
	bool done;
	int fd;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return done;
}

/* A node's file under /sys, whole. */
static __maybe bool node_file(char *buf, size_t size, unsigned int n, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/%s", n, name);
	return file_read(buf, size, path);
}

static __maybe void nodes_read(void)
{
	char buf[4096], *p;

	for (nr_nodes = 0; nr_nodes < MAX_TEST_NODES; nr_nodes++) {
		struct node *n = &nodes[nr_nodes];

		if (!node_file(buf, sizeof(buf), nr_nodes, "cpulist"))
			break;
		n->cpu = buf[0] >= '0' && buf[0] <= '9' ? atoi(buf) : -1;
		if (n->cpu < 0 || !node_file(buf, sizeof(buf), nr_nodes, "distance"))
			break;
		p = buf;
		for (unsigned int m = 0; m < MAX_TEST_NODES; m++)
			n->dist[m] = strtol(p, &p, 10);
	}
	if (!nr_nodes)
		nr_nodes = 1;
}

static __maybe void nodes_need(unsigned int n)
{
	nodes_read();
	if (nr_nodes < n)
		tap_skip_all("fewer than two nodes with CPUs and memory here");
}

/* The library's figures; it is preloaded, so that its functions are looked up. */
static __maybe bool stats_get(struct ha_stats *st)
{
	int (*get)(struct ha_stats *) = dlsym(RTLD_DEFAULT, "ha_stats_get");

	st->size = sizeof(*st);
	return get && get(st) == 0;
}

static __maybe void vm_need(void)
{
	const char *vm = getenv("HA_VM");

	if (!vm || strcmp(vm, "1"))
		tap_skip_all("changes the machine: for a virtual one (make vmtest)");
}

static __maybe bool cpu_enter(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) == 0;
}

static __maybe void node_enter(unsigned int n)
{
	if (!cpu_enter(nodes[n].cpu))
		tap_bail("cannot run on CPU %d: %s", nodes[n].cpu, strerror(errno));
}

/*
 * Of a page that has been touched.  One that the kernel is moving at the moment, to
 * make room for huge pages, is on no node: it is waited for.
 */
static __maybe int page_node(const void *p)
{
	void *page = (void *)((uintptr_t)p & ~(sysconf(_SC_PAGESIZE) - 1));
	int status = -1;

	for (int i = 0; i < 1000; i++) {
		(void)*(const volatile char *)page;
		if (syscall(SYS_move_pages, 0, 1UL, &page, NULL, &status, 0))
			return -1;
		if (status != -ENOENT)
			break;
		usleep(1000);
	}
	return status < 0 ? -1 : status;
}

/* The policy of the memory at @p: its mode, and its node if it names just one. */
static __maybe int page_policy(const void *p, int *mode)
{
	unsigned long mask[16] = { 0 };
	int node = -1;

	if (syscall(SYS_get_mempolicy, mode, mask, 64UL * 16, p, MPOL_F_ADDR))
		return -1;
	for (int i = 0; i < 1024; i++) {
		if (!(mask[i / 64] >> (i % 64) & 1))
			continue;
		if (node >= 0)
			return -1;
		node = i;
	}
	return node;
}

/* What is free on a node, in KiB. */
static __maybe long node_free_kb(unsigned int n)
{
	char buf[4096], *p;

	if (!node_file(buf, sizeof(buf), n, "meminfo"))
		return -1;
	p = strstr(buf, "MemFree:");
	return p ? strtol(p + 8, NULL, 10) : -1;
}

/* The other nodes of @n, nearest first; ties in any order. */
static __maybe int node_by_distance(unsigned int n, unsigned int rank)
{
	unsigned int nearer;

	for (unsigned int m = 0; m < nr_nodes; m++) {
		nearer = 0;
		for (unsigned int k = 0; k < nr_nodes; k++)
			nearer += nodes[n].dist[k] < nodes[n].dist[m];
		if (nearer == rank)
			return m;
	}
	return -1;
}

/*
 * A hog: memory mapped and touched, on node @n as long as that has any.  Ends with
 * a few pages in a row that the kernel put elsewhere, so nothing is killed for it.
 */
#define HOG_MISSES	5

struct hog {
	char *base;
	size_t size;
	size_t used;
};

static __maybe void hog_fill(struct hog *h, unsigned int n)
{
	unsigned long mask[16] = { 0 };
	size_t page = sysconf(_SC_PAGESIZE), step = 32 * page;
	unsigned int missed = 0;

	mask[0] = 1UL << n;
	h->size = 4UL << 30;
	h->base = mmap(NULL, h->size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (h->base == MAP_FAILED)
		tap_bail("hog: %s", strerror(errno));
	madvise(h->base, h->size, MADV_NOHUGEPAGE);
	if (syscall(SYS_mbind, h->base, h->size, MPOL_PREFERRED, mask, 1025UL, 0))
		tap_bail("hog: mbind: %s", strerror(errno));
	for (h->used = 0; h->used < h->size && missed < HOG_MISSES; h->used += step) {
		for (size_t i = 0; i < step; i += page)
			h->base[h->used + i] = 1;
		if (page_node(h->base + h->used + step - page) == (int)n) {
			missed = 0;
			continue;
		}
		/* the kernel may still be at work on getting more of it */
		missed++;
		usleep(20000);
	}
}

static __maybe void hog_end(struct hog *h)
{
	munmap(h->base, h->size);
}

static __maybe const char *conf_numa(void)
{
	const char *conf = getenv("HEAPARENA_CONF");
	const char *p = conf ? strstr(conf, "numa:") : NULL;

	return p ? p + 5 : "advisory";
}

static __maybe bool conf_strict(void)
{
	return !strncmp(conf_numa(), "strict", 6);
}

#endif /* SELFTESTS_NUMA_NUMA_H */
