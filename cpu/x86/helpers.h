/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * helpers - what translated code calls (IrHelper: cpu, a, b, k)
 *
 * [F] fast: general registers only, called with IRC_FAST.  [f>] needs flags in cpu->cc
 * (IRC_FLAGS_IN), [>f] writes them (IRC_FLAGS_OUT).  [pc] needs V_PC (IRC_PC).  [L] ends the block
 * by IR_LEAVE: the helper leaves V_PC at the next instruction to run and has called
 * x86_update_mode() if need be.  `len` is the instruction's length, `os` operand size in bytes (2,
 * 4, 8), packed as stated into k.  All raise their own faults.
 */
#ifndef CPU_X86_HELPERS_H
#define CPU_X86_HELPERS_H

#include "core/cpu.h"

#define HELPER(n) uint64_t n(Cpu *c, uint64_t a, uint64_t b, uint64_t k)

/* segment.c */
/* [F] a = effective address (offset), returns linear; k = seg | size << 8 | write << 16 | push
 * << 17 (#SS) | asize << 20: limit, rights, canonical */
HELPER(hlp_seg_check);
/* [F] MODE_AC: a = linear address, k = size (2, 4, 8): #AC(0) unless aligned */
HELPER(hlp_align_check);
/* [F] MODE_IOBP: a = linear address, k = size | write << 16: notes data breakpoints that the
 * access hits in DR6, for hlp_step */
HELPER(hlp_watch);
/* [F][pc] load segment register k from selector a; SS sets shadow.  Block ends by EXIT unless
 * 64-bit DS/ES */
HELPER(hlp_mov_seg);
HELPER(hlp_far_jmp);  /* [pc][L] selector a, offset b, k = os | len << 8 */
HELPER(hlp_far_call); /* [pc][L] selector a, offset b, k = os | len << 8 */
HELPER(hlp_far_ret);  /* [pc][L] k = os | imm16 << 8 */
/* [>f][f>] a = selector, b = old value of the destination; returns new; ZF.  k = os */
HELPER(hlp_lar);
HELPER(hlp_lsl);  /* likewise */
HELPER(hlp_verr); /* [>f][f>] a = selector; k = 1: VERW */
HELPER(hlp_arpl); /* [>f][f>] a = destination selector, b = source; returns new destination; ZF */
/* a = linear address of the operand, k = 0 LGDT, 1 LIDT | os << 8 | asize-mask << 16 */
HELPER(hlp_lgdt);
HELPER(hlp_sgdt); /* the same for SGDT, SIDT */
HELPER(hlp_lldt); /* a = selector */
HELPER(hlp_ltr);
/* [F] returns the selector of segment k (SEG_x; SLDT, STR, MOV from SREG, PUSH SREG) */
HELPER(hlp_sel);

/* exception.c */
/* [pc] k = vector | has_error << 8 | error << 16: a fault at this instruction (UD, GP, NM ...) */
HELPER(hlp_raise);
/* [f>][pc][L] software INT: k = vector | len << 8 | kind << 16 (0 INT n, 1 INT3, 2 INTO, 3 INT1) */
HELPER(hlp_int);
HELPER(hlp_iret); /* [F][f>][>f][pc][L] k = os */
/* [F][f>] after the one instruction of a MODE_STEP block: raises the trap if due; V_PC = k
 * first, k = ~0: V_PC is set already (never calls sync_pc: V_PC is that of the next
 * instruction).  The block ends by IR_LEAVE. */
HELPER(hlp_step);
HELPER(hlp_hlt);     /* [F] k = next pc: halts (unwinds) */
HELPER(hlp_mwait);   /* k = next pc */
HELPER(hlp_monitor); /* a = linear address */

/* system.c */
HELPER(hlp_syscall);  /* [F][f>][>f][pc][L] k = len */
HELPER(hlp_sysret);   /* [F][>f][pc][L] k = os */
HELPER(hlp_sysenter); /* [F][f>][pc][L] k = len */
HELPER(hlp_sysexit);  /* [F][pc][L] k = os */
HELPER(hlp_swapgs);   /* [F] */
HELPER(hlp_cli);      /* [F] */
/* [F] sets IF and, if it was clear, shadow; front end translates one more instruction, then
 * calls hlp_unshadow and ends the block by EXIT */
HELPER(hlp_sti);
/* [F] ends the shadow; called too behind every instruction of a MODE_STEP block that casts none */
HELPER(hlp_unshadow);
/* [F] k = 0 CLAC, 1 STAC.  Does not end the block: the soft TLB context changes underneath */
HELPER(hlp_clac);
HELPER(hlp_cld);      /* [F] k = 0 CLD, 1 STD; block ends by EXIT (DF is part of the mode) */
HELPER(hlp_pushf);    /* [F][f>] returns what PUSHF pushes; k = os */
HELPER(hlp_popf);     /* [F][f>][>f] a = value; k = os.  Block ends by EXIT */
HELPER(hlp_read_cr);  /* [F] k = number */
HELPER(hlp_write_cr); /* [F][pc] k = number, a = value.  Block ends by EXIT (k = 8: not) */
HELPER(hlp_clts);     /* [F] block ends by EXIT */
HELPER(hlp_lmsw);     /* a = value; EXIT */
HELPER(hlp_read_dr);  /* k = number */
HELPER(hlp_write_dr); /* EXIT */
HELPER(hlp_invlpg);   /* [F] a = linear address; EXIT */
HELPER(hlp_invpcid);  /* [F] a = type, b = linear address of the descriptor; EXIT */
HELPER(hlp_cpuid);    /* [F] EAX, ECX in; writes EAX..EDX */
HELPER(hlp_rdtsc);    /* [F] writes EDX:EAX; k = 1: RDTSCP, ECX too */
HELPER(hlp_rdpmc);
HELPER(hlp_rdmsr);  /* [F] ECX */
HELPER(hlp_wrmsr);  /* [F][pc] EXIT */
HELPER(hlp_xgetbv); /* [F] ECX */
HELPER(hlp_xsetbv); /* EXIT */
HELPER(hlp_rdpkru);
HELPER(hlp_wrpkru);   /* EXIT */
HELPER(hlp_rdrand);   /* [>f] k = os | seed << 8; returns the number, sets flags (CF = 1) */
HELPER(hlp_in);       /* a = port, k = size; returns value.  Checks IOPL and the TSS bitmap */
HELPER(hlp_out);      /* a = port, b = value, k = size */
HELPER(hlp_io_check); /* a = port, k = size: only the permission check (#GP) */
/* a = linear address; k = kind (0 XSAVE, 1 XSAVEOPT, 2 XSAVEC, 3 XSAVES) | os << 8; mask EDX:EAX */
HELPER(hlp_xsave);
HELPER(hlp_xrstor); /* k = kind (0 XRSTOR, 1 XRSTORS) | os << 8 */
HELPER(hlp_fxsave); /* a = linear address, k = os */
HELPER(hlp_fxrstor);
/* a = value (#GP on reserved bits).  Vectors were saved by the caller convention (not FAST) */
HELPER(hlp_ldmxcsr);
HELPER(hlp_stmxcsr); /* returns the value */
/* [F] k = XA_* bits of the row: raises #UD/#NM as CR0, CR4, XCR0 demand (front end calls it only
 * where the mode says it would raise) */
HELPER(hlp_fpu_check);
HELPER(hlp_clflush); /* a = linear address: read permission is checked */
HELPER(hlp_rsm);

/* string.c: whole REP string instructions.  k = size | adsize << 8 | rep (0, 0xf2, 0xf3) << 16 |
 * source SEG_x << 24 | len << 32. Registers in cpu->r.  Return 0: done, go on behind; 1: come
 * back to the same instruction (interrupt request, page done). */
HELPER(hlp_movs); /* [F][pc] */
HELPER(hlp_stos); /* [F][pc] */
HELPER(hlp_lods); /* [F][pc] */
HELPER(hlp_scas); /* [F][pc][f>][>f] */
HELPER(hlp_cmps); /* [F][pc][f>][>f] */
HELPER(hlp_ins);  /* [pc] */
HELPER(hlp_outs); /* [pc] */

/* bcd.c */
HELPER(hlp_bcd);   /* [F][f>][>f] k = 0 DAA 1 DAS 2 AAA 3 AAS 4 AAM 5 AAD; a = imm8 */
HELPER(hlp_enter); /* k = os | level << 8 | size << 16 */
HELPER(hlp_bound); /* a = index (sign-extended), b = linear address of the bounds, k = os; #BR */

/* x87.c.  k = opcode: (first byte & 7) << 8 | modrm.  Register forms; memory forms have a =
 * linear address of the operand, k has bit 31 and bits 16-23 = os set.  FPU instruction and data
 * pointers: b = pc of the instruction. */
HELPER(hlp_x87);       /* [F][pc] */
HELPER(hlp_x87_flags); /* [F][pc][>f] FCOMI, FUCOMI and their P forms */
HELPER(hlp_x87_cmov);  /* [F][pc][f>] FCMOVcc */
HELPER(hlp_fnstsw_ax); /* [F] returns FSW */
HELPER(hlp_fwait);     /* [F][pc] #NM, #MF */
/* mmx.c: k = X86 row number of a MMX instruction, operands packed: a = linear address (memory
 * forms) or GPR value, b = mm register | rm << 8 | is_mem << 16 | imm << 24 | bytes of memory <<
 * 32 */
HELPER(hlp_mmx); /* [F][pc] returns a value for GPR destinations */

/* translate_helpers.c */
HELPER(hlp_pusha); /* [F][pc] k = os: the whole instruction */
HELPER(hlp_popa);  /* [F][pc] */
HELPER(
    hlp_write_base); /* [F][pc] WRFSBASE, WRGSBASE: a = value, k = segment; #GP unless canonical */
HELPER(hlp_guard_most); /* [F] #GP(0) if a > k */
HELPER(hlp_bad_target); /* [L] #GP(0) of a branch that has popped k bytes */
HELPER(hlp_into);       /* [f>][pc][L] as hlp_int if OF is set, else goes on behind */
HELPER(hlp_arpl_value); /* [F] what hlp_arpl returns, without flags */
/* vector_helpers.c: vectors are in cpu->v */
HELPER(hlp_vzero); /* VZEROUPPER, VZEROALL outside 64-bit mode: registers 0 to 7 from byte k on */
/* [pc] a = base + displacement, b = segment base; k = destination | mask << 4 | index << 8 |
 * scale << 12 | (quad-word indices) << 16 | (8-byte elements) << 17 | VEX.L << 18 | (by
 * hlp_seg_check) << 19 | adsize << 20 | SEG_x << 24 */
HELPER(hlp_gather);
/* [pc] a = linear address; k = data | mask << 8 | element size << 16 | store << 24 | MMX << 25 |
 * bytes << 32 */
HELPER(hlp_maskmov);
/* [pc] a = linear address; k = opcode | (1: 66, 2: F3, 4: F2) << 8 | ModRM.reg << 16 | ModRM.rm
 * << 24 | (is memory) << 32 */
HELPER(hlp_mmx_xmm);

#endif
