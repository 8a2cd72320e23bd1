/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compile - from guest bytes to a runnable block
 *
 * Order, under jit->lock: watch the page, mark its lines, look for stores of others on their way
 * (smc.c), and only then read the bytes.  A fault while fetching drops the lock and goes on to the
 * run loop.
 */
#include "accel/jit/jit_priv.h"

#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "base/log.h"
#include "core/debug.h"

enum { INSN_BYTES = 16 };

/* The clock of the thread is a system call: every TIMED-th block stands for all. */
enum { TIMED = 64 };

static uint64_t now_ns(const Vcpu *v)
{
    struct timespec t;

    if (v->stats.blocks % TIMED)
        return 0;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Stores to this page are heard of from now on, even those already on their way. */
static void watch(Vcpu *v, uint32_t ram_page)
{
    Jit *j = v->jit;
    bool was_mapped = tlb_protect_page(j->m, ram_page);

    atomic_store(&j->page_lines[ram_page], ~0ull);
    for (unsigned i = 0; j->n_vcpus > 1 && i < j->n_vcpus; i++) {
        Vcpu *o = j->vcpus[i];

        if (!o || o == v)
            continue;
        for (unsigned k = 0; k < COUNT_OF(o->wrote); k++) {
            uint64_t note = atomic_load(&o->wrote[k]);

            if (note && note >> 32 == ram_page)
                block_recheck_later(o, ram_page, note >> 16 & 0xffff, note & 0xffff);
        }
        if (was_mapped)
            block_recheck_later(o, ram_page, 0, 4096);
    }
}

/* IrBlock.next_page: code[1].  It was fetched beforehand, as that may call devices. */
static const uint8_t *next_page(IrBlock *b)
{
    Vcpu *v = b->cpu->accel;
    uint32_t ram_page;

    if (v->next_code) {
        if (v->next_ram != ~0u && b->max_insns > 1)
            watch(v, v->next_ram);
        return v->next_code;
    }
    if (b->size)
        return NULL;
    tlb_code_page(b->cpu, (b->linear & ~0xfffull) + 4096, &ram_page, false); /* raises */
    cpu_unwind(b->cpu, UNWIND_RETRY); /* it has appeared meanwhile */
}

static void prepare(Vcpu *v, Gva linear, const uint8_t *code, bool single)
{
    IrBlock *ir = &v->ir;
    unsigned at = linear & 0xfff;

    ir->cpu = v->cpu;
    ir->pc = v->cpu->r[V_PC];
    ir->linear = linear;
    ir->mode = v->cpu->mode;
    ir->code[0] = code;
    ir->code[1] = NULL;
    ir->next_page = next_page;
    ir->size = ir->n = ir->n_insns = ir->n_temps = 0;
    ir->max_insns = single ? 1 : JIT_MAX_INSNS;
    v->next_code = NULL;
    v->next_ram = ~0u;
    if (at > 4096 - INSN_BYTES)
        v->next_code = tlb_code_page(v->cpu, (linear & ~0xfffull) + 4096, &v->next_ram, true);
}

/* Flags that the code at @pc kills, if that lies on the block's first page; notes where it
 * looked. */
static uint16_t dead_at(Vcpu *v, Block *b, unsigned i, Gva pc)
{
    const IrBlock *ir = &v->ir;
    Gva linear = ir->linear + (pc - ir->pc);
    unsigned at = linear & 0xfff;

    b->peek[i] = 0xffff;
    if ((linear ^ ir->linear) >> TLB_PAGE_BITS)
        return 0;
    if (UNLIKELY(v->cpu->debug) && debug_next_break(v->cpu->debug, linear) - linear < JIT_PEEK)
        return 0; /* who stops there wants to see them */
    uint16_t dead = v->cpu->arch->flags_dead(v->cpu, ir->code[0] + at,
                                             MIN((unsigned)JIT_PEEK, 4096u - at), pc, ir->mode);

    if (dead)
        b->peek[i] = (uint16_t)at;
    return dead;
}

/* Flags alive at the end, on either way: those that a direct successor does not certainly
 * overwrite. */
static uint16_t live_out(Vcpu *v, Block *b)
{
    IrBlock *ir = &v->ir;
    const IrOp *last = &ir->ops[ir->n - 1];
    bool branches = last->op == IR_BR || last->op == IR_BRZ || last->op == IR_BRNZ;

    b->peek[0] = b->peek[1] = 0xffff;
    ir->live_behind = ir->live_taken = FL_ALL;
    if (!v->cpu->arch->flags_dead || b->one_shot || (!branches && last->op != IR_JMP))
        return FL_ALL;
    ir->live_taken = FL_ALL & ~dead_at(v, b, 0, (Gva)last->imm);
    if (!branches)
        return ir->live_taken;
    ir->live_behind = FL_ALL & ~dead_at(v, b, 1, (Gva)last->disp);
    return ir->live_taken | ir->live_behind;
}

/* --- breakpoints --- */

static uint64_t hlp_break(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t linear)
{
    const DebugPoint *p = c->debug ? debug_break_at(c->debug, linear) : NULL;

    debug_stop(c, STOP_BREAK, p ? p->kind : DEBUG_SW_BREAK, linear);
    return 0;
}

/* The whole block: stop here, with nothing done. */
static void break_block(IrBlock *ir)
{
    IrOp *o;

    ir_insn(ir, ir->pc);
    o = ir_add(ir, IR_CALL, I64);
    o->a = o->b = o->d = V_NONE;
    o->cc = IRC_FAST | IRC_PC;
    o->disp = (int64_t)ir->linear;
    o->imm = (int64_t)(uintptr_t)hlp_break;
    ir_add(ir, IR_LEAVE, I64);
    ir->size = 1;
}

static void translate(Cpu *c, IrBlock *ir)
{
    /* who steps, or does an instruction again, has seen the breakpoint */
    bool look = c->debug && !c->one_insn && !((Vcpu *)c->accel)->step;
    Gva far = look ? debug_next_break(c->debug, ir->linear) - ir->linear : ~0ull;

    ir->stop = far < 2 * 4096 ? (unsigned)far : 0;
    if (far)
        c->arch->translate(c, ir);
    else
        break_block(ir);
}

static void log_asm(const Vcpu *v)
{
    const IrBlock *ir = &v->ir;
    StrBuf s = {0};
    uint8_t code[JIT_MAX_INSNS * INSN_BYTES];
    unsigned n = MIN(ir->size, (unsigned)sizeof code);

    for (unsigned i = 0; i < n; i++) {
        unsigned at = (unsigned)(ir->linear & 0xfff) + i;

        code[i] = ir->code[at >> 12][at & 0xfff];
    }
    strbuf_addf(&s, "IN: (mode 0x%x)\n", ir->mode);
    for (unsigned at = 0; at < n;) {
        size_t len = v->cpu->arch->disasm(code + at, n - at, ir->pc + at, ir->mode, &s);

        at += len ? (unsigned)len : n;
    }
    strbuf_add(&s, "\n");
    log_text(strbuf_str(&s));
    strbuf_free(&s);
}

static void log_ir(const IrBlock *ir, const char *what)
{
    StrBuf s = {0};

    strbuf_addf(&s, "%s:\n", what);
    ir_print(ir, &s);
    strbuf_add(&s, "\n");
    log_text(strbuf_str(&s));
    strbuf_free(&s);
}

static void check(const IrBlock *ir)
{
    StrBuf why = {0};

    if (ir_verify(ir, &why))
        return;
    log_error("translator: bad IR at 0x%" PRIx64 ": %s", ir->pc, strbuf_str(&why));
    log_ir(ir, "OP");
    abort();
}

static Block *block_new(Vcpu *v, uint32_t ram_page, bool single)
{
    const IrBlock *ir = &v->ir;
    Block *b = block_alloc(v->jit);

    if (!b)
        return NULL;
    *b = (Block){.pc = ir->pc,
                 .linear = ir->linear,
                 .mode = ir->mode,
                 .code_limit = v->cpu->code_limit,
                 .cs_base = ir->linear - ir->pc,
                 .size = (uint16_t)ir->size,
                 .n_insns = (uint16_t)ir->n_insns,
                 .ram_page = {ram_page, ram_page}};
    bool two = block_has_two_pages(b);

    if (two)
        b->ram_page[1] = v->next_ram;
    b->one_shot = single || b->ram_page[0] == ~0u || b->ram_page[1] == ~0u;
    if (b->one_shot)
        return b;
    const Block *near = v->jit->page_blocks[ram_page]; /* most pages are mapped once */

    if (near && near->ram_page[0] == ram_page && near->mode == b->mode &&
        near->cs_base == b->cs_base && !((near->linear ^ b->linear) >> TLB_PAGE_BITS))
        b->page_id[0] = near->page_id[0];
    else
        b->page_id[0] =
            jit_code_id(v->jit, b->linear >> TLB_PAGE_BITS, ram_page, b->mode, b->cs_base);
    if (two)
        b->page_id[1] =
            jit_code_id(v->jit, (b->linear >> TLB_PAGE_BITS) + 1, v->next_ram, b->mode, b->cs_base);
    return b;
}

/* The lines of @ram_page are now those of before and the new block's. */
static void settle_page(Jit *j, uint32_t ram_page, uint64_t lines)
{
    atomic_store_explicit(&j->page_lines[ram_page], lines, memory_order_release);
    if (!lines)
        tlb_unprotect_page(j->m, ram_page);
}

static void settle(Vcpu *v, const Block *b, uint32_t ram_page, const uint64_t before[2])
{
    Jit *j = v->jit;
    uint64_t lines = before[0] | (b ? block_lines(b, 0) : 0),
             next = b && block_has_two_pages(b) ? block_lines(b, 1) : 0;

    if (v->next_ram == ram_page) {
        settle_page(j, ram_page, lines | next);
        return;
    }
    settle_page(j, ram_page, lines);
    if (v->next_ram != ~0u)
        settle_page(j, v->next_ram, before[1] | next);
}

static Block *finish(Vcpu *v, uint32_t ram_page, bool single, uint64_t start)
{
    Jit *j = v->jit;
    IrBlock *ir = &v->ir;
    Block *b;

    assert(ir->n && ir->size && ir->size <= JIT_MAX_INSNS * INSN_BYTES);
    if (log_on(LOG_IN_ASM))
        log_asm(v);
    if (log_on(LOG_OP))
        log_ir(ir, "OP");
    if (j->check_ir)
        check(ir);
    b = block_new(v, ram_page, single);
    if (!b)
        return NULL;
    ir_flags_live(ir, live_out(v, b));
    if (log_on(LOG_OP_OPT))
        log_ir(ir, "OP after liveness");
    b->n_ops = ir->n;
    if (!j->be->compile(v, b, ir)) {
        xfree(b->ops);
        block_take_back(j, b);
        return NULL;
    }
    if (!b->one_shot)
        block_insert(j, b);
    v->stats.translate_ns += (now_ns(v) - start) * TIMED;
    v->stats.blocks++;
    v->stats.insns += b->n_insns;
    v->stats.host_bytes += b->host_size;
    return b;
}

/* With the lock held; drops it if a fault unwinds. */
static Block *compile_locked(Vcpu *v, uint32_t ram_page, bool single)
{
    Cpu *c = v->cpu;
    Jit *j = v->jit;
    jmp_buf *outer = c->unwind, here;
    uint64_t start = now_ns(v), before[2] = {0, 0};
    Block *b;
    int why;

    if (!single) {
        before[0] = atomic_load(&j->page_lines[ram_page]);
        before[1] = v->next_ram != ~0u ? atomic_load(&j->page_lines[v->next_ram]) : 0;
        watch(v, ram_page);
    }
    why = _setjmp(here);
    if (why) {
        c->unwind = outer;
        if (!single)
            settle(v, NULL, ram_page, before);
        lock_drop(&j->lock);
        cpu_unwind(c, (CpuUnwind)why);
    }
    c->unwind = &here;
    translate(c, &v->ir);
    c->unwind = outer;
    b = finish(v, ram_page, single, start);
    if (!single)
        settle(v, b && !b->one_shot ? b : NULL, ram_page, before);
    return b;
}

Block *jit_compile(Vcpu *v, Gva linear, const uint8_t *code, uint32_t ram_page)
{
    Jit *j = v->jit;
    bool single = v->step || v->cpu->one_insn || ram_page == ~0u;
    Block *b = NULL;

    prepare(v, linear, code, single);
    lock_take(&j->lock);
    if (!single && j->n_vcpus > 1 && v->next_ram == ~0u) /* another vCPU may have been quicker */
        b = block_lookup(j, v->cpu, linear, ram_page);
    if (!b || block_has_two_pages(b))
        b = compile_locked(v, ram_page, single);
    if (b && !b->one_shot)
        block_remember_new(v, b);
    lock_drop(&j->lock);
    return b;
}
