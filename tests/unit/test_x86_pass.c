/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The portable meaning of every instruction that x86 hosts execute as it is, against this host:
 * each row of the table is encoded, run here and by its function on the same random state; all
 * registers, memory, flags and MXCSR must agree.
 */
#define _GNU_SOURCE
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "cpu/x86/opcodes.h"
#include "tests/unit/x86_unit.h"

START_TEST(every_row_has_a_portable_meaning)
{
    for (unsigned n = 0; n < x86_row_count(); n++) {
        const X86Row *r = x86_row(n);

        if (r->kind == X86K_PASS)
            ck_assert_msg(ir_pass_rows[r->pass].fn != NULL, "%s %s", r->name, r->operands);
    }
}
END_TEST

#if defined(__x86_64__)

enum { RUNS = 1000, VECTORS = 6, FAULT_NONE = 0, FAULT_XM, FAULT_UD, MXCSR_MASKS = 0x1f80 };

/* What an instruction sees; offsets are known to native_run(). */
typedef struct State {
    uint64_t r[8];                      /* 0 */
    alignas(64) uint8_t v[VECTORS][32]; /* 64 */
    alignas(64) uint8_t mem[64];        /* 256; RBP points here */
    uint64_t flags;                     /* 320 */
    uint32_t mxcsr, host_mxcsr;         /* 328, 332 */
    uint64_t fault;
} State;
static_assert(offsetof(State, mem) == 256 && offsetof(State, mxcsr) == 328, "native_run() knows");

/* One encoding of one row. */
typedef struct Form {
    const X86Row *row;
    const IrPassRow *pass;
    uint8_t reg[16]; /* by AT_x */
    bool is_mem, l256;
    uint8_t opsize, imm;
} Form;

void native_run(State *s, const void *code);

/* clang-format off */
__asm__(
    ".text\n"
    ".globl native_run\n"
    ".hidden native_run\n"
    "native_run:\n"
    "    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15; sub $8, %rsp\n"
    "    mov %rdi, %r15; mov %rsi, %r14\n"
    "    stmxcsr 332(%r15); ldmxcsr 328(%r15)\n"
    "    vmovdqu 64(%r15), %ymm0; vmovdqu 96(%r15), %ymm1; vmovdqu 128(%r15), %ymm2\n"
    "    vmovdqu 160(%r15), %ymm3; vmovdqu 192(%r15), %ymm4; vmovdqu 224(%r15), %ymm5\n"
    "    pushq 320(%r15); popfq\n"
    "    mov (%r15), %rax; mov 8(%r15), %rcx; mov 16(%r15), %rdx; mov 24(%r15), %rbx\n"
    "    mov 48(%r15), %rsi; mov 56(%r15), %rdi; lea 256(%r15), %rbp\n"
    "    call *%r14\n"
    "    pushfq; popq 320(%r15)\n"
    "    mov %rax, (%r15); mov %rcx, 8(%r15); mov %rdx, 16(%r15); mov %rbx, 24(%r15)\n"
    "    mov %rsi, 48(%r15); mov %rdi, 56(%r15)\n"
    "    vmovdqu %ymm0, 64(%r15); vmovdqu %ymm1, 96(%r15); vmovdqu %ymm2, 128(%r15)\n"
    "    vmovdqu %ymm3, 160(%r15); vmovdqu %ymm4, 192(%r15); vmovdqu %ymm5, 224(%r15)\n"
    "    stmxcsr 328(%r15); ldmxcsr 332(%r15)\n"
    "    vzeroupper\n"
    "    add $8, %rsp; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp\n"
    "    ret\n");
/* clang-format on */

/* --- random state --- */

static uint64_t seed = 88172645463325252;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1d;
}

static unsigned below(unsigned n)
{
    return (unsigned)(rnd() >> 33) % n;
}

static uint64_t special_float(bool is64)
{
    static const uint32_t f32[] = {
        0,          1,          0x7fffff,   0x800000,   0x800001,   0x3f800000, 0x3fc00000,
        0x40200000, 0x3f000000, 0x3effffff, 0x7f7fffff, 0x7f800000, 0x7f800001, 0x7fc00000,
        0x7fc12345, 0x7fa54321, 0x4effffff, 0x4f000000, 0x5effffff, 0x5f000000, 0x1f800000,
        0x00400000, 0x33800000, 0x38800000, 0x387fc000, 0x33000000, 0x33000001, 0x477fe000,
        0x477ff000, 0x477fefff, 0x4b000001, 0x4affffff};
    static const uint64_t f64[] = {0,
                                   1,
                                   0xfffffffffffff,
                                   0x10000000000000,
                                   0x3ff0000000000000,
                                   0x3ff8000000000000,
                                   0x4004000000000000,
                                   0x3fe0000000000000,
                                   0x3fdfffffffffffff,
                                   0x7fefffffffffffff,
                                   0x7ff0000000000000,
                                   0x7ff0000000000001,
                                   0x7ff8000000000000,
                                   0x7ff8123456789abc,
                                   0x7ff4abcdef012345,
                                   0x41dfffffffc00000,
                                   0x41dfffffffe00000,
                                   0x41e0000000000000,
                                   0x41dfffffffffffff,
                                   0x43dfffffffffffff,
                                   0x43e0000000000000,
                                   0x43dffffffffffffe,
                                   0x380fffffffffffff,
                                   0x3810000000000000,
                                   0x36a0000000000000,
                                   0x369fffffffffffff,
                                   0x47efffffe0000000,
                                   0x47efffffefffffff,
                                   0x47effffff0000000,
                                   0x3ca0000000000000,
                                   0x4330000000000001,
                                   0x432fffffffffffff};
    uint64_t v = is64 ? f64[below(COUNT_OF(f64))] : f32[below(COUNT_OF(f32))];

    return below(2) ? v : v | 1ull << (is64 ? 63 : 31);
}

/* Of middling size, so that arithmetic rounds; seldom near the least. */
static uint64_t common_float(bool is64)
{
    uint64_t exponent = is64 ? 1023 - 40 + below(80) : 127 - 20 + below(40);

    if (below(4) == 0)
        exponent = is64 ? (below(2) ? below(60) : 2046 - below(60))
                        : (below(2) ? below(30) : 254 - below(30));
    if (is64)
        return (rnd() & ~(0x7ffull << 52)) | exponent << 52;
    return ((rnd() & ~(0xffull << 23)) | exponent << 23) & UINT32_MAX;
}

static uint64_t common_half(void)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < 4; i++)
        v = v << 16 | (below(3)   ? rnd() & 0xffff
                       : below(2) ? 0x7c00 + below(2) * 0x200 + below(2)
                                  : below(0x400));
    return v;
}

static uint64_t text(void)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < 8; i++)
        v = v << 8 | (below(9) ? (uint64_t)(0x7e + below(4)) : 0);
    return v;
}

static uint64_t word(unsigned kind)
{
    switch (kind) {
    case 0: return special_float(true);
    case 1: return special_float(false) | special_float(false) << 32;
    case 2: return common_float(true);
    case 3: return common_float(false) | common_float(false) << 32;
    case 4: return below(2) ? special_float(true) : common_float(true);
    case 5:
        return (below(2) ? special_float(false) : common_float(false)) | common_float(false) << 32;
    case 6: return common_half();
    case 7: return text();
    case 8: return below(70);
    case 9: return text() & 0x00ff00ff00ff00ff;
    default: return rnd();
    }
}

static void fill(State *s)
{
    unsigned kind = below(16);

    memset(s, 0, sizeof(*s));
    for (unsigned i = 0; i < 8; i++)
        s->r[i] = word(below(2) ? 8 : 10) * (below(8) ? 1 : -1ull);
    for (unsigned i = 0; i < VECTORS; i++)
        for (unsigned n = 0; n < 4; n++)
            put_le64(s->v[i] + n * 8, word(kind));
    for (unsigned n = 0; n < 8; n++)
        put_le64(s->mem + n * 8, word(below(4) ? kind : 10));
    s->flags = (rnd() & FL_ALL) | 2;
    s->mxcsr = MXCSR_MASKS | below(4) << 13 | (below(3) ? 0 : 0x40) | (below(3) ? 0 : 0x8000) |
               (below(4) ? 0 : below(64));
    if (below(4) == 0)
        s->mxcsr &= ~(below(64) << 7);
}

/* --- the host --- */

static sigjmp_buf fault_exit; /* with the mask: ThreadSanitizer's handlers block all signals */
static State *fault_state;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    const ucontext_t *uc = context;

    (void)info;
    fault_state->mxcsr = uc->uc_mcontext.fpregs->mxcsr;
    fault_state->fault = sig == SIGFPE ? FAULT_XM : FAULT_UD;
    siglongjmp(fault_exit, 1);
}

static void run_native(State *s, const void *code)
{
    State was = *s;
    uint32_t host;

    fault_state = s;
    __asm__ volatile("stmxcsr %0" : "=m"(host));
    if (!sigsetjmp(fault_exit, 1)) {
        native_run(s, code);
        return;
    }
    was.mxcsr = s->mxcsr;
    was.fault = s->fault;
    *s = was;
    __asm__ volatile("ldmxcsr %0" : : "m"(host));
}

static void put_modrm(uint8_t **p, const Form *f, unsigned reg)
{
    unsigned rm = f->is_mem ? 5 : f->reg[AT_RM];

    *(*p)++ = (uint8_t)((f->is_mem ? 0x40 : 0xc0) | reg << 3 | rm);
    if (f->is_mem)
        *(*p)++ = 0; /* [rbp + 0] */
}

static void encode(uint8_t *p, const Form *f)
{
    static const uint8_t prefix[] = {0, 0x66, 0xf3, 0xf2}, escape[] = {0, 0, 0x38, 0x3a};
    const IrPassRow *r = f->pass;
    unsigned w = r->w == 2 ? f->opsize == 8 : r->w, reg = r->ext == 255 ? f->reg[AT_REG] : r->ext;

    if (r->vex) {
        *p++ = 0xc4;
        *p++ = (uint8_t)(0xe0 | r->map);
        *p++ = (uint8_t)(w << 7 | (~f->reg[AT_VVVV] & 15u) << 3 | (unsigned)f->l256 << 2 | r->pp);
    } else {
        if (f->opsize == 2)
            *p++ = 0x66;
        if (r->pp)
            *p++ = prefix[r->pp];
        *p++ = (uint8_t)(0x40 | w << 3);
        *p++ = 0x0f;
        if (r->map > 1)
            *p++ = escape[r->map];
    }
    *p++ = r->opcode;
    if (r->opcode != 0x77 || r->map != 1) /* VZEROALL, VZEROUPPER */
        put_modrm(&p, f, reg);
    if (r->has_imm)
        *p++ = f->imm;
    *p = 0xc3;
}

/* --- the portable function --- */

static int operand_at(const X86Row *r, unsigned at)
{
    for (int i = 0; i < 4; i++)
        if (OPD_AT(r->opd[i]) == at)
            return i;
    return -1;
}

static unsigned size_of(const Form *f, unsigned s)
{
    unsigned x = f->l256 ? 32 : 16;

    switch (s) {
    case S_b: return 1;
    case S_w: return 2;
    case S_d: return 4;
    case S_q: return 8;
    case S_dq: return 16;
    case S_qq: return 32;
    case S_x: return x;
    case S_h: return x / 2;
    case S_f: return x / 4;
    case S_e: return x / 8;
    default: return f->opsize;
    }
}

static PassVal *location(X86Cpu *x, const Form *f, unsigned at)
{
    int i = operand_at(f->row, at);

    if (i < 0)
        return NULL;
    return OPD_KIND(f->row->opd[i]) == X86_GPR ? (PassVal *)&x->cpu.r[f->reg[at]]
                                               : (PassVal *)x->cpu.v[f->reg[at]];
}

static void zero_above(X86Cpu *x, const PassArgs *p, const PassVal *v)
{
    uint8_t *b = (uint8_t *)(uintptr_t)v;

    if (p->vex && b >= x->cpu.v[0] && b < x->cpu.v[VECTORS])
        memset(b + p->vl, 0, 32u - p->vl);
}

/* As the contract at the head of cpu/x86/pass.c says. */
static void call(X86Cpu *x, const Form *f, State *s)
{
    const IrPassRow *r = f->pass;
    PassVal copy = {.q = {0}};
    PassArgs p = {
        .cpu = &x->cpu, .imm = f->imm, .vl = f->l256 ? 32 : 16, .opsize = f->opsize, .vex = r->vex};
    int rm = operand_at(f->row, AT_RM);
    unsigned size = rm < 0 ? 0 : size_of(f, OPD_MSIZE(f->row->opd[rm]));

    p.b = f->is_mem ? &copy : location(x, f, AT_RM);
    if (f->is_mem && !r->b_writes)
        memcpy(&copy, s->mem, size);
    p.d = location(x, f, r->ext == 255 ? AT_REG : AT_VVVV);
    if (!p.d)
        p.d = p.b;
    p.a = r->ext == 255 ? location(x, f, AT_VVVV) : NULL;
    if (!p.a)
        p.a = p.d;
    if (!r->has_imm)
        p.imm = 0;
    r->fn(&p);
    if (r->d_writes)
        zero_above(x, &p, p.d);
    if (r->b_writes && f->is_mem)
        memcpy(s->mem, &copy, size);
    else if (r->b_writes)
        zero_above(x, &p, p.b);
}

static void run_portable(State *s, X86Cpu *x, const Form *f)
{
    jmp_buf jb;

    memcpy(x->cpu.r, s->r, sizeof(s->r));
    memcpy(x->cpu.v, s->v, sizeof(s->v));
    x->cpu.vcsr = s->mxcsr;
    x->cpu.cc = x86_cc_from_flags(s->flags);
    x->cpu.unwind = &jb;
    if (!setjmp(jb))
        call(x, f, s);
    else
        s->fault = x->cpu.exc.vector == EX_XM ? FAULT_XM : FAULT_UD;
    memcpy(s->r, x->cpu.r, sizeof(s->r));
    memcpy(s->v, x->cpu.v, sizeof(s->v));
    s->mxcsr = x->cpu.vcsr;
    s->flags = x86_flags_from_cc(x->cpu.cc);
}

/* --- comparing --- */

/* Both are within 1.5 * 2^-12 of the truth; results near the least normal number may be zero. */
static bool is_near(const uint8_t *a, const uint8_t *b)
{
    float x, y;

    memcpy(&x, a, 4);
    memcpy(&y, b, 4);
    return memcmp(a, b, 4) == 0 || fabsf(x - y) <= fabsf(x) * 3 / 4096 ||
           (fabsf(x) < 0x1p-125f && fabsf(y) < 0x1p-125f);
}

static bool same_vectors(const State *a, const State *b, bool is_relaxed)
{
    const uint8_t *x = a->v[0], *y = b->v[0];

    for (unsigned i = 0; i < sizeof(a->v); i += 4)
        if (is_relaxed ? !is_near(x + i, y + i) : memcmp(x + i, y + i, 4) != 0)
            return false;
    return true;
}

static bool is_same(const State *a, const State *b, const X86Row *r)
{
    return a->fault == b->fault && same_vectors(a, b, r->attr & XA_RELAXED) &&
           a->mxcsr == b->mxcsr && memcmp(a->r, b->r, sizeof(a->r)) == 0 &&
           memcmp(a->mem, b->mem, sizeof(a->mem)) == 0 &&
           ((a->flags ^ b->flags) & FL_ALL & ~r->fl_undef) == 0;
}

static void print_state(const char *name, const State *s)
{
    printf("  %s: mxcsr %04x flags %03x fault %u r", name, s->mxcsr, (unsigned)(s->flags & FL_ALL),
           (unsigned)s->fault);
    for (unsigned i = 0; i < 8; i++)
        printf(" %" PRIx64, s->r[i]);
    for (unsigned i = 0; i < 4; i++) {
        printf("\n    v%u", i);
        for (int n = 3; n >= 0; n--)
            printf(" %016" PRIx64, get_le64(s->v[i] + n * 8));
    }
    printf("\n    mem");
    for (int n = 3; n >= 0; n--)
        printf(" %016" PRIx64, get_le64(s->mem + n * 8));
    printf("\n");
}

static void print_case(const Form *f, const State *in, const State *host, const State *ours)
{
    printf("%s %s: reg %u vvvv %u rm %u%s L%u opsize %u imm %02x\n", f->row->name, f->row->operands,
           f->reg[AT_REG], f->reg[AT_VVVV], f->reg[AT_RM], f->is_mem ? " mem" : "", f->l256,
           f->opsize, f->imm);
    print_state("in", in);
    print_state("host", host);
    print_state("ours", ours);
}

/* --- the loop --- */

static uint8_t pick_reg(const X86Row *r, unsigned at)
{
    static const uint8_t general[] = {R_AX, R_CX, R_DX, R_BX, R_SI, R_DI};
    int i = operand_at(r, at);

    if (i < 0)
        return 0;
    return OPD_KIND(r->opd[i]) == X86_GPR ? general[below(COUNT_OF(general))] : (uint8_t)below(4);
}

static Form pick_form(const X86Row *r)
{
    Form f = {.row = r, .pass = &ir_pass_rows[r->pass], .imm = (uint8_t)rnd(), .opsize = 4};
    bool has_v = false;

    for (unsigned i = 0; i < 4; i++)
        has_v |= OPD_KIND(r->opd[i]) == X86_GPR && OPD_RSIZE(r->opd[i]) == S_v;
    if (f.pass->w == 2)
        f.opsize = has_v && below(3) == 0 ? 2 : below(2) ? 4 : 8;
    else if (f.pass->w == 1)
        f.opsize = 8;
    f.is_mem = operand_at(r, AT_RM) >= 0 && !(r->attr & XA_REG_ONLY) &&
               (r->attr & XA_MEM_ONLY || below(2));
    f.l256 = f.pass->vex && !(r->attr & XA_VEX_L0) && (r->attr & XA_VEX_L1 || below(2));
    for (unsigned at = AT_REG; at <= AT_RM; at++)
        f.reg[at] = pick_reg(r, at);
    if (operand_at(r, AT_IS4) >= 0)
        f.imm = (uint8_t)(below(4) << 4);
    return f;
}

/*
 * Number of disagreements; of the first the whole state is shown.  A row that this processor
 * lacks is named.
 */
static unsigned check_row(const X86Row *r, X86Cpu *x, uint8_t *code)
{
    unsigned bad = 0, absent = 0;

    for (unsigned n = 0; n < RUNS; n++) {
        Form f = pick_form(r);
        State in, host, ours;

        fill(&in);
        host = ours = in;
        encode(code, &f);
        run_native(&host, code);
        if (host.fault == FAULT_UD) {
            absent++;
            continue;
        }
        run_portable(&ours, x, &f);
        if (is_same(&host, &ours, r))
            continue;
        if (!bad++)
            print_case(&f, &in, &host, &ours);
    }
    if (absent)
        printf("%s %s: not on this processor (%u of %u)\n", r->name, r->operands, absent, RUNS);
    return bad;
}

START_TEST(every_row_does_what_this_processor_does)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    uint8_t *code =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    X86Cpu *x = xalloc_aligned(64, sizeof(*x));
    unsigned bad = 0;

    ck_assert_ptr_ne(code, MAP_FAILED);
    sigaction(SIGFPE, &sa, NULL);
    sigaction(SIGILL, &sa, NULL);
    x->cpu.host = &unit_host;
    x->cpu.mode = MODE_64;
    x->cr4 = CR4_OSXMMEXCPT;
    for (unsigned n = 0; n < x86_row_count(); n++) {
        unsigned row_bad = x86_row(n)->kind == X86K_PASS ? check_row(x86_row(n), x, code) : 0;

        if (row_bad)
            printf("%s: %u of %u differ\n", x86_row(n)->name, row_bad, RUNS);
        bad += row_bad;
    }
    fflush(stdout);
    ck_assert_uint_eq(bad, 0);
    xfree(x);
    munmap(code, 4096);
}
END_TEST

UNIT_MAIN("x86_pass", every_row_has_a_portable_meaning, every_row_does_what_this_processor_does)

#else
UNIT_MAIN("x86_pass", every_row_has_a_portable_meaning)
#endif
