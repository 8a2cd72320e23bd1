/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stubs - the code around translated code: in, out, into C and back
 *
 * C called from here finds all guest registers in struct Cpu and runs on the C stack that `enter`
 * left. cpu->host_sp then points at the return address into translated code: Backend.sync_pc starts
 * from it.
 */
#include "accel/jit/x64/x64_priv.h"

static void spill_pins(X64 *x, Asm *a)
{
    for (unsigned i = 0; i < x->n_pinned; i++)
        emit_store(a, 8, rm_mem(RBP, x64_home(x->pinned[i])), (unsigned)x->pin[x->pinned[i]]);
}

static void load_pins(X64 *x, Asm *a)
{
    for (unsigned i = 0; i < x->n_pinned; i++)
        emit_load(a, 8, (unsigned)x->pin[x->pinned[i]], rm_mem(RBP, x64_home(x->pinned[i])));
    emit_load(a, 8, R15, rm_mem(RBP, CPU_AT(tlb)));
}

static void to_c_stack(Asm *a)
{
    emit_store(a, 8, rm_mem(RBP, CPU_AT(host_sp)), RSP);
    emit_load(a, 8, RSP, rm_mem(RBP, CPU_AT(c_sp)));
}

static void vec_move(Asm *a, bool load, bool wide, unsigned n, int32_t at)
{
    Rm m = rm_mem(RBP, CPU_AT(v) + (int32_t)n * 32 + at);

    if (wide)
        emit_vex(a, 2, 1, 0, 1, load ? 0x6f : 0x7f, n, 0, m); /* vmovdqu ymm */
    else
        emit_op(a, 0, 4, load ? 0x0f10 : 0x0f11, n, m); /* movups */
}

/* Clobbers rax, rcx, rdx.  With AVX, XINUSE tells cheaply whether any upper half is in use. */
static void make_vec_save(X64 *x, Asm *a)
{
    uint8_t *narrow = NULL, *done = NULL;

    x->vec_save = asm_here(a);
    emit_op(a, 0, 1, 0xc6, 0, rm_mem(RBP, CPU_AT(vec_live)));
    emit8(a, 0);
    emit_op(a, 0, 4, 0x0fae, 3, rm_mem(RBP, CPU_AT(vcsr))); /* stmxcsr */
    if (x->avx) {
        if (x->xgetbv1) {
            emit_const(a, RCX, 1);
            emit8(a, 0x0f), emit8(a, 0x01), emit8(a, 0xd0); /* xgetbv */
            emit8(a, 0xa8), emit8(a, 4);                    /* test al, 4 */
            narrow = emit_jcc(a, CC_E);
        }
        for (unsigned i = 0; i < 16; i++)
            vec_move(a, false, true, i, 0);
        emit8(a, 0xc5), emit8(a, 0xf8), emit8(a, 0x77); /* vzeroupper: C may use SSE */
        if (narrow)
            done = emit_jmp_fwd(a);
    }
    if (narrow)
        asm_patch(narrow, a->p);
    if (narrow || !x->avx) {
        for (unsigned i = 0; i < 16; i++)
            vec_move(a, false, false, i, 0);
        emit_op(a, 0, 4, 0x0f57, 0, rm_reg(0)); /* xorps xmm0, xmm0 */
        for (unsigned i = 0; i < 16; i++)
            emit_op(a, 0, 4, 0x0f11, 0, rm_mem(RBP, CPU_AT(v) + (int32_t)i * 32 + 16));
    }
    if (done)
        asm_patch(done, a->p);
    emit8(a, 0x68), emit32(a, 0x1f80);           /* push: the C library's MXCSR */
    emit_op(a, 0, 4, 0x0fae, 2, rm_mem(RSP, 0)); /* ldmxcsr */
    emit8(a, 0x58);                              /* pop rax */
    emit8(a, 0xc3);
}

/* Clobbers no general register.  Upper halves that are all zero are left in their initial state:
 * SSE code runs without false dependencies then. */
static void make_vec_load(X64 *x, Asm *a)
{
    uint8_t *wide = NULL;

    x->vec_load = asm_here(a);
    emit_op(a, 0, 1, 0xc6, 0, rm_mem(RBP, CPU_AT(vec_live)));
    emit8(a, 1);
    emit_op(a, 0, 4, 0x0fae, 2, rm_mem(RBP, CPU_AT(vcsr))); /* ldmxcsr */
    if (x->avx) {
        emit8(a, 0xc5), emit8(a, 0xf8), emit8(a, 0x77); /* vzeroupper */
        emit_op(a, 0, 4, 0x0f10, 0, rm_mem(RBP, CPU_AT(v) + 16));
        for (unsigned i = 1; i < 16; i++)
            emit_vex(a, 1, 1, 0, 0, 0xeb, 0, 0,
                     rm_mem(RBP, CPU_AT(v) + (int32_t)i * 32 + 16)); /* vpor */
        emit_vex(a, 1, 2, 0, 0, 0x17, 0, 0, rm_reg(0));              /* vptest xmm0, xmm0 */
        wide = emit_jcc(a, CC_NE);
    }
    for (unsigned i = 0; i < 16; i++)
        vec_move(a, true, false, i, 0);
    emit8(a, 0xc3);
    if (wide) {
        asm_patch(wide, a->p);
        for (unsigned i = 0; i < 16; i++)
            vec_move(a, true, true, i, 0);
        emit8(a, 0xc3);
    }
}

static void ensure_vectors(X64 *x, Asm *a)
{
    uint8_t *live;

    emit_op(a, 0, 1, 0x80, 7, rm_mem(RBP, CPU_AT(vec_live)));
    emit8(a, 0);
    live = emit_jcc(a, CC_NE);
    emit_call(a, x->vec_load);
    asm_patch(live, a->p);
}

static void call_absolute(Asm *a, const void *fn)
{
    emit_const(a, RAX, (uintptr_t)fn);
    emit_op(a, 0, 4, 0xff, 2, rm_reg(RAX));
}

/* JitExit enter(Cpu *, const uint8_t *host) and the ways back. */
static void make_enter_exit(X64 *x, Asm *a)
{
    static const uint8_t saved[] = {RBX, RBP, R12, R13, R14, R15};

    x->enter = asm_here(a);
    for (unsigned i = 0; i < COUNT_OF(saved); i++) {
        if (saved[i] >= 8)
            emit8(a, 0x41);
        emit8(a, 0x50 | (saved[i] & 7));
    }
    emit_op(a, 0, 8, 0x83, 5, rm_reg(RSP)); /* sub rsp, 8: aligned for calls */
    emit8(a, 8);
    emit_op(a, 0, 8, 0x8d, RBP, rm_mem(RDI, CPU_BIAS));
    emit_store(a, 8, rm_mem(RBP, CPU_AT(c_sp)), RSP);
    emit_store(a, 8, rm_mem(RBP, CPU_AT(ret)), RSI);
    emit_load(a, 8, RSP, rm_mem(RBP, CPU_AT(host_sp)));
    emit_call(a, x->vec_load);
    load_pins(x, a);
    emit_op(a, 0, 4, 0xff, 4, rm_mem(RBP, CPU_AT(ret)));

    /* called with the Link's address behind the call */
    x->exit_link = asm_here(a);
    emit8(a, 0x41), emit8(a, 0x5d); /* pop r13 */
    emit_load(a, 8, R13, rm_mem(R13, 0));
    emit_const(a, R14, JIT_EXIT_LINK);
    emit_store(a, 8, rm_mem(RBP, CPU_AT(ret)), R13);
    /* r14 = JitExit */
    x->exit = asm_here(a);
    spill_pins(x, a);
    emit_store(a, 8, rm_mem(RBP, CPU_AT(host_sp)), RSP);
    emit_load(a, 8, RSP, rm_mem(RBP, CPU_AT(c_sp)));
    emit_call(a, x->vec_save);
    emit_mov(a, 4, RAX, R14);
    emit_op(a, 0, 8, 0x83, 0, rm_reg(RSP));
    emit8(a, 8);
    for (unsigned i = COUNT_OF(saved); i-- > 0;) {
        if (saved[i] >= 8)
            emit8(a, 0x41);
        emit8(a, 0x58 | (saved[i] & 7));
    }
    emit8(a, 0xc3);
}

/* V_PC is current: go on there if the branch cache knows the block and nobody wants us. */
static void make_dispatch(X64 *x, Asm *a)
{
    uint8_t *out[3];

    x->dispatch = asm_here(a);
    emit_op(a, 0, 4, 0x83, 7, rm_mem(RBP, CPU_AT(request)));
    emit8(a, 0);
    out[0] = emit_jcc(a, CC_NE);
    emit_load(a, 8, R13, rm_mem(RBP, CPU_AT(r[V_PC])));
    x64_branch_hash(a);
    emit_op(a, 0, 8, 0x3b, R13, rm_sib(R15, R14, 0, TLB_AT(branch[0].pc)));
    out[1] = emit_jcc(a, CC_NE);
    emit_load(a, 4, R13, rm_mem(RBP, CPU_AT(mode)));
    emit_op(a, 0, 8, 0x3b, R13, rm_sib(R15, R14, 0, TLB_AT(branch[0].mode)));
    out[2] = emit_jcc(a, CC_NE);
    emit_op(a, 0, 4, 0xff, 4, rm_sib(R15, R14, 0, TLB_AT(branch[0].host)));
    for (unsigned i = 0; i < 3; i++)
        asm_patch(out[i], a->p);
    emit_const(a, R14, JIT_EXIT_SYNC);
    emit_jmp(a, x->exit);
}

/* r13 = a pc that C shall look up. */
static void make_exit_lookup(X64 *x, Asm *a)
{
    x->exit_lookup = asm_here(a);
    emit_store(a, 8, rm_mem(RBP, CPU_AT(r[V_PC])), R13);
    emit_const(a, R14, JIT_EXIT_LOOKUP);
    emit_jmp(a, x->exit);
}

/* Ways out of a block's entries: two calls, the block's pc behind the second. */
static void make_head_exits(X64 *x, Asm *a)
{
    x->head_lookup = asm_here(a);
    emit8(a, 0x41), emit8(a, 0x5d); /* pop r13 */
    emit_load(a, 8, R13, rm_mem(R13, 5));
    emit_jmp(a, x->exit_lookup);
    x->head_request = asm_here(a);
    emit8(a, 0x41), emit8(a, 0x5d);
    emit_load(a, 8, R13, rm_mem(R13, 0));
    emit_store(a, 8, rm_mem(RBP, CPU_AT(r[V_PC])), R13);
    emit_const(a, R14, JIT_EXIT_REQUEST);
    emit_jmp(a, x->exit);
}

/* Bottom of the return stack: a guest return that by chance matches the bottom's mark lands
 * here, with its target in r13. */
static void make_ret_bottom(X64 *x, Asm *a)
{
    x->ret_bottom = asm_here(a);
    emit_op(a, 0, 8, 0x8d, RSP, rm_mem(RSP, -8));
    emit_jmp(a, x->exit_lookup);
}

/*
 * As the check has left them, r13 = address ^ tag, r14 = offset of the entry -> r13 = where to do
 * it; for stores ZF tells that it is the bounce buffer.
 */
static void make_mem_slow(X64 *x, Asm *a, unsigned access)
{
    const uint8_t *common = asm_here(a);

    spill_pins(x, a);
    to_c_stack(a);
    emit_op(a, 0, 8, 0x8d, RDI, rm_mem(RBP, -CPU_BIAS));
    emit_mov(a, 8, RSI, R13);
    emit_mov(a, 4, RDX, R14);
    emit_const(a, RCX, access);
    call_absolute(a, (const void *)(uintptr_t)mem_slow);
    emit_mov(a, 8, R13, RAX);
    emit_load(a, 8, RSP, rm_mem(RBP, CPU_AT(host_sp)));
    ensure_vectors(x, a);
    load_pins(x, a);
    if (access != ACCESS_READ) {
        emit_op(a, 0, 8, 0x8d, R14, rm_mem(RBP, CPU_AT(bounce)));
        emit_op(a, 0, 8, 0x3b, R14, rm_reg(R13));
    }
    emit8(a, 0xc3);
    for (unsigned i = 0; i < COUNT_OF(x->mem_slow[0]); i++) {
        x->mem_slow[access][i] = asm_here(a);
        emit_op(a, 0, 8, 0x33, R13,
                rm_sib(R15, R14, 0, access == ACCESS_READ ? TLB_AT(rd) : TLB_AT(wr)));
        emit_const(a, R14, 1u << i);
        emit_jmp(a, common);
    }
}

/* After an operation on the bounce buffer; keeps everything, flags too. */
static void make_commit(X64 *x, Asm *a)
{
    x->commit = asm_here(a);
    spill_pins(x, a);
    emit8(a, 0x9c); /* pushfq: on translated code's stack, above what host_sp shall show */
    emit8(a, 0x41), emit8(a, 0x5e); /* pop r14: callee-saved */
    to_c_stack(a);
    emit_op(a, 0, 8, 0x8d, RDI, rm_mem(RBP, -CPU_BIAS));
    call_absolute(a, (const void *)(uintptr_t)mem_commit);
    emit_load(a, 8, RSP, rm_mem(RBP, CPU_AT(host_sp)));
    ensure_vectors(x, a);
    load_pins(x, a);
    emit8(a, 0x41), emit8(a, 0x56); /* push r14 */
    emit8(a, 0x9d);                 /* popfq */
    emit8(a, 0xc3);
}

/* Flags that are in neither place, by the table's recipe. */
static void make_rebuild(X64 *x, Asm *a)
{
    x->rebuild = asm_here(a);
    spill_pins(x, a);
    to_c_stack(a);
    emit_op(a, 0, 8, 0x8d, RDI, rm_mem(RBP, -CPU_BIAS));
    call_absolute(a, (const void *)(uintptr_t)x64_rebuild);
    emit_load(a, 8, RSP, rm_mem(RBP, CPU_AT(host_sp)));
    load_pins(x, a);
    emit8(a, 0xc3);
}

/* A call that never returns: @fn(cpu, r13). */
static const uint8_t *make_no_return(X64 *x, Asm *a, const void *fn)
{
    const uint8_t *at = asm_here(a);

    spill_pins(x, a);
    to_c_stack(a);
    emit_op(a, 0, 8, 0x8d, RDI, rm_mem(RBP, -CPU_BIAS));
    emit_mov(a, 8, RSI, R13);
    call_absolute(a, fn);
    emit8(a, 0x0f), emit8(a, 0x0b); /* ud2 */
    return at;
}

bool x64_make_stubs(X64 *x, Asm *a)
{
    make_vec_save(x, a);
    make_vec_load(x, a);
    make_enter_exit(x, a);
    make_dispatch(x, a);
    make_exit_lookup(x, a);
    make_head_exits(x, a);
    make_ret_bottom(x, a);
    make_mem_slow(x, a, ACCESS_READ);
    make_mem_slow(x, a, ACCESS_WRITE);
    make_mem_slow(x, a, MEM_UPDATE);
    make_mem_slow(x, a, MEM_LOCKED);
    make_commit(x, a);
    make_rebuild(x, a);
    x->align_fault = make_no_return(x, a, (const void *)(uintptr_t)mem_align_fault);
    x->fault = make_no_return(x, a, (const void *)(uintptr_t)x64_fault);
    /* void vec_save(Cpu *) for C */
    x->call_c = asm_here(a);
    emit8(a, 0x55); /* push rbp */
    emit_op(a, 0, 8, 0x8d, RBP, rm_mem(RDI, CPU_BIAS));
    emit_call(a, x->vec_save);
    emit8(a, 0x5d);
    emit8(a, 0xc3);
    return true;
}

/* The way into helper @fn: r13 = a, r14 = b, cpu->ret = k; the result comes back in cpu->ret. */
static const uint8_t *make_thunk(X64 *x, Asm *a, IrHelper *fn, bool fast)
{
    const uint8_t *at = asm_here(a);

    spill_pins(x, a);
    to_c_stack(a);
    if (!fast)
        emit_call(a, x->vec_save);
    emit_op(a, 0, 8, 0x8d, RDI, rm_mem(RBP, -CPU_BIAS));
    emit_mov(a, 8, RSI, R13);
    emit_mov(a, 8, RDX, R14);
    emit_load(a, 8, RCX, rm_mem(RBP, CPU_AT(ret)));
    call_absolute(a, (const void *)(uintptr_t)fn);
    emit_store(a, 8, rm_mem(RBP, CPU_AT(ret)), RAX);
    emit_load(a, 8, RSP, rm_mem(RBP, CPU_AT(host_sp)));
    ensure_vectors(x, a);
    load_pins(x, a);
    emit8(a, 0xc3);
    return at;
}

const uint8_t *x64_thunk(Emit *e, IrHelper *fn, bool fast)
{
    X64 *x = e->x;
    Asm *a = &e->a;
    uint8_t *over;

    for (unsigned i = 0; i < x->n_thunks; i++)
        if (x->thunks[i].fn == fn && x->thunks[i].fast == fast)
            return x->thunks[i].code;
    assert(x->n_thunks < X64_MAX_THUNKS);
    over = emit_jmp_fwd(a); /* it lies in the middle of the block that first needs it */
    x->thunks[x->n_thunks++] = (Thunk){fn, fast, make_thunk(x, a, fn, fast)};
    asm_patch(over, a->p);
    return x->thunks[x->n_thunks - 1].code;
}
