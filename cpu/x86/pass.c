/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pass - rows of the instructions that x86 hosts execute one to one, from opcodes.def
 *
 * Contract of the portable functions pass_<fn>() (cpu/x86/pass_*.c; one that is absent is a NULL
 * fn, and model.c does not offer its feature on hosts that lack the instruction):
 *  - p->d is the ModRM.reg operand, p->a the VEX.vvvv operand, p->b the ModRM.rm operand; which is
 *    which in the manual's order is told by the letters in opcodes.def: V G P are d, H B are a, W E
 *    U M are b.
 *  - Legacy forms have no vvvv operand: a is then the same pointer as d.  So one function serves
 *    ADDPS and VADDPS: d = a op b, and "the rest of the register comes from a" serves ADDSS and
 *    VADDSS.
 *  - Rows with an opcode extension (row->ext != 255): d is the destination in vvvv (VPSRLW
 *    Hx,Ux,Ib; BLSR By,Ey); if they have none (legacy PSRLW Udq,Ib) d is the same pointer as b.
 *  - Any two of d, a, b may be the same pointer: read before writing.
 *  - Vectors: vl (16 or 32) bytes are operated on, bytes above vl are never touched; the caller
 *    zeroes them in the destination of VEX forms.  Rows whose first operand has letter dq and whose
 *    source is x (VCVTPD2PS) have the source's length as vl: the function zeroes from 16 up to vl.
 *    Memory operands are in b, zero-extended to 32 bytes.
 *  - A destination in ModRM.rm (stores, PEXTR) is written to b; to memory go as many bytes as the
 *    operand has.
 *  - General registers: q[0] holds all 64 bits; opsize is 4 or 8 (2 too for v operands).  The
 *    function writes the whole of q[0] as the instruction would: 32-bit results zero-extended,
 *    16-bit results merged.
 *  - imm is the immediate byte; in forms with a fourth register (VBLENDVPS) its bits 7:4 name the
 *    register cpu->v[imm >> 4], in legacy forms with an implicit XMM0 it is 0.
 *  - Implicit operands (row->implicit) are used in cpu->r and cpu->v; flags in cpu->cc: only those
 *    of the row's fl_out may change.
 *  - MXCSR is cpu->vcsr.  An unmasked exception is raised (#XM, #UD) after its flags were set there
 *    and before anything else changes.
 *
 * row->w == 2: the op's type (I16, I32, I64) gives the operand size, vl is 16.  Else the type is
 * V128 or V256 (V128 for VEX.L = 0). CRC32 with a byte register: AH..BH never reach the row (front
 * end copies them).
 */
#include "cpu/x86/opcodes.h"

#define TR(...)
#define PASS(name, fn, ...) extern __attribute__((weak)) PassFn pass_##fn;
#include "cpu/x86/opcodes.def"
#undef PASS

/* Class of the operand @o if it is at place @at. */
#define CLASS_IF(o, at)                                                                            \
    (OPD_AT(o) != (at)                                  ? 0                                        \
     : OPD_KIND(o) == X86_GPR                           ? PC_GPR                                   \
     : OPD_KIND(o) == X86_XMM || OPD_KIND(o) == X86_MEM ? PC_XMM                                   \
                                                        : 0)
#define CLASS(at, a, b, c, d)                                                                      \
    (CLASS_IF(a, at) + CLASS_IF(b, at) + CLASS_IF(c, at) + CLASS_IF(d, at))
#define IS(at, a, b, c, d)                                                                         \
    (OPD_AT(a) == (at) || OPD_AT(b) == (at) || OPD_AT(c) == (at) || OPD_AT(d) == (at))
#define IS_VY(o) (OPD_KIND(o) == X86_GPR && (OPD_RSIZE(o) == S_v || OPD_RSIZE(o) == S_y))
#define WIDTH(sel, a, b, c, d, impl)                                                               \
    (IS_VY(a) || IS_VY(b) || IS_VY(c) || IS_VY(d) || (impl)&PI_W_OPSIZE ? 2                        \
     : (sel) >> 16 & (sel)&KEY_W                                        ? 1                        \
                                                                        : 0)
#define HAS_EXT(sel) (SEL_EXT(sel) != 255)

static const IrPassRow rows[] = {
#define ROW(name, fn, map, op, sel, rw, o1, o2, o3, o4, impl)                                      \
    {#name,                                                                                        \
     SEL_PP(sel),                                                                                  \
     MAP_IS_VEX(map) ? (map)-V0F + 1 : (map)-M0F + 1,                                              \
     op,                                                                                           \
     MAP_IS_VEX(map),                                                                              \
     WIDTH(sel, o1, o2, o3, o4, impl),                                                             \
     HAS_EXT(sel) ? CLASS(AT_VVVV, o1, o2, o3, o4) : CLASS(AT_REG, o1, o2, o3, o4),                \
     HAS_EXT(sel) ? PC_NONE : CLASS(AT_VVVV, o1, o2, o3, o4),                                      \
     CLASS(AT_RM, o1, o2, o3, o4),                                                                 \
     IS(AT_IMM, o1, o2, o3, o4)   ? 1                                                              \
     : IS(AT_IS4, o1, o2, o3, o4) ? PC_IS4                                                         \
                                  : 0,                                                             \
     SEL_EXT(sel),                                                                                 \
     OPD_AT(o1) == AT_RM ? !HAS_EXT(sel) : ((rw)&RW_R) != 0,                                       \
     OPD_AT(o1) != AT_RM && (rw)&RW_W,                                                             \
     OPD_AT(o1) == AT_RM && (rw)&RW_W,                                                             \
     pass_##fn,                                                                                    \
     (uint8_t)(impl)},
#define PASS(name, fn, map, op, sel, rw, o1, o2, o3, o4, attr, feat, in, out, un, impl)            \
    ROW(name, fn, map, op, sel, RW_##rw, OPD_##o1, OPD_##o2, OPD_##o3, OPD_##o4, impl)
#include "cpu/x86/opcodes.def"
#undef PASS
#undef TR
};

const IrPassRow *const ir_pass_rows = rows;
