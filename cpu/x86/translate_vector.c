/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_vector - instructions that are passed through (SSE, AVX, BMI ...) and the vector
 * instructions that cannot be (SDM volume 1 chapters 9 to 14)
 */
#include "cpu/x86/opcodes.h"
#include "cpu/x86/translate_priv.h"

/* Which operand of the instruction is at @at (AT_x), or -1. */
static int operand_at(const X86Insn *i, unsigned at)
{
    for (int n = 0; n < i->n; n++)
        if (OPD_AT(i->row->opd[n]) == at)
            return n;
    return -1;
}

static uint8_t pass_reg(const X86Operand *x)
{
    return x->kind == X86_XMM ? V_X(x->reg) : V_R(x->reg);
}

/* Vector length, or operand size where that selects VEX.W, REX.W or 66. */
static IrType pass_type(const X86Insn *i)
{
    unsigned size = i->opsize == 8 ? 8 : 4;

    if (ir_pass_rows[i->row->pass].w != 2)
        return i->vex_l ? V256 : V128;
    for (int n = 0; n < i->n; n++)
        if (OPD_KIND(i->row->opd[n]) == X86_GPR && OPD_RSIZE(i->row->opd[n]) == S_v)
            size = i->opsize;
    return tr_type(size);
}

static void pass_memory(const IrPassRow *p, IrOp *o, const X86Insn *i, const MemRef *m,
                        unsigned size)
{
    if (p->b_writes)
        tr_use_d(o, m, size);
    else
        tr_use_b(o, m, size);
    if (i->row->attr & XA_ALIGN)
        o->flags |= IRF_ALIGN;
}

void tr_pass(Tr *t, const X86Insn *i)
{
    const IrPassRow *p = &ir_pass_rows[i->row->pass];
    int d = p->ext == 255 ? operand_at(i, AT_REG) : operand_at(i, AT_VVVV),
        a = p->ext == 255 ? operand_at(i, AT_VVVV) : -1;
    int b = operand_at(i, AT_RM), imm = operand_at(i, AT_IMM), is4 = operand_at(i, AT_IS4);
    MemRef m = {0};
    Val high = {0};
    IrOp *o;

    if (p->implicit & PI_ALL_V && !tr_is64(t)) {
        tr_call(t, hlp_vzero, 0, V_NONE, V_NONE, V_NONE, pass_type(i) == V256 ? 0 : 16);
        return;
    }
    if (b >= 0 && i->o[b].kind == X86_GPR_HI) /* CRC32 */
        high = tr_val(t, i, &i->o[b], TR_READ);
    else if (b >= 0 && i->o[b].kind == X86_MEM)
        m = tr_mem(t, i, i->o[b].size, p->b_writes ? TR_WRITE : TR_READ);
    o = ir_add(t->b, IR_PASS, pass_type(i));
    o->pass = i->row->pass;
    tr_flags(o, i);
    if (d >= 0)
        o->d = pass_reg(&i->o[d]);
    if (a >= 0)
        o->a = pass_reg(&i->o[a]);
    if (b >= 0 && i->o[b].kind == X86_MEM)
        pass_memory(p, o, i, &m, i->o[b].size);
    else if (b >= 0)
        o->b = i->o[b].kind == X86_GPR_HI ? high.reg : pass_reg(&i->o[b]);
    if (imm >= 0)
        o->imm = i->o[imm].imm & 0xff;
    else if (is4 >= 0)
        o->imm = i->o[is4].reg << 4;
}

/* The value is loaded before the helper checks it. */
void tr_mxcsr(Tr *t, const X86Insn *i, unsigned arg)
{
    MemRef m = tr_mem(t, i, 4, arg ? TR_WRITE : TR_READ);
    uint8_t v;

    if (arg) {
        v = ir_temp(t->b);
        tr_call(t, hlp_stmxcsr, 0, v, V_NONE, V_NONE, 0);
        tr_store(t, &m, v, 4);
    } else {
        v = tr_load(t, &m, 4);
        tr_call(t, hlp_ldmxcsr, IRC_PC, V_NONE, v, V_NONE, 0);
    }
}

/* FXSAVE, FXRSTOR: #NM if EM or TS. */
void tr_fxsave(Tr *t, const X86Insn *i, unsigned arg)
{
    if (t->mode & (MODE_EM | MODE_TS)) {
        tr_raise(t, EX_NM);
        return;
    }
    tr_call(t, arg ? hlp_fxrstor : hlp_fxsave, IRC_PC, V_NONE,
            tr_linear(t, i, 255, arg ? TR_READ : TR_WRITE), V_NONE, i->opsize);
}

/* XSAVE ... XSAVES (@arg 0..3), XRSTOR, XRSTORS (8, 9). */
void tr_xsave(Tr *t, const X86Insn *i, unsigned arg)
{
    if (!(t->mode & MODE_OSXSAVE)) {
        tr_raise(t, EX_UD);
    } else if (t->mode & MODE_TS) {
        tr_raise(t, EX_NM);
    } else {
        uint8_t a = tr_linear(t, i, 255, arg & 8 ? TR_READ : TR_WRITE);

        tr_call(t, arg & 8 ? hlp_xrstor : hlp_xsave, IRC_PC, V_NONE, a, V_NONE,
                (arg & 7) | (unsigned)i->opsize << 8);
    }
}

/* Operands of hlp_mmx: mm or xmm register of ModRM.reg, rm, immediate. */
static uint64_t mmx_pack(const X86Insn *i)
{
    int reg = operand_at(i, AT_REG), rm = operand_at(i, AT_RM), imm = operand_at(i, AT_IMM);
    uint64_t k = reg >= 0 ? i->o[reg].reg : 0;

    if (rm >= 0 && i->o[rm].kind == X86_MEM)
        k |= 1 << 16 | (uint64_t)i->o[rm].size << 32;
    else if (rm >= 0)
        k |= (uint64_t)i->o[rm].reg << 8;
    if (imm >= 0)
        k |= (uint64_t)(i->o[imm].imm & 0xff) << 24;
    return k;
}

/* Does the row write its ModRM.rm operand?  It comes first then. */
static bool mmx_stores(const X86Insn *i)
{
    return i->n && OPD_AT(i->row->opd[0]) == AT_RM;
}

void tr_mmx(Tr *t, const X86Insn *i, unsigned arg)
{
    int rm = operand_at(i, AT_RM), gpr = -1;
    uint8_t a = V_NONE, d = V_NONE;

    (void)arg;
    for (int n = 0; n < i->n; n++)
        if (i->o[n].kind == X86_GPR)
            gpr = n;
    if (rm >= 0 && i->o[rm].kind == X86_MEM)
        a = tr_linear(t, i, i->o[rm].size, mmx_stores(i) ? TR_WRITE : TR_READ);
    else if (gpr > 0)
        a = tr_read(t, i, &i->o[gpr]);
    else if (gpr == 0)
        d = ir_temp(t->b);
    tr_call(t, hlp_mmx, IRC_FAST | IRC_PC, d, a, tr_const(t, mmx_pack(i)),
            (uint64_t)(i->row - x86_row(0)));
    if (gpr == 0)
        tr_write(t, i, &i->o[gpr], d);
}

/* Between MMX and XMM registers. */
void tr_mmx_xmm(Tr *t, const X86Insn *i, unsigned arg)
{
    int rm = operand_at(i, AT_RM);
    uint64_t k = i->opcode | (i->row->select & (KEY_66 | KEY_F3 | KEY_F2)) << 8;
    uint8_t a = V_NONE;

    (void)arg;
    if (i->o[rm].kind == X86_MEM)
        a = tr_linear(t, i, i->o[rm].size, TR_READ);
    tr_call(t, hlp_mmx_xmm, IRC_PC, V_NONE, a, V_NONE, k | mmx_pack(i) << 16);
}

/* The helper forms each address: vectors of indices are its matter. */
void tr_gather(Tr *t, const X86Insn *i, unsigned arg)
{
    MemRef m = tr_ea(t, i);
    bool is_q_index = i->opcode & 1, checked = !tr_is64(t) || (t->mode & (MODE_AC | MODE_IOBP));
    uint64_t k = i->o[0].reg | (uint64_t)i->o[2].reg << 4 | (uint64_t)i->mem.index << 8 |
                 (uint64_t)i->mem.scale << 12;
    uint8_t base, seg = V_NONE;

    (void)arg;
    m.index = V_NONE;
    m.scale = 0;
    base = tr_lea(t, &m);
    if (tr_is64(t) && m.seg >= SEG_FS)
        seg = V_SEG(m.seg);
    k |= (uint64_t)is_q_index << 16 | (uint64_t)i->vex_w << 17 | (uint64_t)i->vex_l << 18 |
         (uint64_t)checked << 19;
    k |= (uint64_t)i->adsize << 20 | (uint64_t)m.seg << 24;
    tr_call(t, hlp_gather, IRC_PC, V_NONE, base, seg, k);
}

/* MASKMOVQ, MASKMOVDQU (at rDI) and VMASKMOV, VPMASKMOV. */
void tr_maskmov(Tr *t, const X86Insn *i, unsigned arg)
{
    bool is_mmx = i->row->op == X86_MASKMOVQ, is_bytes = is_mmx || i->row->op == X86_MASKMOVDQU;
    unsigned size = is_mmx     ? 8
                    : i->vex_l ? 32
                               : 16,
             element = is_bytes ? 1 : 4u << (i->opcode == 0x2d || i->opcode == 0x2f || i->vex_w);
    bool is_store = is_bytes || i->o[0].kind == X86_MEM;
    unsigned data = is_bytes || !is_store ? i->o[0].reg : i->o[2].reg, mask = i->o[1].reg;
    uint8_t a;

    (void)arg;
    if (is_bytes) {
        MemRef m = tr_mem_implicit(t, i->mem.seg, V_R(R_DI), 0, i->adsize, 1, TR_WRITE);

        a = tr_linear_of(t, &m);
    } else {
        a = tr_linear(t, i, element, is_store ? TR_WRITE : TR_READ);
    }
    tr_call(t, hlp_maskmov, IRC_PC, V_NONE, a, V_NONE,
            data | mask << 8 | element << 16 | (uint64_t)is_store << 24 | (uint64_t)is_mmx << 25 |
                (uint64_t)size << 32);
}
