/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lower - integer ops of the IR as host instructions
 *
 * Most ops are the x86 instruction of the same name on registers, homes [rbp+disp] or the memory
 * operand [r13]. A 32-bit result for a home goes through r14, so that its upper half is cleared.
 */
#include "accel/jit/x64/x64_priv.h"

unsigned x64_src(Emit *e, unsigned v, unsigned size, unsigned scratch)
{
    Rm m = x64_loc(e, v);

    if (m.is_reg)
        return m.reg;
    emit_loadz(&e->a, size, scratch, m);
    return scratch;
}

void x64_dst(Emit *e, unsigned v, unsigned size, unsigned reg)
{
    Rm m = x64_loc(e, v);

    if (m.is_reg)
        emit_mov(&e->a, size, m.reg, reg);
    else
        emit_store(&e->a, size == 4 ? 8 : size, m, reg);
}

/* The destination of an op: memory operand, register, home; or r14, to be written back by
 * dst_done(), where the home needs zero-extension or d differs from the first source @a (V_NONE:
 * d is not read). */
typedef struct Dst {
    Rm rm;
    bool back;
} Dst;

static Dst dst_begin(Emit *e, const IrOp *o, unsigned a, unsigned size)
{
    Dst d = {o->flags & IRF_MEM_D ? e->operand : x64_loc(e, o->d), false};

    if (o->flags & IRF_MEM_D)
        return d;
    if ((size == 4 && !d.rm.is_reg) || (a != V_NONE && a != o->d)) {
        d = (Dst){rm_reg(R14), true};
        if (a != V_NONE)
            emit_loadz(&e->a, size, R14, x64_loc(e, a));
    }
    return d;
}

static void dst_done(Emit *e, const IrOp *o, Dst d, unsigned size)
{
    if (d.back)
        x64_dst(e, o->d, size, R14);
}

static Rm source(Emit *e, const IrOp *o)
{
    return o->flags & IRF_MEM_B ? e->operand : x64_loc(e, o->b);
}

static int64_t imm_of(const IrOp *o, unsigned size)
{
    return size == 8 ? o->imm : sext((uint64_t)o->imm, size * 8);
}

static void lock_prefix(Emit *e, const IrOp *o)
{
    if (o->flags & IRF_LOCK)
        emit8(&e->a, 0xf0);
}

/* ADD OR ADC SBB AND SUB XOR CMP: @ext is the number in opcode and ModRM. */
static void lower_alu(Emit *e, const IrOp *o, unsigned ext)
{
    Asm *a = &e->a;
    unsigned size = ir_size(o->type), byte = size == 1;
    bool cmp = o->op == IR_CMP;
    Dst d = cmp && !(o->flags & IRF_MEM_D) ? (Dst){x64_loc(e, o->a), false}
                                           : dst_begin(e, o, o->a, size);

    if (o->flags & IRF_IMM) {
        int64_t v = imm_of(o, size);

        if (fits32(v)) {
            bool small = !byte && v == (int8_t)v;

            lock_prefix(e, o);
            emit_op(a, 0, size, byte ? 0x80 : small ? 0x83 : 0x81, ext, d.rm);
            emit_imm(a, small ? 1 : size, v);
        } else {
            unsigned r = d.back ? R13 : R14;

            emit_const(a, r, (uint64_t)v);
            lock_prefix(e, o);
            emit_op(a, 0, size, ext << 3 | 1, r, d.rm);
        }
    } else {
        Rm s = source(e, o);

        if (d.rm.is_reg) {
            emit_op(a, 0, size, ext << 3 | 2 | !byte, d.rm.reg, s);
        } else {
            unsigned r = s.is_reg ? s.reg : R14;

            if (!s.is_reg)
                emit_load(a, size, R14, s);
            lock_prefix(e, o);
            emit_op(a, 0, size, ext << 3 | !byte, r, d.rm);
        }
    }
    dst_done(e, o, d, size);
}

static void lower_test(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    unsigned size = ir_size(o->type);
    Rm d = o->flags & IRF_MEM_D ? e->operand : x64_loc(e, o->a), s;

    if (o->flags & IRF_IMM) {
        int64_t v = imm_of(o, size);

        if (fits32(v)) {
            emit_op(a, 0, size, size == 1 ? 0xf6 : 0xf7, 0, d);
            emit_imm(a, size, v);
        } else {
            emit_const(a, R14, (uint64_t)v);
            emit_op(a, 0, size, 0x85, R14, d);
        }
        return;
    }
    s = source(e, o);
    if (!s.is_reg && !d.is_reg) {
        emit_load(a, size, R14, s);
        s = rm_reg(R14);
    }
    if (s.is_reg)
        emit_op(a, 0, size, size == 1 ? 0x84 : 0x85, s.reg, d);
    else
        emit_op(a, 0, size, size == 1 ? 0x84 : 0x85, d.reg, s);
}

/* One-operand group: NOT NEG (F6/F7), INC DEC (FE/FF). */
static void lower_unary(Emit *e, const IrOp *o, unsigned opcode, unsigned ext)
{
    unsigned size = ir_size(o->type);
    Dst d = dst_begin(e, o, o->a, size);

    lock_prefix(e, o);
    emit_op(&e->a, 0, size, opcode | (size > 1), ext, d.rm);
    dst_done(e, o, d, size);
}

static void lower_shift(Emit *e, const IrOp *o, unsigned ext)
{
    Asm *a = &e->a;
    unsigned size = ir_size(o->type);
    bool swap = !(o->flags & IRF_IMM) && !(x64_loc(e, o->b).is_reg && x64_loc(e, o->b).reg == RCX);
    Dst d = dst_begin(e, o, o->a, size);

    if (o->flags & IRF_IMM) {
        emit_op(a, 0, size, size == 1 ? 0xc0 : 0xc1, ext, d.rm);
        emit8(a, (unsigned)o->imm);
    } else if (!swap) {
        emit_op(a, 0, size, size == 1 ? 0xd2 : 0xd3, ext, d.rm);
    } else { /* the count is not in cl: rcx is parked in cpu->ret */
        bool rcx = d.rm.is_reg && d.rm.reg == RCX;

        emit_store(a, 8, rm_mem(RBP, CPU_AT(ret)), RCX);
        emit_load(a, 1, RCX, x64_loc(e, o->b));
        emit_op(a, 0, size, size == 1 ? 0xd2 : 0xd3, ext, rcx ? rm_mem(RBP, CPU_AT(ret)) : d.rm);
        if (rcx && size == 4)
            emit_load(a, 4, RCX, rm_mem(RBP, CPU_AT(ret)));
        else
            emit_load(a, 8, RCX, rm_mem(RBP, CPU_AT(ret)));
    }
    dst_done(e, o, d, size);
}

static void lower_shift3(Emit *e, const IrOp *o, unsigned opcode)
{
    Asm *a = &e->a;
    unsigned size = ir_size(o->type), r;
    Dst d = dst_begin(e, o, o->a, size);
    bool imm = o->c == V_NONE;

    r = x64_loc(e, o->b).is_reg ? x64_loc(e, o->b).reg : NOREG;
    if (r == NOREG) { /* borrow rax unless it is the destination, then rdx */
        unsigned t = d.rm.is_reg && d.rm.reg == RAX ? RDX : RAX;

        emit_store(a, 8, rm_mem(RBP, CPU_AT(ret)), t);
        emit_load(a, size, t, x64_loc(e, o->b));
        emit_op(a, 0, size, opcode | !imm, t, d.rm);
        if (imm)
            emit8(a, (unsigned)o->imm);
        emit_load(a, 8, t, rm_mem(RBP, CPU_AT(ret)));
    } else {
        emit_op(a, 0, size, opcode | !imm, r, d.rm);
        if (imm)
            emit8(a, (unsigned)o->imm);
    }
    dst_done(e, o, d, size);
}

static void lower_mov(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    unsigned size = ir_size(o->type);
    Rm d = o->flags & IRF_MEM_D ? e->operand : x64_loc(e, o->d), s;

    if (o->flags & IRF_IMM) {
        int64_t v = imm_of(o, size);

        if (!(o->flags & IRF_MEM_D) && size >= 4) {
            uint64_t u = size == 4 ? (uint32_t)v : (uint64_t)v;

            if (d.is_reg) {
                emit_const(a, d.reg, u);
                return;
            }
            if (!fits32((int64_t)u)) {
                emit_const(a, R14, u);
                emit_store(a, 8, d, R14);
                return;
            }
            size = 8;
        } else if (size == 8 && !fits32(v)) {
            emit_const(a, R14, (uint64_t)v);
            emit_store(a, 8, d, R14);
            return;
        }
        emit_op(a, 0, size, size == 1 ? 0xc6 : 0xc7, 0, d);
        emit_imm(a, size, v);
        return;
    }
    s = source(e, o);
    if (d.is_reg) {
        if (s.is_reg)
            emit_mov(a, size, d.reg, s.reg);
        else
            emit_load(a, size, d.reg, s);
        return;
    }
    if (!s.is_reg) {
        emit_loadz(a, size, R14, s);
        s = rm_reg(R14);
    } else if (size == 4 && !(o->flags & IRF_MEM_D)) {
        emit_op(a, 0, 4, 0x8b, R14, s);
        s = rm_reg(R14);
    }
    emit_store(a, size == 4 && !(o->flags & IRF_MEM_D) ? 8 : size, d, s.reg);
}

static void lower_extend(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    unsigned size = ir_size(o->type), from = ir_size(o->stype);
    Rm d = x64_loc(e, o->d), s = source(e, o);
    unsigned r = d.is_reg ? d.reg : R14;
    bool sx = o->op == IR_MOVSX;

    if (from == 4) /* movsxd, mov */
        emit_op(a, 0, sx ? size : 4, sx ? 0x63 : 0x8b, r, s);
    else if (s.is_reg && from == 1 && s.reg >= 4 && s.reg < 8 &&
             size < 8) { /* sil, dil: emit_op sees the operand size only */
        if (size == 2)
            emit8(a, 0x66);
        emit8(a, 0x40 | (r >> 3) << 2);
        emit8(a, 0x0f);
        emit8(a, sx ? 0xbe : 0xb6);
        emit_modrm(a, r, s);
    } else
        emit_op(a, 0, sx || size == 2 ? size : 4, (sx ? 0x0fbe : 0x0fb6) | (from == 2), r, s);
    if (!d.is_reg)
        emit_store(a, size == 4 ? 8 : size, d, R14);
}

static void lower_lea(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    unsigned size = ir_size(o->type);
    Rm d = x64_loc(e, o->d);
    bool direct = d.is_reg && size >= 4 && o->asize >= 4 && fits32(o->disp) &&
                  (o->base != V_NONE || o->index != V_NONE) && (size == 4 || o->asize == 8);

    if (direct) {
        unsigned base = o->base == V_NONE ? NOREG : x64_src(e, o->base, 8, R13);
        unsigned index = o->index == V_NONE ? NOREG : x64_src(e, o->index, 8, R14);

        emit_op(a, 0, size, 0x8d, d.reg,
                index == NOREG ? rm_mem(base, (int32_t)o->disp)
                               : rm_sib(base, index, o->scale, (int32_t)o->disp));
        return;
    }
    x64_address(e, o, false);
    if (size == 4)
        emit_mov(a, 4, R13, R13);
    x64_dst(e, o->d, size, R13);
}

static void lower_high(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    bool ext = o->op == IR_EXTH;
    Rm m = x64_loc(e, ext ? o->a : o->d), slot = m;

    if (m.is_reg) {
        slot = rm_mem(RBP, CPU_AT(ret));
        emit_store(a, 8, slot, m.reg);
    }
    slot.disp++;
    if (ext) {
        emit_loadz(a, 1, R14, slot);
        x64_dst(e, o->d, 8, R14);
        return;
    }
    if (o->flags & IRF_IMM) {
        emit_op(a, 0, 1, 0xc6, 0, slot);
        emit8(a, (unsigned)o->imm);
    } else {
        Rm s = source(e, o);
        unsigned r = s.is_reg ? s.reg : R14;

        if (!s.is_reg)
            emit_load(a, 1, R14, s);
        emit_store(a, 1, slot, r);
    }
    slot.disp--;
    if (m.is_reg)
        emit_load(a, 8, m.reg, slot);
}

/* MUL IMUL DIV IDIV: the front end uses the host's fixed registers, which are pinned to
 * themselves. */
static void lower_wide(Emit *e, const IrOp *o, unsigned ext)
{
    unsigned size = ir_size(o->type);
    Rm s = source(e, o);

    assert(o->d != V_NONE && x64_loc(e, o->d).reg == RAX);
    emit_op(&e->a, 0, size, size == 1 ? 0xf6 : 0xf7, ext, s);
}

static void lower_imul(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    unsigned size = ir_size(o->type);
    Rm d = x64_loc(e, o->d);
    unsigned r = d.is_reg ? d.reg : R14;

    if (o->flags & IRF_IMM) {
        int64_t v = imm_of(o, size);
        bool small = v == (int8_t)v;

        emit_op(a, 0, size, small ? 0x6b : 0x69, r, x64_loc(e, o->a));
        emit_imm(a, small ? 1 : size, v);
    } else {
        Rm s = source(e, o);

        if (o->a != o->d && s.is_reg && s.reg == r) { /* d = a * d */
            s = x64_loc(e, o->a);
        } else if (o->a != o->d || !d.is_reg) {
            emit_load(a, size, r, x64_loc(e, o->a));
        }
        emit_op(a, 0, size, 0x0faf, r, s);
    }
    if (!d.is_reg)
        emit_store(a, size == 4 ? 8 : size, d, R14);
}

/* A register index into a memory operand selects modulo the operand's size; the host's
 * instruction would take it as an offset into a bit string.  Masking it destroys flags, of which
 * CF alone is written. */
static void bit_in_memory(Emit *e, const IrOp *o, unsigned ext)
{
    Asm *a = &e->a;
    unsigned size = ir_size(o->type);
    bool through = o->fl_live & ~o->fl_out;
    Rm flags = rm_mem(RBP, CPU_AT(cc) + 1), carry = rm_mem(RBP, CPU_AT(ret));

    if (through)
        x64_flags_to_mem(e);
    e->host_ok = 0;
    emit_load(a, 4, R14, x64_loc(e, o->b));
    emit_op(a, 0, 4, 0x83, 4, rm_reg(R14)); /* and */
    emit8(a, size * 8 - 1);
    lock_prefix(e, o);
    emit_op(a, 0, size, 0x0f83 | ext << 3, R14, e->operand);
    if (through) {
        emit_op(a, 0, 1, 0x0f92, 0, carry); /* setb */
        emit_op(a, 0, 1, 0x80, 4, flags);   /* and, ~CF */
        emit8(a, 0xfe);
        emit_load(a, 1, R14, carry);
        emit_op(a, 0, 1, 0x08, R14, flags);
        e->fl_host = false;
        x64_flags_need(e);
    }
}

/* BT BTS BTR BTC: @ext 4..7. */
static void lower_bit(Emit *e, const IrOp *o, unsigned ext)
{
    Asm *a = &e->a;
    unsigned size = ir_size(o->type);
    bool bt = o->op == IR_BT, mem = o->flags & IRF_MEM_D;
    Dst d = bt && !mem ? (Dst){x64_loc(e, o->a), false} : dst_begin(e, o, o->a, size);
    Rm s = o->flags & IRF_IMM ? d.rm : x64_loc(e, o->b);

    if (o->flags & IRF_IMM) {
        lock_prefix(e, o);
        emit_op(a, 0, size, 0x0fba, ext, d.rm);
        emit8(a, (unsigned)o->imm & (size * 8 - 1));
        dst_done(e, o, d, size);
    } else if (mem && (o->flags & IRF_LOCK || !s.is_reg)) {
        bit_in_memory(e, o, ext);
    } else if (s.is_reg &&
               !d.rm.is_reg) { /* memory or a home: through a register, which masks the index */
        emit_loadz(a, size, R14, d.rm);
        emit_op(a, 0, size, 0x0f83 | ext << 3, s.reg, rm_reg(R14));
        if (!bt)
            emit_store(a, size, d.rm, R14);
    } else if (!d.rm.is_reg) {
        emit_loadz(a, size, R13, d.rm);
        emit_load(a, size, R14, s);
        emit_op(a, 0, size, 0x0f83 | ext << 3, R14, rm_reg(R13));
        if (!bt)
            emit_store(a, size, d.rm, R13);
    } else {
        unsigned r = s.is_reg ? s.reg : d.back ? R13 : R14;

        if (!s.is_reg)
            emit_load(a, size, r, s);
        emit_op(a, 0, size, 0x0f83 | ext << 3, r, d.rm);
        dst_done(e, o, d, size);
    }
}

/* Opcodes whose destination is ModRM.reg: BSF, BSR, CMOVcc; d is read. */
static void lower_reg_rm(Emit *e, const IrOp *o, unsigned opcode)
{
    Asm *a = &e->a;
    unsigned size = ir_size(o->type);
    Rm d = x64_loc(e, o->d), s = source(e, o);
    unsigned r = d.is_reg ? d.reg : R14;

    if (!d.is_reg)
        emit_loadz(a, size, R14, d);
    emit_op(a, 0, size, opcode, r, s);
    if (!d.is_reg)
        emit_store(a, size == 4 ? 8 : size, d, R14);
}

static void lower_bswap(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    unsigned size = ir_size(o->type);
    Rm d = x64_loc(e, o->d);
    unsigned r = d.is_reg ? d.reg : R14;

    if (!d.is_reg || o->a != o->d)
        emit_load(a, size, r, x64_loc(e, o->a));
    emit8(a, 0x40 | (size == 8) << 3 | r >> 3);
    emit8(a, 0x0f);
    emit8(a, 0xc8 | (r & 7));
    if (!d.is_reg)
        emit_store(a, 8, d, R14);
}

/* XCHG (0x86), XADD (0x0fc0): memory or register d with register b, both written. */
static void lower_swap(Emit *e, const IrOp *o, unsigned opcode)
{
    Asm *a = &e->a;
    unsigned size = ir_size(o->type);
    Rm s = x64_loc(e, o->b), d = o->flags & IRF_MEM_D ? e->operand : x64_loc(e, o->d);
    unsigned r = s.is_reg ? s.reg : R14;
    bool d13 = !d.is_reg && !(o->flags & IRF_MEM_D); /* d is a home: through r13 */

    if (!s.is_reg)
        emit_loadz(a, size, R14, s);
    if (d13) {
        emit_loadz(a, size, R13, d);
        emit_op(a, 0, size, opcode | (size > 1), r, rm_reg(R13));
        emit_store(a, size == 4 ? 8 : size, d, R13);
    } else {
        lock_prefix(e, o);
        emit_op(a, 0, size, opcode | (size > 1), r, d);
    }
    if (!s.is_reg && !(o->b == o->d && d13))
        emit_store(a, size == 4 ? 8 : size, s, R14);
}

static void lower_cmpxchg(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    unsigned size = ir_size(o->type);
    Rm s = x64_loc(e, o->b), d = o->flags & IRF_MEM_D ? e->operand : x64_loc(e, o->d);
    unsigned r = s.is_reg ? s.reg : R14;
    bool d13 = !d.is_reg && !(o->flags & IRF_MEM_D);

    if (!s.is_reg)
        emit_loadz(a, size, R14, s);
    if (d13)
        emit_load(a, 8, R13, d); /* a failed one leaves the upper half too */
    lock_prefix(e, o);
    emit_op(a, 0, size, 0x0fb0 | (size > 1), r, d13 ? rm_reg(R13) : d);
    if (d13)
        emit_store(a, 8, d, R13);
}

/* cpu->cc = the image in a, as far as fl_out says; other flags stay. */
static void lower_setf(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    Rm cc = rm_mem(RBP, CPU_AT(cc));
    uint32_t mask = (o->fl_out & 0xd5u) << 8 | (o->fl_out & FL_OF ? 1 : 0);

    x64_exact_point(e, (unsigned)(o - e->ir->ops));
    if (o->fl_live & ~o->fl_out)
        x64_flags_to_mem(e);
    emit_loadz(a, 2, R14, cc);
    emit_op(a, 0, 4, 0x81, 4, rm_reg(R14)); /* and */
    emit32(a, 0xd701 & ~mask);
    emit_load(a, 4, R13, x64_loc(e, o->a));
    emit_op(a, 0, 4, 0x81, 4, rm_reg(R13));
    emit32(a, mask);
    emit_op(a, 0, 4, 0x09, R13, rm_reg(R14)); /* or */
    emit_store(a, 2, cc, R14);
    e->fl_mem = true;
    e->fl_host = false;
    e->host_ok = 0;
}

static void lower_state(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    unsigned size = ir_size(o->type);
    Rm m = rm_mem(RBP, (int32_t)o->disp - CPU_BIAS);

    if (o->op == IR_LDS) {
        Rm d = x64_loc(e, o->d);
        unsigned r = d.is_reg ? d.reg : R14;

        emit_loadz(a, size, r, m);
        if (!d.is_reg)
            emit_store(a, 8, d, R14);
    } else if (o->flags & IRF_IMM) {
        if (size == 8 && !fits32(o->imm)) {
            emit_const(a, R14, (uint64_t)o->imm);
            emit_store(a, 8, m, R14);
            return;
        }
        emit_op(a, 0, size, size == 1 ? 0xc6 : 0xc7, 0, m);
        emit_imm(a, size, o->imm);
    } else {
        emit_store(a, size, m, x64_src(e, o->b, 8, R14));
    }
}

/* The flags that the host's instruction destroys although the op does not write them. */
static bool clobbers(const IrOp *o)
{
    switch (o->op) {
    case IR_ADD:
    case IR_ADC:
    case IR_SUB:
    case IR_SBB:
    case IR_AND:
    case IR_OR:
    case IR_XOR:
    case IR_CMP:
    case IR_TEST:
    case IR_NEG:
    case IR_INC:
    case IR_DEC:
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ROL:
    case IR_ROR:
    case IR_RCL:
    case IR_RCR:
    case IR_SHLD:
    case IR_SHRD:
    case IR_MULU:
    case IR_MULS:
    case IR_DIVU:
    case IR_DIVS:
    case IR_IMUL:
    case IR_BT:
    case IR_BTS:
    case IR_BTR:
    case IR_BTC:
    case IR_BSF:
    case IR_BSR:
    case IR_XADD:
    case IR_CMPXCHG:
    case IR_CMPXCHG2: return true;
    default: return false;
    }
}

static void lower_op(Emit *e, const IrOp *o)
{
    static const uint8_t alu[] = {[IR_ADD] = 0, [IR_OR] = 1,  [IR_ADC] = 2, [IR_SBB] = 3,
                                  [IR_AND] = 4, [IR_SUB] = 5, [IR_XOR] = 6, [IR_CMP] = 7};
    static const uint8_t shift[] = {[IR_ROL] = 0, [IR_ROR] = 1, [IR_RCL] = 2, [IR_RCR] = 3,
                                    [IR_SHL] = 4, [IR_SHR] = 5, [IR_SAR] = 7};
    Asm *a = &e->a;

    switch (o->op) {
    case IR_NOP: break;
    case IR_MOV: lower_mov(e, o); break;
    case IR_MOVZX:
    case IR_MOVSX: lower_extend(e, o); break;
    case IR_EXTH:
    case IR_INSH: lower_high(e, o); break;
    case IR_ADD:
    case IR_ADC:
    case IR_SUB:
    case IR_SBB:
    case IR_AND:
    case IR_OR:
    case IR_XOR:
    case IR_CMP: lower_alu(e, o, alu[o->op]); break;
    case IR_TEST: lower_test(e, o); break;
    case IR_NOT: lower_unary(e, o, 0xf6, 2); break;
    case IR_NEG: lower_unary(e, o, 0xf6, 3); break;
    case IR_INC: lower_unary(e, o, 0xfe, 0); break;
    case IR_DEC: lower_unary(e, o, 0xfe, 1); break;
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ROL:
    case IR_ROR:
    case IR_RCL:
    case IR_RCR: lower_shift(e, o, shift[o->op]); break;
    case IR_SHLD: lower_shift3(e, o, 0x0fa4); break;
    case IR_SHRD: lower_shift3(e, o, 0x0fac); break;
    case IR_MULU: lower_wide(e, o, 4); break;
    case IR_MULS: lower_wide(e, o, 5); break;
    case IR_DIVU: lower_wide(e, o, 6); break;
    case IR_DIVS: lower_wide(e, o, 7); break;
    case IR_IMUL: lower_imul(e, o); break;
    case IR_BT:
    case IR_BTS:
    case IR_BTR:
    case IR_BTC: lower_bit(e, o, 4u + (o->op - IR_BT)); break;
    case IR_BSF: lower_reg_rm(e, o, 0x0fbc); break;
    case IR_BSR: lower_reg_rm(e, o, 0x0fbd); break;
    case IR_CMOV: lower_reg_rm(e, o, 0x0f40 | o->cc); break;
    case IR_BSWAP: lower_bswap(e, o); break;
    case IR_XCHG: lower_swap(e, o, 0x86); break;
    case IR_XADD: lower_swap(e, o, 0x0fc0); break;
    case IR_CMPXCHG: lower_cmpxchg(e, o); break;
    case IR_CMPXCHG2:
        lock_prefix(e, o);
        emit_op(a, 0, ir_size(o->type), 0x0fc7, 1, e->operand);
        break;
    case IR_SETCC:
        emit_op(a, 0, 1, 0x0f90 | o->cc, 0, o->flags & IRF_MEM_D ? e->operand : x64_loc(e, o->d));
        break;
    case IR_SETC: emit8(a, o->imm == 2 ? 0xf5 : o->imm ? 0xf9 : 0xf8); break;
    case IR_LDS:
    case IR_STS: lower_state(e, o); break;
    case IR_PASS: x64_lower_pass(e, o); break;
    case IR_FENCE:
        emit8(a, 0x0f);
        emit8(a, 0xae);
        emit8(a, 0xf0);
        break;
    case IR_PAUSE:
        emit8(a, 0xf3);
        emit8(a, 0x90);
        break;
    default: assert(!"op without a lowering");
    }
}

void x64_lower(Emit *e, const IrOp *o)
{
    uint16_t through = o->fl_live & (uint16_t)~o->fl_out; /* alive before and after */

    switch (o->op) { /* those that handle flags their own way */
    case IR_LEA:
        lower_lea(e, o);
        e->in_r13 = x64_uses_r13(e, o) ? 0 : e->in_r13;
        return;
    case IR_CALL:
        x64_lower_call(e, o);
        e->in_r13 = 0;
        return;
    case IR_GUARD:
        x64_lower_guard(e, o);
        e->in_r13 = 0;
        return;
    case IR_SETF:
        lower_setf(e, o);
        e->in_r13 = 0;
        return;
    case IR_GETF:
        x64_flags_to_mem(e);
        emit_loadz(&e->a, 2, R14, rm_mem(RBP, CPU_AT(cc)));
        x64_dst(e, o->d, 8, R14);
        return;
    }
    if (o->flags & (IRF_MEM_B | IRF_MEM_D))
        x64_mem_begin(e, o);
    if (o->fl_out == 0 && clobbers(o)) {
        x64_exact_point(e, (unsigned)(o - e->ir->ops));
        x64_flags_spill(e, through);
    }
    if (o->fl_in || (o->fl_out && through))
        x64_flags_need(e);
    if (o->fl_out)
        x64_exact_shift(e, (unsigned)(o - e->ir->ops));
    if (o->op == IR_PASS || o->op == IR_DIVU || o->op == IR_DIVS)
        x64_exact_signal(e);
    lower_op(e, o);
    if (o->fl_out) {
        e->fl_host = true;
        e->fl_mem = false;
    }
    if (x64_uses_r13(e, o))
        e->in_r13 = 0;
    if (e->mem)
        x64_mem_end(e);
}
