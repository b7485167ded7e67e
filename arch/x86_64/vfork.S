/* SPDX-License-Identifier: MIT */
/*
 * vfork: the child shares this thread's TLS but is not registered for rseq, so
 * its slot id goes stale and nothing would abort its sections.  mcache_id, the one
 * word that says sequences may be used, is mcache_no_area while the child runs, and
 * put back when the parent goes on.
 *
 * The return address is kept in a register, as the child returns through the same
 * stack slot first; system calls preserve rdi and rdx.
 */
#ifdef CONFIG_INTERPOSE

	.text
	.globl	vfork
	.type	vfork, @function
	.p2align 4
vfork:
	.cfi_startproc
	endbr64
	popq	%rdi
	.cfi_adjust_cfa_offset -8
	.cfi_register %rip, %rdi
	movq	mcache_id@gottpoff(%rip), %rsi
	movq	%fs:(%rsi), %rdx
	leaq	mcache_no_area(%rip), %rax
	movq	%rax, %fs:(%rsi)
	movl	$58, %eax		/* SYS_vfork */
	syscall
	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	.cfi_offset %rip, -8
	testl	%eax, %eax
	jz	1f			/* child: stays without */
	movq	%rdx, %fs:(%rsi)
	js	2f
1:	ret
2:	negl	%eax
	pushq	%rax
	.cfi_adjust_cfa_offset 8
	call	__errno_location@PLT
	popq	%rdx
	.cfi_adjust_cfa_offset -8
	movl	%edx, (%rax)
	movl	$-1, %eax
	ret
	.cfi_endproc
	.size	vfork, . - vfork

#endif /* CONFIG_INTERPOSE */

	.section .note.GNU-stack, "", @progbits
