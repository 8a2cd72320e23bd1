/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * segment - descriptors, segment registers, stacks and far transfers (SDM vol 3 chapters 3, 5 and
 * 6; vol 2 for each instruction)
 *
 * Invariants:
 *  1. A function that may fault commits registers only after its last fault; V_PC moves last.
 *  2. Descriptor tables and TSSs are reached with x86_sys_mode(), stacks with the rights of the
 *     level that owns them.
 */
#include "cpu/x86/sys_priv.h"

noreturn void raise_sel(X86Cpu *x, unsigned vector, uint16_t sel)
{
    x86_raise(&x->cpu, vector, sel & ~SEL_RPL);
}

bool desc_is_code64(const X86Cpu *x, uint64_t raw)
{
    return x->efer & EFER_LMA && raw >> 53 & 1;
}

bool desc_find(X86Cpu *x, uint16_t sel, unsigned size, Gva *va)
{
    unsigned at = sel & ~7u;
    bool local = sel & SEL_TI;
    uint64_t base = local ? x->seg[SEG_LDT].base : x->gdt.base;
    uint32_t limit = local ? x->seg[SEG_LDT].limit : x->gdt.limit;

    if ((local && !(x->seg[SEG_LDT].attr & ATTR_P)) || at + size - 1 > limit)
        return false;
    *va = base + at;
    if (!(x->efer & EFER_LMA))
        *va = (uint32_t)*va;
    return true;
}

bool desc_load(X86Cpu *x, uint16_t sel, Desc *d)
{
    if (!desc_find(x, sel, 8, &d->va))
        return false;
    d->raw = mem_load(&x->cpu, d->va, 8, x86_sys_mode(x));
    d->high = 0;
    return true;
}

void desc_load_high(X86Cpu *x, uint16_t sel, Desc *d)
{
    if (!desc_find(x, sel, 16, &d->va))
        raise_sel(x, EX_GP, sel);
    d->high = mem_load(&x->cpu, d->va + 8, 8, x86_sys_mode(x));
    if (d->high >> 40 & 31)
        raise_sel(x, EX_GP, sel);
}

void desc_set_accessed(X86Cpu *x, Desc *d)
{
    if (!desc_is_s(d->raw) || d->raw >> 40 & ATTR_A)
        return;
    d->raw |= 1ull << 40;
    mem_store(&x->cpu, d->va + 5, 1, d->raw >> 40 & 0xff, x86_sys_mode(x));
}

/* --- stacks --- */

Stack stack_of(X86Cpu *x, X86Seg ss, uint64_t sp, unsigned cpl)
{
    return (Stack){.x = x,
                   .ss = ss,
                   .sp = sp,
                   .mask = ss.attr & ATTR_DB ? 0xffffffff : 0xffff,
                   .mmu_mode = (uint8_t)x86_mmu_mode(x, cpl),
                   .error = ss.sel & ~SEL_RPL};
}

Stack stack_current(X86Cpu *x)
{
    X86Seg ss = x->seg[SEG_SS];
    Stack s;

    ss.base = x86_seg_base(x, SEG_SS);
    s = stack_of(x, ss, x->cpu.r[R_SP], x->cpl);
    if (x86_is64(x))
        s.mask = ~0ull;
    s.error = 0;
    return s;
}

/* Is [off, off+size) inside the segment's limits? */
static bool limit_ok(const X86Seg *s, uint64_t off, unsigned size)
{
    uint64_t last = off + size - 1;

    if ((s->attr & (ATTR_CODE | ATTR_DC | ATTR_S)) == (ATTR_DC | ATTR_S))
        return off > s->limit && last <= (s->attr & ATTR_DB ? 0xffffffffu : 0xffffu);
    return last <= s->limit;
}

static Gva stack_linear(Stack *s, uint64_t sp, unsigned size)
{
    sp &= s->mask;
    if (s->mask == ~0ull) {
        if (UNLIKELY(!x86_canonical(s->x, sp)))
            x86_raise(&s->x->cpu, EX_SS, s->error);
        return sp;
    }
    if (UNLIKELY(!limit_ok(&s->ss, sp, size)))
        x86_raise(&s->x->cpu, EX_SS, s->error);
    return (uint32_t)(s->ss.base + sp);
}

void stack_push(Stack *s, unsigned size, uint64_t v)
{
    uint64_t sp = s->sp - size;

    mem_store(&s->x->cpu, stack_linear(s, sp, size), size, v & size_mask(size), s->mmu_mode);
    s->sp = (s->sp & ~s->mask) | (sp & s->mask);
}

uint64_t stack_pop(Stack *s, unsigned size)
{
    uint64_t v = mem_load(&s->x->cpu, stack_linear(s, s->sp, size), size, s->mmu_mode);

    s->sp = (s->sp & ~s->mask) | ((s->sp + size) & s->mask);
    return v;
}

void stack_commit(Stack *s)
{
    s->x->cpu.r[R_SP] = s->mask == 0xffffffff ? (uint32_t)s->sp : s->sp;
}

X86Seg stack_seg(X86Cpu *x, uint16_t sel, unsigned cpl, unsigned vector)
{
    Desc d;

    if (!(sel & ~SEL_RPL))
        x86_raise(&x->cpu, vector, 0);
    if (!desc_load(x, sel, &d) || (sel & SEL_RPL) != cpl || desc_dpl(d.raw) != cpl ||
        !desc_is_s(d.raw) || desc_is_code(d.raw) || !(d.raw >> 40 & ATTR_RW))
        raise_sel(x, vector, sel);
    if (!desc_is_p(d.raw))
        raise_sel(x, EX_SS, sel);
    desc_set_accessed(x, &d);
    return desc_to_seg(sel, d.raw);
}

X86Seg tss_stack(X86Cpu *x, unsigned cpl, uint64_t *sp)
{
    const X86Seg *tr = &x->seg[SEG_TR];
    bool wide = (tr->attr & 15) >= SYS_TSS32;
    unsigned at = wide ? 4 + cpl * 8 : 2 + cpl * 4, size = wide ? 4 : 2, mode = x86_sys_mode(x);
    uint16_t sel;

    if (at + 2 * size - 1 > tr->limit)
        raise_sel(x, EX_TS, tr->sel);
    *sp = mem_load(&x->cpu, tr->base + at, size, mode);
    sel = (uint16_t)mem_load(&x->cpu, tr->base + at + size, 2, mode);
    return stack_seg(x, sel, cpl, EX_TS);
}

uint64_t tss_stack64(X86Cpu *x, unsigned at)
{
    const X86Seg *tr = &x->seg[SEG_TR];
    uint64_t sp;

    if (at + 7 > tr->limit)
        raise_sel(x, EX_TS, tr->sel);
    sp = mem_load(&x->cpu, tr->base + at, 8, x86_sys_mode(x));
    if (!x86_canonical(x, sp))
        x86_raise(&x->cpu, EX_SS, 0);
    return sp;
}

/* --- segment registers --- */

void seg_load_real(X86Cpu *x, unsigned seg, uint16_t sel)
{
    X86Seg s = x->seg[seg];

    s.sel = sel;
    s.base = (uint32_t)sel << 4;
    if (x->rflags & EFL_VM) {
        s.limit = 0xffff;
        s.attr = ATTR_P | ATTR_DPL | ATTR_S | ATTR_RW | ATTR_A;
    }
    x86_seg_set(x, seg, s);
}

static void load_null(X86Cpu *x, unsigned seg, uint16_t sel)
{
    if (seg == SEG_SS) {
        if (!x86_is64(x) || x->cpl == 3 || (sel & SEL_RPL) != x->cpl)
            x86_raise(&x->cpu, EX_GP, 0);
        x86_seg_set(
            x, seg,
            (X86Seg){.sel = sel, .attr = (uint16_t)(x->cpl << 5 | ATTR_DB), .limit = UINT32_MAX});
        return;
    }
    x86_seg_set(x, seg, (X86Seg){.sel = sel});
}

X86Seg data_seg(X86Cpu *x, uint16_t sel, unsigned vector)
{
    unsigned rpl = sel & SEL_RPL, type;
    Desc d;

    if (!desc_load(x, sel, &d) || !desc_is_s(d.raw))
        raise_sel(x, vector, sel);
    type = desc_type(d.raw);
    if ((type & (ATTR_CODE | ATTR_RW)) == ATTR_CODE)
        raise_sel(x, vector, sel);
    if ((type & (ATTR_CODE | ATTR_DC)) != (ATTR_CODE | ATTR_DC) &&
        (rpl > desc_dpl(d.raw) || x->cpl > desc_dpl(d.raw)))
        raise_sel(x, vector, sel);
    if (!desc_is_p(d.raw))
        raise_sel(x, EX_NP, sel);
    desc_set_accessed(x, &d);
    return desc_to_seg(sel, d.raw);
}

void seg_load_checked(X86Cpu *x, unsigned seg, uint16_t sel)
{
    if (!(sel & ~SEL_RPL))
        load_null(x, seg, sel);
    else
        x86_seg_set(x, seg,
                    seg == SEG_SS ? stack_seg(x, sel, x->cpl, EX_GP) : data_seg(x, sel, EX_GP));
}

uint64_t hlp_mov_seg(Cpu *c, uint64_t a, uint64_t b UNUSED, uint64_t seg)
{
    X86Cpu *x = X86(c);

    if (x86_is_prot(x))
        seg_load_checked(x, (unsigned)seg, (uint16_t)a);
    else
        seg_load_real(x, (unsigned)seg, (uint16_t)a);
    if (seg == SEG_SS)
        x->shadow = 2;
    if (!x86_is64(x))
        x86_update_mode(x);
    return 0;
}

uint64_t hlp_sel(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t seg)
{
    return X86(c)->seg[seg].sel;
}

void seg_leave_outer(X86Cpu *x)
{
    static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};

    for (unsigned i = 0; i < COUNT_OF(data); i++) {
        const X86Seg *s = &x->seg[data[i]];

        if ((s->attr & (ATTR_CODE | ATTR_DC)) != (ATTR_CODE | ATTR_DC) &&
            (s->attr >> 5 & 3u) < x->cpl && s->attr & ATTR_P)
            x86_seg_set(x, data[i], (X86Seg){0});
    }
}

uint64_t hlp_seg_check(Cpu *c, uint64_t off, uint64_t b UNUSED, uint64_t k)
{
    X86Cpu *x = X86(c);
    unsigned seg = k & 0xff, size = k >> 8 & 0xff;
    bool write = k >> 16 & 1;
    unsigned vector = k >> 17 & 1 || seg == SEG_SS ? EX_SS : EX_GP;
    const X86Seg *s = &x->seg[seg];

    if (x86_is64(x)) {
        uint64_t va = seg >= SEG_FS ? off + c->r[16 + seg] : off;

        if (!x86_canonical(x, va) || !x86_canonical(x, va + (size ? size - 1 : 0)))
            x86_raise(c, vector, 0);
        return va;
    }
    if (UNLIKELY(!(s->attr & ATTR_P)))
        x86_raise(c, vector, 0);
    if (write ? (s->attr & (ATTR_CODE | ATTR_RW)) != ATTR_RW && x86_is_prot(x)
              : (s->attr & (ATTR_CODE | ATTR_RW)) == ATTR_CODE)
        x86_raise(c, vector, 0);
    if (UNLIKELY(!limit_ok(s, off, size ? size : 1)))
        x86_raise(c, vector, 0);
    return (uint32_t)(off + c->r[16 + seg]);
}

/* --- code segments and far transfers --- */

void cs_check_offset(X86Cpu *x, const X86Seg *cs, uint64_t offset)
{
    if (x->efer & EFER_LMA && cs->attr & ATTR_L ? !x86_canonical(x, offset) : offset > cs->limit)
        x86_raise(&x->cpu, EX_GP, 0);
}

static void cs_commit(X86Cpu *x, X86Seg cs, uint64_t pc)
{
    x86_seg_set(x, SEG_CS, cs);
    X86_PC(&x->cpu) = pc;
    x86_update_mode(x);
}

/* Descriptor of a direct far JMP or CALL, or a system one; the null selector is #GP(0). */
static void transfer_desc(X86Cpu *x, uint16_t sel, Desc *d)
{
    if (!(sel & ~SEL_RPL))
        x86_raise(&x->cpu, EX_GP, 0);
    if (!desc_load(x, sel, d))
        raise_sel(x, EX_GP, sel);
}

/* Checks of a code segment reached without a gate; returns CS for the present CPL. */
static X86Seg direct_code(X86Cpu *x, uint16_t sel, Desc *d)
{
    unsigned dpl = desc_dpl(d->raw), rpl = sel & SEL_RPL;

    if (!desc_is_code(d->raw) ||
        (desc_is_conforming(d->raw) ? dpl > x->cpl : rpl > x->cpl || dpl != x->cpl))
        raise_sel(x, EX_GP, sel);
    if (!desc_is_p(d->raw))
        raise_sel(x, EX_NP, sel);
    if (desc_is_code64(x, d->raw) && d->raw >> 54 & 1) /* L and D */
        raise_sel(x, EX_GP, sel);
    desc_set_accessed(x, d);
    return cs_seg(sel, d->raw, x->cpl);
}

typedef struct Gate {
    uint16_t sel;
    uint64_t offset;
    unsigned type, count;
} Gate;

/* A call gate (or task gate) that was checked for use at CPL. */
static Gate gate_check(X86Cpu *x, uint16_t sel, Desc *d)
{
    Gate g = {.sel = d->raw >> 16 & 0xffff, .type = desc_type(d->raw), .count = d->raw >> 32 & 31};

    if (desc_dpl(d->raw) < x->cpl || desc_dpl(d->raw) < (sel & SEL_RPL))
        raise_sel(x, EX_GP, sel);
    if (!desc_is_p(d->raw))
        raise_sel(x, EX_NP, sel);
    g.offset = (d->raw & 0xffff) | (g.type == SYS_CALL16 ? 0 : d->raw >> 32 & 0xffff0000);
    if (x->efer & EFER_LMA) {
        if (g.type != SYS_CALL32)
            raise_sel(x, EX_GP, sel);
        desc_load_high(x, sel, d);
        g.offset |= d->high << 32;
    }
    return g;
}

/* The code segment a call gate names. */
static void gate_code(X86Cpu *x, const Gate *g, Desc *d)
{
    transfer_desc(x, g->sel, d);
    if (!desc_is_code(d->raw) || desc_dpl(d->raw) > x->cpl)
        raise_sel(x, EX_GP, g->sel);
    if (x->efer & EFER_LMA && (d->raw >> 53 & 3) != 1)
        raise_sel(x, EX_GP, g->sel);
    if (!desc_is_p(d->raw))
        raise_sel(x, EX_NP, g->sel);
}

/* JMP or CALL to a TSS or task gate.  False: not one. */
static bool task_transfer(X86Cpu *x, uint16_t sel, Desc *d, TaskCause cause, uint64_t next)
{
    unsigned type = desc_type(d->raw);

    if (x->efer & EFER_LMA || (type != SYS_TASK && type != SYS_TSS16 && type != SYS_TSS32))
        return false;
    if (desc_dpl(d->raw) < x->cpl || desc_dpl(d->raw) < (sel & SEL_RPL))
        raise_sel(x, EX_GP, sel);
    if (!desc_is_p(d->raw))
        raise_sel(x, EX_NP, sel);
    if (type == SYS_TASK)
        task_switch(x, d->raw >> 16 & 0xffff, cause, next, EX_GP);
    else
        task_switch(x, sel, cause, next, EX_GP);
    return true;
}

static void far_jmp_prot(X86Cpu *x, uint16_t sel, uint64_t offset, unsigned os, uint64_t next)
{
    Desc d;
    X86Seg cs;
    Gate g;

    transfer_desc(x, sel, &d);
    if (desc_is_s(d.raw)) {
        cs = direct_code(x, sel, &d);
        offset &= size_mask(os);
    } else {
        if (task_transfer(x, sel, &d, TASK_JUMP, next))
            return;
        if (desc_type(d.raw) != SYS_CALL32 && desc_type(d.raw) != SYS_CALL16)
            raise_sel(x, EX_GP, sel);
        g = gate_check(x, sel, &d);
        gate_code(x, &g, &d);
        if (!desc_is_conforming(d.raw) && desc_dpl(d.raw) != x->cpl)
            raise_sel(x, EX_GP, g.sel);
        desc_set_accessed(x, &d);
        cs = cs_seg(g.sel, d.raw, x->cpl);
        offset = g.offset;
    }
    cs_check_offset(x, &cs, offset);
    cs_commit(x, cs, offset);
}

static void far_jmp_real(X86Cpu *x, uint16_t sel, uint64_t offset)
{
    if (offset > x->seg[SEG_CS].limit)
        x86_raise(&x->cpu, EX_GP, 0);
    seg_load_real(x, SEG_CS, sel);
    X86_PC(&x->cpu) = offset;
    x86_update_mode(x);
}

uint64_t hlp_far_jmp(Cpu *c, uint64_t sel, uint64_t offset, uint64_t k)
{
    unsigned os = k & 0xff;

    if (x86_is_prot(X86(c)))
        far_jmp_prot(X86(c), (uint16_t)sel, offset, os, X86_PC(c) + (k >> 8 & 0xff));
    else
        far_jmp_real(X86(c), (uint16_t)sel, offset & size_mask(os));
    return 0;
}

/* Inner stack of a call gate: old SS:SP, parameters, then the caller pushes the return address. */
static Stack call_gate_stack(X86Cpu *x, const Gate *g, unsigned dpl, unsigned size)
{
    Stack old = stack_current(x), s;
    uint32_t args[31];
    uint64_t sp;
    X86Seg ss;

    if (x->efer & EFER_LMA) {
        ss = (X86Seg){
            .sel = (uint16_t)dpl, .attr = (uint16_t)(dpl << 5 | ATTR_DB), .limit = UINT32_MAX};
        s = stack_of(x, ss, tss_stack64(x, 4 + 8 * dpl), dpl);
        s.mask = ~0ull;
    } else {
        ss = tss_stack(x, dpl, &sp);
        s = stack_of(x, ss, sp, dpl);
    }
    stack_push(&s, size, x->seg[SEG_SS].sel);
    stack_push(&s, size, x->cpu.r[R_SP]);
    if (!(x->efer & EFER_LMA)) {
        for (unsigned i = 0; i < g->count; i++)
            args[i] = (uint32_t)stack_pop(&old, size);
        for (unsigned i = g->count; i-- > 0;)
            stack_push(&s, size, args[i]);
    }
    return s;
}

static void call_through_gate(X86Cpu *x, uint16_t gate_sel, Desc *d, uint64_t next)
{
    Gate g = gate_check(x, gate_sel, d);
    unsigned size = x->efer & EFER_LMA ? 8 : g.type == SYS_CALL32 ? 4 : 2, dpl;
    bool inner;
    X86Seg cs;
    Stack s;

    gate_code(x, &g, d);
    dpl = desc_dpl(d->raw);
    inner = !desc_is_conforming(d->raw) && dpl < x->cpl;
    if (!inner)
        dpl = x->cpl;
    cs = cs_seg(g.sel, d->raw, dpl);
    cs_check_offset(x, &cs, g.offset);
    if (inner) {
        s = call_gate_stack(x, &g, dpl, size);
    } else {
        s = stack_current(x);
        if (size == 8)
            s.mask = ~0ull;
    }
    stack_push(&s, size, x->seg[SEG_CS].sel);
    stack_push(&s, size, next);
    desc_set_accessed(x, d);
    if (inner) {
        x86_seg_set(x, SEG_SS, s.ss);
        x->cpl = (uint8_t)dpl;
    }
    stack_commit(&s);
    cs_commit(x, cs, g.offset);
}

static void far_call_prot(X86Cpu *x, uint16_t sel, uint64_t offset, unsigned os, uint64_t next)
{
    unsigned type;
    X86Seg cs;
    Stack s;
    Desc d;

    transfer_desc(x, sel, &d);
    if (!desc_is_s(d.raw)) {
        type = desc_type(d.raw);
        if (task_transfer(x, sel, &d, TASK_CALL, next))
            return;
        if (type != SYS_CALL32 && type != SYS_CALL16)
            raise_sel(x, EX_GP, sel);
        call_through_gate(x, sel, &d, next);
        return;
    }
    cs = direct_code(x, sel, &d);
    offset &= size_mask(os);
    cs_check_offset(x, &cs, offset);
    s = stack_current(x);
    stack_push(&s, os, x->seg[SEG_CS].sel);
    stack_push(&s, os, next);
    stack_commit(&s);
    cs_commit(x, cs, offset);
}

uint64_t hlp_far_call(Cpu *c, uint64_t sel, uint64_t offset, uint64_t k)
{
    X86Cpu *x = X86(c);
    unsigned os = k & 0xff;
    uint64_t next = X86_PC(c) + (k >> 8 & 0xff);
    Stack s;

    if (x86_is_prot(x)) {
        far_call_prot(x, (uint16_t)sel, offset, os, next);
        return 0;
    }
    offset &= size_mask(os);
    if (offset > x->seg[SEG_CS].limit)
        x86_raise(c, EX_GP, 0);
    s = stack_current(x);
    stack_push(&s, os, x->seg[SEG_CS].sel);
    stack_push(&s, os, next);
    stack_commit(&s);
    far_jmp_real(x, (uint16_t)sel, offset);
    return 0;
}

/* CS of a far return or IRET at @sel. */
static X86Seg return_code(X86Cpu *x, uint16_t sel)
{
    unsigned rpl = sel & SEL_RPL;
    Desc d;

    if (!(sel & ~SEL_RPL))
        x86_raise(&x->cpu, EX_GP, 0);
    if (!desc_load(x, sel, &d) || rpl < x->cpl || !desc_is_code(d.raw) ||
        (desc_is_conforming(d.raw) ? desc_dpl(d.raw) > rpl : desc_dpl(d.raw) != rpl) ||
        (desc_is_code64(x, d.raw) && d.raw >> 54 & 1))
        raise_sel(x, EX_GP, sel);
    if (!desc_is_p(d.raw))
        raise_sel(x, EX_NP, sel);
    desc_set_accessed(x, &d);
    return desc_to_seg(sel, d.raw);
}

/* SS of a return to @rpl: null is allowed in 64-bit code below level 3. */
static X86Seg return_stack(X86Cpu *x, uint16_t sel, unsigned rpl, const X86Seg *cs)
{
    if (!(sel & ~SEL_RPL) && x->efer & EFER_LMA && cs->attr & ATTR_L && rpl != 3) {
        if ((sel & SEL_RPL) != rpl)
            raise_sel(x, EX_GP, sel);
        return (X86Seg){.sel = sel, .attr = (uint16_t)(rpl << 5 | ATTR_DB), .limit = UINT32_MAX};
    }
    return stack_seg(x, sel, rpl, EX_GP);
}

/*
 * Protected mode far return and IRET, all but what IRET does before (NT, VM): pops everything,
 * loads CS, SS and RSP, CPL.  Returns the new pc, which the caller commits; *flags is what IRET
 * popped.
 */
uint64_t far_return(X86Cpu *x, unsigned os, unsigned extra, bool iret, uint64_t *flags)
{
    Stack s = stack_current(x);
    uint64_t pc = stack_pop(&s, os), sp;
    uint16_t cs_sel = (uint16_t)stack_pop(&s, os), ss_sel;
    unsigned rpl = cs_sel & SEL_RPL;
    X86Seg cs, ss;
    bool is64 = x86_is64(x);

    if (iret)
        *flags = stack_pop(&s, os);
    cs = return_code(x, cs_sel);
    cs_check_offset(x, &cs, pc);
    s.sp = (s.sp & ~s.mask) | ((s.sp + extra) & s.mask);
    if (rpl == x->cpl && !(iret && is64)) {
        stack_commit(&s);
        x86_seg_set(x, SEG_CS, cs);
        return pc;
    }
    sp = stack_pop(&s, os);
    ss_sel = (uint16_t)stack_pop(&s, os);
    ss = return_stack(x, ss_sel, rpl, &cs);
    x86_seg_set(x, SEG_CS, cs);
    x86_seg_set(x, SEG_SS, ss);
    if (cs.attr & ATTR_L && x->efer & EFER_LMA)
        x->cpu.r[R_SP] = sp + extra;
    else
        x->cpu.r[R_SP] = reg_merge(x->cpu.r[R_SP], sp + extra, ss.attr & ATTR_DB ? 4 : 2);
    if (rpl != x->cpl) {
        x->cpl = (uint8_t)rpl;
        seg_leave_outer(x);
    }
    return pc;
}

uint64_t hlp_far_ret(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k)
{
    X86Cpu *x = X86(c);
    unsigned os = k & 0xff, extra = k >> 8 & 0xffff;
    uint64_t pc;
    uint16_t sel;
    Stack s;

    if (x86_is_prot(x)) {
        pc = far_return(x, os, extra, false, NULL);
        X86_PC(c) = pc;
        x86_update_mode(x);
        return 0;
    }
    s = stack_current(x);
    pc = stack_pop(&s, os);
    sel = (uint16_t)stack_pop(&s, os);
    if (pc > x->seg[SEG_CS].limit)
        x86_raise(c, EX_GP, 0);
    s.sp = (s.sp & ~s.mask) | ((s.sp + extra) & s.mask);
    stack_commit(&s);
    far_jmp_real(x, sel, pc);
    return 0;
}

/* --- looking at descriptors --- */

static void set_zf(Cpu *c, bool zf)
{
    c->cc = (uint16_t)((c->cc & ~0x4000u) | (unsigned)zf << 14);
}

/* The descriptor at @sel if LAR, LSL, VERR, VERW may see it: visible at CPL and RPL, system
 * types in @types. */
static bool visible(X86Cpu *x, uint16_t sel, uint32_t types, Desc *d)
{
    unsigned dpl;

    if (!(sel & ~SEL_RPL) || !desc_load(x, sel, d))
        return false;
    dpl = desc_dpl(d->raw);
    if (!desc_is_s(d->raw) && !(types >> desc_type(d->raw) & 1))
        return false;
    if (desc_is_code(d->raw) && desc_is_conforming(d->raw))
        return true;
    return dpl >= x->cpl && dpl >= (sel & SEL_RPL);
}

enum {
    TYPES_LAR = 1 << SYS_TSS16 | 1 << SYS_LDT | 1 << SYS_TSS16_BUSY | 1 << SYS_CALL16 |
                1 << SYS_TASK | 1 << SYS_TSS32 | 1 << SYS_TSS32_BUSY | 1 << SYS_CALL32,
    TYPES_LAR64 = 1 << SYS_LDT | 1 << SYS_TSS32 | 1 << SYS_TSS32_BUSY | 1 << SYS_CALL32,
    TYPES_GATES = 1 << SYS_CALL16 | 1 << SYS_TASK | 1 << SYS_CALL32,
};

uint64_t hlp_lar(Cpu *c, uint64_t a, uint64_t b, uint64_t os)
{
    X86Cpu *x = X86(c);
    Desc d;
    bool ok = visible(x, (uint16_t)a, x->efer & EFER_LMA ? TYPES_LAR64 : TYPES_LAR, &d);

    set_zf(c, ok);
    return ok ? reg_merge(b, d.raw >> 32 & 0x00ffff00, (unsigned)os) : b;
}

uint64_t hlp_lsl(Cpu *c, uint64_t a, uint64_t b, uint64_t os)
{
    X86Cpu *x = X86(c);
    Desc d;
    bool ok =
        visible(x, (uint16_t)a, (x->efer & EFER_LMA ? TYPES_LAR64 : TYPES_LAR) & ~TYPES_GATES, &d);

    set_zf(c, ok);
    return ok ? reg_merge(b, desc_to_seg(0, d.raw).limit, (unsigned)os) : b;
}

uint64_t hlp_verr(Cpu *c, uint64_t a, uint64_t b UNUSED, uint64_t write)
{
    Desc d;
    bool ok = visible(X86(c), (uint16_t)a, 0, &d);

    if (ok && write)
        ok = (desc_type(d.raw) & (ATTR_CODE | ATTR_RW)) == ATTR_RW;
    else if (ok)
        ok = (desc_type(d.raw) & (ATTR_CODE | ATTR_RW)) != ATTR_CODE;
    set_zf(c, ok);
    return 0;
}

uint64_t hlp_arpl(Cpu *c, uint64_t a, uint64_t b, uint64_t k UNUSED)
{
    bool less = (a & SEL_RPL) < (b & SEL_RPL);

    set_zf(c, less);
    return less ? (a & ~(uint64_t)SEL_RPL) | (b & SEL_RPL) : a;
}

/* --- table registers --- */

uint64_t hlp_lgdt(Cpu *c, uint64_t va, uint64_t b UNUSED, uint64_t k)
{
    X86Cpu *x = X86(c);
    bool is64 = x86_is64(x);
    unsigned os = k >> 8 & 0xff, mode = x86_mmu_mode(x, x->cpl);
    uint16_t limit = (uint16_t)mem_load(c, va, 2, mode);
    uint64_t base = mem_load(c, is64 ? va + 2 : (uint32_t)(va + 2), is64 ? 8 : 4, mode);

    if (!is64 && os == 2)
        base &= 0xffffff;
    if (is64 && !x86_canonical(x, base))
        x86_raise(c, EX_GP, 0);
    if (k & 1)
        x->idt.base = base, x->idt.limit = limit;
    else
        x->gdt.base = base, x->gdt.limit = limit;
    return 0;
}

uint64_t hlp_sgdt(Cpu *c, uint64_t va, uint64_t b UNUSED, uint64_t k)
{
    X86Cpu *x = X86(c);
    bool is64 = x86_is64(x);
    unsigned mode = x86_mmu_mode(x, x->cpl), size = is64 ? 8 : 4;
    uint64_t base = k & 1 ? x->idt.base : x->gdt.base;

    mem_probe(c, va, 2 + size, ACCESS_WRITE, mode);
    mem_store(c, va, 2, k & 1 ? x->idt.limit : x->gdt.limit, mode);
    mem_store(c, is64 ? va + 2 : (uint32_t)(va + 2), size, base, mode);
    return 0;
}

X86Seg system_seg(X86Cpu *x, uint16_t sel, uint32_t types, unsigned vector, Desc *d)
{
    X86Seg s;

    if (sel & SEL_TI || !desc_load(x, sel, d) || desc_is_s(d->raw) ||
        !(types >> desc_type(d->raw) & 1))
        raise_sel(x, vector, sel);
    if (!desc_is_p(d->raw))
        raise_sel(x, EX_NP, sel);
    s = desc_to_seg(sel, d->raw);
    if (x->efer & EFER_LMA) {
        desc_load_high(x, sel, d);
        s.base |= d->high << 32;
        if (!x86_canonical(x, s.base))
            raise_sel(x, EX_GP, sel);
    }
    return s;
}

void ldt_load(X86Cpu *x, uint16_t sel, unsigned vector)
{
    Desc d;

    x86_seg_set(x, SEG_LDT,
                sel & ~SEL_RPL ? system_seg(x, sel, 1 << SYS_LDT, vector, &d)
                               : (X86Seg){.sel = sel});
}

uint64_t hlp_lldt(Cpu *c, uint64_t a, uint64_t b UNUSED, uint64_t k UNUSED)
{
    ldt_load(X86(c), (uint16_t)a, EX_GP);
    return 0;
}

uint64_t hlp_ltr(Cpu *c, uint64_t a, uint64_t b UNUSED, uint64_t k UNUSED)
{
    X86Cpu *x = X86(c);
    uint16_t sel = (uint16_t)a;
    Desc d;
    X86Seg s;

    if (!(sel & ~SEL_RPL))
        x86_raise(c, EX_GP, 0);
    s = system_seg(x, sel, 1 << SYS_TSS32 | (x->efer & EFER_LMA ? 0 : 1 << SYS_TSS16), EX_GP, &d);
    s.attr |= 2; /* busy */
    mem_store(c, d.va + 5, 1, s.attr & 0xff, x86_sys_mode(x));
    x86_seg_set(x, SEG_TR, s);
    return 0;
}
