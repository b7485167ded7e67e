/* SPDX-License-Identifier: MIT */
/*
 * x86_64: the critical sections of <asm-generic/rseq.h>.
 *
 * Shape of each: arm (store the descriptor's address into rseq_cs), label 1
 * starts the section, label 2 ends it behind the commit, label 4 is where the
 * kernel sends an interrupted thread; the four bytes before it are the signature
 * it checks.  The stack pointer never moves, so the unwind tables of the
 * surrounding function hold at every instruction of a section.
 *
 * `asm volatile goto`: with outputs, asm goto is not implicitly volatile in gcc
 * 12, and was seen deleted.
 *
 * @id which field of the thread's registered area is the slot id, @tab the rows by id,
 * @off the byte offset of the header meant, @twice double its index.
 * [t] is the header's word from where that is loaded.
 */
#ifndef _ASM_RSEQ_H
#define _ASM_RSEQ_H

#include <asm-generic/rseq.h>

#define RSEQ_SIGNATURE		0x53053053

#ifndef RSEQ_INJECT
#define RSEQ_INJECT(n)		/* test builds spin here to widen the races */
#endif

#define RSEQ_SECTION_BEGIN						\
	".pushsection __rseq_cs, \"aw\"\n\t"				\
	".balign 32\n\t"						\
	"3:\n\t"							\
	".long 0x0, 0x0\n\t"						\
	".quad 1f, (2f - 1f), 4f\n\t"					\
	".popsection\n\t"						\
	"movq %[id], %[h]\n\t"						\
	"andq %[align], %[h]\n\t"					\
	"leaq 3b(%%rip), %[t]\n\t"					\
	"movq %[t], 8(%[h])\n\t"					\
	"1:\n\t"							\
	RSEQ_INJECT(1)							\
	"movslq (%[id]), %[t]\n\t"					\
	"leaq %[tab], %[h]\n\t"					\
	"addq %c[row](%[h], %[t], 8), %[h]\n\t"			\
	RSEQ_INJECT(2)

#define RSEQ_TAB(id, tab)					\
	[id] "r" (id), [align] "i" (-RSEQ_AREA_ALIGN), [tab] "m" (*(tab)),	\
	[row] "i" (offsetof(struct mag_table, row))

#define RSEQ_SECTION_END						\
	"2:\n\t"							\
	".pushsection .text.unlikely, \"ax\"\n\t"			\
	/* ud1 with the signature as displacement: disassembles cleanly */ \
	".byte 0x0f, 0xb9, 0x3d\n\t"					\
	".long 0x53053053\n\t"						\
	"4:\n\t"							\
	"jmp %l[abort]\n\t"						\
	".popsection\n\t"

static __always_inline bool
rseq_mag_pop(const uint32_t *id, const struct mag_table *tab, size_t twice,
	     struct mag_slot *out, struct mag_hdr **from, bool *due)
{
	struct mag_hdr *h;
	uint64_t t, top;
	void *obj;
	uint8_t *state;

again:
	*due = false;
	asm volatile goto(
		RSEQ_SECTION_BEGIN
		"leaq (%[h], %[twice], 8), %[h]\n\t"
		"movq (%[h]), %[t]\n\t"
		"movzwl %w[t], %k[top]\n\t"
		"cmpw 8(%[h]), %w[t]\n\t"
		"jbe %l[decline]\n\t"
		"movq -16(%[h], %[top], 8), %[obj]\n\t"
		"movq -8(%[h], %[top], 8), %[state]\n\t"
		RSEQ_INJECT(3)
		"subq %[pop], %[t]\n\t"
		"movq %[t], (%[h])\n\t"
		RSEQ_SECTION_END
		"js %l[called]\n\t"
		: [t] "=&r" (t), [h] "=&r" (h), [top] "=&r" (top), [obj] "=&a" (obj),
		  [state] "=&r" (state)
		: RSEQ_TAB(id, tab), [twice] "r" (twice), [pop] "i" (MAG_POP)
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
	uint64_t t, h, top;

again:
	asm volatile goto(
		RSEQ_SECTION_BEGIN
		"addq %[off], %[h]\n\t"
		"movq (%[h]), %[t]\n\t"
		"movzwl %w[t], %k[top]\n\t"
		"cmpw 10(%[h]), %w[t]\n\t"
		"jae %l[decline]\n\t"
		"movq %[obj], (%[h], %[top], 8)\n\t"
		"movq %[state], 8(%[h], %[top], 8)\n\t"
		RSEQ_INJECT(3)
		"addq $2, %[t]\n\t"
		"movq %[t], (%[h])\n\t"
		RSEQ_SECTION_END
		: [t] "=&r" (t), [h] "=&r" (h), [top] "=&r" (top)
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
	uint64_t t, h, top;

again:
	asm volatile goto(
		RSEQ_SECTION_BEGIN
		"addq %[off], %[h]\n\t"
		"cmpb 12(%[h]), %b[tag]\n\t"
		"jne %l[foreign]\n\t"
		"movq (%[h]), %[t]\n\t"
		"movzwl %w[t], %k[top]\n\t"
		"cmpw 10(%[h]), %w[t]\n\t"
		"jae %l[decline]\n\t"
		"movq %[obj], (%[h], %[top], 8)\n\t"
		"movq %[state], 8(%[h], %[top], 8)\n\t"
		RSEQ_INJECT(3)
		"addq $2, %[t]\n\t"
		"movq %[t], (%[h])\n\t"
		RSEQ_SECTION_END
		: [t] "=&r" (t), [h] "=&r" (h), [top] "=&r" (top)
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

/* The copies run downwards, a slot at a time: %[left] is the byte count left. */
static inline size_t
rseq_mag_pop_n(const uint32_t *id, const struct mag_table *tab, size_t off,
	       struct mag_slot *dst, size_t n)
{
	uint64_t t, h, top, left, bytes;

again:
	asm volatile goto(
		RSEQ_SECTION_BEGIN
		"addq %[off], %[h]\n\t"
		"movzwl (%[h]), %k[top]\n\t"
		"movzwl 14(%[h]), %k[left]\n\t"
		"movl %k[top], %k[bytes]\n\t"
		"subl %k[left], %k[bytes]\n\t"
		"shll $3, %k[bytes]\n\t"
		"cmpq %[want], %[bytes]\n\t"
		"cmovaq %[want], %[bytes]\n\t"
		"testq %[bytes], %[bytes]\n\t"
		"jz %l[decline]\n\t"
		"leaq (%[h], %[top], 8), %[top]\n\t"
		"subq %[bytes], %[top]\n\t"
		"movq %[bytes], %[left]\n\t"
		"5:\n\t"
		"movups -16(%[top], %[left]), %%xmm0\n\t"
		"movups %%xmm0, -16(%[dst], %[left])\n\t"
		"subq $16, %[left]\n\t"
		"jnz 5b\n\t"
		"movl %k[bytes], %k[left]\n\t"
		"shrl $3, %k[left]\n\t"
		RSEQ_INJECT(3)
		"subq %[left], (%[h])\n\t"
		RSEQ_SECTION_END
		: [t] "=&r" (t), [h] "=&r" (h), [top] "=&r" (top), [left] "=&r" (left),
		  [bytes] "=&r" (bytes)
		: RSEQ_TAB(id, tab), [off] "r" (off),
		  [dst] "r" (dst), [want] "r" (n << MAG_SLOT_SHIFT)
		: "memory", "cc", "xmm0"
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
	uint64_t t, h, top, left, bytes;

again:
	asm volatile goto(
		RSEQ_SECTION_BEGIN
		"addq %[off], %[h]\n\t"
		"movzwl (%[h]), %k[top]\n\t"
		"movzwl 10(%[h]), %k[bytes]\n\t"
		"subl %k[top], %k[bytes]\n\t"
		"jbe %l[decline]\n\t"
		"shll $3, %k[bytes]\n\t"
		"cmpq %[want], %[bytes]\n\t"
		"cmovaq %[want], %[bytes]\n\t"
		"testq %[bytes], %[bytes]\n\t"
		"jz %l[decline]\n\t"
		"leaq (%[h], %[top], 8), %[top]\n\t"
		"movq %[bytes], %[left]\n\t"
		"5:\n\t"
		"movups -16(%[src], %[left]), %%xmm0\n\t"
		"movups %%xmm0, -16(%[top], %[left])\n\t"
		"subq $16, %[left]\n\t"
		"jnz 5b\n\t"
		"movl %k[bytes], %k[left]\n\t"
		"shrl $3, %k[left]\n\t"
		RSEQ_INJECT(3)
		"addq %[left], (%[h])\n\t"
		RSEQ_SECTION_END
		: [t] "=&r" (t), [h] "=&r" (h), [top] "=&r" (top), [left] "=&r" (left),
		  [bytes] "=&r" (bytes)
		: RSEQ_TAB(id, tab), [off] "r" (off),
		  [src] "r" (src), [want] "r" (n << MAG_SLOT_SHIFT)
		: "memory", "cc", "xmm0"
		: decline, abort);
	return bytes >> MAG_SLOT_SHIFT;
decline:
	return 0;
abort:
	goto again;
}

#endif /* _ASM_RSEQ_H */
