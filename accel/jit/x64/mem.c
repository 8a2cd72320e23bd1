/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mem - memory operands: address, soft TLB check, slow path
 *
 * The check (docs/translator.md, "Memory checks") covers page crossing; what it does not cover goes
 * out of line, where mem_slow() finds the host address, or a bounce buffer on which a copy of the
 * operation's bytes works, then mem_commit().
 */
#include "accel/jit/x64/x64_priv.h"

static unsigned addr_reg(Emit *e, unsigned v, unsigned scratch)
{
    return x64_src(e, v, 8, scratch);
}

void x64_address(Emit *e, const IrOp *o, bool with_seg)
{
    Asm *a = &e->a;
    unsigned size = o->asize == 8 ? 8 : 4;
    int32_t disp = (int32_t)o->disp;

    if (o->base == V_NONE && o->index == V_NONE) {
        emit_const(a, R13,
                   o->asize == 2   ? (uint16_t)o->disp
                   : o->asize == 4 ? (uint32_t)o->disp
                                   : (uint64_t)o->disp);
    } else {
        bool far = size == 8 && !fits32(o->disp);
        unsigned base = o->base == V_NONE ? NOREG : addr_reg(e, o->base, R13);
        unsigned index = o->index == V_NONE ? NOREG : addr_reg(e, o->index, R14);

        if (far)
            disp = 0;
        if (index == NOREG && disp == 0)
            emit_mov(a, size, R13, base);
        else
            emit_op(a, 0, size, 0x8d, R13,
                    index == NOREG ? rm_mem(base, disp) : rm_sib(base, index, o->scale, disp));
        if (far) {
            emit_const(a, R14, (uint64_t)o->disp);
            emit_op(a, 0, 8, 0x8d, R13, rm_sib(R13, R14, 0, 0));
        }
        if (o->asize == 2)
            emit_op(a, 0, 4, 0x0fb7, R13, rm_reg(R13));
    }
    if (with_seg && o->seg != V_NONE) /* flags are already safe */
        emit_op(a, 0, o->flags & IRF_LIN32 ? 4 : 8, 0x03, R13, x64_loc(e, o->seg));
    else if (with_seg && o->flags & IRF_LIN32 && o->asize == 8)
        emit_mov(a, 4, R13, R13);
}

/* r13 = address -> host address of [r13, r13 + size), r14 destroyed; returns the displacement of
 * the jump taken if it is not plain RAM. */
static uint8_t *probe(Emit *e, unsigned size, bool write)
{
    Asm *a = &e->a;
    int32_t tlb = write ? TLB_AT(wr) : TLB_AT(rd);
    uint8_t *miss;

    if (e->x->bmi2) {
        emit_vex(a, 3, 3, 0, 0, 0xf0, R14, 0, rm_reg(R13)); /* rorx r14d, r13d, 8 */
    } else {
        emit_mov(a, 4, R14, R13);
        emit_op(a, 0, 4, 0xc1, 5, rm_reg(R14)); /* shr r14d, 8 */
    }
    emit8(a, TLB_PAGE_BITS - 4);
    emit_op(a, 0, 4, 0x81, 4, rm_reg(R14)); /* and r14d, (TLB_SIZE - 1) * 16 */
    emit32(a, (TLB_SIZE - 1) * sizeof(TlbEntry));
    emit_op(a, 0, 8, 0x33, R13, rm_sib(R15, R14, 0, tlb));
    emit_op(a, 0, 8, 0x81, 7, rm_reg(R13)); /* cmp r13, 4096 - size */
    emit32(a, 4096 - size);
    miss = emit_jcc(a, CC_A);
    emit_op(a, 0, 8, 0x03, R13, rm_sib(R15, R14, 0, tlb + 8));
    return miss;
}

static void group_begin(Emit *e, const IrOp *o, Group *g)
{
    Asm *a = &e->a;
    unsigned base = x64_src(e, o->base, 8, R13), n = (unsigned)(g - e->groups);

    g->insn = (uint16_t)e->insn;
    g->fl_mem_in = e->fl_mem;
    g->mem_ok_in = e->mem_ok;
    if (g->lo)
        emit_op(a, 0, 8, 0x8d, R13, rm_mem(base, (int32_t)g->lo));
    else
        emit_mov(a, 8, R13, base);
    g->fail = probe(e, (unsigned)(g->hi - g->lo), g->write);
    if (g->spill)
        emit_store(a, 8, rm_mem(RBP, CPU_AT(group) + (int32_t)n * 8), R13);
}

static void group_access(Emit *e, const IrOp *o, unsigned i)
{
    unsigned n = e->group_of[i] - 1u;
    Group *g = &e->groups[n];

    if (g->first == i) {
        g->recipe_in = (uint16_t)x64_exact_point(e, i);
        x64_flags_spill(e, (uint16_t)((o->fl_live & ~o->fl_out) | o->fl_in));
        group_begin(e, o, g);
    } else if (e->in_r13 != n + 1) {
        emit_load(&e->a, 8, R13, rm_mem(RBP, CPU_AT(group) + (int32_t)n * 8));
    }
    e->in_r13 = (uint8_t)(n + 1);
    e->operand = rm_mem(R13, (int32_t)(e->group_at[i] - g->lo));
}

static uint8_t access_of(const IrOp *o)
{
    if (!x64_stores(o))
        return ACCESS_READ;
    if (o->flags & IRF_LOCK || o->op == IR_XCHG)
        return MEM_LOCKED;
    return o->op == IR_MOV || o->op == IR_SETCC || o->op == IR_PASS ? ACCESS_WRITE : MEM_UPDATE;
}

void x64_mem_begin(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    bool write = x64_stores(o);
    unsigned size = o->msize, i = (unsigned)(o - e->ir->ops);
    uint16_t recipe;

    if (!e->ungrouped && e->group_of[i]) {
        group_access(e, o, i);
        return;
    }
    recipe = (uint16_t)x64_exact_point(e, i);
    x64_flags_spill(e, (uint16_t)((o->fl_live & ~o->fl_out) | o->fl_in));
    e->in_r13 = 0;
    x64_address(e, o, true);
    if (o->flags & IRF_ALIGN && size > 1) {
        emit_op(a, 0, 1, 0xf6, 0, rm_reg(R13));
        emit8(a, size - 1);
        e->slow[e->n_slow++] = (Slow){
            .jump = emit_jcc(a, CC_NE), .kind = SLOW_ALIGN, .recipe = recipe, .insn = e->insn};
    }
    assert(e->n_slow < X64_MAX_SLOW - 2);
    e->slow[e->n_slow] = (Slow){.jump = probe(e, size, write),
                                .size = (uint8_t)size,
                                .access = access_of(o),
                                .recipe = recipe,
                                .insn = e->insn};
    e->slow[e->n_slow++].op = a->p;
    e->operand = rm_mem(R13, 0);
    e->mem = true;
}

void x64_mem_end(Emit *e)
{
    e->slow[e->n_slow - 1].end = e->a.p;
    e->mem = false;
}

void x64_group_end(Emit *e, unsigned op)
{
    for (unsigned n = 0; n < e->n_groups; n++) {
        Group *g = &e->groups[n];

        if (g->n < 2 || g->end != op)
            continue;
        g->rejoin = e->a.p;
        g->fl_host_out = e->fl_host;
        g->host_ok_out = e->host_ok;
        g->fl_mem_out = e->fl_mem;
        e->in_r13 = 0; /* the copy does not keep it */
    }
}

void x64_group_copies(Emit *e)
{
    Asm *a = &e->a;

    e->ungrouped = true;
    for (unsigned n = 0; n < e->n_groups; n++) {
        Group *g = &e->groups[n];

        if (g->n < 2)
            continue;
        asm_patch(g->fail, a->p);
        e->insn = e->n_pcs;
        x64_pc_entry(e, e->pcs[g->insn].pc, g->recipe_in);
        e->fl_host = false;
        e->fl_mem = g->fl_mem_in;
        x64_exact_copy(e, g);
        for (unsigned i = g->first; i <= g->end; i++)
            x64_emit_op(e, i);
        if (g->fl_host_out) { /* dead ones too: they may be saved behind */
            x64_flags_need(e);
            x64_exact_host(e, g->host_ok_out);
        }
        if (g->fl_mem_out)
            x64_flags_to_mem(e);
        emit_jmp(a, g->rejoin + a->delta);
    }
}

static void slow_access(Emit *e, const Slow *s)
{
    Asm *a = &e->a;

    emit_call(a, e->x->mem_slow[s->access][__builtin_ctz(s->size)]);
    if (s->access == ACCESS_READ) {
        emit_jmp(a, s->op + a->delta);
        return;
    }
    asm_patch(emit_jcc(a, CC_NE), s->op);
    memcpy(a->p, s->op,
           (size_t)(s->end - s->op)); /* position independent: registers, r13 and rbp only */
    a->p += s->end - s->op;
    emit_call(a, e->x->commit);
    emit_jmp(a, s->end + a->delta);
}

static void slow_guard(Emit *e, const Slow *s)
{
    emit_load(&e->a, 8, R13, x64_loc(e, s->guard->a));
    x64_guard_r13(e, s->guard);
    emit_jmp(&e->a, s->end + e->a.delta);
}

void x64_slow_paths(Emit *e)
{
    for (unsigned i = 0; i < e->n_slow; i++) {
        Slow *s = &e->slow[i];

        asm_patch(s->jump, e->a.p);
        x64_pc_entry(e, e->pcs[s->insn].pc, s->recipe);
        switch (s->kind) {
        case SLOW_ACCESS: slow_access(e, s); break;
        case SLOW_ALIGN: emit_call(&e->a, e->x->align_fault); break;
        case SLOW_GUARD: slow_guard(e, s); break;
        }
    }
}
