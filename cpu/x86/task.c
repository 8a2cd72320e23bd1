/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * task - hardware task switches through 16- and 32-bit TSSs (SDM vol 3 chapter 7)
 *
 * Faults before the commit point belong to the old task, those behind it to the new one, whose pc
 * is in V_PC (pc_final).
 */
#include "cpu/x86/sys_priv.h"

typedef struct TssLayout {
    uint8_t size, cr3, ip, flags, regs, segs, n_segs, ldt, trap, limit;
} TssLayout;
static const TssLayout layout16 = {2, 0, 14, 16, 18, 34, 4, 42, 0, 0x2b};
static const TssLayout layout32 = {4, 28, 32, 36, 40, 72, 6, 96, 100, 0x67};

typedef struct TaskState {
    uint64_t cr3, ip, flags, regs[8];
    uint16_t segs[6], ldt;
    bool trap;
} TaskState;

static const TssLayout *layout_of(unsigned type)
{
    return type & 8 ? &layout32 : &layout16;
}

static void save_old(X86Cpu *x, uint64_t next_pc, uint64_t flags)
{
    const X86Seg *tr = &x->seg[SEG_TR];
    const TssLayout *l = layout_of(tr->attr & 15);
    unsigned mode = x86_sys_mode(x);
    Cpu *c = &x->cpu;

    mem_probe(c, tr->base, l->limit + 1u, ACCESS_WRITE, mode);
    mem_store(c, tr->base + l->ip, l->size, next_pc & size_mask(l->size), mode);
    mem_store(c, tr->base + l->flags, l->size, flags & size_mask(l->size), mode);
    for (unsigned i = 0; i < 8; i++)
        mem_store(c, tr->base + l->regs + i * l->size, l->size, c->r[i] & size_mask(l->size), mode);
    for (unsigned i = 0; i < l->n_segs; i++)
        mem_store(c, tr->base + l->segs + i * l->size, 2, x->seg[i].sel, mode);
}

static TaskState load_new(X86Cpu *x, uint64_t tss, const TssLayout *l)
{
    unsigned mode = x86_sys_mode(x);
    Cpu *c = &x->cpu;
    TaskState t = {.cr3 = x->cr3};

    if (l->cr3)
        t.cr3 = mem_load(c, tss + l->cr3, 4, mode);
    t.ip = mem_load(c, tss + l->ip, l->size, mode);
    t.flags = mem_load(c, tss + l->flags, l->size, mode);
    for (unsigned i = 0; i < 8; i++)
        t.regs[i] = mem_load(c, tss + l->regs + i * l->size, l->size, mode) |
                    (l->size == 2 ? 0xffff0000 : 0);
    for (unsigned i = 0; i < l->n_segs; i++)
        t.segs[i] = (uint16_t)mem_load(c, tss + l->segs + i * l->size, 2, mode);
    t.ldt = (uint16_t)mem_load(c, tss + l->ldt, 2, mode);
    t.trap = l->trap && mem_load(c, tss + l->trap, 2, mode) & 1;
    return t;
}

static void set_busy(X86Cpu *x, uint16_t sel, bool busy)
{
    Gva va = (uint32_t)(x->gdt.base + (sel & ~7u) + 5);
    uint64_t b = mem_load(&x->cpu, va, 1, x86_sys_mode(x));

    mem_store(&x->cpu, va, 1, busy ? b | 2 : b & ~2ull, x86_sys_mode(x));
}

static X86Seg task_code(X86Cpu *x, uint16_t sel)
{
    unsigned rpl = sel & SEL_RPL;
    Desc d;

    if (!(sel & ~SEL_RPL) || !desc_load(x, sel, &d) || !desc_is_code(d.raw) ||
        (desc_is_conforming(d.raw) ? desc_dpl(d.raw) > rpl : desc_dpl(d.raw) != rpl))
        raise_sel(x, EX_TS, sel);
    if (!desc_is_p(d.raw))
        raise_sel(x, EX_NP, sel);
    desc_set_accessed(x, &d);
    return desc_to_seg(sel, d.raw);
}

/* The new task's LDT and segments, after all its other registers. */
static void load_segments(X86Cpu *x, const TaskState *t)
{
    static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};

    for (unsigned i = 0; i < 6; i++)
        x86_seg_set(x, i, (X86Seg){.sel = t->segs[i]});
    x86_seg_set(x, SEG_LDT, (X86Seg){.sel = t->ldt});
    ldt_load(x, t->ldt, EX_TS);
    if (t->flags & EFL_VM) {
        x->cpl = 3;
        for (unsigned i = 0; i < 6; i++)
            seg_load_real(x, i, t->segs[i]);
        return;
    }
    x->cpl = t->segs[SEG_CS] & SEL_RPL;
    x86_seg_set(x, SEG_CS, task_code(x, t->segs[SEG_CS]));
    x86_seg_set(x, SEG_SS, stack_seg(x, t->segs[SEG_SS], x->cpl, EX_TS));
    for (unsigned i = 0; i < COUNT_OF(data); i++)
        if (t->segs[data[i]] & ~SEL_RPL)
            x86_seg_set(x, data[i], data_seg(x, t->segs[data[i]], EX_TS));
}

static void commit(X86Cpu *x, const TaskState *t, const TssLayout *l)
{
    Cpu *c = &x->cpu;
    uint64_t mask = l->size == 2 ? 0x7fd5 : 0x3f7fd5;

    x->pc_final = 1;
    x->cr0 |= CR0_TS;
    x->dr[7] &= ~0x155ull;
    if (l->cr3 && x->cr0 & CR0_PG) {
        x->cr3 = t->cr3;
        tlb_flush_nonglobal(c);
        cr3_enter(x);
    }
    X86_PC(c) = t->ip;
    c->cc = x86_cc_from_flags(t->flags);
    x->rflags = (t->flags & mask & ~0x8d5ull) | 2;
    for (unsigned i = 0; i < 8; i++)
        c->r[i] = t->regs[i];
    x86_update_sys(x);
    load_segments(x, t);
    x86_update_mode(x);
    x->pc_final = 0;
}

/* The descriptor of the TSS to go to: available, or busy for a return. */
static X86Seg new_tss(X86Cpu *x, uint16_t sel, TaskCause cause, unsigned vector)
{
    uint32_t types = cause == TASK_RETURN ? 1 << SYS_TSS16_BUSY | 1 << SYS_TSS32_BUSY
                                          : 1 << SYS_TSS16 | 1 << SYS_TSS32;
    Desc d;
    X86Seg s;

    if (!(sel & ~SEL_RPL))
        x86_raise(&x->cpu, vector, 0);
    s = system_seg(x, sel, types, vector, &d);
    if (s.limit < layout_of(s.attr & 15)->limit)
        raise_sel(x, EX_TS, sel);
    mem_probe(&x->cpu, s.base, layout_of(s.attr & 15)->limit + 1u, ACCESS_WRITE, x86_sys_mode(x));
    s.attr |= 2;
    return s;
}

void task_switch(X86Cpu *x, uint16_t sel, TaskCause cause, uint64_t next_pc, unsigned vector)
{
    Cpu *c = &x->cpu;
    X86Seg to = new_tss(x, sel, cause, vector);
    const TssLayout *l = layout_of(to.attr & 15);
    uint64_t flags = x86_flags(x);
    uint16_t old = x->seg[SEG_TR].sel;
    TaskState t;

    if (cause == TASK_RETURN)
        flags &= ~(uint64_t)EFL_NT;
    save_old(x, next_pc, flags);
    t = load_new(x, to.base, l);
    if (cause == TASK_JUMP || cause == TASK_RETURN)
        set_busy(x, old, false);
    if (cause == TASK_CALL || cause == TASK_INT) {
        mem_store(c, to.base, 2, old, x86_sys_mode(x));
        t.flags |= EFL_NT;
    }
    if (cause != TASK_RETURN)
        set_busy(x, sel, true);
    x86_seg_set(x, SEG_TR, to);
    x->shadow = 0;
    commit(x, &t, l);
    x->step_armed = (x->rflags & EFL_TF) != 0;
    if (t.trap) {
        c->exc = (Exception){.vector = EX_DB, .detail = 1 << 15 | EXC_TRAP};
        cpu_unwind(c, UNWIND_EXCEPTION);
    }
}
