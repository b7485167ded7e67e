// SPDX-License-Identifier: MIT
/*
 * Starting and ending the heap profile of a process that nobody has prepared for it: an
 * order is written into the one word of it that is there for that (profile_order in
 * heaparena/inspect.h), and taken by its next allocation in a slow path, or by the
 * library's background thread while that is awake.
 *
 * The order is a byte that is not zero, so that nobody sees half of one. That it was
 * taken is seen at profile_session alone: of two who order at once the last has his way,
 * and the other learns what came of it. A process that rests has no allocations to
 * profile either: its order waits for it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "order.h"

#define WAIT_MS		1000
#define POLL_MS		2

static int order_refused(struct target *t)
{
	if (errno == EPERM || errno == EACCES)
		return target_forbidden(t, "write an order into this process");
	return target_failed(t, "where orders are left");
}

/* Does it heed orders at all? */
static int order_possible(struct target *t, const struct layout *l, bool start)
{
	uint64_t check, orders;

	if (!object(t, l, O_conf_check, &check) || !object(t, l, O_conf_orders, &orders))
		return target_failed(t, "its options");
	if (!orders)
		return fail("%s: takes no orders from outside (orders:off)", t->name);
	if (start && !check)
		return fail("%s: there is no profile without misuse detection (check:off)",
			    t->name);
	return 0;
}

int order_profile(struct target *t, const struct layout *l, bool start)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000 };
	uint8_t order = value_of(l, start ? N_order_start : N_order_stop);
	uint64_t session = 0, word = 0;
	int ret = order_possible(t, l, start);

	if (ret)
		return ret;
	if (!object(t, l, O_profile_session, &session))
		return target_failed(t, "the heap profile");
	if ((session != 0) == start)
		return 0;
	if (!target_write(t, value_of(l, O_profile_order), &order, sizeof(order)))
		return order_refused(t);
	for (unsigned int ms = 0; ms < WAIT_MS; ms += POLL_MS) {
		if (!object(t, l, O_profile_order, &word) ||
		    !object(t, l, O_profile_session, &session) || target_gone(t))
			return target_failed(t, "the heap profile");
		if (!word && (session != 0) == start)
			return 0;
		nanosleep(&pause, NULL);
	}
	if (!word)
		return start ? fail("%s: has no memory for a profile, or another order ended it",
				    t->name) :
			       fail("%s: another order started it again", t->name);
	fprintf(stderr, "ha: %s: rests; the profile %s with the next allocation that its caches "
		"cannot serve\n", t->name, start ? "begins" : "ends");
	return 0;
}
