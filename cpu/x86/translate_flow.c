/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_flow - control transfer (SDM volume 1 chapters 6.3 and 7.3.8)
 */
#include "cpu/x86/translate_priv.h"

static Gva target_of(const Tr *t, const X86Insn *i)
{
    return tr_mask_pc(t, t->next + (uint64_t)i->o[0].imm, i->opsize);
}

/* @v, or 0 if not @cc. */
static uint8_t value_if(Tr *t, unsigned cc, uint8_t v)
{
    uint8_t to = tr_const(t, 0);
    IrOp *o = ir_add(t->b, IR_CMOV, I64);

    o->d = to;
    o->b = v;
    o->cc = (uint8_t)cc;
    o->fl_in = ir_cond_flags(cc);
    return to;
}

/* Condition codes are in the low bits of the opcode. */
void tr_jcc(Tr *t, const X86Insn *i, unsigned arg)
{
    Gva target = target_of(t, i);
    unsigned cc = i->opcode & 15;

    (void)arg;
    if (LIKELY(tr_is_target(t, target))) {
        tr_end_br(t, cc, target);
    } else {
        tr_guard_most(t, value_if(t, cc, tr_const(t, 1)), 0);
        tr_end_next(t);
    }
}

/* Target of an indirect branch: a register that is not changed by pushing. */
static uint8_t indirect(Tr *t, const X86Insn *i)
{
    X86Operand x = i->o[0];

    x.size = tr_is64(t) ? 8 : i->opsize;
    if (x.kind == X86_GPR && x.size == 8 && x.reg == R_SP) {
        uint8_t v = ir_temp(t->b);

        tr_mov(t, I64, v, V_R(R_SP));
        return v;
    }
    return tr_read(t, i, &x);
}

/* Before the block ends by JMPI, which looks whether @v is canonical. */
static void guard_end(Tr *t, uint8_t v, unsigned opsize)
{
    if (tr_is_slow_end(t))
        tr_guard(t, v, opsize);
    else
        tr_guard_limit(t, v, opsize);
}

void tr_jmp(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)arg;
    if (i->o[0].kind != X86_REL) {
        uint8_t v = indirect(t, i);

        guard_end(t, v, i->opsize);
        tr_end_jmpi(t, v, IRJ_JUMP, 0);
    } else if (tr_is_target(t, target_of(t, i))) {
        tr_end_jmp(t, target_of(t, i), IRJ_JUMP);
    } else {
        tr_raise_code(t, EX_GP, 0);
    }
}

void tr_call_insn(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)arg;
    if (i->o[0].kind != X86_REL) {
        uint8_t v = indirect(t, i);

        tr_guard(t, v, i->opsize);
        tr_push_imm(t, (int64_t)t->next, i->opsize);
        tr_end_jmpi(t, v, IRJ_CALL, 0);
    } else if (tr_is_target(t, target_of(t, i))) {
        tr_push_imm(t, (int64_t)t->next, i->opsize);
        tr_end_jmp(t, target_of(t, i), IRJ_CALL);
    } else {
        tr_raise_code(t, EX_GP, 0);
    }
}

void tr_ret(Tr *t, const X86Insn *i, unsigned arg)
{
    unsigned os = i->opsize, popped = os + (i->n ? i->o[0].imm & 0xffff : 0);
    MemRef m = tr_stack(t, 0, os, TR_READ);
    uint8_t v = tr_load(t, &m, os);

    (void)arg;
    guard_end(t, v, os);
    tr_sp_add(t, popped);
    tr_end_jmpi(t, v, IRJ_RET, popped);
}

/* CX + @n at the address size. */
static uint8_t count_and(Tr *t, const X86Insn *i, int n)
{
    return tr_lea(t, &(MemRef){.base = V_R(R_CX), .index = V_NONE, .asize = i->adsize, .disp = n});
}

/* LOOP: @arg 0; LOOPE, LOOPNE: @arg is 1 + the condition. */
void tr_loop(Tr *t, const X86Insn *i, unsigned arg)
{
    IrType type = tr_type(i->adsize);
    bool good = tr_is_target(t, target_of(t, i));
    uint8_t v = V_R(R_CX);

    if (!good) {
        uint8_t left = count_and(t, i, -1);

        tr_guard_most(t, arg ? value_if(t, arg - 1, left) : left, 0);
    }
    tr_add_reg(t, v, -1, i->adsize);
    if (!good) {
        tr_end_next(t);
        return;
    }
    if (arg)
        v = value_if(t, arg - 1, v);
    tr_end_brz(t, true, type, v, target_of(t, i));
}

void tr_jcxz(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)arg;
    if (tr_is_target(t, target_of(t, i))) {
        tr_end_brz(t, false, tr_type(i->adsize), V_R(R_CX), target_of(t, i));
    } else { /* 0 - 1 is all ones */
        MemRef before = {.base = count_and(t, i, 0), .index = V_NONE, .asize = 8, .disp = -1};

        tr_guard_most(t, tr_lea(t, &before), UINT64_MAX - 1);
        tr_end_next(t);
    }
}

/* Selector and offset of a far pointer, from the instruction or from memory. */
static void far_pointer(Tr *t, const X86Insn *i, uint8_t *sel, uint8_t *offset)
{
    if (i->o[0].kind == X86_FAR) {
        *offset = tr_const(t, (uint64_t)i->o[0].imm & 0xffffffff);
        *sel = tr_const(t, (uint64_t)i->o[0].imm >> 32 & 0xffff);
    } else {
        MemRef m = tr_mem(t, i, i->opsize, TR_READ), s = tr_mem_at(t, i, i->opsize, 2, TR_READ);

        *offset = tr_load(t, &m, i->opsize);
        *sel = tr_load(t, &s, 2);
    }
}

void tr_jmp_far(Tr *t, const X86Insn *i, unsigned arg)
{
    uint8_t sel, offset;

    (void)arg;
    far_pointer(t, i, &sel, &offset);
    tr_call(t, hlp_far_jmp, IRC_PC, V_NONE, sel, offset, i->opsize | (uint64_t)i->len << 8);
    tr_end_leave(t);
}

void tr_call_far(Tr *t, const X86Insn *i, unsigned arg)
{
    uint8_t sel, offset;

    (void)arg;
    far_pointer(t, i, &sel, &offset);
    tr_call(t, hlp_far_call, IRC_PC, V_NONE, sel, offset, i->opsize | (unsigned)i->len << 8);
    tr_end_leave(t);
}

void tr_ret_far(Tr *t, const X86Insn *i, unsigned arg)
{
    uint64_t pop = i->n ? (uint64_t)i->o[0].imm & 0xffff : 0;

    (void)arg;
    tr_call(t, hlp_far_ret, IRC_PC, V_NONE, V_NONE, V_NONE, i->opsize | pop << 8);
    tr_end_leave(t);
}

/* INT n, INT3, INTO, INT1: @arg is hlp_int's kind.  Delivery clears TF: no trap behind it; INTO
 * may not deliver. */
void tr_int(Tr *t, const X86Insn *i, unsigned arg)
{
    static const uint8_t vectors[] = {0, EX_BP, EX_OF, EX_DB};
    uint64_t vector = arg ? vectors[arg] : (uint64_t)i->o[0].imm & 0xff;

    tr_call(t, arg == 2 ? hlp_into : hlp_int, IRC_PC | IRC_FLAGS_IN, V_NONE, V_NONE, V_NONE,
            vector | (uint64_t)i->len << 8 | (uint64_t)arg << 16);
    if (arg == 2)
        tr_end_leave(t);
    else
        tr_end_raised(t);
}

void tr_iret(Tr *t, const X86Insn *i, unsigned arg)
{
    (void)arg;
    tr_call(t, hlp_iret, IRC_FAST | IRC_PC | IRC_FLAGS_IN | IRC_FLAGS_OUT, V_NONE, V_NONE, V_NONE,
            i->opsize);
    tr_end_leave(t);
}
