/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state - what is derived from the processor's state, and its values after reset and INIT (SDM vol
 * 3 10.1.1)
 *
 * Invariants:
 *  1. cpu.mode = mode_sys | flat segments | CPL, code size and RFLAGS bits; whoever changes one
 *     calls x86_update_*().
 *  2. In 64-bit mode ES, CS, SS, DS count as flat, and FS, GS as unlimited: one key whatever the
 *     descriptors say.
 */
#include "cpu/x86/model.h"
#include "cpu/x86/sys_priv.h"

enum { FLAT_DATA = 1 << SEG_ES | 1 << SEG_SS | 1 << SEG_DS };

static bool seg_is_flat(unsigned seg, const X86Seg *s)
{
    if (seg > SEG_GS || s->limit != UINT32_MAX)
        return false;
    if (seg == SEG_CS)
        return s->base == 0 &&
               (s->attr & (ATTR_P | ATTR_S | ATTR_RW)) == (ATTR_P | ATTR_S | ATTR_RW);
    return (s->base == 0 || seg >= SEG_FS) && (s->attr & (ATTR_P | ATTR_S | ATTR_CODE | ATTR_DC |
                                                          ATTR_RW)) == (ATTR_P | ATTR_S | ATTR_RW);
}

void x86_seg_set(X86Cpu *x, unsigned seg, X86Seg to)
{
    x->seg[seg] = to;
    if (seg <= SEG_GS)
        x->cpu.r[16 + seg] = to.base;
    x->flat = (uint8_t)((x->flat & ~(1u << seg)) | (unsigned)seg_is_flat(seg, &to) << seg);
}

static uint32_t mode_of_segments(const X86Cpu *x)
{
    uint32_t m = x->seg[SEG_CS].attr & ATTR_DB ? MODE_32 : MODE_16;

    if (x->efer & EFER_LMA && x->seg[SEG_CS].attr & ATTR_L)
        return MODE_64 | MODE_FLAT | MODE_FLAT_FSGS | MODE_FLAT_CS;
    if (x->seg[SEG_SS].attr & ATTR_DB)
        m |= MODE_SS32;
    if ((x->flat & FLAT_DATA) == FLAT_DATA)
        m |= MODE_FLAT;
    if (x->flat & 1 << SEG_FS)
        m |= MODE_FLAT_FS;
    if (x->flat & 1 << SEG_GS)
        m |= MODE_FLAT_GS;
    if (x->flat & 1 << SEG_CS)
        m |= MODE_FLAT_CS;
    return m;
}

void x86_update_mode(X86Cpu *x)
{
    Cpu *c = &x->cpu;
    uint64_t f = x->rflags;
    uint32_t m = x->mode_sys | x->cpl | mode_of_segments(x);
    unsigned mmu = x86_mmu_mode(x, x->cpl);

    m |= (uint32_t)(f & EFL_DF) << 1; /* MODE_DF */
    if (UNLIKELY(f & (EFL_TF | EFL_VM) || c->one_insn)) {
        if (f & EFL_TF || c->one_insn)
            m |= MODE_STEP;
        if (f & EFL_VM)
            m |= MODE_VM86;
    }
    if (x->cpl <= (f >> 12 & 3) || !(x->cr0 & CR0_PE))
        m |= MODE_IOPL;
    if (f & EFL_AC && x->cpl == 3 && x->cr0 & CR0_AM)
        m |= MODE_AC;
    if (!(c->mode & MODE_STEP))
        x->step_armed = (f & EFL_TF) != 0;
    c->mode = m;
    c->code_limit = m & MODE_FLAT_CS ? UINT32_MAX : x->seg[SEG_CS].limit;
    if (mmu != c->mmu_mode)
        tlb_set_mode(c, mmu);
    x86_irq_unmask(x);
}

/* DR7: instruction breakpoints need single steps; data and I/O breakpoints also checked
 * accesses. */
static uint32_t mode_of_breakpoints(const X86Cpu *x)
{
    uint32_t m = 0;

    for (unsigned i = 0; i < 4; i++)
        if (x->dr[7] >> (2 * i) & 3)
            m |= x->dr[7] >> (16 + 4 * i) & 3 ? MODE_STEP | MODE_IOBP : MODE_STEP;
    return m;
}

void x86_update_sys(X86Cpu *x)
{
    static const struct {
        uint8_t is_cr4, bit;
        uint32_t mode;
    } map[] = {
        {0, 0, MODE_PE},        {0, 1, MODE_MP},       {0, 2, MODE_EM},    {0, 3, MODE_TS},
        {1, 2, MODE_TSD},       {1, 9, MODE_OSFXSR},   {1, 11, MODE_UMIP}, {1, 12, MODE_LA57},
        {1, 16, MODE_FSGSBASE}, {1, 18, MODE_OSXSAVE},
    };
    uint32_t m = 0;

    for (unsigned i = 0; i < COUNT_OF(map); i++)
        if ((map[i].is_cr4 ? x->cr4 : x->cr0) >> map[i].bit & 1)
            m |= map[i].mode;
    if (x->efer & EFER_LMA)
        m |= MODE_LMA;
    if (x->cr4 & CR4_OSXSAVE && (x->xcr0 & 6) == 6)
        m |= MODE_AVX;
    x->mode_sys = m | mode_of_breakpoints(x);
    x86_update_mode(x);
}

void x86_update_all(X86Cpu *x)
{
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        X86Seg s = x->seg[i];

        s.base = x86_seg_base(x, i);
        x86_seg_set(x, i, s);
    }
    x86_update_sys(x);
    cr3_enter(x);
}

void x86_set_a20(Cpu *c, bool on)
{
    uint64_t mask = on ? ~0ull : ~(1ull << 20);

    if (X86(c)->a20_mask == mask)
        return;
    X86(c)->a20_mask = mask;
    cpu_request(c, REQ_TLB);
}

static void init_segments(X86Cpu *x)
{
    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        x86_seg_set(x, i, (X86Seg){.attr = ATTR_P | ATTR_S | ATTR_RW | ATTR_A, .limit = 0xffff});
    x86_seg_set(x, SEG_CS,
                (X86Seg){.sel = 0xf000,
                         .attr = ATTR_P | ATTR_S | ATTR_CODE | ATTR_RW | ATTR_A,
                         .limit = 0xffff,
                         .base = 0xffff0000});
    x86_seg_set(x, SEG_LDT, (X86Seg){.attr = ATTR_P | SYS_LDT, .limit = 0xffff});
    x86_seg_set(x, SEG_TR, (X86Seg){.attr = ATTR_P | SYS_TSS32_BUSY, .limit = 0xffff});
    x->gdt.base = x->idt.base = 0;
    x->gdt.limit = x->idt.limit = 0xffff;
}

/* What a power-on reset, but not INIT, sets. */
static void init_power_on(X86Cpu *x)
{
    for (unsigned i = 0; i < CPU_VREGS; i++)
        for (unsigned j = 0; j < sizeof(x->cpu.v[0]); j++)
            x->cpu.v[i][j] = 0;
    x->cpu.vcsr = 0x1f80;
    x->fpu = (X86Fpu){.fcw = 0x40};
    x->xcr0 = 1;
    x->pkru = 0;
    x->pat = 0x0007040600070406ull;
    x->misc_enable = 1;                             /* fast strings */
    x->tsc_offset = x->tsc_adjust = x->tsc_aux = 0; /* all vCPUs count alike */
    x->mtrr_def = 0;
    x->mcg_status = x->mcg_ctl = 0;
    x->mcg_cap = (1 << 24 | 1 << 8) | COUNT_OF(x->mci) / 4;
    for (unsigned i = 0; i < COUNT_OF(x->mtrr_fixed); i++)
        x->mtrr_fixed[i] = 0;
    for (unsigned i = 0; i < COUNT_OF(x->mtrr_var); i++)
        x->mtrr_var[i] = 0;
    for (unsigned i = 0; i < COUNT_OF(x->mci); i++)
        x->mci[i] = i % 4 == 0 ? ~0ull : 0;
    x->star = x->lstar = x->cstar = x->sfmask = x->kernel_gs_base = 0;
    x->sysenter_cs = 0;
    x->sysenter_esp = x->sysenter_eip = x->spec_ctrl = 0;
    x->smbase = 0x30000;
    x->a20_mask = ~0ull;
}

void x86_init_state(X86Cpu *x, bool init)
{
    Cpu *c = &x->cpu;
    uint32_t id[4];

    for (unsigned i = 0; i < 16; i++)
        c->r[i] = 0;
    x86_cpuid(x, 1, 0, id);
    c->r[R_DX] = id[0];
    c->cc = x86_cc_from_flags(2);
    x->rflags = 2;
    X86_PC(c) = 0xfff0;
    if (!init)
        init_power_on(x);
    x->cr0 =
        init ? CR0_ET | (x->cr0 & ((uint64_t)CR0_CD | CR0_NW)) : CR0_ET | (uint64_t)CR0_CD | CR0_NW;
    x->cr2 = x->cr3 = x->cr4 = x->efer = 0;
    for (unsigned i = 0; i < 8; i++)
        x->dr[i] = 0;
    x->dr[6] = 0xffff0ff0;
    x->dr[7] = 0x400;
    x->cpl = 0;
    x->shadow = x->nmi_blocked = x->nmi_pending = x->step_armed = x->step_rf = x->watch_hits =
        x->irq_masked = 0;
    x->delivering = -1;
    init_segments(x);
    tlb_flush_all(c);
    x86_update_all(x);
}
