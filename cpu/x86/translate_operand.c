/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_operand - operands of x86 instructions as IR: addresses, segments, stack
 *
 * SDM volume 1 chapter 3.7 (addressing), 6.2 (stack); volume 3 chapter 5.3 (limit checks).
 * Flat segments cost nothing; others go through hlp_seg_check, which returns the linear address.
 */
#include "cpu/x86/translate_priv.h"

/* No check is needed, only (FS, GS) the base is to be added. */
static bool segment_is_plain(const Tr *t, unsigned seg, unsigned access)
{
    if (tr_is64(t))
        return true;
    if (seg >= SEG_FS)
        return t->mode & (seg == SEG_FS ? MODE_FLAT_FS : MODE_FLAT_GS);
    if (seg == SEG_CS)
        return (t->mode & MODE_FLAT_CS) && access == TR_READ;
    return t->mode & MODE_FLAT;
}

static IrOp *lea_op(Tr *t, uint8_t d, const MemRef *m, unsigned asize)
{
    IrOp *o = ir_add(t->b, IR_LEA, asize == 2 ? I16 : asize == 4 ? I32 : I64);

    o->d = d;
    o->base = m->base;
    o->index = m->index;
    o->scale = m->scale;
    o->disp = m->disp;
    o->asize = (uint8_t)asize;
    return o;
}

uint8_t tr_lea(Tr *t, const MemRef *m)
{
    uint8_t v;

    if (m->base == V_NONE && m->index == V_NONE)
        return tr_const(t, (uint64_t)m->disp & ~0ull >> (64 - 8 * m->asize));
    v = ir_temp(t->b);
    lea_op(t, v, m, m->asize)->type = I64;
    return v;
}

uint8_t tr_linear_of(Tr *t, const MemRef *m)
{
    MemRef sum = {.index = m->seg, .asize = m->flags & IRF_LIN32 ? 4 : 8};

    if (m->seg == V_NONE && m->index == V_NONE && m->disp == 0 && m->base != V_NONE &&
        m->asize == 8)
        return m->base;
    sum.base = tr_lea(t, m);
    if (m->seg != V_NONE)
        lea_op(t, sum.base, &sum, sum.asize)->type = I64;
    return sum.base;
}

MemRef tr_mem_check(Tr *t, MemRef m, unsigned size, unsigned access)
{
    unsigned seg = m.seg, rights = access == TR_READ ? 0 : 1, asize = m.asize;

    m.seg = V_NONE;
    if (segment_is_plain(t, seg, access)) {
        if (seg == SEG_FS || seg == SEG_GS) {
            m.seg = V_SEG(seg);
            m.flags = tr_is64(t) ? 0 : IRF_LIN32;
        }
        if (!(t->mode & (MODE_AC | MODE_IOBP)))
            return m;
        m.base = tr_linear_of(t, &m);
    } else {
        uint64_t k = seg | (uint64_t)MIN(size, 255u) << 8 | rights << 16 |
                     (uint64_t)(seg == SEG_SS) << 17 | asize << 20;

        m.base = tr_lea(t, &m);
        tr_call(t, hlp_seg_check, IRC_FAST, m.base, m.base, V_NONE, k);
    }
    if ((t->mode & MODE_AC) && (size == 2 || size == 4 || size == 8))
        tr_call(t, hlp_align_check, IRC_FAST, V_NONE, m.base, V_NONE, size);
    if (t->mode & MODE_IOBP)
        tr_call(t, hlp_watch, IRC_FAST, V_NONE, m.base, V_NONE, size | rights << 16);
    return (MemRef){.base = m.base, .index = V_NONE, .seg = V_NONE, .asize = 8};
}

MemRef tr_ea(Tr *t, const X86Insn *i)
{
    const X86Mem *x = &i->mem;
    MemRef m = {.base = x->base == 255 ? V_NONE : V_R(x->base),
                .index = x->index == 255 ? V_NONE : V_R(x->index),
                .scale = x->index == 255 ? 0 : x->scale,
                .seg = x->seg,
                .asize = i->adsize,
                .disp = x->disp};

    if (x->rip) {
        m.base = V_NONE;
        m.disp = (int64_t)(t->next + (uint64_t)x->disp);
    }
    if (m.base == V_NONE && m.index == V_NONE &&
        m.asize < 8) /* constants are wrapped here and now */
        m.disp &= (int64_t)(~0ull >> (64 - 8 * m.asize));
    return m;
}

MemRef tr_mem_at(Tr *t, const X86Insn *i, int64_t add, unsigned size, unsigned access)
{
    MemRef m = tr_ea(t, i);

    m.disp += add;
    return tr_mem_check(t, m, size, access);
}

MemRef tr_mem_implicit(Tr *t, unsigned seg, uint8_t base, int64_t disp, unsigned asize,
                       unsigned size, unsigned access)
{
    return tr_mem_check(t,
                        (MemRef){.base = base,
                                 .index = V_NONE,
                                 .seg = (uint8_t)seg,
                                 .asize = (uint8_t)asize,
                                 .disp = disp},
                        size, access);
}

uint8_t tr_linear(Tr *t, const X86Insn *i, unsigned size, unsigned access)
{
    MemRef m = tr_mem(t, i, size, access);

    return tr_linear_of(t, &m);
}

static void use_mem(IrOp *o, const MemRef *m, unsigned size)
{
    o->base = m->base;
    o->index = m->index;
    o->scale = m->scale;
    o->seg = m->seg;
    o->asize = m->asize;
    o->disp = m->disp;
    o->flags |= m->flags;
    o->msize = (uint8_t)size;
}

void tr_use_b(IrOp *o, const MemRef *m, unsigned size)
{
    use_mem(o, m, size);
    o->flags |= IRF_MEM_B;
}

void tr_use_d(IrOp *o, const MemRef *m, unsigned size)
{
    use_mem(o, m, size);
    o->flags |= IRF_MEM_D;
}

Val tr_val(Tr *t, const X86Insn *i, const X86Operand *x, unsigned access)
{
    Val v = {.kind = VAL_REG, .reg = V_R(x->reg), .imm = x->imm};

    if (x->kind == X86_MEM) {
        v.kind = VAL_MEM;
        v.mem = tr_mem(t, i, x->size, access);
    } else if (x->kind == X86_IMM) {
        v.kind = VAL_IMM;
    } else if (x->kind == X86_GPR_HI) {
        IrOp *o;

        v.reg = ir_temp(t->b);
        o = ir_add(t->b, IR_EXTH, I64);
        o->d = v.reg;
        o->a = V_R(x->reg & 3);
    }
    return v;
}

void tr_set_b(IrOp *o, const Val *v, unsigned size)
{
    if (v->kind == VAL_MEM) {
        tr_use_b(o, &v->mem, size);
    } else if (v->kind == VAL_IMM) {
        o->flags |= IRF_IMM;
        o->imm = sext((uint64_t)v->imm, 8 * size);
    } else {
        o->b = v->reg;
    }
}

void tr_set_a(IrOp *o, const Val *v, unsigned size)
{
    if (v->kind == VAL_MEM)
        tr_use_d(o, &v->mem, size);
    else
        o->a = v->reg;
}

void tr_set_d(IrOp *o, const Val *v, unsigned size)
{
    if (v->kind == VAL_MEM)
        tr_use_d(o, &v->mem, size);
    else
        o->d = o->a = v->reg;
}

static void insert_high(Tr *t, const X86Operand *x, uint8_t v)
{
    IrOp *o = ir_add(t->b, IR_INSH, I64);

    o->d = V_R(x->reg & 3);
    o->b = v;
}

void tr_store_high(Tr *t, const X86Operand *x, const Val *v)
{
    if (x->kind == X86_GPR_HI)
        insert_high(t, x, v->reg);
}

void tr_flags(IrOp *o, const X86Insn *i)
{
    o->fl_in = i->row->fl_in;
    o->fl_out = i->row->fl_out | i->row->fl_undef;
}

uint8_t tr_load(Tr *t, const MemRef *m, unsigned size)
{
    uint8_t v = ir_temp(t->b);
    IrOp *o = ir_add(t->b, size < 4 ? IR_MOVZX : IR_MOV, size == 8 ? I64 : I32);

    o->d = v;
    o->stype = (uint8_t)tr_type(size);
    tr_use_b(o, m, size);
    return v;
}

void tr_store(Tr *t, const MemRef *m, uint8_t v, unsigned size)
{
    IrOp *o = ir_add(t->b, IR_MOV, tr_type(size));

    tr_use_d(o, m, size);
    o->b = v;
}

void tr_mov(Tr *t, IrType type, uint8_t d, uint8_t b)
{
    IrOp *o = ir_add(t->b, IR_MOV, type);

    o->d = d;
    o->b = b;
}

void tr_mov_imm(Tr *t, uint8_t d, uint64_t imm)
{
    IrOp *o = ir_add(t->b, IR_MOV, I64);

    o->d = d;
    o->flags |= IRF_IMM;
    o->imm = (int64_t)imm;
}

uint8_t tr_const(Tr *t, uint64_t imm)
{
    uint8_t v = ir_temp(t->b);

    tr_mov_imm(t, v, imm);
    return v;
}

uint8_t tr_read(Tr *t, const X86Insn *i, const X86Operand *x)
{
    Val v = tr_val(t, i, x, TR_READ);
    uint8_t to;

    if (v.kind == VAL_MEM)
        return tr_load(t, &v.mem, x->size);
    if (v.kind == VAL_IMM)
        return tr_const(t, (uint64_t)v.imm & ~0ull >> (64 - 8 * MAX(x->size, 1)));
    if (x->kind == X86_GPR_HI || x->size == 8)
        return v.reg;
    to = ir_temp(t->b);
    if (x->size == 4) {
        tr_mov(t, I32, to, v.reg);
    } else {
        IrOp *o = ir_add(t->b, IR_MOVZX, I32);

        o->d = to;
        o->b = v.reg;
        o->stype = (uint8_t)tr_type(x->size);
    }
    return to;
}

void tr_write(Tr *t, const X86Insn *i, const X86Operand *x, uint8_t v)
{
    if (x->kind == X86_MEM) {
        MemRef m = tr_mem(t, i, x->size, TR_WRITE);

        tr_store(t, &m, v, x->size);
    } else if (x->kind == X86_GPR_HI) {
        insert_high(t, x, v);
    } else {
        tr_mov(t, tr_type(x->size), V_R(x->reg), v);
    }
}

void tr_add_reg(Tr *t, uint8_t reg, int64_t n, unsigned size)
{
    lea_op(t, reg, &(MemRef){.base = reg, .index = V_NONE, .disp = n}, size);
}

unsigned tr_stack_size(const Tr *t)
{
    return tr_is64(t) ? 8 : t->mode & MODE_SS32 ? 4 : 2;
}

MemRef tr_stack(Tr *t, int64_t disp, unsigned size, unsigned access)
{
    return tr_mem_implicit(t, SEG_SS, V_R(R_SP), disp, tr_stack_size(t), size, access);
}

void tr_sp_add(Tr *t, int64_t n)
{
    tr_add_reg(t, V_R(R_SP), n, tr_stack_size(t));
}

void tr_push(Tr *t, uint8_t v, unsigned size)
{
    MemRef m = tr_stack(t, -(int64_t)size, size, TR_WRITE);

    tr_store(t, &m, v, size);
    tr_sp_add(t, -(int64_t)size);
}

void tr_push_imm(Tr *t, int64_t v, unsigned size)
{
    MemRef m = tr_stack(t, -(int64_t)size, size, TR_WRITE);

    v = sext((uint64_t)v, 8 * size);
    if (v != (int32_t)v) {
        tr_store(t, &m, tr_const(t, (uint64_t)v), size);
    } else {
        IrOp *o = ir_add(t->b, IR_MOV, tr_type(size));

        tr_use_d(o, &m, size);
        o->flags |= IRF_IMM;
        o->imm = v;
    }
    tr_sp_add(t, -(int64_t)size);
}
