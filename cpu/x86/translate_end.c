/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_end - calls of helpers, and how blocks end
 *
 * Under TR_STEP and in the shadow of STI or MOV SS a block cannot simply jump: the target goes to
 * V_PC, then hlp_unshadow and hlp_step are called and the block ends by LEAVE (SDM volume 3
 * chapters 6.8.3, 17.3.1.4).
 */
#include "cpu/x86/translate_priv.h"

IrOp *tr_call(Tr *t, IrHelper *fn, unsigned irc, uint8_t d, uint8_t a, uint8_t b, uint64_t k)
{
    IrOp *o = ir_add(t->b, IR_CALL, I64);

    o->d = d;
    o->a = a;
    o->b = b;
    o->cc = (uint8_t)irc;
    o->disp = (int64_t)k;
    o->imm = (int64_t)(uintptr_t)fn;
    o->fl_in = irc & IRC_FLAGS_IN ? FL_ALL : 0;
    o->fl_out = irc & IRC_FLAGS_OUT ? FL_ALL : 0;
    return o;
}

static IrOp *end(Tr *t, IrOpcode op, Gva imm, Gva disp, unsigned hint)
{
    IrOp *o = ir_add(t->b, op, I64);

    o->imm = (int64_t)imm;
    o->disp = (int64_t)disp;
    o->cc = (uint8_t)hint;
    t->ended = true;
    return o;
}

bool tr_is_slow_end(const Tr *t)
{
    return t->shadow || (t->mode & TR_STEP);
}

/* V_PC is set. */
static void end_slow(Tr *t)
{
    if (t->shadow || ((t->mode & TR_STEP) && !t->shadow_next))
        tr_call(t, hlp_unshadow, IRC_FAST, V_NONE, V_NONE, V_NONE, 0);
    if (t->mode & TR_STEP)
        tr_call(t, hlp_step, IRC_FAST | IRC_FLAGS_IN, V_NONE, V_NONE, V_NONE, ~0ull);
    end(t, IR_LEAVE, 0, 0, 0);
}

void tr_raise_code(Tr *t, unsigned vector, unsigned error)
{
    bool has_error = vector == EX_DF || (vector >= EX_TS && vector <= 14) || vector == EX_AC;

    tr_call(t, hlp_raise, IRC_PC, V_NONE, V_NONE, V_NONE, vector | has_error << 8 | error << 16);
    tr_end_raised(t);
}

void tr_raise(Tr *t, unsigned vector)
{
    tr_raise_code(t, vector, 0);
}

void tr_end_raised(Tr *t)
{
    end(t, IR_LEAVE, 0, 0, 0);
}

void tr_end_jmp(Tr *t, Gva target, unsigned hint)
{
    if (!tr_is_slow_end(t)) {
        end(t, IR_JMP, target, t->next, hint);
        return;
    }
    tr_mov_imm(t, V_PC, target);
    end_slow(t);
}

/* V_PC = cc ? target : next. */
static void select_pc(Tr *t, unsigned cc, Gva target)
{
    uint8_t v = tr_const(t, target);
    IrOp *o;

    tr_mov_imm(t, V_PC, t->next);
    o = ir_add(t->b, IR_CMOV, I64);
    o->d = V_PC;
    o->b = v;
    o->cc = (uint8_t)cc;
    o->fl_in = ir_cond_flags(cc);
}

void tr_end_br(Tr *t, unsigned cc, Gva target)
{
    if (!tr_is_slow_end(t)) {
        end(t, IR_BR, target, t->next, cc)->fl_in = ir_cond_flags(cc);
        return;
    }
    select_pc(t, cc, target);
    end_slow(t);
}

/* The comparison must not be seen by the guest. */
static void select_pc_zero(Tr *t, bool nonzero, IrType type, uint8_t v, Gva target)
{
    uint8_t flags = ir_temp(t->b);
    IrOp *o = ir_add(t->b, IR_GETF, I64);

    o->d = flags;
    o->fl_in = FL_ALL;
    o = ir_add(t->b, IR_TEST, type);
    o->a = o->b = v;
    o->fl_out = FL_ALL & ~FL_AF;
    select_pc(t, nonzero ? CC_NE : CC_E, target);
    o = ir_add(t->b, IR_SETF, I64);
    o->a = flags;
    o->fl_out = FL_ALL;
}

void tr_end_brz(Tr *t, bool nonzero, IrType type, uint8_t v, Gva target)
{
    if (!tr_is_slow_end(t)) {
        IrOp *o = end(t, nonzero ? IR_BRNZ : IR_BRZ, target, t->next, 0);

        o->type = (uint8_t)type;
        o->a = v;
        return;
    }
    select_pc_zero(t, nonzero, type, v, target);
    end_slow(t);
}

static unsigned address_bits(const Tr *t)
{
    return !tr_is64(t) ? 0 : t->mode & MODE_LA57 ? 57 : 48;
}

static void guard(const Tr *t, IrOp *o, uint8_t v, unsigned popped)
{
    o->a = v;
    o->imm = (int64_t)(uintptr_t)hlp_bad_target;
    o->disp = popped;
    o->scale = (uint8_t)address_bits(t);
}

void tr_guard_most(Tr *t, uint8_t v, uint64_t most)
{
    tr_call(t, hlp_guard_most, IRC_FAST, V_NONE, v, V_NONE, most);
}

void tr_guard_limit(Tr *t, uint8_t v, unsigned opsize)
{
    if (t->limit < ~0ull >> (64 - 8 * opsize))
        tr_guard_most(t, v, t->limit);
}

void tr_guard(Tr *t, uint8_t v, unsigned opsize)
{
    if (tr_is64(t))
        guard(t, ir_add(t->b, IR_GUARD, I64), v, 0);
    else
        tr_guard_limit(t, v, opsize);
}

bool tr_is_target(const Tr *t, Gva pc)
{
    return pc <= t->limit && ir_is_address(pc, address_bits(t));
}

void tr_end_jmpi(Tr *t, uint8_t v, unsigned hint, unsigned popped)
{
    if (!tr_is_slow_end(t)) {
        IrOp *o = end(t, IR_JMPI, 0, t->next, hint);

        if (hint == IRJ_CALL)
            o->a = v;
        else
            guard(t, o, v, popped);
        return;
    }
    tr_mov(t, I64, V_PC, v);
    end_slow(t);
}

void tr_end_exit(Tr *t)
{
    if (!tr_is_slow_end(t)) {
        end(t, IR_EXIT, t->next, 0, 0);
        return;
    }
    tr_mov_imm(t, V_PC, t->next);
    end_slow(t);
}

void tr_end_leave(Tr *t)
{
    if (tr_is_slow_end(t))
        end_slow(t);
    else
        end(t, IR_LEAVE, 0, 0, 0);
}

void tr_end_next(Tr *t)
{
    if (tr_is_slow_end(t))
        tr_end_exit(t);
    else
        end(t, IR_JMP, t->next, t->next, IRJ_JUMP);
}

Gva tr_mask_pc(const Tr *t, Gva pc, unsigned opsize)
{
    return tr_is64(t) ? pc : opsize == 2 ? pc & 0xffff : pc & 0xffffffff;
}
