/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * engine - run a program on rhea: a machine of one processor in 64-bit user mode, with the
 * interpreter or translated code
 *
 * The sandbox's pages have the same addresses as on the host; in RAM neighbours are not neighbours.
 * The loop below is vcpu.c's, but that it stops at the program's end, which is never translated,
 * and at exceptions.
 */
#include <setjmp.h>

#include "accel/jit/jit.h"
#include "base/alloc.h"
#include "core/machine.h"
#include "tests/cpu/cpu_test.h"

enum {
    RAM_SIZE = 1 << 20,
    TABLES = 0x1000,
    FRAMES = 0x10000,
    CODE_CACHE = 8 << 20,
    MOST_ROUNDS = 100000
};
enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 32, PTE_D = 64 };
static const uint64_t PTE_NX = 1ull << 63;

typedef struct RheaEngine {
    Machine *m;
    X86Cpu *x;
} RheaEngine;

typedef struct TestBoard {
    Region ram;
} TestBoard;

static const Type test_board_type = {
    .name = "TestBoard", .size = sizeof(TestBoard), .meta = META_STRUCT};

static bool board_build(Machine *m, Error *err)
{
    TestBoard *b = m->board_state;

    if (!region_ram(&b->ram, m->mem, "ram", RAM_SIZE, false, err)) {
        return false;
    }
    region_map(&m->mem->system_root, &b->ram, 0, 0);
    return true;
}

static void board_reset(Machine *m)
{
    (void)m;
}

static void board_fini(Machine *m)
{
    region_fini(&((TestBoard *)m->board_state)->ram);
}

static const Board test_board = {.name = "cpu-test",
                                 .doc = "a processor and its memory",
                                 .arch = "x86_64",
                                 .default_cpu = "max",
                                 .max_cpus = 1,
                                 .default_ram = RAM_SIZE,
                                 .options = &test_board_type,
                                 .build = board_build,
                                 .reset = board_reset,
                                 .fini = board_fini};

/* Of a page of the sandbox. */
static uint64_t frame_of(uint64_t gva)
{
    return FRAMES + ((gva - SANDBOX) >> 12) * 7 % SANDBOX_PAGES * 4096;
}

static void put_entry(uint8_t *ram, uint64_t table, uint64_t index, uint64_t v)
{
    memcpy(ram + table + 8 * index, &v, 8);
}

static void make_tables(uint8_t *ram)
{
    uint64_t rights = PTE_P | PTE_W | PTE_U | PTE_A;

    put_entry(ram, TABLES, 0, (TABLES + 0x1000) | rights);
    put_entry(ram, TABLES + 0x1000, SANDBOX >> 30, (TABLES + 0x2000) | rights);
    put_entry(ram, TABLES + 0x2000, SANDBOX >> 21 & 511, (TABLES + 0x3000) | rights);
    for (uint64_t a = DATA; a < DATA + DATA_SIZE; a += 4096) {
        uint64_t w = a < DATA + DATA_WRITABLE ? PTE_W | PTE_D : 0;

        put_entry(ram, TABLES + 0x3000, a >> 12 & 511,
                  frame_of(a) | PTE_P | PTE_U | PTE_A | PTE_NX | w);
    }
    for (uint64_t a = CODE_PAGE; a < CODE_PAGE + CODE_SIZE; a += 4096) {
        put_entry(ram, TABLES + 0x3000, a >> 12 & 511,
                  frame_of(a) | PTE_P | PTE_U | PTE_A | PTE_W | PTE_D);
    }
}

static void set_segments(X86Cpu *x, CodeKind kind)
{
    for (unsigned i = SEG_ES; i <= SEG_GS; i++) {
        const TestSegment *s = program_segment(kind, i);

        x86_seg_set(
            x, i,
            (X86Seg){.sel = s->sel,
                     .attr = (uint16_t)((s->code   ? 0xb
                                         : s->down ? 7
                                                   : 3) |
                                        1 << 4 | 3 << 5 | 1 << 7 | s->is64 << 13 | s->big << 14),
                     .limit = s->limit,
                     .base = s->base});
    }
}

/* 64-bit user mode, everything on. */
static bool set_mode(X86Cpu *x, Error *err)
{
    x->cr0 = CR0_PG | CR0_WP | CR0_NE | CR0_MP | CR0_ET | CR0_PE;
    x->cr3 = TABLES;
    x->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE;
    x->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
    x->xcr0 = 7;
    x->cpl = 3;
    x->rflags |= EFL_IF;
    x->seg[SEG_TR].limit = 0x63; /* too short to tell of an I/O bitmap: IN and OUT are #GP */
    set_segments(x, KIND_64);
    return x->cpu.arch->loaded(&x->cpu, err);
}

static bool engine_open(void **out, bool interp, Error *err)
{
    char model[] = "max";
    const MachineConfig cfg = {.ram_size = RAM_SIZE,
                               .cpus = 1,
                               .max_cpus = 1,
                               .sockets = 1,
                               .dies = 1,
                               .cores = 1,
                               .threads = 1,
                               .cpu_model = model,
                               .backend_interp = interp,
                               .thread_single = 1,
                               .tb_size = CODE_CACHE,
                               .arch = "x86_64"};
    const Accel *accel = accel_find("jit");
    RheaEngine *e = xnew(RheaEngine);

    if (!accel) {
        return error_set(err, "there is no jit accelerator");
    }
    e->m = machine_new(&test_board, accel, &cfg, err);
    if (!e->m || !machine_build(e->m, err)) {
        return false;
    }
    e->x = X86(e->m->cpus[0]);
    ((Vcpu *)e->x->cpu.accel)->runner = NULL; /* this thread runs it, not the parked one */
    uint8_t *ram = ((TestBoard *)e->m->board_state)->ram.hva;

    make_tables(ram);
    *out = e;
    return set_mode(e->x, err);
}

static void engine_close(void *engine)
{
    RheaEngine *e = engine;

    machine_free(e->m);
    xfree(e);
}

static uint8_t *ram_at(const RheaEngine *e, uint64_t gva)
{
    return (uint8_t *)((TestBoard *)e->m->board_state)->ram.hva + frame_of(gva) + (gva & 4095);
}

static void load_state(RheaEngine *e, const CpuState *in, CodeKind kind)
{
    X86Cpu *x = e->x;

    set_segments(x, kind);
    memcpy(x->cpu.r, in->r, sizeof(in->r));
    X86_PC(&x->cpu) = in->rip - program_segment(kind, SEG_CS)->base;
    x86_set_flags(x, in->flags, FL_ALL | EFL_DF);
    x86_update_mode(x);
    for (unsigned i = 0; i < 16; i++) {
        memcpy(x->cpu.v[i], in->x + X_XMM + 16 * i, 16);
        memcpy(x->cpu.v[i] + 16, in->x + X_YMMH + 16 * i, 16);
    }
    memcpy(&x->cpu.vcsr, in->x + X_MXCSR, 4);
    memset(&x->fpu, 0, sizeof(x->fpu));
    memcpy(&x->fpu.fcw, in->x, 2);
    memcpy(&x->fpu.fsw, in->x + 2, 2);
    x->fpu.ftw = in->x[4];
    for (unsigned i = 0; i < 8; i++) {
        memcpy(x->fpu.st[(i + (x->fpu.fsw >> 11)) & 7], in->x + X_ST + 16 * i, 10);
    }
    for (unsigned i = 0; i < DATA_SIZE; i += 4096) {
        memcpy(ram_at(e, DATA + i), in->data + i, 4096);
    }
}

static void store_state(RheaEngine *e, const CpuProgram *p, CpuState *out)
{
    X86Cpu *x = e->x;

    memcpy(out->r, x->cpu.r, sizeof(out->r));
    out->rip = X86_PC(&x->cpu) + program_segment(p->kind, SEG_CS)->base;
    out->flags = x86_flags(x);
    memset(out->x, 0, sizeof(out->x));
    for (unsigned i = 0; i < 16; i++) {
        memcpy(out->x + X_XMM + 16 * i, x->cpu.v[i], 16);
        memcpy(out->x + X_YMMH + 16 * i, x->cpu.v[i] + 16, 16);
    }
    memcpy(out->x + X_MXCSR, &x->cpu.vcsr, 4);
    memcpy(out->x, &x->fpu.fcw, 2);
    memcpy(out->x + 2, &x->fpu.fsw, 2);
    out->x[4] = x->fpu.ftw;
    for (unsigned i = 0; i < 8; i++) {
        memcpy(out->x + X_ST + 16 * i, x->fpu.st[(i + (x->fpu.fsw >> 11)) & 7], 10);
    }
    for (unsigned i = 0; i < DATA_SIZE; i += 4096) {
        memcpy(out->data + i, ram_at(e, DATA + i), 4096);
    }
    for (unsigned i = 0; i < code_room(p->at, p->len); i++) {
        out->code[i] = *ram_at(e, p->at + i);
    }
}

/* --- running --- */

static void is_late(void *opaque)
{
    cpu_request(opaque, REQ_EXIT);
}

/* One round of the run loop. */
static void run_block(Vcpu *v)
{
    Block *b = jit_find(v);
    Link *link = v->link;

    v->link = NULL;
    if (link) {
        block_link(v, link, b);
    }
    v->current = b;
    v->executing = true;
    JitExit why = v->jit->be->enter(v, b);

    v->executing = false;
    if (b->one_shot && why != JIT_EXIT_REQUEST) {
        v->step = false;
    }
}

/* Until the pc is @end, or an exception, which is noted in @out, or it takes too long. */
static void run_loop(Vcpu *v, uint64_t end, CpuState *out)
{
    Cpu *c = v->cpu;
    unsigned rounds = 0;

    while (X86_PC(c) != end) {
        uint32_t r = atomic_load(&c->request);

        if (r & REQ_TLB) {
            tlb_flush_all(c);
        }
        if (r & REQ_EXIT || rounds++ == MOST_ROUNDS) {
            out->vector = VECTOR_ENDLESS;
            return;
        }
        cpu_request_clear(c, ~0u);
        run_block(v);
    }
}

static void run(Vcpu *v, uint64_t end, CpuState *out)
{
    Cpu *c = v->cpu;

    c->unwind = &v->unwind;
    cpu_set_current(c);
    int why = _setjmp(v->unwind);

    v->executing = false;
    v->link = NULL;
    v->step = why == UNWIND_STEP;
    if (c->vec_live) {
        v->jit->be->vec_save(c);
    }
    if (why == UNWIND_EXCEPTION) {
        out->vector = c->exc.vector;
        out->error = c->exc.error;
        out->addr = c->exc.addr;
    } else {
        run_loop(v, end, out);
    }
    v->step = false;
    v->link = NULL;
    if (c->vec_live) {
        v->jit->be->vec_save(c);
    }
    cpu_set_current(NULL);
}

static void put_code(RheaEngine *e, const CpuProgram *p)
{
    uint8_t image[CODE_SIZE];

    program_image(p, image);
    for (unsigned i = 0; i < CODE_SIZE; i += 4096) {
        as_write(&e->m->mem->system, frame_of(CODE_PAGE + i), image + i, 4096);
    }
}

static void rhea_run(void *engine, const CpuProgram *p, const CpuState *in, CpuState *out)
{
    RheaEngine *e = engine;

    put_code(e, p);
    load_state(e, in, p->kind);
    out->vector = VECTOR_NONE;
    native_watch(is_late, &e->x->cpu);
    run(e->x->cpu.accel, program_end(p) - program_segment(p->kind, SEG_CS)->base, out);
    native_watch(NULL, NULL);
    cpu_request_clear(&e->x->cpu, REQ_EXIT);
    store_state(e, p, out);
}

static bool open_interp(void **e, Error *err)
{
    return engine_open(e, true, err);
}

static bool open_x64(void **e, Error *err)
{
    return engine_open(e, false, err);
}

const Engine engine_interp = {"interp", open_interp, engine_close, rhea_run};
const Engine engine_x64 = {"x64", open_x64, engine_close, rhea_run};

void engine_run(const OpenEngine *e, const CpuProgram *p, const CpuState *in, CpuState *want,
                CpuState *got)
{
    e->e->run(e->state, p, in, got);
    if ((want->vector == VECTOR_ENDLESS) == (got->vector == VECTOR_ENDLESS)) {
        return;
    }
    native_be_patient(true);
    native_run(p, in, want);
    e->e->run(e->state, p, in, got);
    native_be_patient(false);
}
