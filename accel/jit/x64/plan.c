/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * plan - which memory accesses of a block share one soft TLB check
 *
 * Accesses at constant distances from one base register (which may move by constants in between, as
 * the stack pointer does) form a group.  The check at the group's first access covers the window of
 * all; a failed one goes to a copy of the same ops in which each access checks for itself, so that
 * faults, MMIO and page crossings stay exact.
 *
 * Invariants:
 *  1. No helper call lies between a group's first and last access: the translation cannot change in
 *     between.
 *  2. A group's window is at most GROUP_WINDOW bytes, so a page holds it unless it crosses a
 *     boundary.
 */
#include "accel/jit/x64/x64_priv.h"

enum { GROUP_WINDOW = 1024 };

typedef struct Base {
    uint16_t group; /* its open group, if its bit in Open is set */
    int64_t moved;  /* what was added to the register since the group began */
} Base;

typedef uint32_t Open; /* registers with an open group */

static bool groupable(const IrOp *o)
{
    return o->flags & (IRF_MEM_B | IRF_MEM_D) && o->base < V_PC && o->index == V_NONE &&
           o->seg == V_NONE && o->asize == 8 && !(o->flags & (IRF_ALIGN | IRF_LIN32)) &&
           o->op != IR_LEA;
}

/* Does @o move register @r by a constant? */
bool x64_moves(const IrOp *o, int64_t *by)
{
    if (o->type != I64 || o->d >= V_PC)
        return false;
    if (o->op == IR_LEA && o->base == o->d && o->index == V_NONE && o->asize == 8) {
        *by = o->disp;
        return true;
    }
    if ((o->op == IR_ADD || o->op == IR_SUB) && o->a == o->d &&
        (o->flags & (IRF_IMM | IRF_MEM_B | IRF_MEM_D)) == IRF_IMM) {
        *by = o->op == IR_ADD ? o->imm : -o->imm;
        return true;
    }
    return false;
}

static inline Open reg_bit(unsigned v)
{
    return v < V_PC ? (Open)BIT(v) : 0;
}

/* Registers that @o writes. */
uint32_t x64_written_by(const IrOp *o)
{
    Open w = reg_bit(o->d);

    switch (o->op) {
    case IR_XCHG:
    case IR_XADD:
    case IR_CMPXCHG: return w | reg_bit(o->a) | reg_bit(o->b);
    case IR_PASS:
        w |= reg_bit(o->a) | reg_bit(o->b);
        return ir_pass_rows[o->pass].implicit & PI_CX_OUT ? w | reg_bit(1) : w;
    case IR_CMPXCHG2: return w | reg_bit(0) | reg_bit(2);
    default:
        return ir_ops[o->op].form == FORM_WIDE ? w | reg_bit(o->a) | reg_bit(o->b) | reg_bit(o->c)
                                               : w;
    }
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

static inline bool at_home(const Emit *e, unsigned v)
{
    return v < V_XMM && e->x->homes >> v & 1;
}

/* Which ops destroy r13, where a group's address lives; conservative. */
bool x64_uses_r13(const Emit *e, const IrOp *o)
{
    if (o->op == IR_INSN || o->op == IR_NOP)
        return false;
    if (o->op != IR_MOV && o->op != IR_CMP && o->op != IR_TEST &&
        (at_home(e, o->d) || at_home(e, o->a) || at_home(e, o->b) || at_home(e, o->base) ||
         at_home(e, o->index)))
        return true;
    switch (o->op) {
    case IR_LEA:
        return o->type < I32 || o->asize != 8 || !fits32(o->disp) ||
               (o->base == V_NONE && o->index == V_NONE);
    case IR_CALL:
    case IR_GUARD:
    case IR_SETF:
    case IR_STS:
    case IR_BTS:
    case IR_BTR:
    case IR_BTC:
    case IR_BT:
    case IR_SHLD:
    case IR_SHRD: return true;
    default: return o->flags & IRF_IMM && o->type == I64 && !fits32(o->imm);
    }
}

/* Access @i joins the open group of its base register, or opens one. */
static Open plan_access(Emit *e, unsigned i, Base *b, Open open)
{
    const IrOp *o = &e->ir->ops[i];
    Open bit = (Open)BIT(o->base);
    bool write = x64_stores(o);

    if (!(open & bit) || !join(&e->groups[b->group], o->disp + b->moved, o->msize, write, i)) {
        if (e->n_groups == X64_MAX_GROUPS)
            return open & ~bit;
        *b = (Base){(uint16_t)e->n_groups, 0};
        e->groups[e->n_groups++] = (Group){.first = (uint16_t)i,
                                           .last = (uint16_t)i,
                                           .lo = o->disp,
                                           .hi = o->disp + o->msize,
                                           .write = write,
                                           .n = 1};
    }
    e->group_of[i] = (uint8_t)(b->group + 1);
    e->group_at[i] = (int32_t)(o->disp + b->moved);
    return open | bit;
}

/* How far group @g's copy goes, and whether its address survives in r13. */
static void plan_extent(Emit *e, unsigned g)
{
    Group *p = &e->groups[g];

    p->end = p->last;
    for (unsigned i = p->first; i <= p->end; i++) {
        const IrOp *o = &e->ir->ops[i];
        unsigned other = e->group_of[i];

        if (other && e->groups[other - 1].first == i)
            p->end = MAX(p->end, e->groups[other - 1].last);
        if (!p->spill)
            p->spill = (o->flags & (IRF_MEM_B | IRF_MEM_D) && o->op != IR_LEA && other != g + 1) ||
                       (i < p->last && x64_uses_r13(e, o));
    }
    e->group_ends[p->end] = true;
}

void x64_plan(Emit *e)
{
    const IrBlock *ir = e->ir;
    Base base[V_PC];
    Open open = 0;

    e->n_groups = 0;
    memset(e->group_of, 0, ir->n);
    memset(e->group_ends, 0, ir->n * sizeof e->group_ends[0]);
    for (unsigned i = 0; i < ir->n; i++) {
        const IrOp *o = &ir->ops[i];
        int64_t by;

        if (o->op == IR_INSN)
            continue;
        if (o->op == IR_CALL)
            open = 0;
        if (groupable(o))
            open = plan_access(e, i, &base[o->base], open);
        if (!open)
            continue;
        if (!x64_moves(o, &by))
            open &= ~x64_written_by(o);
        else if (open & BIT(o->d))
            base[o->d].moved += by;
    }
    for (unsigned g = 0; g < e->n_groups; g++) /* lone accesses check for themselves */
        if (e->groups[g].n < 2)
            e->group_of[e->groups[g].first] = 0;
    for (unsigned g = 0; g < e->n_groups; g++)
        if (e->groups[g].n > 1)
            plan_extent(e, g);
}
