/* SPDX-License-Identifier: MIT */
/*
 * arm64: the critical sections of <asm-generic/rseq.h>.
 *
 * Shape of each: arm (store the descriptor's address into rseq_cs), label 1
 * starts the section, label 2 ends it behind the commit, label 4 is where the
 * kernel sends an interrupted thread; the word before it is the signature it
 * checks.  The stack pointer never moves, so the unwind tables of the surrounding
 * function hold at every instruction of a section.
 *
 * A commit is a plain store: a section only ever races with threads that ran or
 * will run on the same id, and the kernel orders those by its context switch.
 */
#ifndef _ASM_RSEQ_H
#define _ASM_RSEQ_H

#include <asm-generic/rseq.h>

/* brk #0x45E0 */
#define RSEQ_SIGNATURE		0xd428bc00

#ifndef RSEQ_INJECT
#define RSEQ_INJECT(n)		/* test builds spin here to widen the races */
#endif

#define RSEQ_SECTION_BEGIN						\
	".pushsection __rseq_cs, \"aw\"\n\t"				\
	".balign 32\n"							\
	"3:\n\t"							\
	".long 0x0, 0x0\n\t"						\
	".quad 1f, (2f - 1f), 4f\n\t"					\
	".popsection\n\t"						\
	"adrp %[h], 3b\n\t"						\
	"add %[h], %[h], :lo12:3b\n\t"					\
	"and %[word], %[id], %[align]\n\t"				\
	"str %[h], [%[word], #8]\n"					\
	"1:\n\t"							\
	RSEQ_INJECT(1)							\
	"ldrsw %[h], [%[id]]\n\t"					\
	"add %[word], %[tab], #16, lsl #12\n\t"			\
	"ldr %[h], [%[word], %[h], lsl #3]\n\t"			\
	"add %[h], %[h], %[tab]\n\t"					\
	RSEQ_INJECT(2)

#define RSEQ_TAB(id, tab)					\
	[id] "r" (id), [align] "i" (-RSEQ_AREA_ALIGN), [tab] "r" (tab)

#define RSEQ_SECTION_END						\
	"2:\n\t"							\
	".pushsection .text.unlikely, \"ax\"\n\t"			\
	"brk #0x45E0\n"							\
	"4:\n\t"							\
	"b %l[abort]\n\t"						\
	".popsection\n\t"

static __always_inline bool
rseq_mag_pop(const uint32_t *id, const struct mag_table *tab, size_t twice,
	     struct mag_slot *out, struct mag_hdr **from, bool *due)
{
	struct mag_hdr *h;
	uint64_t word, base;
	void *obj;
	uint8_t *state;

again:
	*due = false;
	asm volatile goto(
		RSEQ_SECTION_BEGIN
		"add %[h], %[h], %[twice], lsl #3\n\t"
		"ldr %[word], [%[h]]\n\t"
		"ldrh %w[base], [%[h], #8]\n\t"
		"cmp %w[base], %w[word], uxth\n\t"
		"b.hs %l[decline]\n\t"
		"add %[base], %[h], %w[word], uxth #3\n\t"
		"ldp %[obj], %[state], [%[base], #-16]\n\t"
		"sub %[word], %[word], #2\n\t"
		RSEQ_INJECT(3)
		"subs %[word], %[word], #16, lsl #12\n\t"
		"str %[word], [%[h]]\n"
		RSEQ_SECTION_END
		"b.mi %l[called]\n\t"
		: [h] "=&r" (h), [word] "=&r" (word), [base] "=&r" (base),
		  [obj] "=&r" (obj), [state] "=&r" (state)
		: RSEQ_TAB(id, tab), [twice] "r" (twice)
		: "memory", "cc"
		: decline, called, abort);
	goto popped;
called:
	*due = true;
popped:
	out->obj = obj;
	out->state = state;
	*from = h;
	return true;
decline:
	return false;
abort:
	goto again;
}

static __always_inline bool
rseq_mag_push(const uint32_t *id, const struct mag_table *tab, size_t off,
	      struct mag_slot slot)
{
	struct mag_hdr *h;
	uint64_t word, limit;

again:
	asm volatile goto(
		RSEQ_SECTION_BEGIN
		"add %[h], %[h], %[off]\n\t"
		"ldr %[word], [%[h]]\n\t"
		"ldrh %w[limit], [%[h], #10]\n\t"
		"cmp %w[limit], %w[word], uxth\n\t"
		"b.ls %l[decline]\n\t"
		"add %[limit], %[h], %w[word], uxth #3\n\t"
		"stp %[obj], %[state], [%[limit]]\n\t"
		"add %[word], %[word], #2\n\t"
		RSEQ_INJECT(3)
		"str %[word], [%[h]]\n"
		RSEQ_SECTION_END
		: [h] "=&r" (h), [word] "=&r" (word),
		  [limit] "=&r" (limit)
		: RSEQ_TAB(id, tab), [off] "r" (off),
		  [obj] "r" (slot.obj), [state] "r" (slot.state)
		: "memory", "cc"
		: decline, abort);
	return true;
decline:
	return false;
abort:
	goto again;
}

static __always_inline enum mag_result
rseq_mag_push_own(const uint32_t *id, const struct mag_table *tab, size_t off,
	      struct mag_slot slot, uint32_t tag)
{
	struct mag_hdr *h;
	uint64_t word, limit;

again:
	asm volatile goto(
		RSEQ_SECTION_BEGIN
		"add %[h], %[h], %[off]\n\t"
		"ldrb %w[limit], [%[h], #12]\n\t"
		"cmp %w[limit], %w[tag]\n\t"
		"b.ne %l[foreign]\n\t"
		"ldr %[word], [%[h]]\n\t"
		"ldrh %w[limit], [%[h], #10]\n\t"
		"cmp %w[limit], %w[word], uxth\n\t"
		"b.ls %l[decline]\n\t"
		"add %[limit], %[h], %w[word], uxth #3\n\t"
		"stp %[obj], %[state], [%[limit]]\n\t"
		"add %[word], %[word], #2\n\t"
		RSEQ_INJECT(3)
		"str %[word], [%[h]]\n"
		RSEQ_SECTION_END
		: [h] "=&r" (h), [word] "=&r" (word),
		  [limit] "=&r" (limit)
		: RSEQ_TAB(id, tab), [off] "r" (off),
		  [obj] "r" (slot.obj), [state] "r" (slot.state),
		  [tag] "r" (tag)
		: "memory", "cc"
		: decline, foreign, abort);
	return MAG_DONE;
decline:
	return MAG_FULL;
foreign:
	return MAG_FOREIGN;
abort:
	goto again;
}

/* The copies run downwards: %[left] is the byte count left. */
static inline size_t
rseq_mag_pop_n(const uint32_t *id, const struct mag_table *tab, size_t off,
	       struct mag_slot *dst, size_t n)
{
	struct mag_hdr *h;
	uint64_t word, top, left, bytes, tmp;

again:
	asm volatile goto(
		RSEQ_SECTION_BEGIN
		"add %[h], %[h], %[off]\n\t"
		"ldr %[word], [%[h]]\n\t"
		"ldrh %w[bytes], [%[h], #14]\n\t"
		"and %[top], %[word], #0xffff\n\t"
		"sub %[bytes], %[top], %[bytes]\n\t"
		"lsl %[bytes], %[bytes], #3\n\t"
		"cmp %[bytes], %[want]\n\t"
		"csel %[bytes], %[want], %[bytes], hi\n\t"
		"cbz %[bytes], %l[decline]\n\t"
		"add %[top], %[h], %[top], lsl #3\n\t"
		"sub %[top], %[top], %[bytes]\n\t"
		"mov %[left], %[bytes]\n"
		"5:\n\t"
		"sub %[left], %[left], #8\n\t"
		"ldr %[tmp], [%[top], %[left]]\n\t"
		"str %[tmp], [%[dst], %[left]]\n\t"
		"cbnz %[left], 5b\n\t"
		"sub %[word], %[word], %[bytes], lsr #3\n\t"
		RSEQ_INJECT(3)
		"str %[word], [%[h]]\n"
		RSEQ_SECTION_END
		: [h] "=&r" (h), [word] "=&r" (word), [top] "=&r" (top), [left] "=&r" (left),
		  [bytes] "=&r" (bytes), [tmp] "=&r" (tmp)
		: RSEQ_TAB(id, tab), [off] "r" (off),
		  [dst] "r" (dst), [want] "r" (n << MAG_SLOT_SHIFT)
		: "memory", "cc"
		: decline, abort);
	return bytes >> MAG_SLOT_SHIFT;
decline:
	return 0;
abort:
	goto again;
}

static inline size_t
rseq_mag_push_n(const uint32_t *id, const struct mag_table *tab, size_t off,
		const struct mag_slot *src, size_t n)
{
	struct mag_hdr *h;
	uint64_t word, top, left, bytes, tmp;

again:
	asm volatile goto(
		RSEQ_SECTION_BEGIN
		"add %[h], %[h], %[off]\n\t"
		"ldr %[word], [%[h]]\n\t"
		"ldrh %w[bytes], [%[h], #10]\n\t"
		"and %[top], %[word], #0xffff\n\t"
		"subs %[bytes], %[bytes], %[top]\n\t"
		"b.ls %l[decline]\n\t"
		"lsl %[bytes], %[bytes], #3\n\t"
		"cmp %[bytes], %[want]\n\t"
		"csel %[bytes], %[want], %[bytes], hi\n\t"
		"cbz %[bytes], %l[decline]\n\t"
		"add %[top], %[h], %[top], lsl #3\n\t"
		"mov %[left], %[bytes]\n"
		"5:\n\t"
		"sub %[left], %[left], #8\n\t"
		"ldr %[tmp], [%[src], %[left]]\n\t"
		"str %[tmp], [%[top], %[left]]\n\t"
		"cbnz %[left], 5b\n\t"
		"add %[word], %[word], %[bytes], lsr #3\n\t"
		RSEQ_INJECT(3)
		"str %[word], [%[h]]\n"
		RSEQ_SECTION_END
		: [h] "=&r" (h), [word] "=&r" (word), [top] "=&r" (top), [left] "=&r" (left),
		  [bytes] "=&r" (bytes), [tmp] "=&r" (tmp)
		: RSEQ_TAB(id, tab), [off] "r" (off),
		  [src] "r" (src), [want] "r" (n << MAG_SLOT_SHIFT)
		: "memory", "cc"
		: decline, abort);
	return bytes >> MAG_SLOT_SHIFT;
decline:
	return 0;
abort:
	goto again;
}

#endif /* _ASM_RSEQ_H */
