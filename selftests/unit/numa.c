// SPDX-License-Identifier: MIT
/*
 * numa: orders that are permutations by distance, made-up nodes, and the node of
 * a slot.  libnuma's two answers are given here, so that any machine will do:
 * the program's own symbols come before the library's.
 */
#include <sched.h>
#include <string.h>

#include "numa.h"

#include "fake/unit.h"

/* As libnuma declares them; 0 says that a distance is not known. */
int numa_available(void);
int numa_distance(int a, int b);

static int distances[MAX_CPU_NODES][MAX_CPU_NODES];
static int available;

int numa_available(void)
{
	return available;
}

int numa_distance(int a, int b)
{
	check(available == 0);
	return distances[a][b];
}

/* Row @n names each node once and begins with @n. */
static void check_permutation(unsigned int n)
{
	uint32_t seen = 0;

	check(topo.order[n][0] == n);
	for (unsigned int i = 0; i < topo.nr_nodes; i++) {
		check(topo.order[n][i] < topo.nr_nodes);
		seen |= 1U << topo.order[n][i];
	}
	check(seen == (1U << topo.nr_nodes) - 1);
}

START_TEST(made_up)
{
	unsigned int nr = _i;

	topo_init(nr, true);
	check(topo.fake && topo.nr_nodes == nr);
	for (unsigned int n = 0; n < nr; n++)
		check_permutation(n);
	for (unsigned int slot = 0; slot < 100; slot++)
		check(topo_node_of_slot(slot) == (int)(slot % nr));
	check(topo_current_node() == 0);
	/* what libnuma says does not reach made-up nodes */
	distances[0][1] = 99;
	topo_init_late();
	for (unsigned int n = 0; n < nr; n++)
		for (unsigned int i = 0; i < nr; i++)
			check(topo.order[n][i] == (n + i) % nr);
}
END_TEST

START_TEST(switched_off)
{
	topo_init(0, false);
	check(topo.nr_nodes == 1 && !topo.fake && topo.order[0][0] == 0);
	for (unsigned int slot = 0; slot < 100; slot++)
		check(topo_node_of_slot(slot) == 0);
	check(topo_current_node() == 0);
	topo_init_late();
	check(topo.nr_nodes == 1);
}
END_TEST

START_TEST(of_this_machine)
{
	topo_init(0, true);
	check(topo.nr_nodes >= 1 && topo.nr_nodes <= MAX_NODES && !topo.fake);
	for (unsigned int n = 0; n < topo.nr_nodes; n++)
		check_permutation(n);
	check(topo_current_node() < topo.nr_nodes);
}
END_TEST

/* As topo_init() leaves it on a machine of @nr nodes. */
static void real_nodes(unsigned int nr)
{
	topo_init(nr, true);
	topo.fake = false;
}

START_TEST(by_distance)
{
	struct unit_rand r = unit_rand(1);

	for (unsigned int round = 0; round < 500; round++) {
		unsigned int nr = 2 + rand_below(&r, MAX_NODES - 1);

		real_nodes(nr);
		for (unsigned int a = 0; a < MAX_CPU_NODES; a++)
			for (unsigned int b = 0; b < nr; b++)
				distances[a][b] = rand_below(&r, 6) ?
						  10 + rand_below(&r, 30) : 0;
		topo_init_late();
		for (unsigned int n = 0; n < nr; n++) {
			int last = 0;

			check_permutation(n);
			for (unsigned int i = 1; i < nr; i++) {
				int d = distances[n][topo.order[n][i]];

				/* not known: behind all that is */
				d = d ? d : 1000;
				check(d >= last);
				last = d;
			}
		}
		/* those without memory: none of the others is nearer than their own */
		for (unsigned int n = nr; n < MAX_CPU_NODES; n++) {
			int best = distances[n][topo.near[n]];

			check(topo.near[n] < nr);
			for (unsigned int b = 0; b < nr; b++)
				check(!distances[n][b] || (best && best <= distances[n][b]));
		}
	}
}
END_TEST

START_TEST(no_libnuma)
{
	real_nodes(5);
	available = -1;
	topo_init_late();
	for (unsigned int n = 0; n < 5; n++)
		check_permutation(n);
}
END_TEST

/* Where nodes are real a slot is a CPU, and only the CPU itself knows its node. */
START_TEST(slot_is_cpu)
{
	cpu_set_t set;
	int cpu;

	real_nodes(2);
	check(sched_getaffinity(0, sizeof(set), &set) == 0);
	for (cpu = 0; !CPU_ISSET(cpu, &set); cpu++)
		;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	check(sched_setaffinity(0, sizeof(set), &set) == 0);
	check(topo_node_of_slot(cpu) == (int)topo_current_node());
	check(topo_node_of_slot(cpu + 1) == -1);
	check(topo_node_of_slot(4095) == -1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("numa");
	TCase *tc = tcase_create("topology");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, made_up, 1, MAX_NODES + 1);
	tcase_add_test(tc, switched_off);
	tcase_add_test(tc, of_this_machine);
	tcase_add_test(tc, by_distance);
	tcase_add_test(tc, no_libnuma);
	tcase_add_test(tc, slot_is_cpu);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
