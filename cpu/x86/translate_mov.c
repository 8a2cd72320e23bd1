/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_mov - data transfer, conversion, stack (SDM volume 1 chapter 7.3.1)
 */
#include "cpu/x86/translate_priv.h"

/* After a segment register was loaded (@next is where to go on). */
static void end_segment_load(Tr *t, unsigned seg)
{
    if (tr_is64(t) && (seg == SEG_DS || seg == SEG_ES))
        return;
    if (seg == SEG_SS)
        t->shadow_next = SHADOW_SS;
    else
        tr_end_exit(t);
}

void tr_move_to_segment(Tr *t, const X86Insn *i, unsigned arg)
{
    uint8_t v;

    (void)arg;
    if (i->o[1].kind == X86_MEM) {
        MemRef m = tr_mem(t, i, 2, TR_READ);

        v = tr_load(t, &m, 2);
    } else {
        X86Operand sel = i->o[1];

        sel.size = 2;
        v = tr_read(t, i, &sel);
    }
    tr_call(t, hlp_mov_seg, IRC_FAST | IRC_PC, V_NONE, v, V_NONE, i->o[0].reg);
    end_segment_load(t, i->o[0].reg);
}

void tr_move_from_segment(Tr *t, const X86Insn *i, unsigned arg)
{
    X86Operand to = i->o[0];
    uint8_t v = ir_temp(t->b);

    (void)arg;
    tr_call(t, hlp_sel, IRC_FAST, v, V_NONE, V_NONE, i->o[1].reg);
    if (to.kind == X86_MEM)
        to.size = 2;
    tr_write(t, i, &to, v);
}

void tr_move(Tr *t, const X86Insn *i, unsigned arg)
{
    const X86Operand *d = &i->o[0], *s = &i->o[1];
    Val v;
    IrOp *o;

    (void)arg;
    if (d->kind == X86_MEM && s->kind == X86_IMM && d->size == 8 && s->imm != (int32_t)s->imm) {
        tr_write(t, i, d, tr_const(t, (uint64_t)s->imm));
    } else if (d->kind == X86_GPR_HI) {
        v = tr_val(t, i, s, TR_READ);
        if (v.kind != VAL_REG) {
            uint8_t to = ir_temp(t->b);

            o = ir_add(t->b, IR_MOV, I8);
            o->d = to;
            tr_set_b(o, &v, 1);
            v.reg = to;
        }
        tr_write(t, i, d, v.reg);
    } else {
        Val to = tr_val(t, i, d, TR_WRITE);

        v = tr_val(t, i, s, TR_READ);
        o = ir_add(t->b, IR_MOV, tr_type(d->size));
        if (to.kind == VAL_MEM)
            tr_use_d(o, &to.mem, d->size);
        else
            o->d = to.reg;
        tr_set_b(o, &v, d->size);
    }
}

/* MOVZX, MOVSX, MOVSXD. */
void tr_extend(Tr *t, const X86Insn *i, unsigned arg)
{
    const X86Operand *d = &i->o[0], *s = &i->o[1];
    unsigned from = s->size;
    Val v;
    IrOp *o;

    if (from >= d->size) { /* MOVSXD without REX.W */
        v = tr_val(t, i, s, TR_READ);
        o = ir_add(t->b, IR_MOV, tr_type(d->size));
        tr_set_b(o, &v, d->size);
    } else {
        v = tr_val(t, i, s, TR_READ);
        o = ir_add(t->b, (IrOpcode)arg, arg == IR_MOVZX && d->size == 8 ? I32 : tr_type(d->size));
        o->stype = (uint8_t)tr_type(from);
        tr_set_b(o, &v, from);
    }
    o->d = V_R(d->reg);
}

/* A load goes to the register, which is then turned in place. */
void tr_movbe(Tr *t, const X86Insn *i, unsigned arg)
{
    unsigned size = i->o[0].size;
    bool is_store = i->o[0].kind == X86_MEM;
    MemRef m = tr_mem(t, i, size, is_store ? TR_WRITE : TR_READ);
    uint8_t gpr = V_R(i->o[is_store ? 1 : 0].reg), v = is_store ? ir_temp(t->b) : gpr;
    IrOp *o = ir_add(t->b, IR_MOV, tr_type(size));

    (void)arg;
    o->d = v;
    if (is_store)
        o->b = gpr;
    else
        tr_use_b(o, &m, size);
    o = ir_add(t->b, size == 2 ? IR_ROL : IR_BSWAP, tr_type(size)); /* sets no flags of the guest */
    o->d = o->a = v;
    if (size == 2) {
        o->flags |= IRF_IMM;
        o->imm = 8;
    }
    if (is_store)
        tr_store(t, &m, v, size);
}

void tr_lea_insn(Tr *t, const X86Insn *i, unsigned arg)
{
    MemRef m = tr_ea(t, i);
    unsigned size = i->o[0].size;
    IrOp *o;

    (void)arg;
    if (m.base == V_NONE && m.index == V_NONE) {
        o = ir_add(t->b, IR_MOV, tr_type(size));
        o->flags |= IRF_IMM;
        o->imm = size == 8 ? m.disp : sext((uint64_t)m.disp, 8 * size);
    } else {
        o = ir_add(t->b, IR_LEA, tr_type(size));
        o->base = m.base;
        o->index = m.index;
        o->scale = m.scale;
        o->disp = m.disp;
        o->asize = m.asize;
    }
    o->d = V_R(i->o[0].reg);
}

void tr_xchg(Tr *t, const X86Insn *i, unsigned arg)
{
    const X86Operand *x = &i->o[0], *y = &i->o[1];
    Val d, s;
    IrOp *o;

    if (y->kind == X86_MEM) {
        x = &i->o[1];
        y = &i->o[0];
    }
    if (x->kind == X86_GPR && y->kind == X86_GPR && x->reg == y->reg && x->size != 4)
        return;
    d = tr_val(t, i, x, TR_RMW);
    s = tr_val(t, i, y, TR_RMW);
    o = ir_add(t->b, (IrOpcode)arg, tr_type(x->size));
    if (d.kind == VAL_MEM)
        tr_use_d(o, &d.mem, x->size);
    else
        o->d = d.reg;
    o->b = s.reg;
    tr_store_high(t, x, &d);
    tr_store_high(t, y, &s);
}

void tr_cmov(Tr *t, const X86Insn *i, unsigned arg)
{
    Val s = tr_val(t, i, &i->o[1], TR_READ);
    IrOp *o = ir_add(t->b, IR_CMOV, tr_type(i->o[0].size));

    (void)arg;
    o->d = V_R(i->o[0].reg);
    o->cc = i->opcode & 15;
    o->fl_in = ir_cond_flags(i->opcode & 15);
    tr_set_b(o, &s, i->o[0].size);
}

void tr_push_insn(Tr *t, const X86Insn *i, unsigned arg)
{
    const X86Operand *x = &i->o[0];
    uint8_t v;

    (void)arg;
    switch (x->kind) {
    case X86_IMM: tr_push_imm(t, x->imm, i->opsize); return;
    case X86_SREG:
        v = ir_temp(t->b);
        tr_call(t, hlp_sel, IRC_FAST, v, V_NONE, V_NONE, x->reg);
        break;
    case X86_MEM: {
        MemRef m = tr_mem(t, i, i->opsize, TR_READ);

        v = tr_load(t, &m, i->opsize);
        break;
    }
    default: v = V_R(x->reg);
    }
    tr_push(t, v, i->opsize);
}

void tr_pop_segment(Tr *t, const X86Insn *i, unsigned arg)
{
    unsigned seg = i->o[0].reg;
    MemRef m = tr_stack(t, 0, 2, TR_READ);
    uint8_t v = tr_load(t, &m, 2);

    (void)arg;
    tr_call(t, hlp_mov_seg, IRC_FAST | IRC_PC, V_NONE, v, V_NONE, seg);
    tr_sp_add(t, i->opsize);
    end_segment_load(t, seg);
}

/* The address of a memory destination is formed with the stack pointer after the pop. */
void tr_pop_insn(Tr *t, const X86Insn *i, unsigned arg)
{
    const X86Operand *x = &i->o[0];
    unsigned size = i->opsize;
    MemRef m, to;
    uint8_t v;
    IrOp *o;

    (void)arg;
    m = tr_stack(t, 0, size, TR_READ);
    if (x->kind == X86_MEM) {
        v = tr_load(t, &m, size);
        to = tr_mem_at(t, i, i->mem.base == R_SP ? size : 0, size, TR_WRITE);
        tr_store(t, &to, v, size);
        tr_sp_add(t, size);
    } else if (x->reg == R_SP && size < tr_stack_size(t)) {
        v = tr_load(t, &m, size);
        tr_sp_add(t, size);
        tr_mov(t, tr_type(size), V_R(R_SP), v);
    } else {
        o = ir_add(t->b, IR_MOV, tr_type(size));
        o->d = V_R(x->reg);
        tr_use_b(o, &m, size);
        if (x->reg != R_SP)
            tr_sp_add(t, size);
    }
}

/* PUSHA (@arg 0), POPA (1). */
void tr_pusha(Tr *t, const X86Insn *i, unsigned arg)
{
    tr_call(t, arg ? hlp_popa : hlp_pusha, IRC_FAST | IRC_PC, V_NONE, V_NONE, V_NONE, i->opsize);
}

void tr_pushf(Tr *t, const X86Insn *i, unsigned arg)
{
    uint8_t v = ir_temp(t->b);

    (void)arg;
    tr_call(t, hlp_pushf, IRC_FAST | IRC_PC | IRC_FLAGS_IN, v, V_NONE, V_NONE, i->opsize);
    tr_push(t, v, i->opsize);
}

void tr_popf(Tr *t, const X86Insn *i, unsigned arg)
{
    MemRef m = tr_stack(t, 0, i->opsize, TR_READ);
    uint8_t v = tr_load(t, &m, i->opsize);

    (void)arg;
    tr_call(t, hlp_popf, IRC_FAST | IRC_PC | IRC_FLAGS_IN | IRC_FLAGS_OUT, V_NONE, v, V_NONE,
            i->opsize);
    tr_sp_add(t, i->opsize);
    tr_end_exit(t);
}

void tr_enter(Tr *t, const X86Insn *i, unsigned arg)
{
    unsigned os = i->opsize, size = (unsigned)i->o[0].imm & 0xffff,
             level = (unsigned)i->o[1].imm & 31;
    MemRef m;

    (void)arg;
    if (level || os != tr_stack_size(t)) {
        tr_call(t, hlp_enter, IRC_PC, V_NONE, V_NONE, V_NONE, os | level << 8 | size << 16);
        return;
    }
    m = tr_stack(t, -(int64_t)os, os, TR_WRITE);
    tr_store(t, &m, V_R(R_BP), os);
    tr_sp_add(t, -(int64_t)os);
    tr_mov(t, tr_type(os), V_R(R_BP), V_R(R_SP));
    if (size)
        tr_sp_add(t, -(int64_t)size);
}

void tr_leave(Tr *t, const X86Insn *i, unsigned arg)
{
    unsigned os = i->opsize, stack = tr_stack_size(t);
    MemRef m = tr_mem_implicit(t, SEG_SS, V_R(R_BP), 0, stack, os, TR_READ);
    uint8_t v = tr_load(t, &m, os);
    IrOp *o = ir_add(t->b, IR_LEA, tr_type(stack));

    (void)arg;
    o->d = V_R(R_SP);
    o->base = V_R(R_BP);
    o->asize = (uint8_t)stack;
    o->disp = os;
    tr_mov(t, tr_type(os), V_R(R_BP), v);
}

/* CBW, CWDE, CDQE. */
void tr_convert(Tr *t, const X86Insn *i, unsigned arg)
{
    IrOp *o = ir_add(t->b, IR_MOVSX, tr_type(i->opsize));

    (void)arg;
    o->d = o->b = V_R(R_AX);
    o->stype = (uint8_t)tr_type(i->opsize / 2);
}

/* CWD, CDQ, CQO. */
void tr_convert_sign(Tr *t, const X86Insn *i, unsigned arg)
{
    IrType type = tr_type(i->opsize);
    IrOp *o;

    (void)arg;
    tr_mov(t, type, V_R(R_DX), V_R(R_AX));
    o = ir_add(t->b, IR_SAR, type); /* sets no flags of the guest */
    o->d = o->a = V_R(R_DX);
    o->flags |= IRF_IMM;
    o->imm = 8 * i->opsize - 1;
}

void tr_xlat(Tr *t, const X86Insn *i, unsigned arg)
{
    uint8_t al = ir_temp(t->b);
    MemRef m = {.base = V_R(R_BX), .index = al, .seg = i->mem.seg, .asize = i->adsize};
    IrOp *o = ir_add(t->b, IR_MOVZX, I32);

    (void)arg;
    o->d = al;
    o->b = V_R(R_AX);
    o->stype = I8;
    m = tr_mem_check(t, m, 1, TR_READ);
    o = ir_add(t->b, IR_MOV, I8);
    o->d = V_R(R_AX);
    tr_use_b(o, &m, 1);
}

/* LES, LDS, LSS, LFS, LGS: @arg is the segment. */
void tr_load_far(Tr *t, const X86Insn *i, unsigned arg)
{
    unsigned os = i->opsize;
    MemRef m = tr_mem(t, i, os, TR_READ), s = tr_mem_at(t, i, os, 2, TR_READ);
    uint8_t offset = tr_load(t, &m, os), sel = tr_load(t, &s, 2);

    tr_call(t, hlp_mov_seg, IRC_FAST | IRC_PC, V_NONE, sel, V_NONE, arg);
    tr_mov(t, tr_type(os), V_R(i->o[0].reg), offset);
    if (arg == SEG_SS) /* no shadow: the pair was loaded at once */
        tr_call(t, hlp_unshadow, IRC_FAST, V_NONE, V_NONE, V_NONE, 0);
    tr_end_exit(t);
}

void tr_nop(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)t, (void)i, (void)arg;
}

void tr_bound(Tr *t, const X86Insn *i, unsigned arg)
{
    unsigned os = i->opsize;
    uint8_t bounds = tr_linear(t, i, 2 * os, TR_READ), index = ir_temp(t->b);
    IrOp *o = ir_add(t->b, IR_MOVSX, I64);

    (void)arg;
    o->d = index;
    o->b = V_R(i->o[0].reg);
    o->stype = (uint8_t)tr_type(os);
    tr_call(t, hlp_bound, IRC_PC, V_NONE, index, bounds, os);
}
