// SPDX-License-Identifier: MIT
/*
 * ha leaks: what lives, by call stack, and which of it nothing points to any more.
 *
 *	ha leaks PID|CORE [--lost] [--stop] [--json] [-n N]
 *	ha leaks PID -s SIGNAL [-n N]
 *	ha leaks FILE [-n N]
 *
 * Whether an object is lost is asked of all of them (tools/ha/reach.c), so that the sums
 * are exact; the stack is known of those that a heap profile follows.  A stack's values
 * of each kind are added to the profile as further values, in its own units.
 */
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "leakreport.h"
#include "outside.h"
#include "reach.h"
#include "report.h"
#include "source.h"
#include "text.h"

#define DEFAULT_ROWS	30
#define ROUNDS		3

enum kind {
	KIND_LOST,
	KIND_INDIRECT,
	KIND_REACHED,
	NR_KINDS
};

static const struct {
	const char *title, *name, *bytes, *objects;
} kinds[NR_KINDS] = {
	[KIND_LOST] = { "definitely lost", "lost", "lost_space", "lost_objects" },
	[KIND_INDIRECT] = { "lost with them", "indirect", "indirect_space", "indirect_objects" },
	[KIND_REACHED] = { "still reachable", "reachable", "reached_space", "reached_objects" },
};

struct sum {
	uint64_t bytes;
	uint64_t objects;
};

struct report {
	struct target *t;
	struct profile p;
	struct followed_list list;
	struct reach reach;
	struct sum sum[NR_KINDS];
	struct lost **bare;		/* lost objects without a stack */
	size_t nr_bare;
	bool never;			/* there has been no profile */
};

static int followed_by_addr(const void *a, const void *b)
{
	const struct followed *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static const struct followed *find_followed(const struct followed_list *list, uint64_t addr)
{
	const struct followed key = { .addr = addr };

	return list->nr ? bsearch(&key, list->f, list->nr, sizeof(key), followed_by_addr) : NULL;
}

static struct view view_of(const struct profile *p, enum kind k)
{
	return (struct view){
		kinds[k].title, profile_type(p, kinds[k].bytes),
		profile_type(p, kinds[k].objects),
	};
}

/* The values of each kind behind those that the profile has. */
static void add_values(struct report *r)
{
	struct profile *p = &r->p;
	size_t old = p->nr_types, nr = old + 2 * NR_KINDS;
	unsigned int shift = r->list.unit_shift;
	uint64_t half = shift ? 1ULL << (shift - 1) : 0;

	p->types = realloc(p->types, nr * sizeof(*p->types));
	p->units = realloc(p->units, nr * sizeof(*p->units));
	if (!p->types || !p->units)
		exit(fail("out of memory"));
	for (int k = 0; k < NR_KINDS; k++) {
		p->types[old + 2 * k] = kinds[k].objects;
		p->types[old + 2 * k + 1] = kinds[k].bytes;
		p->units[old + 2 * k] = "count";
		p->units[old + 2 * k + 1] = "bytes";
	}
	p->nr_types = nr;
	for (size_t i = 0; i < p->nr_samples; i++) {
		int64_t *v = xalloc(nr, sizeof(*v));

		memcpy(v, p->samples[i].value, old * sizeof(*v));
		p->samples[i].value = v;
	}
	for (size_t i = 0; i < r->list.nr; i++) {
		const struct followed *f = &r->list.f[i];
		const struct lost *lost = reach_lost(&r->reach, f->addr);
		int64_t *v = p->samples[f->sample].value + old;
		enum kind k = !lost ? KIND_REACHED : lost->indirect ? KIND_INDIRECT : KIND_LOST;

		/* unsigned: what a damaged core says of weights may be anything */
		v[2 * k] = (uint64_t)v[2 * k] + f->weight;
		v[2 * k + 1] = (uint64_t)v[2 * k + 1] +
			       (uint64_t)((unsigned __int128)f->size * f->weight >> shift);
	}
	for (size_t i = 0; i < p->nr_samples; i++)
		for (int k = 0; k < NR_KINDS; k++) {
			int64_t *v = p->samples[i].value + old + 2 * k;

			*v = (int64_t)((uint64_t)*v + half) >> shift;
		}
}

static void add_sums(struct report *r)
{
	const struct reach *reach = &r->reach;

	r->sum[KIND_REACHED] = (struct sum){ reach->live_bytes, reach->nr_live };
	r->bare = xalloc(reach->nr_lost, sizeof(*r->bare));
	for (size_t i = 0; i < reach->nr_lost; i++) {
		struct lost *lost = &reach->lost[i];
		struct sum *sum = &r->sum[lost->indirect ? KIND_INDIRECT : KIND_LOST];

		sum->bytes += lost->size;
		sum->objects++;
		r->sum[KIND_REACHED].bytes -= lost->size;
		r->sum[KIND_REACHED].objects--;
		if (!find_followed(&r->list, lost->addr))
			r->bare[r->nr_bare++] = lost;
	}
}

/*
 * Text.
 */

static void print_sums(const struct report *r, FILE *f)
{
	char size[SIZE_TEXT];

	for (int k = 0; k < NR_KINDS; k++)
		fprintf(f, "%s: %s in %" PRIu64 " objects\n", kinds[k].title,
			size_text(size, r->sum[k].bytes), r->sum[k].objects);
	fputc('\n', f);
}

/* An estimate by some has no use for the rest one by one. */
static bool lists_bare(const struct report *r)
{
	return r->nr_bare && (r->p.period <= 1 || !r->list.nr);
}

static int bare_by_size(const void *a, const void *b)
{
	const struct lost *x = *(struct lost *const *)a, *y = *(struct lost *const *)b;

	if (x->indirect != y->indirect)
		return x->indirect - y->indirect;
	if (x->size != y->size)
		return x->size < y->size ? 1 : -1;
	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static void print_bare(struct report *r, size_t rows, FILE *f)
{
	size_t shown = r->nr_bare < rows ? r->nr_bare : rows;

	if (!lists_bare(r))
		return;
	qsort(r->bare, r->nr_bare, sizeof(*r->bare), bare_by_size);
	fputs("lost, allocated while there was no profile:\n", f);
	for (size_t i = 0; i < shown; i++)
		fprintf(f, "    0x%" PRIx64 "  %" PRIu64 " bytes%s\n", r->bare[i]->addr,
			r->bare[i]->size, r->bare[i]->indirect ? ", with others" : "");
	if (shown < r->nr_bare)
		fprintf(f, "    and %zu more\n", r->nr_bare - shown);
	fputc('\n', f);
}

static int64_t value_sum(const struct profile *p, int value)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < p->nr_samples && value >= 0; i++)
		sum += p->samples[i].value[value];
	return sum;
}

/* How much lives, and how that is known. */
static void print_source(const struct profile *p, int64_t live, FILE *f)
{
	char size[SIZE_TEXT];

	fprintf(f, "%s live, ", size_text(size, live));
	if (p->period == 1)
		fputs("of all that was allocated\n", f);
	else
		fprintf(f, "an estimate by a sample in %s\n", size_text(size, p->period));
	if (p->comment)
		fprintf(f, "%s\n", p->comment);
}

static void print_notes(const struct report *r, const struct leak_options *o, FILE *f)
{
	if (r->reach.nr_spans_lost)
		fprintf(f, "%" PRIu64 " spans changed too fast to be looked at\n",
			r->reach.nr_spans_lost);
	if (!r->reach.all_regs && !o->held && r->reach.nr_lost)
		fputs("registers were not looked at; --stop does, and holds the process\n", f);
	if (r->never && r->reach.nr_lost && r->t->live)
		fprintf(f, "no heap profile was started; ha prof %d start shows the stacks of what "
			"comes\n", (int)r->t->pid);
}

static void print_text(struct report *r, const struct leak_options *o, FILE *f)
{
	const struct profile *p = &r->p;

	print_sums(r, f);
	for (int k = 0; k < NR_KINDS; k++) {
		struct view v = view_of(p, k);

		if ((k == KIND_REACHED && o->lost_only) || !value_sum(p, v.objects))
			continue;
		fprintf(f, "%s:\n\n", v.title);
		report_stacks(p, &v, o->rows, f);
	}
	print_bare(r, o->rows, f);
	if (!r->never)
		print_source(p, value_sum(p, profile_type(p, "inuse_space")), f);
	print_notes(r, o, f);
}

/*
 * JSON.
 */

static json_t *json_frames(const struct sample *s)
{
	const struct frame *frames[MAX_FRAMES];
	size_t nr = sample_frames(s, frames, MAX_FRAMES);
	json_t *list = json_array();

	for (size_t i = 0; i < nr; i++) {
		json_t *o = json_pack("{ss}", "function", frames[i]->function);

		if (frames[i]->file) {
			json_object_set_new(o, "file", json_string(frames[i]->file));
			json_object_set_new(o, "line", json_integer(frames[i]->line));
		}
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *json_stacks(const struct report *r, bool lost_only)
{
	json_t *list = json_array();

	for (int k = 0; k < NR_KINDS; k++) {
		struct view v = view_of(&r->p, k);

		for (size_t i = 0; i < r->p.nr_samples; i++) {
			const struct sample *s = &r->p.samples[i];

			if (!s->value[v.bytes] || (lost_only && k == KIND_REACHED))
				continue;
			json_array_append_new(list, json_pack("{ss sI sI so}", "kind",
				kinds[k].name, "bytes", (json_int_t)s->value[v.bytes], "objects",
				(json_int_t)s->value[v.objects], "frames", json_frames(s)));
		}
	}
	return list;
}

static int print_json(const struct report *r, bool lost_only, FILE *f)
{
	json_t *o, *list = json_array();
	char *text;

	for (size_t i = 0; i < r->reach.nr_lost; i++) {
		const struct lost *lost = &r->reach.lost[i];

		json_array_append_new(list, json_pack("{sI sI ss}", "address",
			(json_int_t)lost->addr, "size", (json_int_t)lost->size, "kind",
			kinds[lost->indirect ? KIND_INDIRECT : KIND_LOST].name));
	}
	o = json_pack("{si si sb sI sI so so}", "heaparena", 1, "pid", (int)r->t->pid, "registers",
		      r->reach.all_regs, "nr_spans_lost", (json_int_t)r->reach.nr_spans_lost,
		      "sample", (json_int_t)r->p.period, "stacks", json_stacks(r, lost_only),
		      "objects", list);
	for (int k = 0; k < NR_KINDS; k++)
		json_object_set_new(o, kinds[k].name, json_pack("{sI sI}", "bytes",
			(json_int_t)r->sum[k].bytes, "objects", (json_int_t)r->sum[k].objects));
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!text)
		return fail("out of memory");
	fprintf(f, "%s\n", text);
	free(text);
	return 0;
}

int leaks_look(struct target *t, const struct layout *l, const struct leak_options *o, FILE *f)
{
	bool on, stop = o->stop && t->live;
	struct report r = { .t = t };
	struct threads held;
	int ret;

	if (stop) {
		ret = threads_read(t, l->arch, true, &held);
		if (ret)
			return ret;
	}
	ret = outside_profile(t, l, &r.p, &r.list);
	if (!ret && !outside_session(t, l, &on, &r.never))
		ret = target_failed(t, "the heap profile");
	if (!ret)
		ret = reach_find(t, l, stop ? &held : NULL, t->live && !stop ? o->rounds : 1,
				 &r.reach);
	if (stop)
		threads_free(&held);
	if (ret)
		return ret;
	add_values(&r);
	add_sums(&r);
	profile_symbolise(&r.p);
	if (o->json)
		ret = print_json(&r, o->lost_only, f);
	else
		print_text(&r, o, f);
	free(r.bare);
	reach_free(&r.reach);
	return ret;
}

int leaks_of_profile(struct profile *p, size_t rows, FILE *f)
{
	struct view v = {
		"live", profile_type(p, "inuse_space"), profile_type(p, "inuse_objects"),
	};

	if (v.bytes < 0 || v.objects < 0)
		return fail("%s: is no profile of a heap", p->path);
	print_source(p, report_stacks(p, &v, rows, f), f);
	return 0;
}

static int look_at(const char *what, const struct leak_options *o)
{
	struct layout l;
	struct target t;
	int ret = layout_open(&t, what, &l);

	if (ret)
		return ret;
	ret = leaks_look(&t, &l, o, stdout);
	target_close(&t);
	return ret;
}

static bool parse_options(int argc, char **argv, struct leak_options *o, int *signal)
{
	static const struct option words[] = {
		{ "lost", no_argument, NULL, 'l' }, { "stop", no_argument, NULL, 'S' },
		{ "json", no_argument, NULL, 'j' }, { NULL },
	};
	int c;

	*o = (struct leak_options){ .rows = DEFAULT_ROWS, .rounds = ROUNDS };
	while ((c = getopt_long(argc, argv, "n:s:", words, NULL)) != -1) {
		o->lost_only |= c == 'l';
		o->stop |= c == 'S';
		o->json |= c == 'j';
		if (c == 'n')
			o->rows = parse_number(optarg, 1UL << 30);
		else if (c == 's')
			*signal = parse_number(optarg, 64);
		if (c == '?' || !o->rows || (c == 's' && !*signal))
			return false;
	}
	return argc - optind == 1;
}

int cmd_leaks(int argc, char **argv)
{
	struct leak_options o;
	struct profile p;
	const char *what;
	int signal = 0, ret;
	pid_t pid;

	if (!parse_options(argc, argv, &o, &signal))
		return EXIT_USAGE;
	what = argv[optind];
	pid = parse_number(what, MAX_PID);
	if (!source_by_signal(pid, signal) && (pid || source_is_core(what))) {
		ret = look_at(what, &o);
	} else if (o.lost_only || o.stop || o.json) {
		return fail("%s: what is lost is not in a profile; it takes the process, or a "
			    "core file", what);
	} else {
		ret = source_profile(what, signal, &p);
		if (!ret)
			ret = leaks_of_profile(&p, o.rows, stdout);
	}
	return ret;
}
