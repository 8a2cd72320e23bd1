/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lower_flow - helper calls and ways out of a block
 *
 * One-shot blocks always go back to C: while code runs, Vcpu.current says whether it is one. Direct
 * exits are jumps whose displacement Backend.link() patches.  Indirect ones look the target up in
 * the context's branch cache; its entries lead to checked entries, so that a stale one is harmless.
 */
#include "accel/jit/x64/x64_priv.h"

void x64_store_pc(Emit *e, Gva pc)
{
    Asm *a = &e->a;
    Rm slot = rm_mem(RBP, CPU_AT(r[V_PC]));

    if (fits32((int64_t)pc)) {
        emit_op(a, 0, 8, 0xc7, 0, slot);
        emit32(a, (uint32_t)pc);
    } else {
        emit_const(a, R13, pc);
        emit_store(a, 8, slot, R13);
    }
}

static void store_const(Emit *e, Rm slot, uint64_t v)
{
    Asm *a = &e->a;

    if (fits32((int64_t)v)) {
        emit_op(a, 0, 8, 0xc7, 0, slot);
        emit32(a, (uint32_t)v);
    } else {
        emit_const(a, R13, v);
        emit_store(a, 8, slot, R13);
    }
}

static void load_argument(Emit *e, unsigned reg, unsigned v)
{
    if (v != V_NONE)
        emit_load(&e->a, 8, reg, x64_loc(e, v));
    else
        emit_op(&e->a, 0, 4, 0x31, reg, rm_reg(reg)); /* xor: flags are safe by now */
}

void x64_lower_call(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    const uint8_t *thunk = x64_thunk(e, (IrHelper *)(uintptr_t)o->imm, o->cc & IRC_FAST);

    unsigned recipe = x64_exact_point(e, (unsigned)(o - e->ir->ops));

    if (o->cc & IRC_FLAGS_IN)
        x64_flags_to_mem(e);
    x64_flags_spill(e, (uint16_t)((o->fl_live & ~o->fl_out) | o->fl_in));
    if (o->cc & IRC_PC)
        x64_store_pc(e, e->b->pc + e->pcs[e->insn].pc);
    store_const(e, rm_mem(RBP, CPU_AT(ret)), (uint64_t)o->disp);
    load_argument(e, R13, o->a);
    load_argument(e, R14, o->b);
    x64_exact_place(e, recipe);
    emit_call(a, thunk);
    x64_exact_place(e, 0);
    if (o->cc & IRC_FLAGS_OUT)
        e->fl_mem = true;
    if (o->d != V_NONE) {
        Rm d = x64_loc(e, o->d);

        emit_load(a, 8, d.is_reg ? d.reg : R14, rm_mem(RBP, CPU_AT(ret)));
        if (!d.is_reg)
            emit_store(a, 8, d, R14);
    }
}

void x64_guard_r13(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    uint8_t *good;

    emit_mov(a, 8, R14, R13);
    emit_op(a, 0, 8, 0xc1, 7, rm_reg(R14)); /* sar r14, bits - 1: 0 or -1 */
    emit8(a, o->scale - 1u);
    emit_op(a, 0, 8, 0xff, 0, rm_reg(R14)); /* inc r14 */
    emit_op(a, 0, 8, 0x83, 7, rm_reg(R14)); /* cmp r14, 1 */
    emit8(a, 1);
    good = emit_jcc(a, CC_BE);
    emit_op(a, 0, 8, 0xc7, 0, rm_mem(RBP, CPU_AT(ret)));
    emit32(a, (uint32_t)o->disp);
    emit_call(a, x64_thunk(e, (IrHelper *)(uintptr_t)o->imm, true));
    asm_patch(good, a->p);
}

/* Quick as long as code branches within its half of the address space. */
void x64_lower_guard(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    bool upper = e->b->pc >> 63;

    unsigned recipe = x64_exact_point(e, (unsigned)(o - e->ir->ops));

    x64_flags_spill(e, o->fl_live);
    emit_load(a, 8, R14, x64_loc(e, o->a));
    emit_op(a, 0, 8, 0xc1, upper ? 7 : 5, rm_reg(R14)); /* sar or shr */
    emit8(a, o->scale - 1u);
    if (upper)
        emit_op(a, 0, 8, 0xff, 0, rm_reg(R14)); /* inc */
    assert(e->n_slow < X64_MAX_SLOW - 2);
    e->slow[e->n_slow] = (Slow){.jump = emit_jcc(a, CC_NE),
                                .kind = SLOW_GUARD,
                                .recipe = (uint16_t)recipe,
                                .guard = o,
                                .insn = e->insn};
    e->slow[e->n_slow++].end = a->p;
}

static void add_link(Emit *e, uint8_t *disp, Gva pc)
{
    Block *b = e->b;
    Link *l = &b->link[e->n_links];
    Gva linear = b->linear + (pc - b->pc);

    *l = (Link){
        .from = b, .patch = disp, .pc = pc, .same_page = !((linear ^ b->linear) >> TLB_PAGE_BITS)};
    e->links[e->n_links] = (PendingLink){disp, e->n_links};
    e->n_links++;
}

static void exit_direct(Emit *e, Gva pc)
{
    emit_align_patch(&e->a, 1);
    add_link(e, emit_jmp_fwd(&e->a), pc);
}

void x64_link_stubs(Emit *e)
{
    Asm *a = &e->a;

    for (unsigned i = 0; i < e->n_links; i++) {
        Link *l = &e->b->link[e->links[i].n];

        l->stub = a->p;
        asm_patch(l->patch, a->p);
        emit_call(a, e->x->exit_link); /* does not come back: the link's address follows */
        emit64(a, (uintptr_t)l);
    }
}

void x64_branch_hash(Asm *a)
{
    emit_op(a, 0, 4, 0x69, R14, rm_reg(R13)); /* imul r14d, r13d, K */
    emit32(a, 0x9e3779b1u);
    emit_op(a, 0, 4, 0xc1, 5, rm_reg(R14)); /* shr */
    emit8(a, 32 - TLB_BRANCH_BITS);
    emit_op(a, 0, 4, 0xc1, 4, rm_reg(R14)); /* shl: 32-byte entries */
    emit8(a, 5);
}

/* Go where the branch cache has the pc in r13, or on behind. */
static void jump_cached(Emit *e)
{
    Asm *a = &e->a;
    uint8_t *miss[2];

    x64_branch_hash(a);
    emit_op(a, 0, 8, 0x3b, R13, rm_sib(R15, R14, 0, TLB_AT(branch[0].pc)));
    miss[0] = emit_jcc(a, CC_NE);
    emit_op(a, 0, 8, 0x81, 7, rm_sib(R15, R14, 0, TLB_AT(branch[0].mode)));
    emit32(a, e->b->mode);
    miss[1] = emit_jcc(a, CC_NE);
    emit_op(a, 0, 4, 0xff, 4, rm_sib(R15, R14, 0, TLB_AT(branch[0].host)));
    asm_patch(miss[0], a->p);
    asm_patch(miss[1], a->p);
}

/* r13 = target of @o: go there through the branch cache, or out. */
static void jump_r13(Emit *e, const IrOp *o)
{
    if (!e->b->one_shot)
        jump_cached(e);
    if (o->scale && o->cc != IRJ_CALL) /* what the cache knows has been run */
        x64_guard_r13(e, o);
    emit_jmp(&e->a, e->x->exit_lookup);
}

/* V_PC is set; mode and requests may have changed. */
static void leave(Emit *e)
{
    Asm *a = &e->a;

    if (e->b->one_shot) {
        emit_const(a, R14, JIT_EXIT_SYNC);
        emit_jmp(a, e->x->exit);
    } else {
        emit_jmp(a, e->x->dispatch);
    }
}

/* Is it worth and safe to pair returns?  A pair says nothing of the code segment's base. */
static bool paired(const Emit *e)
{
    return e->b->mode & CPU_MODE_LINEAR && !e->j->nochain && !e->b->one_shot;
}

/* Remember that the guest will return to @ra: its address, then (by the call that follows) where
 * we go on. */
static void push_return(Emit *e, Gva ra)
{
    Asm *a = &e->a;
    uint8_t *room;

    emit_op(a, 0, 8, 0x3b, RSP, rm_mem(RBP, CPU_AT(stack_limit)));
    room = emit_jcc(a, CC_A);
    emit_load(a, 8, RSP, rm_mem(RBP, CPU_AT(stack_top)));
    asm_patch(room, a->p);
    if (fits32((int64_t)ra)) {
        emit8(a, 0x68);
        emit32(a, (uint32_t)ra);
    } else {
        emit_const(a, R14, ra);
        emit8(a, 0x41), emit8(a, 0x56); /* push r14 */
    }
}

/* Where a paired return arrives, with r13 = @ra: the mode may have changed meanwhile, the
 * mapping is checked by the link's target. */
static void return_point(Emit *e, Gva ra)
{
    Asm *a = &e->a;

    emit_op(a, 0, 8, 0x8d, RSP, rm_mem(RSP, 8));
    emit_op(a, 0, 4, 0x81, 7, rm_mem(RBP, CPU_AT(mode)));
    emit32(a, e->b->mode);
    asm_patch(emit_jcc(a, CC_NE), e->x->exit_lookup - a->delta);
    exit_direct(e, ra);
    e->b->link[e->n_links - 1].same_page = false;
}

static void call_direct(Emit *e, Gva target, Gva ra)
{
    push_return(e, ra);
    emit_align_patch(&e->a, 1);
    emit8(&e->a, 0xe8);
    emit32(&e->a, 0);
    add_link(e, e->a.p - 4, target);
    return_point(e, ra);
}

static void call_indirect(Emit *e, const IrOp *o)
{
    Gva ra = (Gva)o->disp;
    Asm *a = &e->a;
    uint8_t *call;

    push_return(e, ra);
    emit_load(a, 8, R13, x64_loc(e, o->a));
    emit8(a, 0xe8);
    emit32(a, 0);
    call = a->p - 4;
    return_point(e, ra);
    asm_patch(call, a->p);
    jump_r13(e, o);
}

static void exit_return(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    uint8_t *miss, *bottom;

    emit_load(a, 8, R13, x64_loc(e, o->a));
    emit_op(a, 0, 8, 0x3b, R13, rm_mem(RSP, 8));
    miss = emit_jcc(a, CC_NE);
    emit8(a, 0xc3);
    asm_patch(miss, a->p);
    emit_op(a, 0, 8, 0x3b, RSP, rm_mem(RBP, CPU_AT(stack_top)));
    bottom = emit_jcc(a, CC_AE);
    emit_op(a, 0, 8, 0x8d, RSP,
            rm_mem(RSP, 16)); /* one pair less: a call that was not returned from */
    asm_patch(bottom, a->p);
    jump_r13(e, o);
}

static void branch_on_register(Emit *e, const IrOp *o)
{
    Asm *a = &e->a;
    unsigned size = ir_size(o->type);
    Rm m = x64_loc(e, o->a);

    if (m.is_reg) {
        emit_op(a, 0, size, size == 1 ? 0x84 : 0x85, m.reg, m);
    } else {
        emit_op(a, 0, size, size == 1 ? 0x80 : 0x83, 7, m);
        emit8(a, 0);
    }
    emit_align_patch(a, 2);
    add_link(e, emit_jcc(a, o->op == IR_BRZ ? CC_E : CC_NE), (Gva)o->imm);
    exit_direct(e, (Gva)o->disp);
}

/* Flags are saved on the one way on which somebody may read them. */
static void branch_on_flags(Emit *e, const IrOp *o)
{
    bool in_host = e->fl_host && !e->fl_mem, taken = e->ir->live_taken, behind = e->ir->live_behind;
    uint8_t *leave;

    if (in_host && taken && !behind) {
        leave = emit_jcc(&e->a, o->cc);
        exit_direct(e, (Gva)o->disp);
        asm_patch(leave, e->a.p);
        x64_flags_to_mem(e);
        exit_direct(e, (Gva)o->imm);
        return;
    }
    if (in_host && taken)
        x64_flags_to_mem(e);
    add_link(e, x64_branch(e, o->cc, 1), (Gva)o->imm);
    if (in_host && behind)
        x64_flags_to_mem(e);
    exit_direct(e, (Gva)o->disp);
}

void x64_lower_term(Emit *e, const IrOp *o)
{
    if (o->fl_live && e->fl_host && o->op != IR_BR)
        x64_flags_to_mem(e);
    switch (o->op) {
    case IR_JMP:
        if (o->cc == IRJ_CALL && paired(e))
            call_direct(e, (Gva)o->imm, (Gva)o->disp);
        else
            exit_direct(e, (Gva)o->imm);
        break;
    case IR_BR: branch_on_flags(e, o); break;
    case IR_BRZ:
    case IR_BRNZ: branch_on_register(e, o); break;
    case IR_JMPI:
        if (o->cc == IRJ_CALL && paired(e))
            call_indirect(e, o);
        else if (o->cc == IRJ_RET && paired(e))
            exit_return(e, o);
        else {
            emit_load(&e->a, 8, R13, x64_loc(e, o->a));
            jump_r13(e, o);
        }
        break;
    case IR_EXIT:
        x64_store_pc(e, (Gva)o->imm);
        leave(e);
        break;
    case IR_LEAVE: leave(e); break;
    default: assert(!"not a terminator");
    }
}
