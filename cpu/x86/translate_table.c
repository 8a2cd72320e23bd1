/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_table - which function translates which mnemonic (X86K_TR rows of opcodes.def)
 */
#include "cpu/x86/translate_priv.h"

const TrRow tr_rows[X86_OP_COUNT] = {
    /* arithmetic, logic, bits */
    [X86_ADD] = { tr_alu, IR_ADD }, [X86_OR] = { tr_alu, IR_OR }, [X86_ADC] = { tr_alu, IR_ADC }, [X86_SBB] = { tr_alu, IR_SBB },
    [X86_AND] = { tr_alu, IR_AND }, [X86_SUB] = { tr_alu, IR_SUB }, [X86_XOR] = { tr_alu, IR_XOR },
    [X86_CMP] = { tr_cmp, IR_CMP }, [X86_TEST] = { tr_cmp, IR_TEST },
    [X86_INC] = { tr_unary, IR_INC }, [X86_DEC] = { tr_unary, IR_DEC }, [X86_NEG] = { tr_unary, IR_NEG }, [X86_NOT] = { tr_unary, IR_NOT },
    [X86_ROL] = { tr_shift, IR_ROL }, [X86_ROR] = { tr_shift, IR_ROR }, [X86_RCL] = { tr_shift, IR_RCL }, [X86_RCR] = { tr_shift, IR_RCR },
    [X86_SHL] = { tr_shift, IR_SHL }, [X86_SHR] = { tr_shift, IR_SHR }, [X86_SAR] = { tr_shift, IR_SAR },
    [X86_SHLD] = { tr_shift_double, IR_SHLD }, [X86_SHRD] = { tr_shift_double, IR_SHRD },
    [X86_MUL] = { tr_mul, IR_MULU }, [X86_IMUL1] = { tr_mul, IR_MULS }, [X86_DIV] = { tr_mul, IR_DIVU }, [X86_IDIV] = { tr_mul, IR_DIVS },
    [X86_IMUL] = { tr_imul, IR_IMUL },
    [X86_BT] = { tr_bt, IR_BT }, [X86_BTS] = { tr_bt, IR_BTS }, [X86_BTR] = { tr_bt, IR_BTR }, [X86_BTC] = { tr_bt, IR_BTC },
    [X86_BSF] = { tr_bsf, IR_BSF }, [X86_BSR] = { tr_bsf, IR_BSR }, [X86_BSWAP] = { tr_bswap, IR_BSWAP },
    [X86_SETCC] = { tr_setcc, 0 }, [X86_CLC] = { tr_setc, 0 }, [X86_STC] = { tr_setc, 1 }, [X86_CMC] = { tr_setc, 2 },
    [X86_LAHF] = { tr_lahf, 0 }, [X86_SAHF] = { tr_sahf, 0 }, [X86_SALC] = { tr_salc, 0 },
    [X86_XADD] = { tr_xadd, IR_XADD }, [X86_CMPXCHG] = { tr_cmpxchg, IR_CMPXCHG }, [X86_CMPXCHG2] = { tr_cmpxchg_wide, IR_CMPXCHG2 },
    [X86_DAA] = { tr_bcd, 0 }, [X86_DAS] = { tr_bcd, 1 }, [X86_AAA] = { tr_bcd, 2 }, [X86_AAS] = { tr_bcd, 3 }, [X86_AAM] = { tr_bcd, 4 },
    [X86_AAD] = { tr_bcd, 5 },
    [X86_RDRAND] = { tr_rdrand, 0 }, [X86_RDSEED] = { tr_rdrand, 1 },

    /* moves and the stack */
    [X86_MOV] = { tr_move, 0 }, [X86_MOV_TO_SREG] = { tr_move_to_segment, 0 }, [X86_MOV_FROM_SREG] = { tr_move_from_segment, 0 },
    [X86_MOVZX] = { tr_extend, IR_MOVZX }, [X86_MOVSX] = { tr_extend, IR_MOVSX }, [X86_MOVSXD] = { tr_extend, IR_MOVSX },
    [X86_MOVBE] = { tr_movbe, 0 }, [X86_LEA] = { tr_lea_insn, 0 }, [X86_XCHG] = { tr_xchg, IR_XCHG }, [X86_CMOV] = { tr_cmov, 0 },
    [X86_PUSH] = { tr_push_insn, 0 }, [X86_POP] = { tr_pop_insn, 0 }, [X86_PUSH_SREG] = { tr_push_insn, 0 }, [X86_POP_SREG] = { tr_pop_segment, 0 },
    [X86_PUSHA] = { tr_pusha, 0 }, [X86_POPA] = { tr_pusha, 1 }, [X86_PUSHF] = { tr_pushf, 0 }, [X86_POPF] = { tr_popf, 0 },
    [X86_ENTER] = { tr_enter, 0 }, [X86_LEAVE] = { tr_leave, 0 }, [X86_CBW] = { tr_convert, 0 }, [X86_CWD] = { tr_convert_sign, 0 },
    [X86_XLAT] = { tr_xlat, 0 }, [X86_NOP] = { tr_nop, 0 }, [X86_BOUND] = { tr_bound, 0 },
    [X86_LES] = { tr_load_far, SEG_ES }, [X86_LDS] = { tr_load_far, SEG_DS }, [X86_LSS] = { tr_load_far, SEG_SS },
    [X86_LFS] = { tr_load_far, SEG_FS }, [X86_LGS] = { tr_load_far, SEG_GS },

    /* control transfer */
    [X86_JCC] = { tr_jcc, 0 }, [X86_JMP] = { tr_jmp, 0 }, [X86_JMP_IND] = { tr_jmp, 0 }, [X86_JMP_FAR] = { tr_jmp_far, 0 },
    [X86_CALL] = { tr_call_insn, 0 }, [X86_CALL_IND] = { tr_call_insn, 0 }, [X86_CALL_FAR] = { tr_call_far, 0 },
    [X86_RET] = { tr_ret, 0 }, [X86_RET_FAR] = { tr_ret_far, 0 }, [X86_LOOP] = { tr_loop, 0 }, [X86_LOOPE] = { tr_loop, 1 + CC_E },
    [X86_LOOPNE] = { tr_loop, 1 + CC_NE }, [X86_JCXZ] = { tr_jcxz, 0 },
    [X86_INT] = { tr_int, 0 }, [X86_INT3] = { tr_int, 1 }, [X86_INTO] = { tr_int, 2 }, [X86_INT1] = { tr_int, 3 }, [X86_IRET] = { tr_iret, 0 },

    /* strings: @arg as in tr_string() */
    [X86_MOVS] = { tr_string, 0xa4 }, [X86_CMPS] = { tr_string, 0xa6 }, [X86_STOS] = { tr_string, 0xaa }, [X86_LODS] = { tr_string, 0xac },
    [X86_SCAS] = { tr_string, 0xae }, [X86_INS] = { tr_port_string, 0 }, [X86_OUTS] = { tr_port_string, 1 },

    /* system */
    [X86_CLI] = { tr_call_plain, TRP_CLI }, [X86_STI] = { tr_sti, 0 }, [X86_CLD] = { tr_cld, 0 }, [X86_STD] = { tr_cld, 1 },
    [X86_IN] = { tr_in, 0 }, [X86_OUT] = { tr_out, 0 }, [X86_HLT] = { tr_hlt, 0 }, [X86_MWAIT] = { tr_mwait, 0 }, [X86_MONITOR] = { tr_monitor, 0 },
    [X86_MOV_FROM_CR] = { tr_mov_cr, 0 }, [X86_MOV_TO_CR] = { tr_mov_cr, 0 }, [X86_MOV_FROM_DR] = { tr_mov_dr, 0 }, [X86_MOV_TO_DR] = { tr_mov_dr, 0 },
    [X86_LGDT] = { tr_table, 0 }, [X86_LIDT] = { tr_table, 1 }, [X86_SGDT] = { tr_table, 2 }, [X86_SIDT] = { tr_table, 3 },
    [X86_INVLPG] = { tr_invlpg, 0 }, [X86_INVPCID] = { tr_invpcid, 0 }, [X86_CLTS] = { tr_call_plain, TRP_CLTS }, [X86_LMSW] = { tr_lmsw, 0 },
    [X86_SMSW] = { tr_sldt, 0 }, [X86_SLDT] = { tr_sldt, SEG_LDT }, [X86_STR] = { tr_sldt, SEG_TR }, [X86_LLDT] = { tr_lldt, SEG_LDT },
    [X86_LTR] = { tr_lldt, SEG_TR }, [X86_LAR] = { tr_lar, 0 }, [X86_LSL] = { tr_lar, 1 }, [X86_VERR] = { tr_verr, 0 }, [X86_VERW] = { tr_verr, 1 },
    [X86_ARPL] = { tr_arpl, 0 }, [X86_SYSCALL] = { tr_syscall, 0 }, [X86_SYSRET] = { tr_sysret, 0 }, [X86_SYSENTER] = { tr_sysenter, 0 },
    [X86_SYSEXIT] = { tr_sysexit, 0 }, [X86_SWAPGS] = { tr_call_plain, TRP_SWAPGS }, [X86_CPUID] = { tr_call_plain, TRP_CPUID },
    [X86_RDTSC] = { tr_rdtsc, 0 }, [X86_RDTSCP] = { tr_rdtsc, 1 }, [X86_RDPMC] = { tr_call_plain, TRP_RDPMC },
    [X86_RDMSR] = { tr_call_plain, TRP_RDMSR }, [X86_WRMSR] = { tr_call_plain, TRP_WRMSR }, [X86_CLAC] = { tr_call_plain, TRP_CLAC },
    [X86_STAC] = { tr_call_plain, TRP_STAC }, [X86_RDPKRU] = { tr_call_plain, TRP_RDPKRU }, [X86_WRPKRU] = { tr_call_plain, TRP_WRPKRU },
    [X86_XGETBV] = { tr_call_plain, TRP_XGETBV }, [X86_XSETBV] = { tr_call_plain, TRP_XSETBV }, [X86_RSM] = { tr_call_plain, TRP_RSM },
    [X86_INVD] = { tr_nop, 0 }, [X86_WBINVD] = { tr_nop, 0 }, /* caches are coherent */
    [X86_RDFSBASE] = { tr_fsgsbase, SEG_FS }, [X86_RDGSBASE] = { tr_fsgsbase, SEG_GS }, [X86_WRFSBASE] = { tr_fsgsbase, 8 + SEG_FS },
    [X86_WRGSBASE] = { tr_fsgsbase, 8 + SEG_GS }, [X86_RDPID] = { tr_rdpid, 0 },
    [X86_LFENCE] = { tr_nop, 0 }, /* loads are in order */ [X86_MFENCE] = { tr_fence, 0 }, [X86_SFENCE] = { tr_fence, 0 },
    [X86_PAUSE] = { tr_pause, 0 }, [X86_CLFLUSH] = { tr_clflush, 0 }, [X86_CLFLUSHOPT] = { tr_clflush, 0 }, [X86_CLWB] = { tr_clflush, 0 },

    /* x87, MMX, vectors that are not passed through */
    [X86_X87] = { tr_x87, 0 }, [X86_X87_CMOV] = { tr_x87, 0 }, [X86_X87_FLAGS] = { tr_x87, 0 }, [X86_FNSTSW_AX] = { tr_x87, 0 },
    [X86_FWAIT] = { tr_fwait, 0 }, [X86_MMX_OP] = { tr_mmx, 0 }, [X86_EMMS] = { tr_mmx, 0 }, [X86_MMX_XMM] = { tr_mmx_xmm, 0 },
    [X86_LDMXCSR] = { tr_mxcsr, 0 }, [X86_STMXCSR] = { tr_mxcsr, 1 }, [X86_FXSAVE] = { tr_fxsave, 0 }, [X86_FXRSTOR] = { tr_fxsave, 1 },
    [X86_XSAVE] = { tr_xsave, 0 }, [X86_XSAVEOPT] = { tr_xsave, 1 }, [X86_XSAVEC] = { tr_xsave, 2 }, [X86_XSAVES] = { tr_xsave, 3 },
    [X86_XRSTOR] = { tr_xsave, 8 }, [X86_XRSTORS] = { tr_xsave, 9 },
    [X86_MASKMOVQ] = { tr_maskmov, 0 }, [X86_MASKMOVDQU] = { tr_maskmov, 0 }, [X86_VMASKMOV] = { tr_maskmov, 0 }, [X86_VGATHER] = { tr_gather, 0 },
};
