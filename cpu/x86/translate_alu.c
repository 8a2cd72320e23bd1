/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_alu - integer arithmetic, logic, shifts, bits (SDM volume 1 chapters 7.3.2 to 7.3.7)
 *
 * On an x86 host each of these becomes the instruction it was: one op, operands folded.
 */
#include "cpu/x86/translate_priv.h"

static IrOp *add_flagged(Tr *t, const X86Insn *i, unsigned op, unsigned size)
{
    IrOp *o = ir_add(t->b, (IrOpcode)op, tr_type(size));

    tr_flags(o, i);
    return o;
}

/* Destination that is also the first source. */
static IrOp *add_rmw(Tr *t, const X86Insn *i, unsigned op, const Val *d)
{
    IrOp *o = add_flagged(t, i, op, i->o[0].size);

    tr_set_d(o, d, i->o[0].size);
    if (i->lock)
        o->flags |= IRF_LOCK;
    return o;
}

/* ADD, OR, ADC, SBB, AND, SUB, XOR. */
void tr_alu(Tr *t, const X86Insn *i, unsigned arg)
{
    Val d = tr_val(t, i, &i->o[0], TR_RMW), s = tr_val(t, i, &i->o[1], TR_READ);
    IrOp *o = add_rmw(t, i, arg, &d);

    tr_set_b(o, &s, i->o[0].size);
    tr_store_high(t, &i->o[0], &d);
}

/* CMP, TEST. */
void tr_cmp(Tr *t, const X86Insn *i, unsigned arg)
{
    Val a = tr_val(t, i, &i->o[0], TR_READ), b = tr_val(t, i, &i->o[1], TR_READ);
    IrOp *o = add_flagged(t, i, arg, i->o[0].size);

    tr_set_a(o, &a, i->o[0].size);
    tr_set_b(o, &b, i->o[0].size);
}

/* NEG, NOT, INC, DEC. */
void tr_unary(Tr *t, const X86Insn *i, unsigned arg)
{
    Val d = tr_val(t, i, &i->o[0], TR_RMW);

    add_rmw(t, i, arg, &d);
    tr_store_high(t, &i->o[0], &d);
}

/* A count that is or may be zero keeps the flags. */
static void count_flags(IrOp *o, const X86Operand *count, unsigned size)
{
    unsigned masked = (unsigned)count->imm & (size == 8 ? 63 : 31);

    if (count->kind != X86_IMM || masked == 0)
        o->fl_in |= o->fl_out;
}

/* SHL, SHR, SAR, ROL, ROR, RCL, RCR by a constant or CL. */
void tr_shift(Tr *t, const X86Insn *i, unsigned arg)
{
    unsigned size = i->o[0].size;
    Val d = tr_val(t, i, &i->o[0], TR_RMW);
    IrOp *o = add_rmw(t, i, arg, &d);

    if (i->n < 2) {
        o->flags |= IRF_IMM;
        o->imm = 1;
    } else {
        count_flags(o, &i->o[1], size);
        if (i->o[1].kind == X86_IMM) {
            o->flags |= IRF_IMM;
            o->imm = i->o[1].imm & (size == 8 ? 63 : 31);
        } else {
            o->b = V_R(R_CX);
        }
    }
    tr_store_high(t, &i->o[0], &d);
}

/* SHLD, SHRD. */
void tr_shift_double(Tr *t, const X86Insn *i, unsigned arg)
{
    Val d = tr_val(t, i, &i->o[0], TR_RMW);
    IrOp *o = add_rmw(t, i, arg, &d);

    o->b = V_R(i->o[1].reg);
    count_flags(o, &i->o[2], i->o[0].size);
    if (i->o[2].kind == X86_IMM)
        o->imm = i->o[2].imm & (i->o[0].size == 8 ? 63 : 31);
    else
        o->c = V_R(R_CX);
}

/* MUL, one-operand IMUL, DIV, IDIV. */
void tr_mul(Tr *t, const X86Insn *i, unsigned arg)
{
    const X86Operand *x = &i->o[i->n - 1];
    Val s = tr_val(t, i, x, TR_READ);
    IrOp *o = add_flagged(t, i, arg, x->size);

    o->d = o->a = V_R(R_AX);
    if (x->size > 1)
        o->c = V_R(R_DX);
    tr_set_b(o, &s, x->size);
}

/* IMUL in all its forms.  A memory factor of the three-operand form goes through the
 * destination. */
void tr_imul(Tr *t, const X86Insn *i, unsigned arg)
{
    unsigned size = i->o[0].size;
    Val a, b;
    IrOp *o;

    if (i->n == 1) {
        tr_mul(t, i, IR_MULS);
        return;
    }
    a = tr_val(t, i, &i->o[i->n - 2], TR_READ);
    b = tr_val(t, i, &i->o[i->n - 1], TR_READ);
    if (a.kind == VAL_MEM) {
        o = ir_add(t->b, IR_MOV, tr_type(size));
        o->d = V_R(i->o[0].reg);
        tr_use_b(o, &a.mem, size);
        a = (Val){.kind = VAL_REG, .reg = V_R(i->o[0].reg)};
    }
    o = add_flagged(t, i, arg, size);
    o->d = V_R(i->o[0].reg);
    o->a = a.reg;
    tr_set_b(o, &b, size);
}

/* Bit string addressing: the operand that holds bit @reg (signed) counted from the memory
 * operand. */
static MemRef bit_string(Tr *t, const X86Insn *i, unsigned access)
{
    unsigned size = i->o[0].size, shift = size == 8 ? 3 : size == 4 ? 2 : 1;
    uint8_t v = ir_temp(t->b), reg = V_R(i->o[1].reg);
    MemRef m = tr_ea(t, i);
    IrOp *o;

    if (size < 8) {
        o = ir_add(t->b, IR_MOVSX, I64);
        o->d = v;
        o->b = reg;
        o->stype = (uint8_t)tr_type(size);
        reg = v;
    }
    o = ir_add(t->b, IR_SAR, I64); /* sets no flags of the guest */
    o->d = v;
    o->a = reg;
    o->flags |= IRF_IMM;
    o->imm = shift + 3;
    if (m.index != V_NONE) {
        m.base = tr_lea(t, &m);
        m.disp = 0;
    }
    m.index = v;
    m.scale = (uint8_t)shift;
    return tr_mem_check(t, m, size, access);
}

/* BT, BTS, BTR, BTC. */
void tr_bt(Tr *t, const X86Insn *i, unsigned arg)
{
    unsigned size = i->o[0].size, access = arg == IR_BT ? TR_READ : TR_RMW;
    bool string = i->o[0].kind == X86_MEM && i->o[1].kind == X86_GPR;
    Val d = string ? (Val){.kind = VAL_MEM, .mem = bit_string(t, i, access)}
                   : tr_val(t, i, &i->o[0], access);
    Val s = tr_val(t, i, &i->o[1], TR_READ);
    IrOp *o = add_flagged(t, i, arg, size);

    if (arg == IR_BT)
        tr_set_a(o, &d, size);
    else
        tr_set_d(o, &d, size);
    if (i->lock)
        o->flags |= IRF_LOCK;
    tr_set_b(o, &s, size);
    if (s.kind == VAL_IMM)
        o->imm &= size * 8 - 1;
}

/* BSF, BSR. */
void tr_bsf(Tr *t, const X86Insn *i, unsigned arg)
{
    Val s = tr_val(t, i, &i->o[1], TR_READ);
    IrOp *o = add_flagged(t, i, arg, i->o[0].size);

    o->d = V_R(i->o[0].reg);
    tr_set_b(o, &s, i->o[0].size);
}

/* The 16-bit form is undefined; processors give 0. */
void tr_bswap(Tr *t, const X86Insn *i, unsigned arg)
{
    unsigned size = i->o[0].size;
    IrOp *o;

    if (size == 2) {
        o = ir_add(t->b, IR_MOV, I16);
        o->flags |= IRF_IMM;
    } else {
        o = ir_add(t->b, (IrOpcode)arg, tr_type(size));
        o->a = V_R(i->o[0].reg);
    }
    o->d = V_R(i->o[0].reg);
}

void tr_setcc(Tr *t, const X86Insn *i, unsigned arg)
{
    Val d = {.kind = VAL_REG, .reg = V_R(i->o[0].reg)};
    unsigned cc = i->opcode & 15;
    IrOp *o;

    (void)arg;
    if (i->o[0].kind == X86_GPR_HI)
        d.reg = ir_temp(t->b);
    else if (i->o[0].kind == X86_MEM)
        d = tr_val(t, i, &i->o[0], TR_WRITE);
    o = ir_add(t->b, IR_SETCC, I8);
    o->cc = (uint8_t)cc;
    o->fl_in = ir_cond_flags(cc);
    if (d.kind == VAL_MEM)
        tr_use_d(o, &d.mem, 1);
    else
        o->d = d.reg;
    tr_store_high(t, &i->o[0], &d);
}

/* CLC, STC, CMC. */
void tr_setc(Tr *t, const X86Insn *i, unsigned arg)
{
    IrOp *o = ir_add(t->b, IR_SETC, I8);

    (void)i;
    o->imm = arg;
    o->fl_in = arg == 2 ? FL_ALL : FL_ALL & ~FL_CF;
    o->fl_out = FL_CF;
}

void tr_lahf(Tr *t, const X86Insn *i, unsigned arg)
{
    uint8_t v = ir_temp(t->b);
    IrOp *o = ir_add(t->b, IR_GETF, I64);

    (void)i, (void)arg;
    o->d = v;
    o->fl_in = FL_ALL;
    o = ir_add(t->b, IR_EXTH, I64);
    o->d = v;
    o->a = v;
    o = ir_add(t->b, IR_INSH, I64);
    o->d = V_R(R_AX);
    o->b = v;
}

/* AH is where the image of the flags has it. */
void tr_sahf(Tr *t, const X86Insn *i, unsigned arg)
{
    IrOp *o = ir_add(t->b, IR_SETF, I64);

    (void)i, (void)arg;
    o->a = V_R(R_AX);
    o->fl_out = FL_ALL & ~FL_OF;
}

/* AL = CF ? 0xff : 0.  Undocumented; SBB AL, AL without flags. */
void tr_salc(Tr *t, const X86Insn *i, unsigned arg)
{
    IrOp *o = ir_add(t->b, IR_SBB, I8);

    (void)i, (void)arg;
    o->d = o->a = o->b = V_R(R_AX);
    o->fl_in = FL_CF;
}

void tr_xadd(Tr *t, const X86Insn *i, unsigned arg)
{
    Val d = tr_val(t, i, &i->o[0], TR_RMW), s = tr_val(t, i, &i->o[1], TR_READ);
    IrOp *o = add_flagged(t, i, arg, i->o[0].size);

    if (d.kind == VAL_MEM)
        tr_use_d(o, &d.mem, i->o[0].size);
    else
        o->d = d.reg;
    o->b = s.reg;
    if (i->lock)
        o->flags |= IRF_LOCK;
    tr_store_high(t, &i->o[1], &s);
    tr_store_high(t, &i->o[0], &d);
}

void tr_cmpxchg(Tr *t, const X86Insn *i, unsigned arg)
{
    Val d = tr_val(t, i, &i->o[0], TR_RMW), s = tr_val(t, i, &i->o[1], TR_READ);
    IrOp *o = add_flagged(t, i, arg, i->o[0].size);

    if (d.kind == VAL_MEM)
        tr_use_d(o, &d.mem, i->o[0].size);
    else
        o->d = d.reg;
    o->a = V_R(R_AX);
    o->b = s.reg;
    if (i->lock)
        o->flags |= IRF_LOCK;
    /* AH as destination: AL, not AH, gets the old value, so the order does not matter */
    tr_store_high(t, &i->o[0], &d);
}

/* CMPXCHG8B, CMPXCHG16B. */
void tr_cmpxchg_wide(Tr *t, const X86Insn *i, unsigned arg)
{
    unsigned size = i->opsize == 8 ? 16 : 8;
    MemRef m = tr_mem(t, i, size, TR_RMW);
    IrOp *o = ir_add(t->b, (IrOpcode)arg, size == 16 ? I64 : I32);

    tr_flags(o, i);
    tr_use_d(o, &m, size);
    if (size == 16)
        o->flags |= IRF_ALIGN;
    if (i->lock)
        o->flags |= IRF_LOCK;
}

/* DAA, DAS, AAA, AAS, AAM, AAD: @arg is hlp_bcd's kind.  AAM 0 is a divide error. */
void tr_bcd(Tr *t, const X86Insn *i, unsigned arg)
{
    uint8_t imm = V_NONE;

    if (arg >= 4)
        imm = tr_const(t, (uint64_t)i->o[0].imm & 0xff);
    tr_call(t, hlp_bcd, IRC_FAST | IRC_PC | IRC_FLAGS_IN | IRC_FLAGS_OUT, V_NONE, imm, V_NONE, arg);
}

/* RDRAND, RDSEED: @arg is 1 for the latter. */
void tr_rdrand(Tr *t, const X86Insn *i, unsigned arg)
{
    uint8_t v = ir_temp(t->b);

    tr_call(t, hlp_rdrand, IRC_FLAGS_OUT, v, V_NONE, V_NONE, i->opsize | arg << 8);
    tr_mov(t, tr_type(i->opsize), V_R(i->o[0].reg), v);
}
