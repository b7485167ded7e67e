// SPDX-License-Identifier: MIT
/*
 * More threads than CPUs on four size classes: the scheduler preempts them
 * inside the critical sections. No object may be handed out twice.
 */
#include "storm.h"

int main(int argc, char **argv)
{
	unsigned int n;
	struct worker *w;

	tap_init(argc, argv);
	watchdog(60);
	n = storm_threads() * 2;
	w = calloc(n, sizeof(*w));
	storm_start(w, n);
	stress_run(1);
	storm_end(w, n, "preempted by each other");
	free(w);
	return tap_done();
}
