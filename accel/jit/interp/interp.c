/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * interp - the IR interpreter: portable back end, and the oracle for the others
 *
 * Runs a block's ops one by one on struct Cpu.  Vector registers are always in memory, flags in
 * cpu->cc; every flag in fl_out is computed, whether alive or not.
 */
#include "accel/jit/alu.h"
#include "accel/jit/jit.h"
#include "base/alloc.h"
#include "base/log.h"

typedef struct Interp {
    size_t used, limit; /* bytes of ops */
} Interp;

/* --- registers and flags --- */

static inline uint64_t *reg_at(Cpu *c, unsigned v)
{
    return v < V_TEMP ? &c->r[v] : &c->t[v - V_TEMP];
}

static inline uint64_t reg(Cpu *c, unsigned v)
{
    return *reg_at(c, v);
}

static inline uint64_t reg_if(Cpu *c, unsigned v)
{
    return v == V_NONE ? 0 : reg(c, v);
}

static inline void reg_set(Cpu *c, unsigned v, unsigned type, uint64_t to)
{
    uint64_t *r = reg_at(c, v);

    switch (type) {
    case I8: *r = (*r & ~0xffull) | (to & 0xff); break;
    case I16: *r = (*r & ~0xffffull) | (to & 0xffff); break;
    case I32: *r = (uint32_t)to; break;
    default: *r = to; break;
    }
}

static inline void flags_set(Cpu *c, const IrOp *o, uint16_t fl)
{
    if (o->fl_out)
        c->cc = alu_cc_of_fl((uint16_t)((alu_fl_of_cc(c->cc) & ~o->fl_out) | (fl & o->fl_out)));
}

/* --- memory operands --- */

static uint64_t offset_of(Cpu *c, const IrOp *o)
{
    uint64_t a = (uint64_t)o->disp;

    if (o->base != V_NONE)
        a += reg(c, o->base);
    if (o->index != V_NONE)
        a += reg(c, o->index) << o->scale;
    return o->asize == 8 ? a : o->asize == 4 ? (uint32_t)a : (uint16_t)a;
}

static Gva linear_of(Cpu *c, const IrOp *o)
{
    Gva a = offset_of(c, o) + reg_if(c, o->seg);

    return o->flags & IRF_LIN32 ? (uint32_t)a : a;
}

/* Where the memory operand can be worked on; operand_done() after changing it. */
static void *operand(Cpu *c, const IrOp *o, unsigned access)
{
    Gva va = linear_of(c, o);
    void *p;

    if (o->flags & IRF_ALIGN && va & (o->msize - 1u))
        mem_align_fault(c, va);
    p = tlb_fast(access == ACCESS_READ ? c->tlb->rd : c->tlb->wr, va, o->msize);
    return p ? p : mem_slow(c, va, o->msize, access);
}

static inline unsigned update_of(const IrOp *o)
{
    return o->flags & IRF_LOCK || o->op == IR_XCHG ? MEM_LOCKED : MEM_UPDATE;
}

static inline void operand_done(Cpu *c, const void *p)
{
    if (p == c->bounce)
        mem_commit(c);
}

static inline uint64_t load(const void *p, unsigned size)
{
    switch (size) {
    case 1: return __atomic_load_n((const uint8_t *)p, __ATOMIC_RELAXED);
    case 2: return __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED);
    case 4: return __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
    default: return __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED);
    }
}

static inline void store(void *p, unsigned size, uint64_t v)
{
    switch (size) {
    case 1: __atomic_store_n((uint8_t *)p, (uint8_t)v, __ATOMIC_RELEASE); break;
    case 2: __atomic_store_n((uint16_t *)p, (uint16_t)v, __ATOMIC_RELEASE); break;
    case 4: __atomic_store_n((uint32_t *)p, (uint32_t)v, __ATOMIC_RELEASE); break;
    default: __atomic_store_n((uint64_t *)p, v, __ATOMIC_RELEASE); break;
    }
}

#define CAS(T)                                                                                     \
    {                                                                                              \
        T was = (T)*old;                                                                           \
        bool ok = __atomic_compare_exchange_n((T *)p, &was, (T)v, false, __ATOMIC_SEQ_CST,         \
                                              __ATOMIC_SEQ_CST);                                   \
        *old = was;                                                                                \
        return ok;                                                                                 \
    }
static bool cas(void *p, unsigned size, uint64_t *old, uint64_t v)
{
    switch (size) {
    case 1: CAS(uint8_t)
    case 2: CAS(uint16_t)
    case 4: CAS(uint32_t)
    default: CAS(uint64_t)
    }
}
#undef CAS

static uint64_t source_b(Cpu *c, const IrOp *o, unsigned type)
{
    if (o->flags & IRF_MEM_B)
        return load(operand(c, o, ACCESS_READ), o->msize);
    return (o->flags & IRF_IMM ? (uint64_t)o->imm : reg(c, o->b)) & alu_mask(type);
}

static noreturn void divide_error(Cpu *c)
{
    Exception e = {.vector = 0};

    c->host->sync_pc(c);
    cpu_raise(c, &e);
}

/* --- moves --- */

static void exec_mov_vector(Cpu *c, const IrOp *o)
{
    unsigned n = ir_size(o->type);
    uint8_t v[32];

    if (o->flags & IRF_MEM_B)
        memcpy(v, operand(c, o, ACCESS_READ), n);
    else
        memcpy(v, c->v[o->b - V_XMM], n);
    if (o->flags & IRF_MEM_D) {
        void *p = operand(c, o, ACCESS_WRITE);

        memcpy(p, v, n);
        operand_done(c, p);
    } else {
        memcpy(c->v[o->d - V_XMM], v, n);
    }
}

/* Plain store or register write. */
static void put_d(Cpu *c, const IrOp *o, uint64_t v)
{
    if (o->flags & IRF_MEM_D) {
        void *p = operand(c, o, ACCESS_WRITE);

        store(p, o->msize, v);
        operand_done(c, p);
    } else {
        reg_set(c, o->d, o->type, v);
    }
}

static void exec_mov(Cpu *c, const IrOp *o)
{
    if (o->type >= V128)
        exec_mov_vector(c, o);
    else
        put_d(c, o, source_b(c, o, o->type));
}

static void exec_extend(Cpu *c, const IrOp *o)
{
    uint64_t v = source_b(c, o, o->stype);

    put_d(c, o, o->op == IR_MOVSX ? alu_sext(o->stype, v) : v & alu_mask(o->stype));
}

static void exec_state(Cpu *c, const IrOp *o)
{
    uint8_t *p = (uint8_t *)c + o->disp;

    if (o->op == IR_LDS)
        reg_set(c, o->d, I64, load(p, ir_size(o->type)));
    else
        store(p, ir_size(o->type), source_b(c, o, o->type));
}

/* --- arithmetic --- */

static uint64_t count_of(Cpu *c, const IrOp *o)
{
    return o->c == V_NONE ? (uint64_t)o->imm : reg(c, o->c);
}

/* d = op(a, b), any of them in memory; XADD also b = old d. */
static void exec_alu(Cpu *c, const IrOp *o)
{
    bool shift3 = o->op == IR_SHLD || o->op == IR_SHRD, unary = ir_ops[o->op].form == FORM_DA,
         xadd = o->op == IR_XADD;
    uint64_t b = unary    ? 0
                 : shift3 ? reg(c, o->b)
                          : source_b(c, o, o->type),
             count = shift3 ? count_of(c, o) : 0;
    uint64_t a, r;
    uint16_t before = alu_fl_of_cc(c->cc), fl;

    if (o->flags & IRF_MEM_D) {
        void *p = operand(c, o, update_of(o));
        bool atomic = o->flags & IRF_LOCK && p != c->bounce;

        a = load(p, o->msize);
        do {
            fl = before;
            r = alu_eval(o->op, o->type, a, b, count, &fl);
            if (!atomic)
                store(p, o->msize, r);
        } while (atomic && !cas(p, o->msize, &a, r));
        operand_done(c, p);
        if (xadd)
            reg_set(c, o->b, o->type, a);
    } else {
        fl = before;
        a = reg(c, xadd ? o->d : o->a);
        r = alu_eval(o->op, o->type, a, b, count, &fl);
        if (xadd)
            reg_set(c, o->b, o->type, a);
        reg_set(c, o->d, o->type, r);
    }
    flags_set(c, o, fl);
}

/* Flags only. */
static void exec_compare(Cpu *c, const IrOp *o)
{
    uint16_t fl = alu_fl_of_cc(c->cc);
    uint64_t b = source_b(c, o, o->type);
    uint64_t a = o->flags & IRF_MEM_D ? load(operand(c, o, ACCESS_READ), o->msize) : reg(c, o->a);

    alu_eval(o->op, o->type, a, b, 0, &fl);
    flags_set(c, o, fl);
}

static void exec_mul(Cpu *c, const IrOp *o)
{
    uint16_t fl;
    uint64_t high,
        low = alu_mul(o->op == IR_MULS, o->type, reg(c, o->a), source_b(c, o, o->type), &high, &fl);

    reg_set(c, o->d, o->type == I8 ? I16 : o->type, low);
    if (o->type != I8)
        reg_set(c, o->c, o->type, high);
    flags_set(c, o, fl);
}

static void exec_div(Cpu *c, const IrOp *o)
{
    uint64_t q, r, by = source_b(c, o, o->type);

    if (!alu_div(o->op == IR_DIVS, o->type, o->type == I8 ? 0 : reg(c, o->c), reg(c, o->d), by, &q,
                 &r))
        divide_error(c);
    if (o->type == I8) {
        reg_set(c, o->d, I16, r << 8 | q);
    } else {
        reg_set(c, o->d, o->type, q);
        reg_set(c, o->c, o->type, r);
    }
}

static void exec_scan(Cpu *c, const IrOp *o)
{
    uint64_t b = source_b(c, o, o->type) & alu_mask(o->type);

    if (b)
        reg_set(c, o->d, o->type,
                (uint64_t)(o->op == IR_BSF ? __builtin_ctzll(b) : 63 - __builtin_clzll(b)));
    flags_set(c, o, b ? 0 : FL_ZF);
}

/* --- exchanges --- */

static void exec_xchg(Cpu *c, const IrOp *o)
{
    uint64_t b = reg(c, o->b), old;

    if (o->flags & IRF_MEM_D) {
        void *p = operand(c, o, update_of(o));

        old = load(p, o->msize);
        if (p == c->bounce)
            store(p, o->msize, b);
        else
            while (!cas(p, o->msize, &old, b))
                ;
        operand_done(c, p);
    } else {
        old = reg(c, o->d);
        reg_set(c, o->d, o->type, b);
    }
    reg_set(c, o->b, o->type, old);
}

static void exec_cmpxchg(Cpu *c, const IrOp *o)
{
    uint64_t mask = alu_mask(o->type), want = reg(c, o->a) & mask, b = reg(c, o->b) & mask, old;
    uint16_t fl = alu_fl_of_cc(c->cc);
    bool equal;

    if (o->flags & IRF_MEM_D) {
        void *p = operand(c, o, update_of(o));

        old = want;
        if (o->flags & IRF_LOCK && p != c->bounce) {
            equal = cas(p, o->msize, &old, b);
        } else {
            old = load(p, o->msize);
            equal = old == want;
            store(p, o->msize, equal ? b : old);
        }
        operand_done(c, p);
    } else {
        old = reg(c, o->d) & mask;
        equal = old == want;
        if (equal)
            reg_set(c, o->d, o->type, b);
    }
    if (!equal)
        reg_set(c, o->a, o->type, old);
    alu_eval(IR_CMP, o->type, want, old, 0, &fl);
    flags_set(c, o, fl);
}

static bool cas_pair(void *p, uint64_t old[2], const uint64_t v[2], bool atomic)
{
#if defined(__x86_64__)
    if (atomic) {
        bool ok;

        __asm__ volatile("lock cmpxchg16b %1"
                         : "=@ccz"(ok), "+m"(*(unsigned __int128 *)p), "+a"(old[0]), "+d"(old[1])
                         : "b"(v[0]), "c"(v[1])
                         : "memory");
        return ok;
    }
#else
    (void)atomic;
#endif
    uint64_t now[2];

    memcpy(now, p, sizeof now);
    if (now[0] == old[0] && now[1] == old[1]) {
        memcpy(p, v, sizeof now);
        return true;
    }
    old[0] = now[0];
    old[1] = now[1];
    return false;
}

/* CMPXCHG8B, CMPXCHG16B: rdx:rax, rcx:rbx. */
static void exec_cmpxchg2(Cpu *c, const IrOp *o)
{
    void *p = operand(c, o, update_of(o));
    bool atomic = o->flags & IRF_LOCK && p != c->bounce, equal;

    if (o->type == I32) {
        uint64_t old = (uint32_t)c->r[0] | c->r[2] << 32, want = old,
                 v = (uint32_t)c->r[3] | c->r[1] << 32;

        if (atomic) {
            equal = cas(p, 8, &old, v);
        } else {
            old = load(p, 8);
            equal = old == want;
            store(p, 8, equal ? v : old);
        }
        if (!equal) {
            c->r[0] = (uint32_t)old;
            c->r[2] = old >> 32;
        }
    } else {
        uint64_t old[2] = {c->r[0], c->r[2]}, v[2] = {c->r[3], c->r[1]};

        equal = cas_pair(p, old, v, atomic && !((uintptr_t)p & 15));
        if (!equal) {
            c->r[0] = old[0];
            c->r[2] = old[1];
        }
    }
    operand_done(c, p);
    flags_set(c, o, equal ? FL_ZF : 0);
}

/* --- conditions and flags --- */

static void exec_cmov(Cpu *c, const IrOp *o)
{
    uint64_t b = source_b(c, o, o->type);

    if (alu_cond(o->cc, alu_fl_of_cc(c->cc)))
        reg_set(c, o->d, o->type, b);
    else if (o->type == I32)
        reg_set(c, o->d, I32, reg(c, o->d));
}

static void exec_setc(Cpu *c, const IrOp *o)
{
    uint16_t fl = alu_fl_of_cc(c->cc);

    fl = o->imm == 0 ? fl & ~FL_CF : o->imm == 1 ? fl | FL_CF : fl ^ FL_CF;
    flags_set(c, o, fl);
}

/* --- instructions with a portable meaning --- */

static void pass_in(Cpu *c, unsigned v, unsigned cls, PassVal *out)
{
    if (v == V_NONE)
        return;
    if (v >= V_XMM)
        memcpy(out, c->v[v - V_XMM], sizeof *out);
    else if (cls == PC_GPR || cls == PC_NONE)
        out->q[0] = reg(c, v);
}

/* VEX forms zero what is above the vector length. */
static void pass_out(Cpu *c, const PassArgs *p, unsigned v, const PassVal *val)
{
    if (v == V_NONE)
        return;
    if (v < V_XMM) {
        reg_set(c, v, I64, val->q[0]);
        return;
    }
    memcpy(c->v[v - V_XMM], val, sizeof *val);
    if (p->vex && p->vl < 32)
        memset(c->v[v - V_XMM] + p->vl, 0, 32u - p->vl);
}

static noreturn void no_portable_form(Cpu *c, const IrPassRow *row)
{
    c->host->sync_pc(c);
    log_error("interp: instruction %s at 0x%" PRIx64
              " has no portable implementation; use the native back end",
              row->name, c->r[V_PC]);
    machine_request_shutdown(c->machine, SHUTDOWN_ERROR, 1);
    c->halted = true;
    cpu_unwind(c, UNWIND_HALT);
}

static void exec_pass(Cpu *c, const IrOp *o)
{
    const IrPassRow *row = &ir_pass_rows[o->pass];
    PassVal d = {.q = {0}}, a = d, b = d;
    unsigned type = o->type >= V128 ? (row->w == 1 ? I64 : I32) : o->type;
    PassArgs p = {.cpu = c,
                  .d = &d,
                  .a = &a,
                  .b = &b,
                  .imm = (uint8_t)o->imm,
                  .vl = o->type == V256 ? 32 : 16,
                  .opsize = (uint8_t)ir_size(type),
                  .vex = row->vex};
    void *mem = NULL;
    uint16_t before = c->cc;

    if (!row->fn)
        no_portable_form(c, row);
    if (row->ext != 255 && row->d == PC_NONE) /* cpu/x86/pass.c: PSRLW b, imm */
        p.d = &b;
    if (row->a == PC_NONE) /* and legacy forms: d is the first source */
        p.a = p.d;
    if (o->flags & IRF_MEM_B)
        memcpy(&b, operand(c, o, ACCESS_READ), o->msize);
    else if (o->flags & IRF_MEM_D)
        mem = operand(c, o, ACCESS_WRITE);
    else
        pass_in(c, o->b, row->b, &b);
    pass_in(c, o->d, row->d, &d);
    pass_in(c, o->a, row->a, &a);
    row->fn(&p);
    if (o->fl_out != FL_ALL)
        c->cc = alu_cc_of_fl(
            (uint16_t)((alu_fl_of_cc(before) & ~o->fl_out) | (alu_fl_of_cc(c->cc) & o->fl_out)));
    if (mem) {
        memcpy(mem, &b, o->msize);
        operand_done(c, mem);
    } else if (row->b_writes && !(o->flags & IRF_MEM_B)) {
        pass_out(c, &p, o->b, &b);
    }
    if (row->implicit & PI_A_WRITTEN)
        pass_out(c, &p, o->a, &a);
    if (row->d_writes)
        pass_out(c, &p, o->d, &d);
}

static void exec_call(Vcpu *v, const IrOp *o)
{
    Cpu *c = v->cpu;
    uint64_t r;

    if (o->cc & IRC_PC)
        c->r[V_PC] = (Gva)v->current->ops[v->current_op].imm;
    r = ((IrHelper *)(uintptr_t)o->imm)(c, reg_if(c, o->a), reg_if(c, o->b), (uint64_t)o->disp);
    if (o->d != V_NONE)
        reg_set(c, o->d, I64, r);
}

static void exec_guard(Cpu *c, const IrOp *o)
{
    uint64_t a = reg(c, o->a);

    if (UNLIKELY(!ir_is_address(a, o->scale)))
        ((IrHelper *)(uintptr_t)o->imm)(c, a, 0, (uint64_t)o->disp);
}

/* --- blocks --- */

/* Any op but INSN and terminators. */
static void exec_op(Vcpu *v, const IrOp *o)
{
    Cpu *c = v->cpu;

    switch ((IrOpcode)o->op) {
    case IR_MOV: exec_mov(c, o); break;
    case IR_MOVZX:
    case IR_MOVSX: exec_extend(c, o); break;
    case IR_LEA: reg_set(c, o->d, o->type, offset_of(c, o)); break;
    case IR_EXTH: reg_set(c, o->d, I64, reg(c, o->a) >> 8 & 0xff); break;
    case IR_INSH: reg_set(c, o->d, I64, bits_set(reg(c, o->d), 8, 8, source_b(c, o, I8))); break;
    case IR_ADD:
    case IR_ADC:
    case IR_SUB:
    case IR_SBB:
    case IR_AND:
    case IR_OR:
    case IR_XOR:
    case IR_NEG:
    case IR_NOT:
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
    case IR_IMUL:
    case IR_BTS:
    case IR_BTR:
    case IR_BTC:
    case IR_BSWAP:
    case IR_XADD: exec_alu(c, o); break;
    case IR_CMP:
    case IR_TEST:
    case IR_BT: exec_compare(c, o); break;
    case IR_MULU:
    case IR_MULS: exec_mul(c, o); break;
    case IR_DIVU:
    case IR_DIVS: exec_div(c, o); break;
    case IR_BSF:
    case IR_BSR: exec_scan(c, o); break;
    case IR_XCHG: exec_xchg(c, o); break;
    case IR_CMPXCHG: exec_cmpxchg(c, o); break;
    case IR_CMPXCHG2: exec_cmpxchg2(c, o); break;
    case IR_SETCC: put_d(c, o, alu_cond(o->cc, alu_fl_of_cc(c->cc))); break;
    case IR_CMOV: exec_cmov(c, o); break;
    case IR_GETF: reg_set(c, o->d, I64, c->cc); break;
    case IR_SETF: flags_set(c, o, alu_fl_of_cc((uint16_t)reg(c, o->a))); break;
    case IR_SETC: exec_setc(c, o); break;
    case IR_LDS:
    case IR_STS: exec_state(c, o); break;
    case IR_PASS: exec_pass(c, o); break;
    case IR_CALL: exec_call(v, o); break;
    case IR_GUARD: exec_guard(c, o); break;
    case IR_FENCE: atomic_fetch_add(&c->request, 0); break; /* a locked operation: full barrier */
#if defined(__x86_64__)
    case IR_PAUSE: __builtin_ia32_pause(); break;
#else
    case IR_PAUSE: break;
#endif
    case IR_NOP: break;
    case IR_INSN:
    case IR_JMP:
    case IR_BR:
    case IR_BRZ:
    case IR_BRNZ:
    case IR_JMPI:
    case IR_EXIT:
    case IR_LEAVE:
    case IR_COUNT: UNREACHABLE();
    }
}

/* Go on at @pc by way of direct exit @n: the block linked there, or NULL and back to C. */
static Block *exit_direct(Vcpu *v, Block *b, unsigned n, Gva pc)
{
    Cpu *c = v->cpu;
    Link *l = &b->link[n];
    Block *to = __atomic_load_n(&l->to, __ATOMIC_ACQUIRE);

    c->r[V_PC] = pc;
    if (to && ((l->same_page && !to->page_id[1]) || block_is_mapped(c->tlb, to)))
        return to;
    v->link = l;
    return NULL;
}

/* The terminator: the next block, or NULL and *why. */
static Block *exec_term(Vcpu *v, Block *b, const IrOp *o, JitExit *why)
{
    Cpu *c = v->cpu;
    bool taken;

    *why = JIT_EXIT_LINK;
    switch (o->op) {
    case IR_JMP: return exit_direct(v, b, 0, (Gva)o->imm);
    case IR_BR: taken = alu_cond(o->cc, alu_fl_of_cc(c->cc)); break;
    case IR_BRZ:
    case IR_BRNZ: taken = !(reg(c, o->a) & alu_mask(o->type)) == (o->op == IR_BRZ); break;
    case IR_JMPI:
        exec_guard(c, o);
        c->r[V_PC] = reg(c, o->a);
        *why = JIT_EXIT_LOOKUP;
        return NULL;
    case IR_EXIT: c->r[V_PC] = (Gva)o->imm; /* fall through */
    default: *why = JIT_EXIT_SYNC; return NULL;
    }
    return exit_direct(v, b, !taken, (Gva)(taken ? o->imm : o->disp));
}

static JitExit interp_enter(Vcpu *v, Block *b)
{
    Cpu *c = v->cpu;
    JitExit why;

    do {
        const IrOp *o = b->ops, *last = b->ops + b->n_ops - 1;

        v->current = b;
        if (UNLIKELY(atomic_load_explicit(&c->request, memory_order_relaxed))) {
            c->r[V_PC] = b->pc;
            return JIT_EXIT_REQUEST;
        }
        for (; o < last; o++) {
            if (o->op == IR_INSN)
                v->current_op = (uint32_t)(o - b->ops);
            else
                exec_op(v, o);
        }
        b = exec_term(v, b, last, &why);
    } while (b);
    return why;
}

static bool interp_compile(Vcpu *v, Block *b, IrBlock *ir)
{
    Interp *x = v->jit->be_state;
    size_t bytes = ir->n * sizeof *ir->ops;
    const IrOp *last = &ir->ops[ir->n - 1];
    Gva target[JIT_EXITS] = {(Gva)last->imm, (Gva)last->disp};

    if (x->used + bytes + sizeof *b > x->limit)
        return false;
    x->used += bytes + sizeof *b;
    b->ops = xalloc(bytes);
    memcpy(b->ops, ir->ops, bytes);
    b->host_size = (uint32_t)bytes;
    b->entry = b->entry_checked = (const uint8_t *)b->ops;
    for (unsigned i = 0; i < JIT_EXITS; i++)
        b->link[i] = (Link){.from = b,
                            .pc = target[i],
                            .same_page = !((b->linear + (target[i] - b->pc)) >> TLB_PAGE_BITS ^
                                           b->linear >> TLB_PAGE_BITS)};
    return true;
}

static bool interp_init(Jit *j, Error *err UNUSED)
{
    Interp *x = xnew(Interp);

    x->limit = j->m->cfg.tb_size ? j->m->cfg.tb_size : 256 * MIB;
    x->limit = MAX(x->limit, 256 * KIB);
    j->be_state = x;
    return true;
}

static void interp_fini(Jit *j)
{
    xfree(j->be_state);
    j->be_state = NULL;
}

static bool interp_vcpu_init(Vcpu *v UNUSED, Error *err UNUSED)
{
    return true;
}

static void interp_vcpu_fini(Vcpu *v UNUSED) {}

static void interp_link(Link *l, Block *to)
{
    __atomic_store_n(&l->to, to, __ATOMIC_RELEASE);
}

static void interp_unlink(Link *l)
{
    __atomic_store_n(&l->to, NULL, __ATOMIC_RELEASE);
}

static void interp_drop(Block *b UNUSED) {} /* nothing leads here but links */

static void interp_flush(Jit *j)
{
    ((Interp *)j->be_state)->used = 0;
}

static void interp_sync_pc(Cpu *c)
{
    Vcpu *v = c->accel;

    c->r[V_PC] = (Gva)v->current->ops[v->current_op].imm;
}

static void interp_vec_save(Cpu *c)
{
    c->vec_live = 0; /* never set here */
}

const Backend backend_interp = {
    .name = "interp",
    .init = interp_init,
    .fini = interp_fini,
    .vcpu_init = interp_vcpu_init,
    .vcpu_fini = interp_vcpu_fini,
    .compile = interp_compile,
    .enter = interp_enter,
    .link = interp_link,
    .unlink = interp_unlink,
    .drop = interp_drop,
    .flush = interp_flush,
    .sync_pc = interp_sync_pc,
    .vec_save = interp_vec_save,
};
