/* SPDX-License-Identifier: MIT */
/*
 * vfork: the child shares this thread's TLS but is not registered for rseq, so
 * its slot id goes stale and nothing would abort its sections.  mcache_id, the one
 * word that says sequences may be used, is mcache_no_area while the child runs, and
 * put back when the parent goes on.
 *
 * arm64 has no vfork system call: clone(CLONE_VM | CLONE_VFORK | SIGCHLD).  The
 * return address stays in x30, which the child cannot change for the parent; all
 * registers but x0 survive the call.
 */
#ifdef CONFIG_INTERPOSE

	.text
	.globl	vfork
	.type	vfork, %function
	.p2align 4
vfork:
	.cfi_startproc
	hint	#34			/* bti c */
	mrs	x9, tpidr_el0
	adrp	x10, :gottprel:mcache_id
	ldr	x10, [x10, #:gottprel_lo12:mcache_id]
	ldr	x11, [x9, x10]
	adrp	x12, mcache_no_area
	add	x12, x12, #:lo12:mcache_no_area
	str	x12, [x9, x10]
	mov	x0, #0x4111		/* CLONE_VM | CLONE_VFORK | SIGCHLD */
	mov	x1, #0
	mov	x2, #0
	mov	x3, #0
	mov	x4, #0
	mov	x8, #220		/* SYS_clone */
	svc	#0
	cbz	x0, 1f			/* child: stays without */
	str	x11, [x9, x10]
	cmn	x0, #4095
	b.cs	2f
1:	ret
2:	stp	x29, x30, [sp, #-32]!
	.cfi_adjust_cfa_offset 32
	.cfi_offset x29, -32
	.cfi_offset x30, -24
	neg	x0, x0
	str	x0, [sp, #16]
	bl	__errno_location
	ldr	x1, [sp, #16]
	str	w1, [x0]
	mov	x0, #-1
	ldp	x29, x30, [sp], #32
	.cfi_restore x29
	.cfi_restore x30
	.cfi_adjust_cfa_offset -32
	ret
	.cfi_endproc
	.size	vfork, . - vfork

#endif /* CONFIG_INTERPOSE */

	.section .note.GNU-stack, "", %progbits
