/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Meaning of the IR's integer ops: each back end against the host's own instructions (x86-64
 * hosts), with random and awkward values, register and memory forms; then what the host has no
 * single instruction for.
 */
#include <setjmp.h>
#include <stdlib.h>

#include "accel/jit/jit.h"
#include "base/alloc.h"
#include "base/bytes.h"
#include "tests/unit/unit.h"

enum { RAM = 1 << 20, DATA = 0x8000 };

extern const Backend backend_x64 __attribute__((weak));

static const Backend *be; /* the one under test */

/* --- a processor that is its memory: identity map, no code --- */

typedef struct Rig {
    Machine m;
    Region ram;
    Cpu *cpu, *cpus[1];
    Jit jit;
    Vcpu *v;
    IrBlock ir;
    Block *blocks;
} Rig;

static bool rig_walk(Cpu *c UNUSED, Gva va, Access kind UNUSED, unsigned mode UNUSED, Walk *w)
{
    *w = (Walk){.pa = va, .size = 4096, .read = true, .write = true, .exec = true};
    return va < RAM;
}

static void rig_page_fault(Cpu *c UNUSED, Gva va, Access kind UNUSED, unsigned mode UNUSED,
                           uint64_t error UNUSED, Exception *e)
{
    *e = (Exception){.vector = 14, .addr = va};
}

static void rig_align_fault(Cpu *c UNUSED, Gva va, Exception *e)
{
    *e = (Exception){.vector = 17, .addr = va};
}

static void rig_sync(Cpu *c)
{
    be->sync_pc(c);
}

static void rig_vec_save(Cpu *c)
{
    be->vec_save(c);
}

static const CpuArch rig_arch = {
    .name = "rig", .walk = rig_walk, .page_fault = rig_page_fault, .align_fault = rig_align_fault};
static const CpuHost rig_host = {.sync_pc = rig_sync, .vec_save = rig_vec_save};

static Rig *rig_new(void)
{
    Rig *r = xalloc_aligned(64, sizeof *r);
    Error err;

    r->m.mem = memory_new();
    r->m.cfg.ram_size = RAM;
    r->m.n_cpus = 1;
    r->m.cpus = r->cpus;
    r->cpu = r->cpus[0] = xalloc_aligned(64, sizeof *r->cpu);
    ck_assert(region_ram(&r->ram, r->m.mem, "ram", RAM, false, &err));
    region_map(&r->m.mem->system_root, &r->ram, 0, 0);
    r->cpu->arch = &rig_arch;
    r->cpu->host = &rig_host;
    r->cpu->machine = &r->m;
    r->cpu->as = &r->m.mem->system;
    ck_assert(tlb_init(r->cpu, &err));
    r->jit.m = &r->m;
    r->jit.be = be;
    ck_assert(be->init(&r->jit, &err));
    r->v = xnew(Vcpu);
    r->v->cpu = r->cpu;
    r->v->jit = &r->jit;
    r->cpu->accel = r->v;
    r->cpu->unwind = &r->v->unwind;
    ck_assert(be->vcpu_init(r->v, &err));
    return r;
}

static void rig_free(Rig *r)
{
    be->vcpu_fini(r->v);
    be->fini(&r->jit);
    tlb_fini(r->cpu);
    for (Block *b = r->blocks, *next; b; b = next) {
        next = b->hash_next;
        xfree(b->ops);
        xfree(b);
    }
    xfree(r->v);
    xfree(r->ir.ops);
    xfree(r->cpu);
    memory_free(r->m.mem);
    xfree(r);
}

static IrOp *begin(Rig *r, IrOpcode op, unsigned type)
{
    r->ir.n = r->ir.n_insns = 0;
    ir_insn(&r->ir, 0x1000);
    return ir_add(&r->ir, op, (IrType)type);
}

static Block *finish(Rig *r)
{
    Block *b = xalloc_aligned(_Alignof(Block), sizeof *b);
    StrBuf why = {0};

    ir_add(&r->ir, IR_EXIT, I64)->imm = 0x2000;
    ck_assert_msg(ir_verify(&r->ir, &why), "%s", strbuf_str(&why));
    ir_flags_live(&r->ir, FL_ALL);
    b->pc = b->linear = 0x1000;
    b->one_shot = true;
    b->hash_next = r->blocks;
    r->blocks = b;
    b->n_ops = r->ir.n;
    ck_assert(be->compile(r->v, b, &r->ir));
    return b;
}

static void run(Rig *r, Block *b)
{
    ck_assert_int_eq(be->enter(r->v, b), JIT_EXIT_SYNC);
    ck_assert_uint_eq(r->cpu->r[V_PC], 0x2000);
}

/* Run @b; the exception's vector, or -1. */
static int run_faulting(Rig *r, Block *b)
{
    if (_setjmp(r->v->unwind)) {
        if (r->cpu->vec_live)
            be->vec_save(r->cpu);
        return r->cpu->exc.vector;
    }
    run(r, b);
    return -1;
}

static uint16_t fl_of(const Cpu *c)
{
    return (uint16_t)((c->cc >> 8 & 0xd5) | (c->cc & 1) << 11);
}
static void set_fl(Cpu *c, uint16_t fl)
{
    c->cc = (uint16_t)(((fl & 0xd5) | 2) << 8 | (fl >> 11 & 1));
}

static uint64_t *data(Rig *r)
{
    return (uint64_t *)(void *)(r->ram.hva + DATA);
}

static void set_mem(IrOp *o, unsigned flag, unsigned size)
{
    o->flags |= (uint8_t)flag;
    o->base = V_R(3);
    o->index = V_R(4);
    o->scale = 3;
    o->disp = -16;
    o->asize = 8;
    o->msize = (uint8_t)size;
}

/* r3 + r4 * 8 - 16 == DATA */
static void aim(Rig *r, uint64_t at)
{
    r->cpu->r[4] = 5;
    r->cpu->r[3] = at + 16 - 40;
}

static uint64_t value(void)
{
    static const uint64_t odd[] = {0,
                                   1,
                                   2,
                                   0x7f,
                                   0x80,
                                   0xff,
                                   0x7fff,
                                   0x8000,
                                   0xffff,
                                   0x7fffffff,
                                   0x80000000,
                                   0xffffffff,
                                   0x7fffffffffffffff,
                                   0x8000000000000000,
                                   0xffffffffffffffff};
    uint64_t v = (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand();

    return rand() % 3 ? v : odd[(unsigned)rand() % COUNT_OF(odd)];
}

static const char *const type_name[] = {"i8", "i16", "i32", "i64"};

#ifdef __x86_64__

/* --- the host's instructions --- */

typedef struct Native {
    uint64_t d, b, c, fl;
} Native;
typedef void NativeFn(Native *n);

#define NATIVE(name, text)                                                                         \
    static void name(Native *n)                                                                    \
    {                                                                                              \
        uint64_t d = n->d, b = n->b, c = n->c, fl = n->fl | 2;                                     \
        __asm__ volatile("sub $128, %%rsp\n push %[f]\n popfq\n " text                             \
                         "\n pushfq\n pop %[f]\n add $128, %%rsp"                                  \
                         : [d] "+a"(d), [b] "+b"(b), [c] "+c"(c), [f] "+r"(fl)                     \
                         :                                                                         \
                         : "cc", "memory");                                                        \
        *n = (Native){d, b, c, fl & FL_ALL};                                                       \
    }
#define NATIVE4(op, t8, t16, t32, t64)                                                             \
    NATIVE(op##_0, t8)                                                                             \
    NATIVE(op##_1, t16)                                                                            \
    NATIVE(op##_2, t32)                                                                            \
    NATIVE(op##_3, t64) static NativeFn *const native_##op[4] = {op##_0, op##_1, op##_2, op##_3};
#define TWO(op)                                                                                    \
    NATIVE4(op, #op " %b[b], %b[d]", #op " %w[b], %w[d]", #op " %k[b], %k[d]", #op " %q[b], %q[d]")
#define ONE(op) NATIVE4(op, #op " %b[d]", #op " %w[d]", #op " %k[d]", #op " %q[d]")
#define BYCL(op)                                                                                   \
    NATIVE4(op, #op " %%cl, %b[d]", #op " %%cl, %w[d]", #op " %%cl, %k[d]", #op " %%cl, %q[d]")
#define WIDE3(op) NATIVE4(op, "nop", #op " %w[b], %w[d]", #op " %k[b], %k[d]", #op " %q[b], %q[d]")
#define DOUBLE(op)                                                                                 \
    NATIVE4(op, "nop", #op " %%cl, %w[b], %w[d]", #op " %%cl, %k[b], %k[d]",                       \
            #op " %%cl, %q[b], %q[d]")

TWO(add)
TWO(adc)
TWO(sub)
TWO(sbb)
TWO(and) TWO(or) TWO(xor) TWO(cmp) TWO(test) ONE(neg) ONE(not ) ONE(inc) ONE(dec) BYCL(shl)
    BYCL(shr) BYCL(sar) BYCL(rol) BYCL(ror) BYCL(rcl) BYCL(rcr) DOUBLE(shld) DOUBLE(shrd)
        WIDE3(imul) WIDE3(bt) WIDE3(bts) WIDE3(btr) WIDE3(btc) WIDE3(bsf) WIDE3(bsr) TWO(xadd)
            TWO(xchg)
                NATIVE4(cmpxchg, "xchg %%rcx, %%rax\n cmpxchg %b[b], %b[c]\n xchg %%rcx, %%rax",
                        "xchg %%rcx, %%rax\n cmpxchg %w[b], %w[c]\n xchg %%rcx, %%rax",
                        "xchg %%rcx, %%rax\n cmpxchg %k[b], %k[c]\n xchg %%rcx, %%rax",
                        "xchg %%rcx, %%rax\n cmpxchg %q[b], %q[c]\n xchg %%rcx, %%rax")
                    NATIVE4(bswap, "nop", "nop", "bswap %k[d]", "bswap %q[d]")

                        enum {
                            ARITH = FL_ALL,
                            LOGIC = FL_ALL & ~FL_AF
                        };
enum {
    F_UNARY = 1,
    F_SHIFT = 2,
    F_COUNT = 4 /* double shifts */,
    F_NO8 = 8,
    F_ONLY32 = 16,
    F_WR_B = 32,
    F_WR_A = 64,
    F_NO_MEM = 128
};

typedef struct Case {
    const char *name;
    uint16_t op;
    NativeFn *const *fn;
    uint16_t fl_in, fl_out; /* defined flags; undefined ones are declared as written too */
    uint8_t how;
} Case;

static const Case cases[] = {
    {"add", IR_ADD, native_add, 0, ARITH, 0},
    {"adc", IR_ADC, native_adc, FL_CF, ARITH, 0},
    {"sub", IR_SUB, native_sub, 0, ARITH, 0},
    {"sbb", IR_SBB, native_sbb, FL_CF, ARITH, 0},
    {"and", IR_AND, native_and, 0, LOGIC, 0},
    {"or", IR_OR, native_or, 0, LOGIC, 0},
    {"xor", IR_XOR, native_xor, 0, LOGIC, 0},
    {"cmp", IR_CMP, native_cmp, 0, ARITH, 0},
    {"test", IR_TEST, native_test, 0, LOGIC, 0},
    {"neg", IR_NEG, native_neg, 0, ARITH, F_UNARY},
    {"not", IR_NOT, native_not, 0, 0, F_UNARY},
    {"inc", IR_INC, native_inc, 0, ARITH & ~FL_CF, F_UNARY},
    {"dec", IR_DEC, native_dec, 0, ARITH & ~FL_CF, F_UNARY},
    {"shl", IR_SHL, native_shl, LOGIC, LOGIC, F_SHIFT},
    {"shr", IR_SHR, native_shr, LOGIC, LOGIC, F_SHIFT},
    {"sar", IR_SAR, native_sar, LOGIC, LOGIC, F_SHIFT},
    {"rol", IR_ROL, native_rol, FL_CF | FL_OF, FL_CF | FL_OF, F_SHIFT},
    {"ror", IR_ROR, native_ror, FL_CF | FL_OF, FL_CF | FL_OF, F_SHIFT},
    {"rcl", IR_RCL, native_rcl, FL_CF | FL_OF, FL_CF | FL_OF, F_SHIFT},
    {"rcr", IR_RCR, native_rcr, FL_CF | FL_OF, FL_CF | FL_OF, F_SHIFT},
    {"shld", IR_SHLD, native_shld, LOGIC, LOGIC, F_COUNT | F_NO8},
    {"shrd", IR_SHRD, native_shrd, LOGIC, LOGIC, F_COUNT | F_NO8},
    {"imul", IR_IMUL, native_imul, 0, FL_CF | FL_OF, F_NO8 | F_NO_MEM},
    {"bt", IR_BT, native_bt, 0, FL_CF, F_NO8},
    {"bts", IR_BTS, native_bts, 0, FL_CF, F_NO8},
    {"btr", IR_BTR, native_btr, 0, FL_CF, F_NO8},
    {"btc", IR_BTC, native_btc, 0, FL_CF, F_NO8},
    {"bsf", IR_BSF, native_bsf, 0, FL_ZF, F_NO8 | F_NO_MEM},
    {"bsr", IR_BSR, native_bsr, 0, FL_ZF, F_NO8 | F_NO_MEM},
    {"xadd", IR_XADD, native_xadd, 0, ARITH, F_WR_B},
    {"xchg", IR_XCHG, native_xchg, 0, 0, F_WR_B},
    {"cmpxchg", IR_CMPXCHG, native_cmpxchg, 0, ARITH, F_WR_A},
    {"bswap", IR_BSWAP, native_bswap, 0, 0, F_UNARY | F_ONLY32 | F_NO_MEM},
};

/* Flags that are defined for this count: OF only for 1; 8- and 16-bit shifts over the size leave
 * CF open. */
static uint16_t defined(const Case *k, unsigned type, unsigned count)
{
    uint16_t fl = k->fl_out;

    if (!(k->how & (F_SHIFT | F_COUNT)))
        return fl;
    count &= type == I64 ? 63 : 31;
    if (count != 1)
        fl &= (uint16_t)~FL_OF;
    if (count >= 8u << type && (k->op == IR_SHL || k->op == IR_SHR))
        fl &= (uint16_t)~FL_CF;
    return fl;
}

/* Registers of the operands: back ends may count on x86's fixed ones (CL, RAX). */
typedef struct Regs {
    uint8_t d, b, c;
} Regs;

static Regs regs_of(const Case *k)
{
    if (k->how & F_WR_A)
        return (Regs){V_R(2), V_R(1), V_R(0)};
    if (k->how & (F_COUNT | F_SHIFT))
        return (Regs){V_R(0), V_R(2), V_R(1)};
    return (Regs){V_R(0), V_R(1), V_R(2)};
}

/* What the op is declared to write: undefined flags count. */
static uint16_t declared(const Case *k)
{
    bool partial = k->op == IR_ROL || k->op == IR_ROR || k->op == IR_RCL || k->op == IR_RCR ||
                   k->op == IR_INC || k->op == IR_DEC || (k->op >= IR_BT && k->op <= IR_BTC) ||
                   !k->fl_out;

    return partial ? k->fl_out : FL_ALL;
}

/* Operand d in a register or memory; b; c is the accumulator or count. */
static Block *build(Rig *r, const Case *k, unsigned type, bool mem)
{
    IrOp *o = begin(r, (IrOpcode)k->op, type);
    bool flags_only = ir_ops[k->op].form == FORM_AB, has_a = ir_ops[k->op].form != FORM_DB;
    Regs x = regs_of(k);

    o->fl_out = declared(k);
    o->fl_in = k->how & (F_SHIFT | F_COUNT) ? o->fl_out : k->fl_in;
    o->d = flags_only || mem ? V_NONE : x.d;
    o->a = k->how & F_WR_A ? x.c : has_a && !mem ? x.d : V_NONE;
    o->b = k->how & F_UNARY ? V_NONE : k->how & F_SHIFT ? x.c : x.b;
    if (k->how & F_COUNT)
        o->c = x.c;
    if (mem)
        set_mem(o, IRF_MEM_D | (flags_only ? 0 : IRF_LOCK * (rand() & 1)), 1u << type);
    return finish(r);
}

static void check_case(Rig *r, const Case *k, unsigned type, bool mem)
{
    Block *b = build(r, k, type, mem);
    Cpu *c = r->cpu;
    Regs x = regs_of(k);

    for (unsigned i = 0; i < 3000; i++) {
        Native n = {.d = value(), .b = value(), .c = value(), .fl = (uint64_t)rand() & FL_ALL};
        Native in = n;
        uint64_t at = DATA + (i % 7 ? 0 : 4096 - 3); /* also over two pages */

        if (k->how & F_WR_A && rand() % 2)
            n.c = in.c = n.d;
        if (k->how & F_COUNT && type == I16)
            n.c = in.c = n.c & ~0x10ull; /* more than 16: undefined */
        aim(r, at);
        c->r[x.d] = n.d;
        c->r[x.b] = n.b;
        c->r[x.c] = n.c;
        if (mem)
            memcpy(r->ram.hva + at, &n.d, 8);
        set_fl(c, (uint16_t)n.fl);
        run(r, b);
        k->fn[type](&n);

        uint64_t d = c->r[x.d], keep = ~0ull << (type == I64 ? 0 : 8u << type);
        uint16_t fl = defined(k, type, (unsigned)in.c);

        if (mem) {
            memcpy(&d, r->ram.hva + at, 8);
            if (type < I64) /* the rest of the word is as before, not zeroed */
                n.d = (in.d & keep) | (n.d & ~keep);
        }
        ck_assert_msg(
            d == n.d && c->r[x.b] == n.b && c->r[x.c] == n.c && !((fl_of(c) ^ n.fl) & fl) &&
                !((fl_of(c) ^ in.fl) & ~declared(k) & FL_ALL),
            "%s.%s%s d=%" PRIx64 " b=%" PRIx64 " c=%" PRIx64 " fl=%" PRIx64 ": got %" PRIx64
            " %" PRIx64 " %" PRIx64 " %x, host %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64,
            k->name, type_name[type], mem ? " memory" : "", in.d, in.b, in.c, in.fl, d, c->r[x.b],
            c->r[x.c], fl_of(c), n.d, n.b, n.c, n.fl);
    }
}

START_TEST(integer_ops_do_what_the_host_does)
{
    Rig *r = rig_new();
    const Case *k = &cases[_i];

    srand(7);
    for (unsigned type = I8; type <= I64; type++) {
        if ((type == I8 && k->how & F_NO8) || (type < I32 && k->how & F_ONLY32))
            continue;
        check_case(r, k, type, false);
        if (!(k->how & F_NO_MEM))
            check_case(r, k, type, true);
    }
    rig_free(r);
}
END_TEST

/* --- conditions --- */

#define COND(cc)                                                                                   \
    static bool cond_##cc(uint64_t fl)                                                             \
    {                                                                                              \
        bool on;                                                                                   \
        __asm__ volatile("sub $128, %%rsp\n push %1\n popfq\n set" #cc                             \
                         " %0\n lea 128(%%rsp), %%rsp"                                             \
                         : "=r"(on)                                                                \
                         : "r"(fl)                                                                 \
                         : "cc");                                                                  \
        return on;                                                                                 \
    }
COND(o)
COND(no)
COND(b)
COND(ae)
COND(e) COND(ne) COND(be) COND(a) COND(s) COND(ns) COND(p) COND(np) COND(l) COND(ge) COND(le)
    COND(g) static bool (*const conds[16])(uint64_t) = {
        cond_o, cond_no, cond_b, cond_ae, cond_e, cond_ne, cond_be, cond_a,
        cond_s, cond_ns, cond_p, cond_np, cond_l, cond_ge, cond_le, cond_g};

START_TEST(conditions_are_the_hosts)
{
    Rig *r = rig_new();

    for (unsigned cc = 0; cc < 16; cc++) {
        IrOp *o = begin(r, IR_SETCC, I8);
        Block *b;

        o->d = V_R(0);
        o->cc = (uint8_t)cc;
        o->fl_in = ir_cond_flags(cc);
        o = ir_add(&r->ir, IR_CMOV, I32);
        o->d = V_R(1);
        o->b = V_R(2);
        o->cc = (uint8_t)cc;
        o->fl_in = ir_cond_flags(cc);
        b = finish(r);
        for (unsigned i = 0; i < 64; i++) {
            uint64_t fl = (i & 1 ? FL_CF : 0) | (i & 2 ? FL_PF : 0) | (i & 4 ? FL_AF : 0) |
                          (i & 8 ? FL_ZF : 0) | (i & 16 ? FL_SF : 0) | (i & 32 ? FL_OF : 0);

            r->cpu->r[0] = 0x1234567890abcdef;
            r->cpu->r[1] = 0x1111111122222222;
            r->cpu->r[2] = 0x3333333344444444;
            set_fl(r->cpu, (uint16_t)fl);
            run(r, b);
            ck_assert_uint_eq(r->cpu->r[0], 0x1234567890abcd00 | conds[cc](fl | 2));
            ck_assert_uint_eq(r->cpu->r[1], conds[cc](fl | 2) ? 0x44444444 : 0x22222222);
            ck_assert_uint_eq(fl_of(r->cpu), fl);
        }
    }
    rig_free(r);
}
END_TEST

/* --- multiplication and division --- */

START_TEST(wide_products_are_exact)
{
    Rig *r = rig_new();

    srand(3);
    for (unsigned type = I8; type <= I64; type++) {
        for (unsigned s = 0; s < 2; s++) {
            IrOp *o = begin(r, s ? IR_MULS : IR_MULU, type);
            Block *b;

            o->d = o->a = V_R(0);
            o->c = V_R(2);
            o->b = V_R(1);
            o->fl_out = FL_CF | FL_OF;
            b = finish(r);
            for (unsigned i = 0; i < 3000; i++) {
                uint64_t x = value(), y = value(), lo = x, hi = 0x5555555555555555, fl;

                r->cpu->r[0] = x;
                r->cpu->r[1] = y;
                r->cpu->r[2] = hi;
                run(r, b);
#define MUL(insn, m)                                                                               \
    __asm__(insn " %" m "[y]\n pushfq\n pop %[f]"                                                  \
            : "+a"(lo), "+d"(hi), [f] "=r"(fl)                                                     \
            : [y] "r"(y)                                                                           \
            : "cc", "memory")
                switch (type * 2 + s) {
                case 0: MUL("mulb", "b"); break;
                case 1: MUL("imulb", "b"); break;
                case 2: MUL("mulw", "w"); break;
                case 3: MUL("imulw", "w"); break;
                case 4: MUL("mull", "k"); break;
                case 5: MUL("imull", "k"); break;
                case 6: MUL("mulq", "q"); break;
                default: MUL("imulq", "q"); break;
                }
                ck_assert_uint_eq(r->cpu->r[0], lo);
                ck_assert_uint_eq(r->cpu->r[2], hi);
                ck_assert_uint_eq(fl_of(r->cpu) & (FL_CF | FL_OF), fl & (FL_CF | FL_OF));
            }
        }
    }
    rig_free(r);
}
END_TEST

#endif /* __x86_64__ */

/* q * by + r == n, |r| < |by|, sign of r is that of n: checked by multiplying back. */
START_TEST(divisions_multiply_back_or_fault)
{
    Rig *r = rig_new();
    unsigned good = 0, bad = 0;

    srand(5);
    for (unsigned type = I8; type <= I64; type++) {
        for (unsigned s = 0; s < 2; s++) {
            unsigned bits = 8u << type;
            uint64_t mask = ~0ull >> (64 - bits);
            IrOp *o = begin(r, s ? IR_DIVS : IR_DIVU, type);
            Block *b;

            o->d = V_R(0);
            o->c = type == I8 ? V_NONE : V_R(2);
            o->b = V_R(1);
            b = finish(r);
            for (unsigned i = 0; i < 3000; i++) {
                uint64_t x = value(), y = value() & mask,
                         h = (rand() % 2                 ? value()
                              : s && x >> (bits - 1) & 1 ? ~0ull
                                                         : 0) &
                             mask;
                __int128 n = (__int128)((unsigned __int128)h << bits | (x & mask)), by = y, q, rem;

                if (type == I8)
                    x = (x & ~0xffffull) | h << 8 | (x & 0xff);
                if (s) {
                    if (bits < 64)
                        n = (__int128)sext((uint64_t)n, 2 * bits);
                    by = sext(y, bits);
                }
                r->cpu->r[0] = x;
                r->cpu->r[1] = y;
                r->cpu->r[2] = h;
                if (run_faulting(r, b) >= 0) {
                    bool fits = by != 0;

                    bad++;
                    ck_assert_uint_eq(r->cpu->exc.vector, 0);
                    ck_assert_uint_eq(r->cpu->r[V_PC], 0x1000);
                    ck_assert_uint_eq(r->cpu->r[0], x); /* no effect */
                    if (fits && (s || bits < 64)) {
                        if (s && bits == 64 && by == -1)
                            continue;
                        q = n / by;
                        fits = s ? q >= -((__int128)1 << (bits - 1)) && q < (__int128)1
                                                                                << (bits - 1)
                                 : q <= (__int128)mask;
                        ck_assert(!fits);
                    }
                    continue;
                }
                good++;
                q = type == I8 ? r->cpu->r[0] & 0xff : r->cpu->r[0] & mask;
                rem = type == I8 ? r->cpu->r[0] >> 8 & 0xff : r->cpu->r[2] & mask;
                if (s) {
                    q = sext((uint64_t)q, bits);
                    rem = sext((uint64_t)rem, bits);
                }
                ck_assert((unsigned __int128)q * (unsigned __int128)by + (unsigned __int128)rem ==
                          (unsigned __int128)n);
                if (s)
                    ck_assert((rem < 0 ? -rem : rem) < (by < 0 ? -by : by) &&
                              (rem == 0 || (rem < 0) == (n < 0)));
                else
                    ck_assert((unsigned __int128)rem < (unsigned __int128)by);
            }
        }
    }
    ck_assert_uint_gt(good, 5000);
    ck_assert_uint_gt(bad, 1000);
    rig_free(r);
}
END_TEST

START_TEST(moves_merge_as_the_types_say)
{
    static const uint64_t want[] = {0x1122334455667788, 0x112233445566ccdd, 0x8899ccdd,
                                    0xaabbccdd8899ccdd};
    Rig *r = rig_new();

    for (unsigned type = I8; type <= I64; type++) {
        IrOp *o = begin(r, IR_MOV, type);
        Block *b;

        o->d = V_R(0);
        o->b = V_R(1);
        b = finish(r);
        r->cpu->r[0] = 0x1122334455667700;
        r->cpu->r[1] = type == I8 ? 0x88 : 0xaabbccdd8899ccdd;
        run(r, b);
        ck_assert_uint_eq(r->cpu->r[0], want[type]);
    }
    rig_free(r);
}
END_TEST

START_TEST(extensions_and_high_bytes)
{
    Rig *r = rig_new();
    Cpu *c = r->cpu;
    IrOp *o = begin(r, IR_MOVZX, I32);
    Block *b;

    o->stype = I8;
    o->d = V_R(5);
    o->b = V_R(1);
    o = ir_add(&r->ir, IR_MOVSX, I64);
    o->stype = I16;
    o->d = V_R(6);
    o->b = V_R(1);
    o = ir_add(&r->ir, IR_EXTH, I64);
    o->d = V_R(7);
    o->a = V_R(1);
    o = ir_add(&r->ir, IR_INSH, I8);
    o->d = V_R(8);
    o->b = V_R(1);
    o = ir_add(&r->ir, IR_MOVSX, I16);
    o->stype = I8;
    o->d = V_R(9);
    o->b = V_R(1);
    b = finish(r);
    c->r[1] = 0x1234567890abc5f2;
    c->r[5] = c->r[8] = c->r[9] = ~0ull;
    run(r, b);
    ck_assert_uint_eq(c->r[5], 0xf2);
    ck_assert_uint_eq(c->r[6], 0xffffffffffffc5f2);
    ck_assert_uint_eq(c->r[7], 0xc5);
    ck_assert_uint_eq(c->r[8], 0xfffffffffffff2ff);
    ck_assert_uint_eq(c->r[9], ~0xdull);
    rig_free(r);
}
END_TEST

START_TEST(addresses_are_cut_and_wrapped)
{
    static const struct {
        uint8_t asize, lin32;
        uint64_t base, seg, want;
    } t[] = {
        {8, 0, DATA - 40, 0, DATA},
        {8, 0, DATA - 40 - 0x1000, 0x1000, DATA},
        {4, 0, 0xf00000000 + DATA - 40, 0, DATA},
        {2, 0, 0x10000 + DATA - 40, 0, DATA},
        {4, 1, 0xfffff000 + DATA - 40, 0x1000, DATA},
        {2, 0, 0xffff, 0x10000, 0x10027},
    };
    Rig *r = rig_new();
    Cpu *c = r->cpu;

    for (unsigned i = 0; i < COUNT_OF(t); i++) {
        IrOp *o = begin(r, IR_MOV, I64);
        Block *b;

        o->d = V_R(0);
        set_mem(o, IRF_MEM_B | (t[i].lin32 ? IRF_LIN32 : 0), 8);
        o->disp = 0;
        o->asize = t[i].asize;
        o->seg = V_R(21);
        b = finish(r);
        c->r[3] = t[i].base;
        c->r[4] = 5;
        c->r[21] = t[i].seg;
        put_le64(r->ram.hva + t[i].want, 0x4711 + i);
        run(r, b);
        ck_assert_uint_eq(c->r[0], 0x4711 + i);
    }
    rig_free(r);
}
END_TEST

START_TEST(faults_leave_everything_as_it_was)
{
    Rig *r = rig_new();
    IrOp *o = begin(r, IR_ADD, I64);
    Block *b;

    o->b = V_R(1);
    o->fl_out = FL_ALL;
    set_mem(o, IRF_MEM_D, 8);
    b = finish(r);
    set_fl(r->cpu, FL_ZF);
    aim(r, RAM + 0x1000);
    ck_assert_int_eq(run_faulting(r, b), 14);
    ck_assert_uint_eq(r->cpu->exc.addr, RAM + 0x1000);
    ck_assert_uint_eq(r->cpu->r[V_PC], 0x1000);
    ck_assert_uint_eq(fl_of(r->cpu), FL_ZF);
    aim(r, RAM - 4); /* second half is missing */
    memset(r->ram.hva + RAM - 8, 1, 8);
    ck_assert_int_eq(run_faulting(r, b), 14);
    ck_assert_uint_eq(r->ram.hva[RAM - 4], 1);
    o = begin(r, IR_MOV, V128);
    o->d = V_X(0);
    set_mem(o, IRF_MEM_B | IRF_ALIGN, 16);
    b = finish(r);
    aim(r, DATA + 8);
    ck_assert_int_eq(run_faulting(r, b), 17);
    aim(r, DATA);
    ck_assert_int_eq(run_faulting(r, b), -1);
    ck_assert_mem_eq(r->cpu->v[0], data(r), 16);
    rig_free(r);
}
END_TEST

START_TEST(wide_compare_and_exchange)
{
    Rig *r = rig_new();
    Cpu *c = r->cpu;

    for (unsigned i = 0; i < 8; i++) {
        bool wide = i & 1, lock = i & 2, equal = i & 4;
        IrOp *o = begin(r, IR_CMPXCHG2, wide ? I64 : I32);
        Block *b;
        uint64_t m[2] = {0x1111111122222222, 0x3333333344444444};

        set_mem(o, IRF_MEM_D | (lock ? IRF_LOCK : 0), wide ? 16 : 8);
        o->fl_out = FL_ZF;
        o->base = V_R(6); /* rcx and rbx are data here */
        o->index = V_NONE;
        o->disp = 0;
        b = finish(r);
        memcpy(data(r), m, 16);
        c->r[0] = wide ? m[0] : 0xffffffff22222222;
        c->r[2] = wide ? m[1] : 0xffffffff11111111;
        if (!equal)
            c->r[2] ^= 1;
        c->r[3] = 0xabc;
        c->r[1] = 0xdef;
        c->r[6] = DATA;
        set_fl(c, FL_CF);
        run(r, b);
        ck_assert_uint_eq(fl_of(c), FL_CF | (equal ? FL_ZF : 0));
        if (equal) {
            ck_assert_uint_eq(data(r)[0], wide ? 0xabc : 0xdef00000abcull);
            ck_assert_uint_eq(data(r)[1], wide ? 0xdef : m[1]);
        } else {
            ck_assert_mem_eq(data(r), m, 16);
            ck_assert_uint_eq(c->r[0], wide ? m[0] : 0x22222222);
            ck_assert_uint_eq(c->r[2], wide ? m[1] : 0x11111111);
        }
    }
    rig_free(r);
}
END_TEST

static uint64_t helper(Cpu *c, uint64_t a, uint64_t b, uint64_t k)
{
    c->r[9] = c->r[V_PC];
    return a * 100 + b * 10 + k;
}

START_TEST(helpers_flag_images_and_state)
{
    Rig *r = rig_new();
    Cpu *c = r->cpu;
    IrOp *o = begin(r, IR_CALL, I64);
    Block *b;

    o->d = V_R(0);
    o->a = V_R(1);
    o->b = V_R(2);
    o->disp = 7;
    o->cc = IRC_PC;
    o->imm = (int64_t)(uintptr_t)helper;
    o = ir_add(&r->ir, IR_GETF, I64);
    o->d = V_R(5);
    o->fl_in = FL_ALL;
    o = ir_add(&r->ir, IR_SETF, I64);
    o->a = V_R(6);
    o->fl_out = FL_ALL & ~FL_OF;
    o = ir_add(&r->ir, IR_SETC, I64);
    o->imm = 2;
    o->fl_in = FL_CF;
    o->fl_out = FL_CF;
    o = ir_add(&r->ir, IR_STS, I32);
    o->b = V_R(1);
    o->disp = offsetof(Cpu, r) + 8 * 10;
    o = ir_add(&r->ir, IR_LDS, I16);
    o->d = V_R(11);
    o->disp = offsetof(Cpu, r) + 8 * 2;
    b = finish(r);
    c->r[1] = 4;
    c->r[2] = 5;
    c->r[6] = 0xd7 << 8;
    c->r[10] = ~0ull;
    set_fl(c, FL_OF | FL_PF);
    run(r, b);
    ck_assert_uint_eq(c->r[0], 457);
    ck_assert_uint_eq(c->r[9], 0x1000);
    ck_assert_uint_eq(c->r[5], 0x0601);
    ck_assert_uint_eq(fl_of(c), FL_ALL & ~FL_CF);
    ck_assert_uint_eq(c->r[10], 0xffffffff00000004);
    ck_assert_uint_eq(c->r[11], 5);
    rig_free(r);
}
END_TEST

START_TEST(requests_stop_at_the_head)
{
    Rig *r = rig_new();
    Block *b;

    begin(r, IR_NOP, I64);
    b = finish(r);
    r->cpu->request = REQ_IRQ;
    r->cpu->r[V_PC] = 0;
    ck_assert_int_eq(be->enter(r->v, b), JIT_EXIT_REQUEST);
    ck_assert_uint_eq(r->cpu->r[V_PC], 0x1000);
    rig_free(r);
}
END_TEST

static void use_interp(void)
{
    be = &backend_interp;
}
static void use_x64(void)
{
    be = &backend_x64;
}

static void add_case(Suite *s, const char *name, void (*use)(void))
{
    TCase *c = tcase_create(name);

    tcase_set_timeout(c, 60);
    tcase_add_unchecked_fixture(c, use, NULL);
#ifdef __x86_64__
    tcase_add_loop_test(c, integer_ops_do_what_the_host_does, 0, COUNT_OF(cases));
    tcase_add_test(c, conditions_are_the_hosts);
    tcase_add_test(c, wide_products_are_exact);
#endif
    tcase_add_test(c, divisions_multiply_back_or_fault);
    tcase_add_test(c, moves_merge_as_the_types_say);
    tcase_add_test(c, extensions_and_high_bytes);
    tcase_add_test(c, addresses_are_cut_and_wrapped);
    tcase_add_test(c, faults_leave_everything_as_it_was);
    tcase_add_test(c, wide_compare_and_exchange);
    tcase_add_test(c, helpers_flag_images_and_state);
    tcase_add_test(c, requests_stop_at_the_head);
    suite_add_tcase(s, c);
}

int main(void)
{
    Suite *s = suite_create("back ends");
    SRunner *run = srunner_create(s);
    int failed;

    add_case(s, "interp", use_interp);
    if (&backend_x64)
        add_case(s, "x64", use_x64);
    srunner_run_all(run, CK_NORMAL);
    failed = srunner_ntests_failed(run);
    srunner_free(run);
    return failed != 0;
}
