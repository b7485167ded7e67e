// SPDX-License-Identifier: MIT
/*
 * The critical sections of <asm/rseq.h>, and their plain forms, against a stack
 * for each magazine; then many threads on tables by CPU, with a map of owners.
 *
 * The sections run on the thread's own area and on tables of this file: nothing
 * of the allocator is behind them.
 */
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include <asm/atomic.h>
#include <asm/rseq.h>

#include "fake/heap.h"
#include "fake/unit.h"

extern const ptrdiff_t __rseq_offset __weak;

#define NR_MAGS		8
#define MAX_SLOTS	64
#define NR_THREADS	8
#define NR_TOKENS	256
#define TAG		77

/* Headers, then the slots of each. */
struct table {
	struct mag_hdr hdrs[NR_MAGS];
	struct mag_slot slots[NR_MAGS][MAX_SLOTS];
};

static void table_init(struct table *t, const unsigned int *sizes)
{
	for (unsigned int i = 0; i < NR_MAGS; i++) {
		size_t off = (char *)t->slots[i] - (char *)&t->hdrs[i];

		mag_init(&t->hdrs[i], off, sizes[i], TAG, MAG_COUNT_MAX);
	}
}

/* One interface for both forms. */
static struct mag_table hdrs, rows;
static struct table table;
static bool by_rseq;

static void lead(struct mag_table *t, unsigned int id, struct mag_hdr *to)
{
	t->row[id] = (char *)to - (char *)t;
}

static const uint32_t *id(void)
{
	return (uint32_t *)((char *)__builtin_thread_pointer() + __rseq_offset +
			    RSEQ_OFF_CPU_ID);
}

/* *called: its count has ended. */
static bool pop_counted(size_t i, struct mag_slot *out, bool *called)
{
	struct mag_hdr *h;
	bool ok;

	*called = false;
	if (!by_rseq)
		return mag_pop(table.hdrs, i, out);
	ok = rseq_mag_pop(id(), &rows, 2 * i, out, &h, called);
	check(!ok || h->tag == TAG);
	return ok;
}

static bool pop(size_t i, struct mag_slot *out)
{
	bool called;

	return pop_counted(i, out, &called);
}

static bool push(size_t i, struct mag_slot slot)
{
	if (!by_rseq)
		return mag_push(table.hdrs, i, slot);
	if ((uintptr_t)slot.obj / 16 % 2)
		return rseq_mag_push(id(), &hdrs, i << MAG_HDR_SHIFT, slot);
	check(rseq_mag_push_own(id(), &hdrs, i << MAG_HDR_SHIFT, slot,
				TAG + 1) == MAG_FOREIGN);
	return rseq_mag_push_own(id(), &hdrs, i << MAG_HDR_SHIFT, slot,
				 TAG) == MAG_DONE;
}

static size_t pop_n(size_t i, struct mag_slot *dst, size_t n)
{
	return by_rseq ? rseq_mag_pop_n(id(), &hdrs, i << MAG_HDR_SHIFT, dst, n) :
			 mag_pop_n(table.hdrs, i, dst, n);
}

static size_t push_n(size_t i, const struct mag_slot *src, size_t n)
{
	return by_rseq ? rseq_mag_push_n(id(), &hdrs, i << MAG_HDR_SHIFT, src, n) :
			 mag_push_n(table.hdrs, i, src, n);
}

/* Each id leads to the same table: one thread is alone on it wherever it runs. */
static void begin(bool rseq, const unsigned int *sizes)
{
	by_rseq = rseq;
	table_init(&table, sizes);
	for (unsigned int i = 0; i < MAX_CIDS; i++)
		lead(&hdrs, i, table.hdrs), lead(&rows, i, table.hdrs);
}

static struct mag_slot token(uintptr_t n)
{
	return (struct mag_slot){ (void *)(n * 16), (uint8_t *)(n * 3) };
}

static bool same(const struct mag_slot *a, const struct mag_slot *b, size_t n)
{
	return n == 0 || memcmp(a, b, n * sizeof(*a)) == 0;
}

static const unsigned int model_sizes[NR_MAGS] = { 0, 1, 2, 3, 16, 31, 63, 64 };

struct model {
	struct mag_slot slot[NR_MAGS][MAX_SLOTS];
	unsigned int nr[NR_MAGS];
	int64_t count[NR_MAGS];
	unsigned int floor[NR_MAGS];	/* slots from the base; the plain form lowers it */
	unsigned int limit[NR_MAGS];	/* slots from the base, model_sizes at most */
};

#define SHUT		UINT_MAX	/* a floor */

static void step_floor(struct mag_hdr *h, struct model *m, unsigned int i, unsigned int n,
		       unsigned int dice)
{
	unsigned int want = m->floor[i] < m->nr[i] ? m->floor[i] : m->nr[i];

	switch (dice) {
	case 0:
		mag_raise_floor(h);
		if (m->floor[i] != SHUT)
			m->floor[i] = m->nr[i];
		break;
	case 1:
		mag_shut(h);
		m->floor[i] = SHUT;
		break;
	case 2:
		mag_reopen(h);
		m->floor[i] = 0;
		break;
	default:
		check(mag_lower_floor(h, n) == (m->floor[i] > 0));
		m->floor[i] = m->floor[i] && want > n ? want - n : 0;
	}
	check(mag_is_shut(h) == (m->floor[i] == SHUT));
}

/* Does a pop stop there? */
static bool stops(const struct model *m, unsigned int i)
{
	return by_rseq ? m->nr[i] <= m->floor[i] : !m->nr[i];
}

static void step(struct model *m, unsigned int i, struct unit_rand *r)
{
	struct mag_slot buf[MAX_SLOTS + 8], before[MAX_SLOTS + 8];
	size_t n = rand_below(r, MAX_SLOTS + 4);
	size_t room = m->limit[i] > m->nr[i] ? m->limit[i] - m->nr[i] : 0;
	struct mag_hdr *h = &table.hdrs[i];
	bool called;
	size_t want;

	for (unsigned int k = 0; k < ARRAY_SIZE(buf); k++)
		buf[k] = token(rand_u64(r) >> 8);
	memcpy(before, buf, sizeof(buf));
	switch (rand_below(r, 7)) {
	case 0:
		check(push(i, buf[0]) == (room > 0));
		if (room)
			m->slot[i][m->nr[i]++] = buf[0];
		break;
	case 1:
		check(pop_counted(i, &buf[0], &called) == !stops(m, i));
		if (!stops(m, i)) {
			m->count[i]--;
			check(called == (by_rseq && m->count[i] < 0));
			check(same(&buf[0], &m->slot[i][--m->nr[i]], 1));
			if (!by_rseq && m->floor[i] > m->nr[i])
				m->floor[i] = m->nr[i];
		} else {
			check(!called && same(buf, before, 1));
		}
		break;
	case 2:
		want = n < room ? n : room;
		check(push_n(i, buf, n) == want);
		memcpy(&m->slot[i][m->nr[i]], buf, want * sizeof(buf[0]));
		m->nr[i] += want;
		check(same(buf, before, ARRAY_SIZE(buf)));
		break;
	case 3:
		m->count[i] = (int64_t)rand_below(r, 8) - 2;
		if (rand_below(r, 8) == 0)
			m->count[i] = rand_below(r, 2) ? MAG_COUNT_MAX : -MAG_COUNT_MAX / 2;
		check(!mag_set_count(h, h->word ^ 1, 5));
		check(mag_set_count(h, h->word, m->count[i]));
		break;
	case 4:
		step_floor(h, m, i, n, rand_below(r, 8));
		break;
	case 5:
		/* also below what is in it */
		m->limit[i] = rand_below(r, 4) ? model_sizes[i] :
			      rand_below(r, model_sizes[i] + 1);
		h->limit = h->base + m->limit[i] * MAG_SLOT_UNITS;
		break;
	default:
		want = n < m->nr[i] ? n : m->nr[i];
		check(pop_n(i, buf, n) == want);
		m->nr[i] -= want;
		check(same(buf, &m->slot[i][m->nr[i]], want));
		check(same(buf + want, before + want, ARRAY_SIZE(buf) - want));
	}
}

/* _i: plain, by sequence. */
START_TEST(model)
{
	struct unit_rand r = unit_rand(_i);
	static struct model m;

	begin(_i, model_sizes);
	for (unsigned int i = 0; i < NR_MAGS; i++)
		m.count[i] = MAG_COUNT_MAX;
	memcpy(m.limit, model_sizes, sizeof(m.limit));
	for (unsigned int k = 0; k < 80000; k++) {
		step(&m, rand_below(&r, NR_MAGS), &r);
		if (k % 64)
			continue;
		for (unsigned int i = 0; i < NR_MAGS; i++) {
			struct mag_hdr *h = &table.hdrs[i];

			check(mag_nr(h) == m.nr[i] && mag_count(h->word) == m.count[i]);
			check(m.floor[i] == SHUT ||
			      h->floor == h->base + m.floor[i] * MAG_SLOT_UNITS);
			check(mag_nr_cold(h) == (m.nr[i] < m.floor[i] ? m.nr[i] : m.floor[i]));
			check((h->limit - h->base) * 8U == m.limit[i] * MAG_SLOT_SIZE);
			check(same(mag_slot_at(h, h->base), m.slot[i],
				   m.nr[i]));
		}
	}
}
END_TEST

/* Headers of zeroes, as a slot without magazines has: everything declines. */
START_TEST(nothing)
{
	static struct mag_hdr none[NR_MAGS];
	struct mag_slot buf[4] = { token(1), token(2), token(3), token(4) };
	struct mag_slot out = token(9);

	begin(_i, model_sizes);
	memset(table.hdrs, 0, sizeof(table.hdrs));
	for (unsigned int i = 0; i < NR_MAGS; i++) {
		check(!pop(i, &out) && same(&out, &(struct mag_slot[]){ token(9) }[0], 1));
		check(!push(i, buf[0]));
		check(pop_n(i, buf, 4) == 0 && push_n(i, buf, 4) == 0);
		check(same(&buf[1], &(struct mag_slot[]){ token(2) }[0], 1));
	}
	check(memcmp(table.hdrs, none, sizeof(none)) == 0);
}
END_TEST

/* pop is led to the row of the node, the others count from node 0's. */
START_TEST(own_row)
{
	struct mag_slot out;

	begin(true, model_sizes);
	for (unsigned int i = 0; i < MAX_CIDS; i++)
		lead(&rows, i, &table.hdrs[4]);
	check(push(5, token(5)) && push(1, token(1)));
	check(pop(1, &out) && same(&out, &(struct mag_slot[]){ token(5) }[0], 1));
	check(!pop(1, &out) && pop_n(1, &out, 1) == 1);
	check(same(&out, &(struct mag_slot[]){ token(1) }[0], 1));
}
END_TEST

/*
 * Tokens go round between tables by CPU and threads that move; each has one
 * holder: a thread, or a slot below a magazine's top.
 */
static struct {
	struct table *by_cpu;
	uint32_t holders[NR_TOKENS];	/* (a) threads that have it: 0 or 1 */
	unsigned long moved;		/* (a) slots through sections */
	unsigned long popped;		/* (a) of them one at a time */
	unsigned long migrations;	/* (a) */
} storm;

static void got(const struct mag_slot *slots, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uintptr_t t = (uintptr_t)slots[i].obj / 16;
		struct mag_slot want = token(t);

		check(t < NR_TOKENS && same(&slots[i], &want, 1));
		check(atomic_fetch_add_relaxed(&storm.holders[t], 1) == 0);
	}
	atomic_add_relaxed(&storm.moved, n);
}

static void giving(const struct mag_slot *slots, size_t n, int by)
{
	for (size_t i = 0; i < n; i++)
		atomic_add_relaxed(&storm.holders[(uintptr_t)slots[i].obj / 16], by);
}

static void hop(const cpu_set_t *all, struct unit_rand *r)
{
	unsigned int cpu = rand_below(r, CPU_COUNT(all));
	cpu_set_t one;

	CPU_ZERO(&one);
	for (unsigned int i = 0;; i++) {
		if (CPU_ISSET(i, all) && cpu-- == 0) {
			CPU_SET(i, &one);
			break;
		}
	}
	check(pthread_setaffinity_np(pthread_self(), sizeof(one), &one) == 0);
	atomic_add_relaxed(&storm.migrations, 1);
}

/* Up to the first @n of what the thread has, at the end of @mine. */
static void storm_give(struct mag_slot *mine, unsigned int *nr, struct unit_rand *r)
{
	size_t mag = rand_below(r, NR_MAGS), n = 1 + rand_below(r, 8), done;

	n = n < *nr ? n : *nr;
	if (!n)
		return;
	*nr -= n;
	giving(mine + *nr, n, -1);
	if (n == 1)
		done = push(mag, mine[*nr]);
	else
		done = push_n(mag, mine + *nr, n);
	check(done <= n);
	/* what was not taken, the last ones, is still ours */
	giving(mine + *nr + done, n - done, 1);
	memmove(mine + *nr, mine + *nr + done, (n - done) * sizeof(*mine));
	*nr += n - done;
}

static const unsigned int storm_sizes[NR_MAGS] = { 1, 2, 4, 8, 16, 16, 32, 64 };

static void *storm_thread(void *arg)
{
	struct unit_rand r = unit_rand(100 + (uintptr_t)arg);
	struct mag_slot mine[NR_TOKENS];
	unsigned int nr = 0;
	cpu_set_t all;

	check(pthread_getaffinity_np(pthread_self(), sizeof(all), &all) == 0);
	for (uintptr_t t = (uintptr_t)arg; t < NR_TOKENS; t += NR_THREADS) {
		mine[nr] = token(t);
		got(&mine[nr++], 1);
	}
	for (unsigned int k = 0; k < 400000; k++) {
		size_t mag = rand_below(&r, NR_MAGS);
		size_t n = 0;

		if (k % 256 == 0)
			hop(&all, &r);
		/* of any table, whoever is in it */
		if (k % 8 == 0) {
			struct mag_hdr *h = &storm.by_cpu[rand_below(&r, 8)].hdrs[mag];

			if (rand_below(&r, 2))
				mag_raise_floor(h);
			else if (rand_below(&r, 64) == 0)
				mag_shut(h);
			else
				mag_lower_floor(h, 1 + rand_below(&r, 4));
			WRITE_ONCE(h->limit, h->base + MAG_SLOT_UNITS *
				   (rand_below(&r, 4) ? storm_sizes[mag] :
				    rand_below(&r, storm_sizes[mag] + 1)));
		}
		switch (rand_below(&r, 4)) {
		case 0:
			n = pop(mag, &mine[nr]);
			atomic_add_relaxed(&storm.popped, n);
			break;
		case 1:
			n = pop_n(mag, mine + nr, 1 + rand_below(&r, 8));
			break;
		default:
			storm_give(mine, &nr, &r);
		}
		got(mine + nr, n);
		nr += n;
	}
	giving(mine, nr, -1);
	for (unsigned int i = 0; i < nr; i++)
		check(atomic_fetch_add_relaxed(
			&storm.holders[(uintptr_t)mine[i].obj / 16], 1 << 16) == 0);
	return NULL;
}

START_TEST(storms)
{
	pthread_t t[NR_THREADS];
	uint64_t counted = 0;

	storm.by_cpu = calloc(CPU_SETSIZE, sizeof(struct table));
	check(storm.by_cpu);
	by_rseq = true;
	for (unsigned int i = 0; i < CPU_SETSIZE; i++) {
		table_init(&storm.by_cpu[i], storm_sizes);
		lead(&hdrs, i, storm.by_cpu[i].hdrs), lead(&rows, i, storm.by_cpu[i].hdrs);
	}
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		check(!pthread_create(&t[i], NULL, storm_thread, (void *)i));
	for (unsigned int i = 0; i < NR_THREADS; i++)
		check(!pthread_join(t[i], NULL));
	check(storm.moved > NR_TOKENS && storm.migrations);
	for (unsigned int i = 0; i < CPU_SETSIZE; i++) {
		for (unsigned int m = 0; m < NR_MAGS; m++) {
			struct mag_hdr *h = &storm.by_cpu[i].hdrs[m];
			unsigned int end = h->base + storm_sizes[m] * MAG_SLOT_UNITS;

			check(h->base <= h->top && h->top <= end && h->limit <= end);
			check(mag_is_shut(h) ||
			      (h->base <= h->floor && h->floor <= end));
			counted += MAG_COUNT_MAX - mag_count(h->word);
			for (uint32_t o = h->base; o < h->top; o += MAG_SLOT_UNITS) {
				uintptr_t n = (uintptr_t)mag_slot_at(h, o)->obj / 16;

				check(n < NR_TOKENS && storm.holders[n] == 0);
				storm.holders[n] = 1 << 16;
			}
		}
	}
	/* each pop once, however often its section began */
	check(counted == storm.popped);
	/* none is lost, none is there twice */
	for (unsigned int n = 0; n < NR_TOKENS; n++)
		check(storm.holders[n] == 1 << 16);
	free(storm.by_cpu);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rseq");
	TCase *tc = tcase_create("sections");
	bool has = heap_has_rseq();

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_loop_test(tc, model, 0, 1 + has);
	tcase_add_loop_test(tc, nothing, 0, 1 + has);
	if (has) {
		tcase_add_test(tc, own_row);
		tcase_add_test(tc, storms);
	} else {
		unit_skip("model, nothing, rows, storms by sequence",
			  "the kernel or the emulator has no rseq");
	}
	suite_add_tcase(s, tc);
	return unit_run(s);
}
