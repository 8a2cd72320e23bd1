/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * plan - which memory accesses of a block share one soft TLB check
 *
 * Accesses at constant distances from one base register (which may move by constants in between, as the stack pointer
 * does) form a group.  The check at the group's first access covers the window of all; a failed one goes to a copy of the
 * same ops in which each access checks for itself, so that faults, MMIO and page crossings stay exact.
 *
 * Invariants:
 *  1. No helper call lies between a group's first and last access: the translation cannot change in between.
 *  2. A group's window is at most GROUP_WINDOW bytes, so a page holds it unless it crosses a boundary.
 */
#include "accel/jit/x64/x64_priv.h"

enum { GROUP_WINDOW = 1024 };

typedef struct Base {
    int16_t group; /* -1: none is open */
    int64_t moved; /* what was added to the register since the group began */
} Base;

static bool groupable(const IrOp *o)
{
    return o->flags & (IRF_MEM_B | IRF_MEM_D) && o->base < V_PC && o->index == V_NONE && o->seg == V_NONE && o->asize == 8 &&
           !(o->flags & (IRF_ALIGN | IRF_LIN32)) && o->op != IR_LEA;
}

/* Does @o move register @r by a constant? */
static bool moves(const IrOp *o, int64_t *by)
{
    if (o->type != I64 || o->d >= V_PC)
        return false;
    if (o->op == IR_LEA && o->base == o->d && o->index == V_NONE && o->asize == 8) {
        *by = o->disp;
        return true;
    }
    if ((o->op == IR_ADD || o->op == IR_SUB) && o->a == o->d && (o->flags & (IRF_IMM | IRF_MEM_B | IRF_MEM_D)) == IRF_IMM) {
        *by = o->op == IR_ADD ? o->imm : -o->imm;
        return true;
    }
    return false;
}

static void close_written(const IrOp *o, Base *base)
{
    const uint8_t written[] = { o->d, o->a, o->b, o->c };
    unsigned n = 1;

    if (o->op == IR_XCHG || o->op == IR_XADD || o->op == IR_CMPXCHG || o->op == IR_PASS)
        n = 3;
    else if (ir_ops[o->op].form == FORM_WIDE)
        n = 4;
    else if (o->op == IR_CMPXCHG2)
        base[0].group = base[2].group = -1;
    if (o->op == IR_PASS && ir_pass_rows[o->pass].implicit & PI_CX_OUT)
        base[1].group = -1;
    for (unsigned i = 0; i < n; i++)
        if (written[i] < V_PC)
            base[written[i]].group = -1;
}

static bool join(Group *g, int64_t at, unsigned size, bool write, unsigned op)
{
    int64_t lo = MIN(g->lo, at), hi = MAX(g->hi, at + (int64_t)size);

    if (hi - lo > GROUP_WINDOW)
        return false;
    g->lo = lo;
    g->hi = hi;
    g->write |= write;
    g->last = (uint16_t)op;
    g->n++;
    return true;
}

/* Which ops destroy r13, where a group's address lives; conservative. */
bool x64_uses_r13(const Emit *e, const IrOp *o)
{
    const uint8_t used[] = { o->d, o->a, o->b, o->base, o->index };

    if (o->op == IR_INSN || o->op == IR_NOP)
        return false;
    for (unsigned i = 0; i < COUNT_OF(used); i++)
        if (used[i] < V_XMM && !x64_loc(e, used[i]).is_reg && o->op != IR_MOV && o->op != IR_CMP && o->op != IR_TEST)
            return true;
    switch (o->op) {
    case IR_LEA: return o->type < I32 || o->asize != 8 || !fits32(o->disp) || (o->base == V_NONE && o->index == V_NONE);
    case IR_CALL: case IR_STS: case IR_BTS: case IR_BTR: case IR_BTC: case IR_BT: case IR_SHLD: case IR_SHRD:
        return true;
    default:
        return o->flags & IRF_IMM && o->type == I64 && !fits32(o->imm);
    }
}

void x64_plan(Emit *e)
{
    const IrBlock *ir = e->ir;
    Base base[V_PC];

    e->n_groups = 0;
    for (unsigned i = 0; i < V_PC; i++)
        base[i].group = -1;
    for (unsigned i = 0; i < ir->n; i++) {
        const IrOp *o = &ir->ops[i];
        int64_t by;

        e->group_of[i] = 0;
        if (o->op == IR_CALL)
            for (unsigned k = 0; k < V_PC; k++)
                base[k].group = -1;
        if (groupable(o)) {
            Base *b = &base[o->base];
            bool write = x64_stores(o);

            if (b->group < 0 || !join(&e->groups[b->group], o->disp + b->moved, o->msize, write, i)) {
                b->group = -1;
                if (e->n_groups < X64_MAX_GROUPS) {
                    *b = (Base){ (int16_t)e->n_groups, 0 };
                    e->groups[e->n_groups++] = (Group){ .first = (uint16_t)i, .last = (uint16_t)i, .lo = o->disp, .hi = o->disp + o->msize, .write = write, .n = 1 };
                }
            }
            if (b->group >= 0) {
                e->group_of[i] = (uint8_t)(b->group + 1);
                e->group_at[i] = (int32_t)(o->disp + b->moved);
            }
        }
        if (moves(o, &by))
            base[o->d].moved += by;
        else
            close_written(o, base);
    }
    for (unsigned i = 0; i < ir->n; i++) /* lone accesses check for themselves */
        if (e->group_of[i] && e->groups[e->group_of[i] - 1].n < 2)
            e->group_of[i] = 0;
    for (unsigned g = 0; g < e->n_groups; g++) {
        Group *p = &e->groups[g];

        p->end = p->last;
        for (unsigned i = p->first; p->n > 1 && i <= p->end; i++) {
            const IrOp *o = &ir->ops[i];

            if (e->group_of[i] && e->groups[e->group_of[i] - 1].first == i && e->groups[e->group_of[i] - 1].n > 1 && e->groups[e->group_of[i] - 1].last > p->end)
                p->end = e->groups[e->group_of[i] - 1].last;
            if ((o->flags & (IRF_MEM_B | IRF_MEM_D) && o->op != IR_LEA && e->group_of[i] != g + 1) || (i < p->last && x64_uses_r13(e, o)))
                p->spill = true;
        }
    }
}
