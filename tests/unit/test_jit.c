/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The run loop, block table and soft MMU together, on a toy processor: 8-byte instructions {op, d,
 * a, b, int32 imm}, page-wise remappable memory.  Every test runs on each back end there is.
 */
#include <check.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "accel/jit/jit.h"
#include "base/alloc.h"

extern const Backend backend_x64 __attribute__((weak));

enum {
    T_HALT,
    T_ADDI,
    T_ADD,
    T_LD,
    T_ST,
    T_BNE,
    T_JMP,
    T_JR,
    T_ST4,
    T_INVLPG,
    T_LOCKADD,
    T_UD,
    T_CALLR,
    T_OPS
};
enum { TOY_PAGES = 256, TOY_RAM = 4 << 20, HANDLER = 0x8000 };

typedef struct ToyInsn {
    uint8_t op, d, a, b;
    int32_t imm;
} ToyInsn;

typedef struct ToyCpu {
    Cpu cpu;
    Gpa map[TOY_PAGES]; /* page -> physical page; ~0: not there */
    bool exec_only_map;
    _Atomic unsigned irqs, faults;
    _Atomic uint64_t fault_pc, fault_addr;
} ToyCpu;

#define TOY(c) ((ToyCpu *)(c))

/* --- the processor --- */

static uint64_t toy_halt(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t next)
{
    c->r[V_PC] = next;
    cpu_unwind(c, UNWIND_HALT);
}

static uint64_t toy_ud(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    Exception e = {.vector = 6};

    c->host->sync_pc(c);
    cpu_raise(c, &e);
}

static uint64_t toy_invlpg(Cpu *c, uint64_t a, uint64_t b UNUSED, uint64_t k UNUSED)
{
    tlb_flush_page(c, 0, a);
    return 0;
}

static void emit_call(IrBlock *b, IrHelper *fn, unsigned a, uint64_t k)
{
    IrOp *o = ir_add(b, IR_CALL, I64);

    o->cc = IRC_PC;
    o->a = (uint8_t)a;
    o->imm = (int64_t)(uintptr_t)fn;
    o->disp = (int64_t)k;
}

static void emit_mem(IrOp *o, const ToyInsn *t, unsigned flag, unsigned size)
{
    o->flags = (uint8_t)(flag | (flag & IRF_LOCK ? IRF_MEM_D : 0));
    o->base = t->a;
    o->disp = t->imm;
    o->asize = 8;
    o->msize = (uint8_t)size;
}

static void emit_term(IrBlock *b, IrOpcode op, Gva to)
{
    ir_add(b, op, I64)->imm = (int64_t)to;
}

/* One instruction; true if it ended the block. */
static bool toy_emit(IrBlock *b, const ToyInsn *t, Gva pc)
{
    Gva next = pc + 8, target = pc + (Gva)((int64_t)t->imm * 8);
    IrOp *o;

    switch (t->op) {
    case T_HALT:
        emit_call(b, toy_halt, V_NONE, next);
        emit_term(b, IR_LEAVE, 0);
        return true;
    case T_ADDI:
        o = ir_add(b, IR_ADD, I64);
        o->d = t->d;
        o->a = t->a;
        o->flags = IRF_IMM;
        o->imm = t->imm;
        return false;
    case T_ADD:
        o = ir_add(b, IR_ADD, I64);
        o->d = t->d;
        o->a = t->a;
        o->b = t->b;
        return false;
    case T_LD:
        o = ir_add(b, IR_MOV, I64);
        o->d = t->d;
        emit_mem(o, t, IRF_MEM_B, 8);
        return false;
    case T_ST:
    case T_ST4:
        o = ir_add(b, IR_MOV, t->op == T_ST ? I64 : I32);
        o->b = t->d;
        emit_mem(o, t, IRF_MEM_D, t->op == T_ST ? 8 : 4);
        return false;
    case T_LOCKADD:
        o = ir_add(b, IR_ADD, I64);
        o->b = t->d;
        emit_mem(o, t, IRF_LOCK, 8);
        return false;
    case T_BNE:
        o = ir_add(b, IR_CMP, I64);
        o->a = t->a;
        o->b = t->b;
        o->fl_out = FL_ALL;
        o = ir_add(b, IR_BR, I64);
        o->cc = CC_NE;
        o->fl_in = FL_ZF;
        o->imm = (int64_t)target;
        o->disp = (int64_t)next;
        return true;
    case T_JMP: emit_term(b, IR_JMP, target); return true;
    case T_JR:
    case T_CALLR:
        o = ir_add(b, IR_JMPI, I64);
        o->a = t->a;
        return true;
    case T_INVLPG:
        emit_call(b, toy_invlpg, t->a, 0);
        emit_term(b, IR_EXIT, next);
        return true;
    default:
        emit_call(b, toy_ud, V_NONE, 0);
        emit_term(b, IR_LEAVE, 0);
        return true;
    }
}

/* Other processors may be writing there. */
static void fetch_words(void *to, const uint8_t *from, unsigned n)
{
    uint32_t w;

    for (unsigned i = 0; i < n; i += 4) {
        w = __atomic_load_n((const uint32_t *)(const void *)(from + i), __ATOMIC_RELAXED);
        memcpy((uint8_t *)to + i, &w, 4);
    }
}

static bool toy_fetch(IrBlock *b, ToyInsn *out)
{
    unsigned at = (unsigned)(b->linear & 0xfff) + b->size;
    unsigned first = at >= 4096 ? 0 : 4096 - at;

    if (at >= 4096 && b->linear % 4096 + 8 <= 4096)
        return false; /* only a first instruction crosses */
    if (first >= 8) {
        fetch_words(out, b->code[0] + at, 8);
        return true;
    }
    if (b->size)
        return false;
    b->code[1] = b->next_page(b);
    if (!b->code[1])
        return false;
    fetch_words(out, b->code[0] + at, first);
    fetch_words((uint8_t *)out + first, b->code[1], 8 - first);
    return true;
}

static void toy_translate(Cpu *c UNUSED, IrBlock *b)
{
    ToyInsn t;

    for (;;) {
        Gva pc = b->pc + b->size;

        if (b->n_insns == b->max_insns || !toy_fetch(b, &t)) {
            emit_term(b, IR_JMP, pc);
            return;
        }
        ir_insn(b, pc);
        b->size += 8;
        if (toy_emit(b, &t, pc))
            return;
    }
}

static bool toy_walk(Cpu *c, Gva va, Access kind UNUSED, unsigned mode UNUSED, Walk *w)
{
    if (va >= TOY_PAGES * 4096ull || TOY(c)->map[va >> 12] == ~0ull)
        return false;
    *w = (Walk){.pa = TOY(c)->map[va >> 12] << 12 | (va & 0xfff),
                .size = 4096,
                .read = true,
                .write = true,
                .exec = true};
    return true;
}

static void toy_page_fault(Cpu *c UNUSED, Gva va, Access kind UNUSED, unsigned mode UNUSED,
                           uint64_t error UNUSED, Exception *e)
{
    *e = (Exception){.vector = 14, .addr = va};
}

static void toy_take_exception(Cpu *c, const Exception *e)
{
    TOY(c)->faults++;
    TOY(c)->fault_pc = c->r[V_PC];
    TOY(c)->fault_addr = e->addr;
    c->r[V_PC] = HANDLER;
}

static bool toy_irq_pending(Cpu *c)
{
    return atomic_load(&c->request) & REQ_IRQ;
}

static void toy_serve(Cpu *c)
{
    if (atomic_load(&c->request) & REQ_IRQ) {
        cpu_request_clear(c, REQ_IRQ);
        TOY(c)->irqs++;
        c->r[21]++;
    }
}

static Gva toy_linear(const Cpu *c)
{
    return c->r[V_PC];
}

static const CpuArch toy_arch = {
    .name = "toy",
    .cpu_size = sizeof(ToyCpu),
    .walk = toy_walk,
    .page_fault = toy_page_fault,
    .take_exception = toy_take_exception,
    .irq_pending = toy_irq_pending,
    .serve = toy_serve,
    .pc_to_linear = toy_linear,
    .translate = toy_translate,
};

/* --- the machine --- */

typedef struct Toy {
    Machine m;
    Region ram;
    Cpu *cpus[4];
} Toy;

static Toy *toy_new(int backend, unsigned n, bool single, uint64_t tb_size)
{
    Toy *t = xnew(Toy);
    Error err;

    t->m.mem = memory_new();
    t->m.cfg.ram_size = TOY_RAM;
    t->m.cfg.backend_interp = backend == 0;
    t->m.cfg.thread_single = single;
    t->m.cfg.tb_size = tb_size;
    t->m.cpus = t->cpus;
    t->m.n_cpus = n;
    ck_assert(region_ram(&t->ram, t->m.mem, "ram", TOY_RAM, false, &err));
    region_map(&t->m.mem->system_root, &t->ram, 0, 0);
    t->m.accel = accel_find("jit");
    ck_assert_ptr_nonnull(t->m.accel);
    for (unsigned i = 0; i < n; i++) {
        ToyCpu *c = xalloc_aligned(64, sizeof *c);

        c->cpu.arch = &toy_arch;
        c->cpu.machine = &t->m;
        c->cpu.index = i;
        c->cpu.as = &t->m.mem->system;
        for (unsigned k = 0; k < TOY_PAGES; k++)
            c->map[k] = k;
        t->cpus[i] = &c->cpu;
    }
    ck_assert_msg(t->m.accel->start(&t->m, &err), "%s", err.msg);
    for (unsigned i = 0; i < n; i++)
        ck_assert_msg(t->m.accel->vcpu_create(t->cpus[i], &err), "%s", err.msg);
    return t;
}

static void toy_free(Toy *t)
{
    t->m.accel->park(&t->m);
    for (unsigned i = 0; i < t->m.n_cpus; i++)
        t->m.accel->vcpu_destroy(t->cpus[i]);
    t->m.accel->stop(&t->m);
    for (unsigned i = 0; i < t->m.n_cpus; i++)
        xfree(t->cpus[i]);
    memory_free(t->m.mem);
    xfree(t);
}

static void put(Toy *t, Gpa at, ToyInsn i)
{
    ck_assert_int_eq(as_write(&t->m.mem->system, at, &i, sizeof i), MEM_OK);
}

static uint64_t insn_bits(ToyInsn i)
{
    uint64_t v;

    memcpy(&v, &i, 8);
    return v;
}

static uint64_t ram64(Toy *t, Gpa at)
{
    return __atomic_load_n((uint64_t *)(void *)(t->ram.hva + at), __ATOMIC_SEQ_CST);
}

static void run(Toy *t)
{
    t->m.accel->run(&t->m);
}

static void park(Toy *t)
{
    t->m.accel->park(&t->m);
}

static void nap(long us)
{
    struct timespec s = {0, us * 1000};

    nanosleep(&s, NULL);
}

static bool all_halted(Toy *t)
{
    bool all = true;

    park(t);
    for (unsigned i = 0; i < t->m.n_cpus; i++)
        all &= t->cpus[i]->halted;
    return all;
}

/* Until all processors halt; the machine is parked after it. */
static void run_to_halt(Toy *t)
{
    for (unsigned i = 0; i < 5000; i++) {
        run(t);
        nap(200 + i * 10);
        if (all_halted(t))
            return;
    }
    ck_abort_msg("does not halt: pc 0x%" PRIx64, t->cpus[0]->r[V_PC]);
}

static void start_at(Toy *t, unsigned cpu, Gva pc)
{
    t->cpus[cpu]->r[V_PC] = pc;
    t->cpus[cpu]->halted = false;
}

static const JitStats *stats(Toy *t, unsigned cpu)
{
    return &((Vcpu *)t->cpus[cpu]->accel)->stats;
}

/* r1 = 1 + ... + 1000 at @at, over two pages if @far. */
static void put_sum(Toy *t, Gpa at)
{
    put(t, at, (ToyInsn){T_ADDI, 1, 31, 0, 0});
    put(t, at + 8, (ToyInsn){T_ADDI, 2, 31, 0, 0});
    put(t, at + 16, (ToyInsn){T_ADDI, 3, 31, 0, 1000});
    put(t, at + 24, (ToyInsn){T_ADDI, 2, 2, 0, 1});
    put(t, at + 32, (ToyInsn){T_ADD, 1, 1, 2, 0});
    put(t, at + 40, (ToyInsn){T_BNE, 0, 2, 3, -2});
    put(t, at + 48, (ToyInsn){T_HALT, 0, 0, 0, 0});
}

/* --- tests --- */

START_TEST(a_loop_runs_linked_and_halts)
{
    Toy *t = toy_new(_i, 1, false, 0);

    put_sum(t, 0x1000);
    start_at(t, 0, 0x1000);
    run_to_halt(t);
    ck_assert_uint_eq(t->cpus[0]->r[1], 500500);
    ck_assert_uint_eq(t->cpus[0]->r[V_PC], 0x1038);
    ck_assert_uint_ge(stats(t, 0)->links, 1);
    ck_assert_uint_lt(stats(t, 0)->lookups, 50);
    ck_assert_uint_lt(stats(t, 0)->exits[JIT_EXIT_LINK], 100);
    toy_free(t);
}
END_TEST

START_TEST(a_store_into_the_running_block_takes_effect_at_the_next_instruction)
{
    Toy *t = toy_new(_i, 1, false, 0);

    for (unsigned round = 0; round < 3; round++) {
        uint64_t patch = insn_bits((ToyInsn){T_ADDI, 5, 31, 0, 77 + (int)round});

        put(t, 0x1000, (ToyInsn){T_ST, 4, 31, 0, 0x1010});
        put(t, 0x1008, (ToyInsn){T_ADDI, 6, 6, 0, 1});
        put(t, 0x1010, (ToyInsn){T_ADDI, 5, 31, 0, 1});
        put(t, 0x1018, (ToyInsn){T_HALT, 0, 0, 0, 0});
        t->cpus[0]->r[4] = patch;
        t->cpus[0]->r[6] = 0;
        start_at(t, 0, 0x1000);
        run_to_halt(t);
        ck_assert_uint_eq(t->cpus[0]->r[5], 77 + round);
        ck_assert_uint_eq(t->cpus[0]->r[6], 1);
    }
    ck_assert_uint_ge(stats(t, 0)->smc_same_block, 3);
    toy_free(t);
}
END_TEST

START_TEST(data_beside_code_can_be_written)
{
    Toy *t = toy_new(_i, 1, false, 0);

    put(t, 0x1000, (ToyInsn){T_ADDI, 2, 2, 0, 1});
    put(t, 0x1008, (ToyInsn){T_ST, 2, 31, 0, 0x1800});
    put(t, 0x1010, (ToyInsn){T_ST, 2, 31, 0, 0x1030}); /* same line as the code */
    put(t, 0x1018, (ToyInsn){T_BNE, 0, 2, 3, -3});
    put(t, 0x1020, (ToyInsn){T_HALT, 0, 0, 0, 0});
    t->cpus[0]->r[3] = 500;
    start_at(t, 0, 0x1000);
    run_to_halt(t);
    ck_assert_uint_eq(ram64(t, 0x1800), 500);
    ck_assert_uint_eq(ram64(t, 0x1030), 500);
    ck_assert_uint_eq(stats(t, 0)->smc_same_block, 0);
    ck_assert_uint_ge(stats(t, 0)->smc_writes, 500);
    toy_free(t);
}
END_TEST

START_TEST(a_fault_is_reported_at_its_instruction)
{
    Toy *t = toy_new(_i, 1, false, 0);
    ToyCpu *c = TOY(t->cpus[0]);

    c->map[0x20] = ~0ull;
    put(t, 0x1000, (ToyInsn){T_ADDI, 2, 31, 0, 5});
    put(t, 0x1008, (ToyInsn){T_LD, 2, 31, 0, 0x20010});
    put(t, 0x1010, (ToyInsn){T_ADDI, 2, 31, 0, 6});
    put(t, HANDLER, (ToyInsn){T_HALT, 0, 0, 0, 0});
    start_at(t, 0, 0x1000);
    run_to_halt(t);
    ck_assert_uint_eq(c->faults, 1);
    ck_assert_uint_eq(c->fault_pc, 0x1008);
    ck_assert_uint_eq(c->fault_addr, 0x20010);
    ck_assert_uint_eq(c->cpu.r[2], 5);
    /* an access over the border to the missing page faults too, and at the second page */
    put(t, 0x1008, (ToyInsn){T_ST, 2, 31, 0, 0x1fffc});
    start_at(t, 0, 0x1000);
    run_to_halt(t);
    ck_assert_uint_eq(c->fault_addr, 0x20000);
    ck_assert_uint_eq(ram64(t, 0x1fff8), 0);
    /* a fetch */
    start_at(t, 0, 0x20000);
    run_to_halt(t);
    ck_assert_uint_eq(c->fault_pc, 0x20000);
    toy_free(t);
}
END_TEST

START_TEST(an_instruction_across_pages_follows_remapping)
{
    Toy *t = toy_new(_i, 1, false, 0);
    ToyCpu *c = TOY(t->cpus[0]);
    uint64_t one = insn_bits((ToyInsn){T_ADDI, 5, 31, 0, 1}),
             two = insn_bits((ToyInsn){T_ADDI, 5, 31, 0, 2});

    as_write(&t->m.mem->system, 0x1ffc, &one, 8);
    put(t, 0x2004, (ToyInsn){T_HALT, 0, 0, 0, 0});
    as_write(&t->m.mem->system, 0x3000, (uint8_t *)&two + 4, 4); /* what page 2 shall be later */
    put(t, 0x3004, (ToyInsn){T_HALT, 0, 0, 0, 0});
    for (unsigned i = 0; i < 3; i++) {
        start_at(t, 0, 0x1ffc);
        run_to_halt(t);
        ck_assert_uint_eq(c->cpu.r[5], 1);
    }
    c->map[2] = 3;
    tlb_flush_page(&c->cpu, 0, 0x2000);
    start_at(t, 0, 0x1ffc);
    run_to_halt(t);
    ck_assert_uint_eq(c->cpu.r[5], 2);
    c->map[2] = ~0ull;
    tlb_flush_page(&c->cpu, 0, 0x2000);
    put(t, HANDLER, (ToyInsn){T_HALT, 0, 0, 0, 0});
    start_at(t, 0, 0x1ffc);
    run_to_halt(t);
    ck_assert_uint_eq(c->fault_pc, 0x1ffc);
    ck_assert_uint_eq(c->fault_addr, 0x2000);
    toy_free(t);
}
END_TEST

START_TEST(a_link_to_another_page_follows_remapping)
{
    Toy *t = toy_new(_i, 1, false, 0);
    ToyCpu *c = TOY(t->cpus[0]);

    put(t, 0x1000, (ToyInsn){T_JMP, 0, 0, 0, 0x200}); /* to 0x2000 */
    put(t, 0x2000, (ToyInsn){T_ADDI, 5, 5, 0, 1});
    put(t, 0x2008, (ToyInsn){T_BNE, 0, 5, 6, -0x201}); /* to 0x1000 */
    put(t, 0x2010, (ToyInsn){T_HALT, 0, 0, 0, 0});
    put(t, 0x3000, (ToyInsn){T_ADDI, 5, 5, 0, 1000});
    put(t, 0x3008, (ToyInsn){T_HALT, 0, 0, 0, 0});
    c->cpu.r[6] = 300;
    start_at(t, 0, 0x1000);
    run_to_halt(t);
    ck_assert_uint_eq(c->cpu.r[5], 300);
    ck_assert_uint_ge(stats(t, 0)->links, 2);
    c->map[2] = 3;
    tlb_flush_page(&c->cpu, 0, 0x2000);
    start_at(t, 0, 0x1000);
    run_to_halt(t);
    ck_assert_uint_eq(c->cpu.r[5], 1300);
    toy_free(t);
}
END_TEST

START_TEST(code_replaced_from_outside_is_translated_anew)
{
    Toy *t = toy_new(_i, 1, false, 0);

    for (int i = 0; i < 50; i++) {
        put(t, 0x1000, (ToyInsn){T_JMP, 0, 0, 0, 2});
        put(t, 0x1010, (ToyInsn){T_ADDI, 5, 31, 0, i});
        put(t, 0x1018, (ToyInsn){T_HALT, 0, 0, 0, 0});
        start_at(t, 0, 0x1000);
        run_to_halt(t);
        ck_assert_uint_eq(t->cpus[0]->r[5], (unsigned)i);
    }
    toy_free(t);
}
END_TEST

START_TEST(requests_reach_an_endless_loop)
{
    Toy *t = toy_new(_i, 1, false, 0);
    ToyCpu *c = TOY(t->cpus[0]);

    put(t, 0x1000, (ToyInsn){T_ADDI, 2, 2, 0, 1});
    put(t, 0x1008, (ToyInsn){T_JMP, 0, 0, 0, -1});
    start_at(t, 0, 0x1000);
    run(t);
    for (unsigned i = 1; i <= 50; i++) {
        cpu_request(&c->cpu, REQ_IRQ);
        for (unsigned k = 0; k < 100000 && c->irqs < i; k++)
            nap(10);
        ck_assert_uint_eq(c->irqs, i);
    }
    uint64_t last = 0;

    for (unsigned i = 0; i < 50; i++) {
        park(t);
        ck_assert_uint_ge(c->cpu.r[2], last);
        ck_assert(c->cpu.r[V_PC] == 0x1000 || c->cpu.r[V_PC] == 0x1008);
        last = c->cpu.r[2];
        run(t);
        nap(50);
    }
    toy_free(t);
}
END_TEST

START_TEST(a_halted_processor_wakes_for_an_interrupt_only)
{
    Toy *t = toy_new(_i, 1, false, 0);
    ToyCpu *c = TOY(t->cpus[0]);

    put(t, 0x1000, (ToyInsn){T_HALT, 0, 0, 0, 0});
    put(t, 0x1008, (ToyInsn){T_ADDI, 2, 2, 0, 1});
    put(t, 0x1010, (ToyInsn){T_JMP, 0, 0, 0, -2});
    start_at(t, 0, 0x1000);
    for (unsigned i = 1; i <= 30; i++) {
        run_to_halt(t);
        ck_assert_uint_eq(c->cpu.r[2], i - 1);
        run(t);
        cpu_request(&c->cpu, REQ_TLB);
        cpu_request(&c->cpu, REQ_IRQ);
        for (unsigned k = 0; k < 100000 && c->irqs < i; k++)
            nap(10);
        ck_assert_uint_eq(c->irqs, i);
    }
    toy_free(t);
}
END_TEST

/* Each processor adds 1 to a shared word and to its own count until the latter is r3. */
static void put_adder(Toy *t, Gpa at)
{
    put(t, at, (ToyInsn){T_ADDI, 1, 31, 0, 1});
    put(t, at + 8, (ToyInsn){T_LOCKADD, 1, 31, 0, 0x9000});
    put(t, at + 16, (ToyInsn){T_ADDI, 2, 2, 0, 1});
    put(t, at + 24, (ToyInsn){T_BNE, 0, 2, 3, -2});
    put(t, at + 32, (ToyInsn){T_HALT, 0, 0, 0, 0});
}

START_TEST(locked_additions_of_all_processors_add_up)
{
    for (unsigned single = 0; single < 2; single++) {
        Toy *t = toy_new(_i, 3, single, 0);

        put_adder(t, 0x1000);
        for (unsigned i = 0; i < 3; i++) {
            t->cpus[i]->r[3] = 20000;
            start_at(t, i, 0x1000);
        }
        run_to_halt(t);
        ck_assert_uint_eq(ram64(t, 0x9000), 60000);
        toy_free(t);
    }
}
END_TEST

START_TEST(one_thread_for_all_lets_everybody_run)
{
    Toy *t = toy_new(_i, 2, true, 0);

    /* both wait for the other's word */
    for (unsigned i = 0; i < 2; i++) {
        Gpa at = 0x1000 + i * 0x100;

        put(t, at, (ToyInsn){T_ADDI, 2, 31, 0, 1});
        put(t, at + 8, (ToyInsn){T_ST, 2, 31, 0, 0x9000 + (int)i * 8});
        put(t, at + 16, (ToyInsn){T_LD, 4, 31, 0, 0x9008 - (int)i * 8});
        put(t, at + 24, (ToyInsn){T_BNE, 0, 4, 2, -1});
        put(t, at + 32, (ToyInsn){T_HALT, 0, 0, 0, 0});
        start_at(t, i, at);
    }
    run_to_halt(t);
    toy_free(t);
}
END_TEST

/* Code in many places, one jump to the next, patched all the time by the other processor; a tiny
 * cache. */
START_TEST(flushes_and_patches_go_on_while_others_run)
{
    Toy *t = toy_new(_i, 2, false, 256 * KIB);

    for (unsigned i = 0; i < 2000; i++) {
        Gpa at = 0x10000 + i * 0x40;

        put(t, at, (ToyInsn){T_ADDI, 2, 2, 0, 1});
        put(t, at + 8, i == 1999 ? (ToyInsn){T_JMP, 0, 0, 0, 1} : (ToyInsn){T_JMP, 0, 0, 0, 7});
    }
    Gpa end = 0x10000 + 1999 * 0x40 + 16;

    put(t, end, (ToyInsn){T_ADDI, 3, 3, 0, -1});
    put(t, end + 8, (ToyInsn){T_BNE, 0, 3, 31, -(int)((end + 8 - 0x10000) / 8)});
    put(t, end + 16, (ToyInsn){T_HALT, 0, 0, 0, 0});
    t->cpus[0]->r[3] = 30;
    start_at(t, 0, 0x10000);
    /* the other one rewrites instructions with what they are */
    put(t, 0x1000, (ToyInsn){T_LD, 4, 5, 0, 0x10000});
    put(t, 0x1008, (ToyInsn){T_ST, 4, 5, 0, 0x10000});
    put(t, 0x1010, (ToyInsn){T_ADDI, 5, 5, 0, 0x140});
    put(t, 0x1018, (ToyInsn){T_ADDI, 6, 6, 0, 1});
    put(t, 0x1020, (ToyInsn){T_BNE, 0, 6, 7, -4});
    put(t, 0x1028, (ToyInsn){T_ADDI, 5, 31, 0, 0});
    put(t, 0x1030, (ToyInsn){T_ADDI, 7, 7, 0, 400});
    put(t, 0x1038, (ToyInsn){T_BNE, 0, 6, 8, -7});
    put(t, 0x1040, (ToyInsn){T_HALT, 0, 0, 0, 0});
    t->cpus[1]->r[7] = 400;
    t->cpus[1]->r[8] = 400 * 20;
    start_at(t, 1, 0x1000);
    run_to_halt(t);
    ck_assert_uint_eq(t->cpus[0]->r[2], 2000 * 30);
    if (_i == 0) /* native code is smaller, and its cache has a minimum */
        ck_assert_uint_ge(((Jit *)t->m.accel_state)->total.flushes, 1);
    toy_free(t);
}
END_TEST

/* Producer writes code, then a sequence number; consumer waits for the number and runs the code. */
START_TEST(code_written_by_another_processor_is_seen_after_synchronisation)
{
    Toy *t = toy_new(_i, 2, false, 0);

    /* producer: r2 = n; code word at 0x3000 = base + n << 32; flag 0x9000 = n; wait until 0x9008
     * == n */
    put(t, 0x1000, (ToyInsn){T_ADDI, 2, 2, 0, 1});
    put(t, 0x1008, (ToyInsn){T_ST4, 2, 31, 0, 0x3004});
    put(t, 0x1010, (ToyInsn){T_ST, 2, 31, 0, 0x9000});
    put(t, 0x1018, (ToyInsn){T_LD, 4, 31, 0, 0x9008});
    put(t, 0x1020, (ToyInsn){T_BNE, 0, 4, 2, -1});
    put(t, 0x1028, (ToyInsn){T_BNE, 0, 2, 3, -5});
    put(t, 0x1030, (ToyInsn){T_HALT, 0, 0, 0, 0});
    /* consumer: wait until 0x9000 == r2 + 1; run 0x3000 (r5 = n); r6 |= r5 != n */
    put(t, 0x2000, (ToyInsn){T_ADDI, 2, 2, 0, 1});
    put(t, 0x2008, (ToyInsn){T_LD, 4, 31, 0, 0x9000});
    put(t, 0x2010, (ToyInsn){T_BNE, 0, 4, 2, -1});
    put(t, 0x2018, (ToyInsn){T_JMP, 0, 0, 0, 0x1fd});
    put(t, 0x3000, (ToyInsn){T_ADDI, 5, 31, 0, 0});
    put(t, 0x3008, (ToyInsn){T_BNE, 0, 5, 2, 4});
    put(t, 0x3010, (ToyInsn){T_ST, 2, 31, 0, 0x9008});
    put(t, 0x3018, (ToyInsn){T_BNE, 0, 2, 3, -0x203});
    put(t, 0x3020, (ToyInsn){T_HALT, 0, 0, 0, 0});
    put(t, 0x3028, (ToyInsn){T_ADDI, 6, 31, 0, 1});
    put(t, 0x3030, (ToyInsn){T_HALT, 0, 0, 0, 0});
    for (unsigned i = 0; i < 2; i++)
        t->cpus[i]->r[3] = 3000;
    start_at(t, 0, 0x1000);
    start_at(t, 1, 0x2000);
    run_to_halt(t);
    ck_assert_uint_eq(t->cpus[1]->r[6], 0);
    ck_assert_uint_eq(t->cpus[1]->r[5], 3000);
    toy_free(t);
}
END_TEST

START_TEST(two_machines_do_not_know_of_each_other)
{
    Toy *a = toy_new(_i, 1, false, 0), *b = toy_new(0, 2, false, 0);

    put_sum(a, 0x1000);
    put_sum(b, 0x2000);
    start_at(a, 0, 0x1000);
    start_at(b, 0, 0x2000);
    start_at(b, 1, 0x2000);
    run(a);
    run_to_halt(b);
    run_to_halt(a);
    ck_assert_uint_eq(a->cpus[0]->r[1], 500500);
    ck_assert_uint_eq(b->cpus[1]->r[1], 500500);
    toy_free(a);
    ck_assert_uint_eq(b->cpus[0]->r[1], 500500);
    toy_free(b);
}
END_TEST

START_TEST(a_change_of_the_memory_map_is_followed)
{
    Toy *t = toy_new(_i, 1, false, 0);
    Region rom;
    Error err;
    uint64_t code[2] = {insn_bits((ToyInsn){T_ADDI, 5, 31, 0, 9}),
                        insn_bits((ToyInsn){T_HALT, 0, 0, 0, 0})};

    put(t, 0x5000, (ToyInsn){T_ADDI, 5, 31, 0, 1});
    put(t, 0x5008, (ToyInsn){T_HALT, 0, 0, 0, 0});
    start_at(t, 0, 0x5000);
    run_to_halt(t);
    ck_assert_uint_eq(t->cpus[0]->r[5], 1);
    ck_assert(region_rom(&rom, t->m.mem, "rom", NULL, 4096, &err));
    memcpy(rom.hva, code, sizeof code);
    region_map(&t->m.mem->system_root, &rom, 0x5000, 1);
    start_at(t, 0, 0x5000);
    run_to_halt(t);
    ck_assert_uint_eq(t->cpus[0]->r[5], 9);
    region_unmap(&rom);
    start_at(t, 0, 0x5000);
    run_to_halt(t);
    ck_assert_uint_eq(t->cpus[0]->r[5], 1);
    toy_free(t);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("jit");
    TCase *c = tcase_create("toy");
    int backends = &backend_x64 ? 2 : 1;

    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, a_loop_runs_linked_and_halts, 0, backends);
    tcase_add_loop_test(c, a_store_into_the_running_block_takes_effect_at_the_next_instruction, 0,
                        backends);
    tcase_add_loop_test(c, data_beside_code_can_be_written, 0, backends);
    tcase_add_loop_test(c, a_fault_is_reported_at_its_instruction, 0, backends);
    tcase_add_loop_test(c, an_instruction_across_pages_follows_remapping, 0, backends);
    tcase_add_loop_test(c, a_link_to_another_page_follows_remapping, 0, backends);
    tcase_add_loop_test(c, code_replaced_from_outside_is_translated_anew, 0, backends);
    tcase_add_loop_test(c, requests_reach_an_endless_loop, 0, backends);
    tcase_add_loop_test(c, a_halted_processor_wakes_for_an_interrupt_only, 0, backends);
    tcase_add_loop_test(c, locked_additions_of_all_processors_add_up, 0, backends);
    tcase_add_loop_test(c, one_thread_for_all_lets_everybody_run, 0, backends);
    tcase_add_loop_test(c, flushes_and_patches_go_on_while_others_run, 0, backends);
    tcase_add_loop_test(c, code_written_by_another_processor_is_seen_after_synchronisation, 0,
                        backends);
    tcase_add_loop_test(c, two_machines_do_not_know_of_each_other, 0, backends);
    tcase_add_loop_test(c, a_change_of_the_memory_map_is_followed, 0, backends);
    suite_add_tcase(s, c);

    SRunner *r = srunner_create(s);

    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);

    srunner_free(r);
    return failed != 0;
}
