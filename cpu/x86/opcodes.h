/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * opcodes - the words that opcodes.def is written in (SDM vol. 2 appendix A)
 *
 * Operand codes are numbers made of fields, so that tables can be computed from them at compile
 * time.
 */
#ifndef CPU_X86_OPCODES_H
#define CPU_X86_OPCODES_H

#include "cpu/ir/ir.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/model.h"

enum { M1, M0F, M38, M3A, V0F, V38, V3A, MAP_COUNT }; /* V: VEX */
#define MAP_IS_VEX(m) ((m) >= V0F)

/*
 * Selection among the rows of one opcode: value | mask << 16 over a key of prefix and ModRM bits.
 * Rows are tried in the order of the file.
 */
enum {
    KEY_66 = 1,
    KEY_F3 = 2,
    KEY_F2 = 4,
    KEY_REG = 3 /* shift */,
    KEY_RM = 6 /* shift */,
    KEY_MOD3 = 1 << 9,
    KEY_W = 1 << 10,
    KEY_L = 1 << 11,
    KEY_64 = 1 << 12,
    KEY_B = 1 << 13 /* REX.B */
};
#define SEL(mask, value) ((uint32_t)(mask) << 16 | (uint32_t)(value))
#define SEL_ANY 0
#define SEL_NP SEL(KEY_66 | KEY_F3 | KEY_F2, 0) /* no 66, F2, F3 */
#define SEL_P66 SEL(KEY_66 | KEY_F3 | KEY_F2, KEY_66)
#define SEL_PF3 SEL(KEY_F3 | KEY_F2, KEY_F3)
#define SEL_PF2 SEL(KEY_F3 | KEY_F2, KEY_F2)
#define SEL_NF SEL(KEY_F3 | KEY_F2, 0)                 /* no F2, F3; 66 gives the operand size */
#define SEL_G(reg) SEL(7 << KEY_REG, (reg) << KEY_REG) /* ModRM.reg is part of the opcode */
#define SEL_GR(reg, rm)                                                                            \
    SEL(0x3f << KEY_REG | KEY_MOD3, (reg) << KEY_REG | (rm) << KEY_RM | KEY_MOD3)
#define SEL_W0 SEL(KEY_W, 0)
#define SEL_W1 SEL(KEY_W, KEY_W)
#define SEL_B0 SEL(KEY_B, 0)
#define SEL_EXT(sel) ((sel) >> (16 + KEY_REG) & 7 ? (sel) >> KEY_REG & 7 : 255) /* 255: none */
#define SEL_PP(sel)                                                                                \
    ((sel)&KEY_66 ? 1 : (sel)&KEY_F3 ? 2 : (sel)&KEY_F2 ? 3 : 0) /* as IrPassRow.pp */

/* Sizes: S_x. */
enum {
    S_0,
    S_b,
    S_w,
    S_d,
    S_q,
    S_t /* 10 */,
    S_dq /* 16 */,
    S_qq /* 32 */,
    S_v /* 2 4 8 */,
    S_z /* 2 4 */,
    S_y /* 4 8 */,
    S_x /* 16 32 by VEX.L */,
    S_h /* half of x */,
    S_f /* quarter */,
    S_e /* eighth */,
    S_p /* far pointer: z or v + 2 */,
    S_s /* GDTR: 6 10 */,
    S_a /* BOUND: 2 * v */,
    S_env /* FPU environment: 14 28 */,
    S_save /* 94 108 */,
    S_dw /* cmpxchg: 2 * y */,
    S_COUNT
};

/* Operand code: place | kind << 8 | size as register << 16 | size as memory << 24. */
enum {
    AT_NONE,
    AT_REG /* ModRM.reg */,
    AT_VVVV,
    AT_RM,
    AT_OPCODE /* low 3 bits */,
    AT_FIXED /* number in kind bits 4-7 */,
    AT_IMM,
    AT_SIMM,
    AT_IMM64,
    AT_ONE,
    AT_IS4,
    AT_REL,
    AT_FAR,
    AT_MOFFS,
    AT_SI,
    AT_DI
};
#define OPD(at, kind, rs, ms)                                                                      \
    ((uint32_t)(at) | (uint32_t)(kind) << 8 | (uint32_t)(rs) << 16 | (uint32_t)(ms) << 24)
#define OPD_AT(o) ((o)&0xff)
#define OPD_KIND(o) ((o) >> 8 & 15)
#define OPD_FIXED_REG(o) ((o) >> 12 & 15)
#define OPD_RSIZE(o) ((o) >> 16 & 0xff)
#define OPD_MSIZE(o) ((o) >> 24)
#define OPD_FIXED(kind, n, s) OPD(AT_FIXED, (kind) | (n) << 4, s, s)
#define OPD_SAME(at, kind, s) OPD(at, kind, s, s)

enum {
    OPD__ = 0,
/* E: ModRM.rm, register or memory; R: register only (XA_REG_ONLY rows); Exy: register of size x,
 * memory of size y */
#define E(s) OPD_E##s = OPD_SAME(AT_RM, X86_GPR, S_##s)
    E(b),
    E(w),
    E(d),
    E(q),
    E(v),
    E(y),
    OPD_Evw = OPD(AT_RM, X86_GPR, S_v, S_w),
    OPD_Edb = OPD(AT_RM, X86_GPR, S_d, S_b),
    OPD_Edw = OPD(AT_RM, X86_GPR, S_d, S_w),
    OPD_Rv = OPD_Ev,
    OPD_Rd = OPD_Ed,
    OPD_Ry = OPD_Ey,
    OPD_Rw = OPD_Ew,
#undef E
/* G: ModRM.reg; B: VEX.vvvv; Z: low opcode bits */
#define G(s) OPD_G##s = OPD_SAME(AT_REG, X86_GPR, S_##s)
    G(b),
    G(w),
    G(d),
    G(v),
    G(y),
    G(z),
#undef G
    OPD_By = OPD_SAME(AT_VVVV, X86_GPR, S_y),
    OPD_Zb = OPD_SAME(AT_OPCODE, X86_GPR, S_b),
    OPD_Zv = OPD_SAME(AT_OPCODE, X86_GPR, S_v),
    /* fixed */
    OPD_AL = OPD_FIXED(X86_GPR, R_AX, S_b),
    OPD_CL = OPD_FIXED(X86_GPR, R_CX, S_b),
    OPD_AX = OPD_FIXED(X86_GPR, R_AX, S_w),
    OPD_DX = OPD_FIXED(X86_GPR, R_DX, S_w),
    OPD_rAX = OPD_FIXED(X86_GPR, R_AX, S_v),
    OPD_zAX = OPD_FIXED(X86_GPR, R_AX, S_z),
    OPD_ES = OPD_FIXED(X86_SREG, SEG_ES, S_w),
    OPD_CS = OPD_FIXED(X86_SREG, SEG_CS, S_w),
    OPD_SS = OPD_FIXED(X86_SREG, SEG_SS, S_w),
    OPD_DS = OPD_FIXED(X86_SREG, SEG_DS, S_w),
    OPD_FS = OPD_FIXED(X86_SREG, SEG_FS, S_w),
    OPD_GS = OPD_FIXED(X86_SREG, SEG_GS, S_w),
    OPD_One = OPD(AT_ONE, X86_IMM, S_b, S_b),
    /* immediates: I zero-extended, s sign-extended; Iz sign-extended; J: branch displacement; A:
     * far pointer; O: moffs */
    OPD_Ib = OPD_SAME(AT_IMM, X86_IMM, S_b),
    OPD_Iw = OPD_SAME(AT_IMM, X86_IMM, S_w),
    OPD_sIb = OPD_SAME(AT_SIMM, X86_IMM, S_b),
    OPD_Iz = OPD_SAME(AT_SIMM, X86_IMM, S_z),
    OPD_Iv = OPD_SAME(AT_IMM64, X86_IMM, S_v),
    OPD_Jb = OPD_SAME(AT_REL, X86_REL, S_b),
    OPD_Jz = OPD_SAME(AT_REL, X86_REL, S_z),
    OPD_Ap = OPD_SAME(AT_FAR, X86_FAR, S_z),
    OPD_Ob = OPD_SAME(AT_MOFFS, X86_MEM, S_b),
    OPD_Ov = OPD_SAME(AT_MOFFS, X86_MEM, S_v),
    /* string operands: X DS:rSI, Y ES:rDI */
    OPD_Xb = OPD_SAME(AT_SI, X86_MEM, S_b),
    OPD_Xv = OPD_SAME(AT_SI, X86_MEM, S_v),
    OPD_Xz = OPD_SAME(AT_SI, X86_MEM, S_z),
    OPD_Yb = OPD_SAME(AT_DI, X86_MEM, S_b),
    OPD_Yv = OPD_SAME(AT_DI, X86_MEM, S_v),
    OPD_Yz = OPD_SAME(AT_DI, X86_MEM, S_z),
/* memory only */
#define M(s) OPD_M##s = OPD_SAME(AT_RM, X86_MEM, S_##s)
    OPD_M = OPD_SAME(AT_RM, X86_MEM, S_0),
    M(b),
    M(w),
    M(d),
    M(q),
    M(t),
    M(dq),
    M(qq),
    M(v),
    M(z),
    M(y),
    M(x),
    M(p),
    M(s),
    M(a),
    M(env),
    M(save),
    M(dw),
#undef M
    /* other registers */
    OPD_Sw = OPD_SAME(AT_REG, X86_SREG, S_w),
    OPD_Cy = OPD_SAME(AT_REG, X86_CR, S_y),
    OPD_Dy = OPD_SAME(AT_REG, X86_DR, S_y),
/* V: ModRM.reg, H: VEX.vvvv, W: ModRM.rm, U: ModRM.rm register, L: immediate bits 7:4 */
#define V(s)                                                                                       \
    OPD_V##s = OPD_SAME(AT_REG, X86_XMM, S_##s), OPD_H##s = OPD_SAME(AT_VVVV, X86_XMM, S_##s),     \
    OPD_W##s = OPD_SAME(AT_RM, X86_XMM, S_##s)
    V(d),
    V(q),
    V(dq),
    V(qq),
    V(x),
    V(h),
    OPD_Ww = OPD_SAME(AT_RM, X86_XMM, S_w),
    OPD_Wb = OPD_SAME(AT_RM, X86_XMM, S_b),
    OPD_Wf = OPD_SAME(AT_RM, X86_XMM, S_f),
    OPD_We = OPD_SAME(AT_RM, X86_XMM, S_e),
    OPD_Udq = OPD_Wdq,
    OPD_Ux = OPD_Wx,
    OPD_Lx = OPD_SAME(AT_IS4, X86_XMM, S_x),
#undef V
    /* MMX: P ModRM.reg, Q ModRM.rm, N ModRM.rm register */
    OPD_Pq = OPD_SAME(AT_REG, X86_MMX, S_q),
    OPD_Pd = OPD_SAME(AT_REG, X86_MMX, S_d),
    OPD_Qq = OPD_SAME(AT_RM, X86_MMX, S_q),
    OPD_Qd = OPD_SAME(AT_RM, X86_MMX, S_d),
    OPD_Nq = OPD_Qq,
};

/* Flag columns: FLS_<letters>. */
enum {
    FLS__ = 0,
    FLS_o = FL_OF,
    FLS_s = FL_SF,
    FLS_z = FL_ZF,
    FLS_a = FL_AF,
    FLS_p = FL_PF,
    FLS_c = FL_CF,
    FLS_oszapc = FL_ALL,
    FLS_oszap = FL_ALL & ~FL_CF,
    FLS_szapc = FL_ALL & ~FL_OF,
    FLS_oszpc = FL_ALL & ~FL_AF,
    FLS_oc = FL_OF | FL_CF,
    FLS_szap = FL_SF | FL_ZF | FL_AF | FL_PF,
    FLS_ospac = FL_ALL & ~FL_ZF,
    FLS_ospa = FL_OF | FL_SF | FL_PF | FL_AF,
    FLS_cz = FL_CF | FL_ZF,
    FLS_so = FL_SF | FL_OF,
    FLS_soz = FL_SF | FL_OF | FL_ZF,
    FLS_szp = FL_SF | FL_ZF | FL_PF,
    FLS_oac = FL_OF | FL_AF | FL_CF,
    FLS_ac = FL_AF | FL_CF,
    FLS_oszp = FL_OF | FL_SF | FL_ZF | FL_PF,
    FLS_oszc = FL_OF | FL_SF | FL_ZF | FL_CF,
    FLS_ap = FL_AF | FL_PF,
    FLS_ozc = FL_OF | FL_ZF | FL_CF,
    FLS_sap = FL_SF | FL_AF | FL_PF,
};

/* Attribute combinations. */
enum {
    T = XA_TEST,
    LOCK = XA_LOCK | XA_TEST,
    CPL0 = XA_CPL0,
    END = XA_END,
    F64 = XA_F64,
    D64 = XA_DEF64,
    S = XA_SSE | XA_TEST,
    SA = S | XA_ALIGN,
    SF = S | XA_FPEXC,
    SAF = SA | XA_FPEXC,
    A = XA_AVX | XA_TEST,
    AF = A | XA_FPEXC,
    AI = A | XA_L1_AVX2,
    AA = A | XA_ALIGN,
    A0 = A | XA_VEX_L0,
    A1 = A | XA_VEX_L1,
    MEM = XA_MEM_ONLY,
    REG = XA_REG_ONLY,
    MM = XA_MMX | XA_TEST,
    FP = XA_X87 | XA_TEST,
};

/* What a PASS row does with its first operand. */
enum { RW_R = 1, RW_W = 2, RW_RW = 3 };
enum { PI_W_OPSIZE = 1 << 15 }; /* beside PI_x: W gives an operand size though no operand has one */

#endif
