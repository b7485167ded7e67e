// SPDX-License-Identifier: MIT
/*
 * strings.c - words split, joined, kept in a table and replaced
 *
 * Source of the workload: the gawk and perl programs of D. Grunwald, B. Zorn and
 * R. Henderson, "Improving the Cache Locality of Memory Allocation" (PLDI 1993):
 * an interpreter's strings, nearly all short, nearly all short-lived, with a
 * table of some that stay.
 *
 *	strings [-n words] [-o ops] [-t threads]
 *
 *	A line of 8 words is made. Each word is cut out of it (malloc), a third of
 *	them joined to the word before (realloc), all looked up in a table of -n;
 *	one in four takes the place of what stands there, the others die with the
 *	line. Lengths: 1 to 15 as a rule, 16 to 200 one time in eight.
 *
 * An operation is one word. The table is full before the clock starts.
 */
#include <string.h>

#include "bench.h"

#define NR_WORDS	8

static uint64_t nr_live = 100 * 1000, nr_ops = 4 * 1000 * 1000, nr_threads = 1;
static volatile uint64_t sink;

static size_t word_length(uint64_t r)
{
	if (!(r & 7))
		return 16 + bench_below(r, 185);
	return 1 + bench_below(r, 15);
}

static char *cut(const char *from, size_t len)
{
	char *s = malloc(len + 1);

	if (!s)
		bench_die("malloc failed");
	memcpy(s, from, len);
	s[len] = 0;
	return s;
}

static char *join(char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);

	a = realloc(a, n + m + 1);
	if (!a)
		bench_die("realloc failed");
	memcpy(a + n, b, m + 1);
	return a;
}

static uint64_t hash(const char *s)
{
	uint64_t h = 14695981039346656037ull;

	while (*s)
		h = (h ^ (unsigned char)*s++) * 1099511628211ull;
	return h ^ h >> 32;
}

/* One line: as many words as there are operations left, at most NR_WORDS. */
static uint64_t do_line(struct bench_worker *w, char *text, uint64_t left)
{
	uint64_t r, i, nr = left < NR_WORDS ? left : NR_WORDS;
	char *words[NR_WORDS];
	size_t len;

	for (i = 0; i < nr; i++) {
		r = bench_random(&w->rnd);
		len = word_length(r);
		memcpy(text, &r, sizeof(r) < len ? sizeof(r) : len);
		words[i] = cut(text, len);
		if (i && r % 3 == 0)
			words[i] = join(words[i], words[i - 1]);
	}
	for (i = 0; i < nr; i++) {
		void **slot;

		r = hash(words[i]);
		slot = &w->slots[bench_below(r << 32, w->nr_slots)];
		if (*slot && !strcmp(*slot, words[i]))
			sink++;
		if (r % 4 == 0) {
			free(*slot);
			*slot = words[i];
		} else {
			free(words[i]);
		}
	}
	return nr;
}

static void fill(struct bench_worker *w)
{
	char text[256];
	uint64_t i;

	memset(text, 'a', sizeof(text));
	for (i = 0; i < w->nr_slots; i++)
		w->slots[i] = cut(text, word_length(bench_random(&w->rnd)));
}

static void work(struct bench_worker *w)
{
	char text[256];
	uint64_t done;

	memset(text, 'b', sizeof(text));
	for (done = 0; done < w->nr_ops; )
		done += do_line(w, text, w->nr_ops - done);
}

int main(int argc, char **argv)
{
	const struct bench_option options[] = {
		{ 'n', "words", &nr_live, NULL },
		{ 'o', "ops", &nr_ops, NULL },
		{ 't', "threads", &nr_threads, NULL },
		{ 0 },
	};
	const struct bench_load load = { .name = "strings", .fill = fill, .work = work };
	const char *params = bench_options(argc, argv, options);

	if (nr_live < nr_threads)
		bench_die("need threads <= words");
	bench_run(&load, params, nr_threads, nr_live, nr_ops);
	return 0;
}
