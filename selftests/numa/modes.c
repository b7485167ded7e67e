// SPDX-License-Identifier: MIT
/*
 * The three modes of the option numa, each in a process of its own: what the
 * library says of nodes, and what policy the kernel has for its memory.
 *
 *	advisory	nodes, memory preferred there
 *	strict		nodes, memory bound there
 *	off		one node, no policy: memory where it is touched first
 */
#include "numa.h"

static int expect_mode(void)
{
	return conf_strict() ? MPOL_BIND :
	       !strcmp(conf_numa(), "off") ? MPOL_DEFAULT : MPOL_PREFERRED;
}

/* Within the child: its results are lines of this program's. */
static int child(void)
{
	unsigned int want = expect_mode() == MPOL_DEFAULT ? 1 : nr_nodes;
	unsigned int wrong = 0, elsewhere = 0;
	struct ha_stats st;

	for (unsigned int n = 0; n < nr_nodes; n++) {
		for (size_t size = 100; size < 1000000; size = size * 10 + n) {
			char *p = malloc(size);
			int mode, node;

			if (!p)
				return 2;
			node_enter(n);
			free(p);
			p = malloc(size);
			if (!p)
				return 2;
			/* a page that nobody has touched yet */
			memset(p, 1, size);
			node = page_policy(p, &mode);
			wrong += (mode & ~MPOL_MODE_FLAGS) != expect_mode();
			elsewhere += expect_mode() != MPOL_DEFAULT && node != (int)n;
		}
	}
	if (!stats_get(&st) || st.nr_nodes != want || wrong || elsewhere)
		diag("%s: %u nodes, %u of another policy, %u elsewhere", conf_numa(), st.nr_nodes,
		     wrong, elsewhere);
	return st.nr_nodes == want && !wrong && !elsewhere ? 0 : 1;
}

static void try_mode(const char *mode, char **argv)
{
	char conf[64];
	int status;
	pid_t pid;

	snprintf(conf, sizeof(conf), "numa:%s", mode);
	pid = fork();
	if (!pid) {
		setenv("HEAPARENA_CONF", conf, 1);
		setenv("HA_MODES_CHILD", "1", 1);
		execv("/proc/self/exe", argv);
		_exit(3);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		tap_bail("no child: %s", strerror(errno));
	ok(status == 0, "numa:%s (wait status %#x)", mode, status);
}

int main(int argc, char **argv)
{
	if (getenv("HA_MODES_CHILD")) {
		nodes_read();
		return child();
	}
	tap_init(argc, argv);
	nodes_need(2);
	try_mode("advisory", argv);
	try_mode("strict", argv);
	try_mode("off", argv);
	return tap_done();
}
