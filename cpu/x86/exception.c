/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exception - faults, traps, interrupts and IRET (SDM vol 3 chapter 6; vol 2 INT n, IRET)
 *
 * Invariants:
 *  1. Delivery commits registers only after its last fault: a nested fault sees the state of the
 *     first.
 *  2. X86Cpu.delivering names the event from its first to its last step, so that nested faults find
 *     their class; -1 else, and for INT n (whose faults are its own).
 *  3. During delivery cpu.mmu_mode may be that of level 0 already; a nested fault sets it right
 *     again.
 *  4. The fast paths take exactly the cases in which nothing can fault; whatever they cannot prove
 *     goes the long way.
 */
#include "core/debug.h"
#include "core/machine.h"
#include "cpu/x86/sys_priv.h"

typedef struct Event {
    uint8_t vector;
    bool soft; /* INT n, INT3, INTO: gates' DPL counts */
    bool has_error, rf;
    uint32_t error;
    uint64_t pc; /* to return to */
} Event;

void x86_raise(Cpu *c, unsigned vector, uint64_t error)
{
    X86Cpu *x = X86(c);

    if (x->delivering >= 0 && vector >= EX_TS && vector <= EX_GP)
        error |= 1; /* EXT */
    if (!x->pc_final)
        c->host->sync_pc(c);
    c->exc = (Exception){.vector = (uint16_t)vector, .has_error = true, .error = error};
    cpu_raise(c, &c->exc);
}

void x86_raise_noerr(Cpu *c, unsigned vector)
{
    c->host->sync_pc(c);
    c->exc = (Exception){.vector = (uint16_t)vector};
    cpu_raise(c, &c->exc);
}

uint64_t hlp_raise(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k)
{
    c->exc = (Exception){.vector = k & 0xff, .has_error = k >> 8 & 1, .error = k >> 16};
    cpu_raise(c, &c->exc);
}

/* RFLAGS to be pushed. */
static uint64_t event_flags(const X86Cpu *x, const Event *e)
{
    uint64_t f = x86_flags(x) & ~(uint64_t)EFL_RF;

    return e->rf ? f | EFL_RF : f;
}

static void clear_flags(X86Cpu *x, bool clear_if)
{
    x->rflags &= ~(uint64_t)(EFL_TF | EFL_NT | EFL_RF | EFL_VM | (clear_if ? EFL_IF : 0));
    x->shadow = 0;
    x86_update_mode(x);
    x->step_armed = 0;
}

/* --- real mode --- */

static void deliver_real(X86Cpu *x, const Event *e)
{
    unsigned at = e->vector * 4u;
    uint32_t entry;
    Stack s;

    if (at + 3 > x->idt.limit)
        x86_raise(&x->cpu, EX_GP, 0);
    entry = (uint32_t)mem_load(&x->cpu, x->idt.base + at, 4, x86_sys_mode(x));
    s = stack_current(x);
    stack_push(&s, 2, event_flags(x, e));
    stack_push(&s, 2, x->seg[SEG_CS].sel);
    stack_push(&s, 2, e->pc);
    stack_commit(&s);
    seg_load_real(x, SEG_CS, (uint16_t)(entry >> 16));
    X86_PC(&x->cpu) = entry & 0xffff;
    x->rflags &= ~(uint64_t)EFL_AC;
    clear_flags(x, true);
}

/* --- protected mode --- */

/* Error code that points into the IDT. */
static noreturn void raise_idt(X86Cpu *x, unsigned vector, const Event *e)
{
    x86_raise(&x->cpu, vector, e->vector * 8u | 2);
}

static uint64_t gate_load(X86Cpu *x, const Event *e, uint32_t types, unsigned size)
{
    unsigned at = e->vector * size;
    uint64_t raw;

    if (at + size - 1 > x->idt.limit)
        raise_idt(x, EX_GP, e);
    raw = mem_load(&x->cpu, x->idt.base + at, 8, x86_sys_mode(x));
    if (desc_is_s(raw) || !(types >> desc_type(raw) & 1))
        raise_idt(x, EX_GP, e);
    if (e->soft && desc_dpl(raw) < x->cpl)
        raise_idt(x, EX_GP, e);
    if (!desc_is_p(raw))
        raise_idt(x, EX_NP, e);
    return raw;
}

/* The gate's code segment; *cpl is the level it will run at. */
static X86Seg handler_code(X86Cpu *x, uint16_t sel, unsigned *cpl)
{
    Desc d;

    if (!(sel & ~SEL_RPL))
        x86_raise(&x->cpu, EX_GP, 0);
    if (!desc_load(x, sel, &d) || !desc_is_code(d.raw) || desc_dpl(d.raw) > x->cpl)
        raise_sel(x, EX_GP, sel);
    if (x->efer & EFER_LMA && (d.raw >> 53 & 3) != 1)
        raise_sel(x, EX_GP, sel);
    if (!desc_is_p(d.raw))
        raise_sel(x, EX_NP, sel);
    *cpl = desc_is_conforming(d.raw) ? x->cpl : desc_dpl(d.raw);
    if (x->rflags & EFL_VM && *cpl != 0)
        raise_sel(x, EX_GP, sel);
    desc_set_accessed(x, &d);
    return cs_seg(sel, d.raw, *cpl);
}

static void deliver_task(X86Cpu *x, const Event *e, uint16_t tss)
{
    Stack s;
    unsigned size;

    task_switch(x, tss, TASK_INT, e->pc, EX_TS);
    if (!e->has_error)
        return;
    size = (x->seg[SEG_TR].attr & 15) >= SYS_TSS32 ? 4 : 2;
    s = stack_current(x);
    stack_push(&s, size, e->error);
    stack_commit(&s);
}

/* What lies on an inner stack below SS:ESP of a VM86 program. */
static void push_vm86_segments(X86Cpu *x, Stack *s, unsigned size)
{
    static const uint8_t order[] = {SEG_GS, SEG_FS, SEG_DS, SEG_ES};

    for (unsigned i = 0; i < COUNT_OF(order); i++)
        stack_push(s, size, x->seg[order[i]].sel);
}

static void deliver_prot(X86Cpu *x, const Event *e)
{
    static const uint8_t data[] = {SEG_GS, SEG_FS, SEG_DS, SEG_ES};
    uint64_t raw = gate_load(x, e,
                             1 << SYS_TASK | 1 << SYS_INT16 | 1 << SYS_TRAP16 | 1 << SYS_INT32 |
                                 1 << SYS_TRAP32,
                             8),
             sp;
    unsigned type = desc_type(raw), size = type >= SYS_INT32 ? 4 : 2, cpl;
    uint32_t offset = (uint32_t)((raw & 0xffff) | (size == 4 ? raw >> 32 & 0xffff0000 : 0));
    bool vm = x->rflags & EFL_VM, inner;
    X86Seg cs, ss;
    Stack s;

    if (type == SYS_TASK) {
        deliver_task(x, e, raw >> 16 & 0xffff);
        return;
    }
    cs = handler_code(x, raw >> 16 & 0xffff, &cpl);
    inner = cpl != x->cpl;
    if (inner) {
        ss = tss_stack(x, cpl, &sp);
        s = stack_of(x, ss, sp, cpl);
        if (vm)
            push_vm86_segments(x, &s, size);
        stack_push(&s, size, x->seg[SEG_SS].sel);
        stack_push(&s, size, x->cpu.r[R_SP]);
    } else {
        s = stack_current(x);
    }
    stack_push(&s, size, event_flags(x, e));
    stack_push(&s, size, x->seg[SEG_CS].sel);
    stack_push(&s, size, e->pc);
    if (e->has_error)
        stack_push(&s, size, e->error);
    cs_check_offset(x, &cs, offset);
    if (inner) {
        x86_seg_set(x, SEG_SS, s.ss);
        x->cpl = (uint8_t)cpl;
        for (unsigned i = 0; vm && i < COUNT_OF(data); i++)
            x86_seg_set(x, data[i], (X86Seg){0});
    }
    stack_commit(&s);
    x86_seg_set(x, SEG_CS, cs);
    X86_PC(&x->cpu) = offset;
    clear_flags(x, !(type & 1));
}

/* --- long mode --- */

static X86Seg null_ss(unsigned cpl)
{
    return (X86Seg){
        .sel = (uint16_t)cpl, .attr = (uint16_t)(cpl << 5 | ATTR_DB), .limit = UINT32_MAX};
}

static void deliver_long(X86Cpu *x, const Event *e)
{
    Cpu *c = &x->cpu;
    uint64_t raw = gate_load(x, e, 1 << SYS_INT32 | 1 << SYS_TRAP32, 16);
    uint64_t high = mem_load(c, x->idt.base + e->vector * 16u + 8, 8, x86_sys_mode(x));
    uint64_t offset = (raw & 0xffff) | (raw >> 32 & 0xffff0000) | high << 32;
    unsigned ist = raw >> 32 & 7, cpl;
    X86Seg cs;
    Stack s;

    if (high >> 40 & 31)
        raise_idt(x, EX_GP, e);
    cs = handler_code(x, raw >> 16 & 0xffff, &cpl);
    s = stack_current(x);
    if (cpl != x->cpl || ist)
        s = stack_of(x, null_ss(cpl), tss_stack64(x, ist ? 0x24 + 8 * (ist - 1) : 4 + 8 * cpl),
                     cpl);
    s.mask = ~0ull;
    s.sp &= ~15ull;
    stack_push(&s, 8, x->seg[SEG_SS].sel);
    stack_push(&s, 8, c->r[R_SP]);
    stack_push(&s, 8, event_flags(x, e));
    stack_push(&s, 8, x->seg[SEG_CS].sel);
    stack_push(&s, 8, e->pc);
    if (e->has_error)
        stack_push(&s, 8, e->error);
    cs_check_offset(x, &cs, offset);
    if (cpl != x->cpl) {
        x86_seg_set(x, SEG_SS, null_ss(cpl));
        x->cpl = (uint8_t)cpl;
    }
    c->r[R_SP] = s.sp;
    x86_seg_set(x, SEG_CS, cs);
    X86_PC(c) = offset;
    clear_flags(x, !(raw >> 40 & 1));
}

/* Access byte and L, D of a present, accessed, non-conforming 64-bit code segment of level @dpl. */
static inline bool is_plain_code64(uint64_t raw, unsigned dpl)
{
    return (raw >> 40 & 0x60fd) == (0x2099u | dpl << 5);
}
/* The same of a present, accessed, writable data segment. */
static inline bool is_plain_data(uint64_t raw, unsigned dpl)
{
    return (raw >> 40 & 0xff) == (0x93u | dpl << 5);
}

/* The 8-byte descriptor of @sel by a probe of the present context: GDT, not null. */
static inline const uint8_t *probe_gdt(const X86Cpu *x, uint16_t sel)
{
    unsigned at = sel & ~7u;

    if (sel & SEL_TI || at == 0 || at + 7 > x->gdt.limit)
        return NULL;
    return x86_probe(x->cpu.tlb->rd, x->gdt.base + at, 8);
}

/* What the fast path found; everything is checked. */
typedef struct FastEntry {
    uint64_t offset, sp;
    uint64_t *frame;
    uint64_t cs;
    uint16_t cs_sel;
    bool is_trap;
} FastEntry;

/* Into 64-bit code of level 0, in its soft TLB context. */
static bool fast_entry(const X86Cpu *x, const Event *e, FastEntry *f)
{
    const uint8_t *gate, *code, *tss;
    uint64_t low, high;
    unsigned ist;

    if (e->vector * 16u + 15 > x->idt.limit)
        return false;
    gate = x86_probe(x->cpu.tlb->rd, x->idt.base + e->vector * 16u, 16);
    if (!gate)
        return false;
    low = load_uint64_t(gate);
    high = load_uint64_t(gate + 8);
    if ((low >> 40 & 0x9e) != 0x8e || high >> 40 & 31 || (e->soft && desc_dpl(low) < x->cpl))
        return false;
    f->cs_sel = low >> 16 & 0xfffc;
    code = probe_gdt(x, f->cs_sel);
    if (!code || !is_plain_code64(f->cs = load_uint64_t(code), 0))
        return false;
    ist = low >> 32 & 7;
    f->sp = x->cpu.r[R_SP];
    if (x->cpl != 0 || ist) {
        unsigned at = ist ? 0x1c + 8 * ist : 4;

        if (at + 7 > x->seg[SEG_TR].limit ||
            !(tss = x86_probe(x->cpu.tlb->rd, x->seg[SEG_TR].base + at, 8)))
            return false;
        f->sp = load_uint64_t(tss);
    }
    f->sp = (f->sp & ~15ull) - (e->has_error ? 48 : 40);
    f->frame = (uint64_t *)(void *)x86_probe(x->cpu.tlb->wr, f->sp, e->has_error ? 48 : 40);
    f->offset = (low & 0xffff) | (low >> 32 & 0xffff0000) | high << 32;
    f->is_trap = low >> 40 & 1;
    return f->frame && x86_canonical(x, f->offset);
}

static bool deliver_long_fast(X86Cpu *x, const Event *e)
{
    Cpu *c = &x->cpu;
    uint64_t *p;
    FastEntry f;

    if (UNLIKELY(!fast_entry(x, e, &f)))
        return false;
    p = f.frame;
    if (e->has_error)
        *p++ = e->error;
    p[0] = e->pc;
    p[1] = x->seg[SEG_CS].sel;
    p[2] = event_flags(x, e);
    p[3] = c->r[R_SP];
    p[4] = x->seg[SEG_SS].sel;
    if (x->cpl != 0) {
        x86_seg_set(x, SEG_SS, null_ss(0));
        x->cpl = 0;
    }
    c->r[R_SP] = f.sp;
    x86_seg_set(x, SEG_CS, desc_to_seg(f.cs_sel, f.cs));
    X86_PC(c) = f.offset;
    clear_flags(x, !f.is_trap);
    return true;
}

/* In the soft TLB context of level 0, which the tables and most stacks belong to; inv. 3. */
static void deliver_in_long_mode(X86Cpu *x, const Event *e)
{
    unsigned mode = x86_mmu_mode(x, 0);

    if (mode != x->cpu.mmu_mode)
        tlb_set_mode(&x->cpu, mode);
    if (!deliver_long_fast(x, e))
        deliver_long(x, e);
}

static void deliver(X86Cpu *x, const Event *e)
{
    if (log_on(LOG_INT)) {
        x86_enter_c(&x->cpu);
        x86_log_event(x, e->vector, e->soft, e->has_error ? e->error : 0);
    }
    if (!(x->cr0 & CR0_PE))
        deliver_real(x, e);
    else if (!(x->efer & EFER_LMA))
        deliver_prot(x, e);
    else
        deliver_in_long_mode(x, e);
    x->delivering = -1;
}

/* --- exceptions --- */

enum { CLASS_BENIGN, CLASS_CONTRIBUTORY, CLASS_PAGE_FAULT, CLASS_DOUBLE };

static unsigned exception_class(unsigned vector)
{
    switch (vector) {
    case EX_DE:
    case EX_TS:
    case EX_NP:
    case EX_SS:
    case EX_GP: return CLASS_CONTRIBUTORY;
    case EX_PF: return CLASS_PAGE_FAULT;
    case EX_DF: return CLASS_DOUBLE;
    default: return CLASS_BENIGN;
    }
}

static noreturn void shut_down(X86Cpu *x)
{
    Cpu *c = &x->cpu;

    x86_enter_c(c);
    if (log_on(LOG_CPU_RESET))
        x86_log_state(x, "Triple fault");
    x->delivering = -1;
    x->wait_sipi = 1; /* stands still until the reset */
    c->halted = true;
    machine_request_reset(c->machine);
    cpu_unwind(c, UNWIND_HALT);
}

/* SDM vol 3 table 6-5: a double fault if @vector came while another was being delivered. */
static bool becomes_double(X86Cpu *x, unsigned vector)
{
    unsigned first = x->delivering >= 0 ? exception_class((unsigned)x->delivering) : CLASS_BENIGN,
             second = exception_class(vector);

    if (first == CLASS_DOUBLE && second != CLASS_BENIGN)
        shut_down(x);
    return (first == CLASS_CONTRIBUTORY && second == CLASS_CONTRIBUTORY) ||
           (first == CLASS_PAGE_FAULT && second != CLASS_BENIGN);
}

void x86_take_exception(Cpu *c, const Exception *e)
{
    X86Cpu *x = X86(c);
    bool trap = e->detail & EXC_TRAP || e->vector == EX_BP || e->vector == EX_OF;
    bool breakpoint = e->vector == EX_DB && e->detail & 15; /* whose handler sets RF itself */
    unsigned vector = e->vector == EX_XM && !(x->cr4 & CR4_OSXMMEXCPT) ? EX_UD : e->vector;
    Event ev = {.vector = (uint8_t)vector,
                .has_error = e->has_error,
                .rf = !trap && !breakpoint,
                .error = (uint32_t)e->error,
                .pc = X86_PC(c)};

    x->shadow = x->pc_final = 0;
    if (c->mmu_mode != x86_mmu_mode(x, x->cpl))
        tlb_set_mode(c, x86_mmu_mode(x, x->cpl));
    if (e->vector == EX_PF)
        x->cr2 = e->addr;
    if (e->vector == EX_DB) {
        x->dr[6] |= e->detail & 0xffff;
        x->dr[7] &= ~(1ull << 13); /* GD */
    }
    if (UNLIKELY(becomes_double(x, vector)))
        ev = (Event){.vector = EX_DF, .has_error = true, .rf = true, .pc = X86_PC(c)};
    x->watch_hits = 0;
    x->delivering = ev.vector;
    deliver(x, &ev);
}

/* --- INT n --- */

/* CR4.VME: does the redirection bitmap of the TSS leave INT @vector to the VM86 program? (SDM
 * vol 3 20.3.3) */
static bool vme_redirects(X86Cpu *x, unsigned vector)
{
    const X86Seg *tr = &x->seg[SEG_TR];
    unsigned map;

    if (!(x->cr4 & CR4_VME) || tr->limit < 103)
        return false;
    map = (unsigned)mem_load(&x->cpu, tr->base + 102, 2, x86_sys_mode(x));
    if (map < 32 || map - 32 + vector / 8 > tr->limit)
        return false;
    return !(mem_load(&x->cpu, tr->base + map - 32 + vector / 8, 1, x86_sys_mode(x)) >>
                 (vector & 7) &
             1);
}

/* INT n of a VM86 program through its own vector table at 0. */
static void int_vm86(X86Cpu *x, unsigned vector, uint64_t next)
{
    uint32_t entry = (uint32_t)mem_load(&x->cpu, vector * 4, 4, 1);
    bool iopl3 = x->cpu.mode & MODE_IOPL;
    uint64_t f = x86_flags(x);
    Stack s = stack_current(x);

    if (!iopl3)
        f = (f & ~(uint64_t)EFL_IF) | EFL_IOPL | (f & EFL_VIF ? EFL_IF : 0);
    stack_push(&s, 2, f);
    stack_push(&s, 2, x->seg[SEG_CS].sel);
    stack_push(&s, 2, next);
    stack_commit(&s);
    seg_load_real(x, SEG_CS, (uint16_t)(entry >> 16));
    X86_PC(&x->cpu) = entry & 0xffff;
    x->rflags &= ~(uint64_t)(EFL_TF | EFL_NT | (iopl3 ? EFL_IF : EFL_VIF));
    x86_update_mode(x);
}

uint64_t hlp_int(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k)
{
    X86Cpu *x = X86(c);
    unsigned kind = k >> 16 & 0xff;
    Event e = {.vector = k & 0xff, .soft = kind != 3, .pc = X86_PC(c) + (k >> 8 & 0xff)};

    if (kind == 0 && c->mode & MODE_VM86) {
        if (vme_redirects(x, e.vector)) {
            int_vm86(x, e.vector, e.pc);
            return 0;
        }
        if (!(c->mode & MODE_IOPL))
            x86_raise(c, EX_GP, 0);
    }
    deliver(x, &e);
    return 0;
}

/* --- IRET --- */

static void nmi_unblock(X86Cpu *x)
{
    x->nmi_blocked = 0;
    if (x->nmi_pending) {
        x->nmi_pending = 0;
        atomic_fetch_or(&x->cpu.request, REQ_NMI);
    }
}

/* RF means something only while there are instruction breakpoints. */
static void set_popped_flags(X86Cpu *x, uint64_t v, uint64_t mask)
{
    if (!(x->mode_sys & MODE_STEP))
        v &= ~(uint64_t)EFL_RF;
    x->cpu.cc = x86_cc_from_flags(v);
    mask &= ~0x8d5ull;
    x->rflags = (x->rflags & ~mask) | (v & mask) | 2;
    x86_update_mode(x);
}

/* 64-bit, to the same level or from 0 to 3, nothing that can fault. */
static bool iret_fast(X86Cpu *x)
{
    Cpu *c = &x->cpu;
    const uint64_t *p = (const uint64_t *)(const void *)x86_probe(c->tlb->rd, c->r[R_SP], 40);
    const uint8_t *desc;
    uint16_t cs_sel, ss_sel;
    unsigned rpl;
    uint64_t cs, flags = EFL_TF | EFL_IF | EFL_DF | EFL_IOPL | EFL_NT | EFL_RF | EFL_AC | EFL_ID |
                         EFL_VIF | EFL_VIP;
    X86Seg ss;

    if (!p || x->cpl != 0 || x->rflags & EFL_NT)
        return false;
    cs_sel = (uint16_t)p[1];
    ss_sel = (uint16_t)p[4];
    rpl = cs_sel & SEL_RPL;
    if ((rpl != 0 && rpl != 3) || (ss_sel & SEL_RPL) != rpl || !x86_canonical(x, p[0]))
        return false;
    desc = probe_gdt(x, cs_sel);
    if (!desc || !is_plain_code64(cs = load_uint64_t(desc), rpl))
        return false;
    if (ss_sel == 0) {
        ss = null_ss(0);
    } else {
        desc = probe_gdt(x, ss_sel);
        if (!desc || !is_plain_data(load_uint64_t(desc), rpl))
            return false;
        ss = desc_to_seg(ss_sel, load_uint64_t(desc));
    }
    X86_PC(c) = p[0];
    c->r[R_SP] = p[3];
    x86_seg_set(x, SEG_CS, desc_to_seg(cs_sel, cs));
    x86_seg_set(x, SEG_SS, ss);
    if (rpl != 0) {
        x->cpl = 3;
        seg_leave_outer(x);
    }
    set_popped_flags(x, p[2], flags);
    return true;
}

/* Protected mode, level 0, VM set in the image: SDM vol 3 20.2.2. */
static void iret_to_vm86(X86Cpu *x, uint64_t flags)
{
    static const uint8_t order[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    Stack s = stack_current(x);
    uint64_t pc = stack_pop(&s, 4), sp;
    uint16_t cs = (uint16_t)stack_pop(&s, 4), ss, data[COUNT_OF(order)];

    stack_pop(&s, 4);
    sp = stack_pop(&s, 4);
    ss = (uint16_t)stack_pop(&s, 4);
    for (unsigned i = 0; i < COUNT_OF(order); i++)
        data[i] = (uint16_t)stack_pop(&s, 4);
    x->rflags |= EFL_VM;
    x->cpl = 3;
    seg_load_real(x, SEG_CS, cs);
    seg_load_real(x, SEG_SS, ss);
    for (unsigned i = 0; i < COUNT_OF(order); i++)
        seg_load_real(x, order[i], data[i]);
    x->cpu.r[R_SP] = (uint32_t)sp;
    X86_PC(&x->cpu) = pc & 0xffff;
    set_popped_flags(x, flags, 0x3f7fd5);
}

static void iret_prot(X86Cpu *x, unsigned os)
{
    uint64_t flags, pc, mask = flags_writable(x, 4) | EFL_RF;
    Stack s;

    if (x->rflags & EFL_NT) {
        if (x->efer & EFER_LMA)
            x86_raise(&x->cpu, EX_GP, 0);
        task_switch(x, (uint16_t)mem_load(&x->cpu, x->seg[SEG_TR].base, 2, x86_sys_mode(x)),
                    TASK_RETURN, X86_PC(&x->cpu) + 1, EX_TS);
        return;
    }
    if (x->cpl == 0)
        mask |= EFL_VIF | EFL_VIP;
    if (os == 2)
        mask &= 0xffff;
    if (os == 4 && x->cpl == 0 && !(x->efer & EFER_LMA)) {
        s = stack_current(x);
        s.sp += 8;
        flags = stack_pop(&s, 4);
        if (flags & EFL_VM) {
            iret_to_vm86(x, flags);
            return;
        }
    }
    pc = far_return(x, os, 0, true, &flags);
    X86_PC(&x->cpu) = pc;
    set_popped_flags(x, flags, mask);
}

/* Real mode, and VM86 mode with IOPL 3 (or VME, where IF stands for VIF). */
static void iret_real(X86Cpu *x, unsigned os)
{
    Stack s = stack_current(x);
    uint64_t pc = stack_pop(&s, os), flags, mask = flags_writable(x, os) | (os == 4 ? EFL_RF : 0);
    uint16_t cs = (uint16_t)stack_pop(&s, os);

    flags = stack_pop(&s, os);
    if (x->rflags & EFL_VM) {
        mask &= ~(uint64_t)EFL_IOPL;
        if (!(x->cpu.mode & MODE_IOPL)) {
            if (flags & EFL_TF || (flags & EFL_IF && x->rflags & EFL_VIP))
                x86_raise(&x->cpu, EX_GP, 0);
            mask = (mask & ~(uint64_t)EFL_IF) | EFL_VIF;
            flags = (flags & ~(uint64_t)EFL_VIF) | (flags & EFL_IF ? EFL_VIF : 0);
        }
    }
    if (pc > x->seg[SEG_CS].limit)
        x86_raise(&x->cpu, EX_GP, 0);
    stack_commit(&s);
    seg_load_real(x, SEG_CS, cs);
    X86_PC(&x->cpu) = pc;
    set_popped_flags(x, flags, mask);
}

uint64_t hlp_iret(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t os)
{
    X86Cpu *x = X86(c);

    if (!(os == 8 && x86_is64(x) && iret_fast(x))) {
        if (x86_is_prot(x)) {
            iret_prot(x, (unsigned)os);
        } else {
            if (c->mode & MODE_VM86 && !(c->mode & MODE_IOPL) && (!(x->cr4 & CR4_VME) || os != 2))
                x86_raise(c, EX_GP, 0);
            iret_real(x, (unsigned)os);
        }
    }
    nmi_unblock(x);
    return 0;
}

/* --- traps behind an instruction --- */

uint64_t hlp_step(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k)
{
    X86Cpu *x = X86(c);
    unsigned hits = x->watch_hits;

    if (k != ~0ull)
        X86_PC(c) = k;
    if (UNLIKELY(c->one_insn))
        debug_stop(c, STOP_STEP, 0, 0);
    if (x->shadow == 2) /* MOV SS: the trap comes behind the next instruction */
        return 0;
    if (x->step_armed)
        hits |= 1 << 14;
    x->step_armed = (x->rflags & EFL_TF) != 0;
    x->watch_hits = 0;
    if (x->step_rf)
        x->rflags &= ~(uint64_t)EFL_RF;
    x->step_rf = (x->rflags & EFL_RF) != 0;
    if (hits) {
        c->exc = (Exception){.vector = EX_DB, .detail = hits | EXC_TRAP};
        cpu_unwind(c, UNWIND_EXCEPTION);
    }
    if (!x->step_rf && debug_code_hit(x, c->arch->pc_to_linear(c), &hits)) {
        c->exc = (Exception){.vector = EX_DB, .detail = hits};
        cpu_unwind(c, UNWIND_EXCEPTION);
    }
    return 0;
}

/* --- interrupts --- */

bool x86_irq_pending(Cpu *c)
{
    X86Cpu *x = X86(c);
    uint32_t r = atomic_load(&c->request);

    if (r & REQ_INIT || (x->wait_sipi && r & REQ_SIPI))
        return true;
    if (x->wait_sipi)
        return false;
    if ((r & REQ_NMI && !x->nmi_blocked) || r & REQ_SMI)
        return true;
    return x->rflags & EFL_IF && x->apic && x->apic_ops->pending(x->apic) >= 0;
}

static void serve_init(X86Cpu *x)
{
    Cpu *c = &x->cpu;
    bool bsp = !x->apic || x->apic_ops->base(x->apic) & 1 << 8;

    cpu_request_clear(c, REQ_INIT);
    x86_init_state(x, true);
    if (x->apic)
        x->apic_ops->reset(x->apic, true);
    x->wait_sipi = !bsp;
}

static void serve_sipi(X86Cpu *x)
{
    Cpu *c = &x->cpu;

    cpu_request_clear(c, REQ_SIPI);
    if (!x->wait_sipi)
        return;
    x->wait_sipi = 0;
    c->halted = false;
    seg_load_real(x, SEG_CS, (uint16_t)(x->sipi_vector << 8));
    X86_PC(c) = 0;
    x86_update_mode(x);
}

static void serve_nmi(X86Cpu *x)
{
    Event e = {.vector = EX_NMI, .pc = X86_PC(&x->cpu)};

    cpu_request_clear(&x->cpu, REQ_NMI);
    if (x->nmi_blocked) {
        x->nmi_pending = 1;
        return;
    }
    x->nmi_blocked = 1;
    x->delivering = DELIVER_EXTERNAL | EX_NMI;
    deliver(x, &e);
}

static void serve_irq(X86Cpu *x)
{
    Cpu *c = &x->cpu;
    Event e = {.pc = X86_PC(c)};
    int vector;

    cpu_request_clear(c, REQ_IRQ);
    if (!(x->rflags & EFL_IF) || x->shadow) {
        x->irq_masked = 1; /* x86_update_mode(), STI and hlp_unshadow() ask again */
        return;
    }
    if (!x->apic)
        return;
    vector = x->apic_ops->acknowledge(x->apic);
    if (vector < 0)
        return;
    e.vector = (uint8_t)vector;
    x->delivering = (int16_t)(DELIVER_EXTERNAL | vector);
    deliver(x, &e);
    if (x->apic_ops->pending(x->apic) < 0)
        return;
    if (x->rflags & EFL_IF)
        cpu_request(c, REQ_IRQ);
    else
        x->irq_masked = 1;
}

void x86_serve(Cpu *c)
{
    X86Cpu *x = X86(c);
    uint32_t r = atomic_load(&c->request);

    if (!(r & (REQ_INIT | REQ_SIPI | REQ_NMI | REQ_SMI | REQ_IRQ)))
        return;
    x86_enter_c(c);
    if (UNLIKELY(r & (REQ_INIT | REQ_SIPI))) {
        if (r & REQ_INIT)
            serve_init(x);
        if (r & REQ_SIPI)
            serve_sipi(x);
    }
    if (UNLIKELY(x->wait_sipi)) {
        c->halted = true;
        cpu_unwind(c, UNWIND_HALT);
    }
    if (r & REQ_SMI) {
        cpu_request_clear(c, REQ_SMI);
        log_unimp("x86: system management interrupt: SMM is not modelled\n");
    }
    if (r & REQ_NMI)
        serve_nmi(x);
    if (r & REQ_IRQ)
        serve_irq(x);
}

uint64_t hlp_hlt(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t next)
{
    X86_PC(c) = next;
    X86(c)->shadow = 0;
    cpu_unwind(c, UNWIND_HALT);
}

/* It may wake for any reason: other processors' stores are not watched for, nor interrupts that
 * are masked. */
uint64_t hlp_mwait(Cpu *c, uint64_t a, uint64_t b, uint64_t next)
{
    if (X86(c)->cpl != 0)
        x86_raise_noerr(c, EX_UD);
    if ((uint32_t)c->r[R_CX] & ~1u)
        x86_raise(c, EX_GP, 0);
    if (c->machine->n_cpus == 1 && !(c->r[R_CX] & 1 && !(X86(c)->rflags & EFL_IF)))
        return hlp_hlt(c, a, b, next);
    cpu_request(c, REQ_EXIT);
    return 0;
}

uint64_t hlp_monitor(Cpu *c, uint64_t va, uint64_t b UNUSED, uint64_t k UNUSED)
{
    if (X86(c)->cpl != 0)
        x86_raise_noerr(c, EX_UD);
    if ((uint32_t)c->r[R_CX])
        x86_raise(c, EX_GP, 0);
    mem_probe(c, va, 1, ACCESS_READ, c->mmu_mode);
    return 0;
}
