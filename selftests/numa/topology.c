// SPDX-License-Identifier: MIT
/*
 * What the library makes of the machine: the number of its nodes, restartable
 * sequences where the kernel and libc offer them, and the id that caches go by.
 *
 * The id shows from outside: what was freed last is handed out first, by the same
 * cache.  A thread that visits one CPU after the other meets its object again
 * where the id is the same, and another object where it differs.  One node: the
 * kernel's concurrency id where it fills one, the same for the only thread
 * wherever it runs.  Several nodes, or no such id: the CPU's number.
 */
#include "numa.h"
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/rseq.h>

#define MM_CID_OFF	24
#define FEATURE_SIZE	27	/* AT_RSEQ_FEATURE_SIZE */
#define MAX_CPUS	64

static bool has_mm_cid(void)
{
	return getauxval(FEATURE_SIZE) >= MM_CID_OFF + 4;
}

static unsigned int area_word(size_t off)
{
	const char *area = (char *)__builtin_thread_pointer() + __rseq_offset;

	return *(const volatile unsigned int *)(area + off);
}

/* The id that the library should go by, here and now. */
static unsigned int current_id(void)
{
	return area_word(nr_nodes == 1 && has_mm_cid() ? MM_CID_OFF :
			 offsetof(struct rseq, cpu_id));
}

static void check_ids(void)
{
	struct {
		unsigned int id;
		void *p;
	} seen[MAX_CPUS];
	unsigned int nr = 0, ids = 0, same = 0, wrong = 0;

	for (int cpu = 0; cpu < MAX_CPUS && cpu < sysconf(_SC_NPROCESSORS_CONF); cpu++) {
		if (!cpu_enter(cpu))
			continue;
		free(HIDE(malloc(200)));
		seen[nr].p = HIDE(malloc(200));
		seen[nr].id = current_id();
		free(seen[nr++].p);
	}
	for (unsigned int i = 0; i < nr; i++) {
		bool fresh = true;

		for (unsigned int j = 0; j < i; j++) {
			if (seen[i].id == seen[j].id)
				fresh = false;
			same += seen[i].id == seen[j].id;
			wrong += (seen[i].id == seen[j].id) != (seen[i].p == seen[j].p);
		}
		ids += fresh;
	}
	ok(wrong == 0, "%u CPUs visited, %u ids, %u pairs alike: one cache an id", nr, ids, same);
	if (nr_nodes > 1 || !has_mm_cid())
		ok(ids == nr, "the id is the CPU's number");
	else
		ok(ids < nr || nr == 1, "the id is the kernel's concurrency id");
}

/* One more than the highest node with memory, which need not have a CPU. */
static unsigned int memory_nodes(void)
{
	char buf[256], *p;

	if (!file_read(buf, sizeof(buf), "/sys/devices/system/node/has_memory"))
		return 1;
	p = strpbrk(buf, "\n");
	if (p)
		*p = '\0';
	while (p && p > buf && p[-1] >= '0' && p[-1] <= '9')
		p--;
	return p && *p ? strtoul(p, NULL, 10) + 1 : 1;
}

int main(int argc, char **argv)
{
	struct ha_stats st;
	const char *conf = getenv("HEAPARENA_CONF");

	tap_init(argc, argv);
	nodes_read();
	if (!stats_get(&st))
		tap_bail("no statistics");
	diag("%u nodes, rseq %u, libc's area %u bytes, feature size %lu, page %ld", nr_nodes,
	     st.rseq, __rseq_size, getauxval(FEATURE_SIZE), sysconf(_SC_PAGESIZE));
	if (conf && strstr(conf, "numa:"))
		tap_skip("nodes", "made up or off by option");
	else
		ok(st.nr_nodes == memory_nodes(), "the library knows %u nodes", st.nr_nodes);
	if (conf && strstr(conf, "rseq:off"))
		ok(!st.rseq, "no sequences, by option");
	else
		ok(!!st.rseq == (__rseq_size != 0), "sequences just where libc registers");
	if (st.rseq && !conf)
		check_ids();
	else
		tap_skip("ids", "no restartable sequences, or options");
	return tap_done();
}
