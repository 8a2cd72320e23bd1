/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * system - control registers, TLB control, system calls, I/O and other system instructions (SDM vol
 * 3 chapter 2; vol 2; APM vol 2 6.1)
 *
 * Address spaces of the soft TLB: under CR4.PCIDE the PCID, whatever the base - the guest flushes
 * when it reuses one, as it must on hardware; otherwise the page-table base, and loading CR3
 * flushes that space.
 */
#include "core/machine.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/model.h"
#include "cpu/x86/sys_priv.h"

/* --- CR0, CR3, CR4 --- */

static uint64_t space_of_pcid(unsigned pcid)
{
    return BIT(63) | pcid;
}

static uint64_t space_of(const X86Cpu *x)
{
    if (!(x->cr0 & CR0_PG))
        return 0;
    return x->cr4 & CR4_PCIDE ? space_of_pcid(x->cr3 & 0xfff) : (x->cr3 & ~0x1full) | 1;
}

void cr3_enter(X86Cpu *x)
{
    tlb_enter(&x->cpu, space_of(x));
}

/* PAE without long mode: the four entries CR3 points to must be well-formed (SDM vol 3 4.4.1). */
static bool pdptes_ok(X86Cpu *x, uint64_t cr3)
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t e = mem_phys_load(&x->cpu, ((cr3 & 0xffffffe0) + i * 8) & x->a20_mask, 8);

        if (e & 1 && e & (0x1e6 | ~x->phys_mask))
            return false;
    }
    return true;
}

bool cr0_write(X86Cpu *x, uint64_t v)
{
    const uint64_t known = (uint64_t)CR0_PG | CR0_CD | CR0_NW | CR0_AM | CR0_WP | 0x3f;
    uint64_t old = x->cr0, changed;
    bool pg = v & CR0_PG, on;

    if (v >> 32 || (pg && !(v & CR0_PE)) || (v & CR0_NW && !(v & CR0_CD)))
        return false;
    v = (v & known) | CR0_ET;
    changed = v ^ old;
    on = changed & CR0_PG && pg;
    if (on && x->efer & EFER_LME && (!(x->cr4 & CR4_PAE) || x->seg[SEG_CS].attr & ATTR_L))
        return false;
    if (on && !(x->efer & EFER_LME) && x->cr4 & CR4_PAE && !pdptes_ok(x, x->cr3))
        return false;
    if (changed & CR0_PG && !pg && (x86_is64(x) || x->cr4 & CR4_PCIDE))
        return false;
    x->cr0 = v;
    if (changed & CR0_PG) {
        x->efer &= ~(uint64_t)EFER_LMA;
        if (pg && x->efer & EFER_LME)
            x->efer |= EFER_LMA;
    }
    if (changed & ((uint64_t)CR0_PG | CR0_WP | CR0_PE)) {
        tlb_flush_all(&x->cpu);
        cr3_enter(x);
    }
    x86_update_sys(x);
    return true;
}

static bool cr3_write(X86Cpu *x, uint64_t v)
{
    bool keep = v >> 63 && x->cr4 & CR4_PCIDE;

    if (keep)
        v &= ~BIT(63);
    if (x->efer & EFER_LMA) {
        if (v & ~(x->phys_mask | 0xfff))
            return false;
    } else {
        v = (uint32_t)v;
        if (x->cr0 & CR0_PG && x->cr4 & CR4_PAE && !pdptes_ok(x, v))
            return false;
    }
    x->cr3 = v;
    if (!keep)
        tlb_flush_space(&x->cpu, space_of(x));
    cr3_enter(x);
    return true;
}

static uint64_t cr4_valid(const X86Cpu *x)
{
    static const struct {
        uint32_t bits;
        uint16_t feature;
    } map[] = {
        {CR4_VME | CR4_PVI, X86F_VME}, {CR4_TSD, X86F_TSC},    {CR4_DE, X86F_DE},
        {CR4_PSE, X86F_PSE},           {CR4_PAE, X86F_PAE},    {CR4_MCE, X86F_MCE},
        {CR4_PGE, X86F_PGE},           {CR4_PCE, X86F_ALWAYS}, {CR4_OSFXSR, X86F_FXSR},
        {CR4_OSXMMEXCPT, X86F_SSE},    {CR4_UMIP, X86F_UMIP},  {CR4_LA57, X86F_LA57},
        {CR4_FSGSBASE, X86F_FSGSBASE}, {CR4_PCIDE, X86F_PCID}, {CR4_OSXSAVE, X86F_XSAVE},
        {CR4_SMEP, X86F_SMEP},         {CR4_SMAP, X86F_SMAP},  {CR4_PKE, X86F_PKU},
    };
    uint64_t v = 0;

    for (unsigned i = 0; i < COUNT_OF(map); i++)
        if (x86_has(x->features, map[i].feature))
            v |= map[i].bits;
    return v;
}

static bool cr4_write(X86Cpu *x, uint64_t v)
{
    const uint64_t paging =
        CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_LA57;
    uint64_t changed = v ^ x->cr4;

    if (v & ~cr4_valid(x))
        return false;
    if (x->efer & EFER_LMA && (!(v & CR4_PAE) || changed & CR4_LA57))
        return false;
    if (changed & v & CR4_PCIDE && (!(x->efer & EFER_LMA) || x->cr3 & 0xfff))
        return false;
    if (changed & v & CR4_PAE && x->cr0 & CR0_PG && !(x->efer & EFER_LMA) && !pdptes_ok(x, x->cr3))
        return false;
    x->cr4 = v;
    if (changed & paging) {
        tlb_flush_all(&x->cpu);
        cr3_enter(x);
    }
    x86_update_sys(x);
    return true;
}

static bool cr8_write(X86Cpu *x, uint64_t v)
{
    if (v >> 4)
        return false;
    x86_enter_c(&x->cpu);
    if (x->apic)
        x->apic_ops->set_tpr(x->apic, (uint8_t)v);
    return true;
}

uint64_t hlp_read_cr(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t n)
{
    X86Cpu *x = X86(c);

    switch (n) {
    case 0: return x->cr0;
    case 2: return x->cr2;
    case 3: return x->cr3;
    case 4: return x->cr4;
    case 8: x86_enter_c(c); return x->apic ? x->apic_ops->tpr(x->apic) : 0;
    default: x86_raise_noerr(c, EX_UD);
    }
}

uint64_t hlp_write_cr(Cpu *c, uint64_t v, uint64_t b UNUSED, uint64_t n)
{
    X86Cpu *x = X86(c);
    bool ok = true;

    if (!x86_is64(x))
        v = (uint32_t)v;
    switch (n) {
    case 0: ok = cr0_write(x, v); break;
    case 2: x->cr2 = v; break;
    case 3: ok = cr3_write(x, v); break;
    case 4: ok = cr4_write(x, v); break;
    case 8: ok = cr8_write(x, v); break;
    default: x86_raise_noerr(c, EX_UD);
    }
    if (!ok)
        x86_raise(c, EX_GP, 0);
    return 0;
}

uint64_t hlp_clts(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    X86(c)->cr0 &= ~(uint64_t)CR0_TS;
    x86_update_sys(X86(c));
    return 0;
}

uint64_t hlp_lmsw(Cpu *c, uint64_t v, uint64_t b UNUSED, uint64_t k UNUSED)
{
    X86Cpu *x = X86(c);

    /* PE can be set but not cleared */
    if (!cr0_write(x, (x->cr0 & ~0xeull) | (v & 0xf)))
        x86_raise(c, EX_GP, 0);
    return 0;
}

/* --- TLB --- */

uint64_t hlp_invlpg(Cpu *c, uint64_t va, uint64_t b UNUSED, uint64_t k UNUSED)
{
    tlb_flush_page(c, space_of(X86(c)), va);
    return 0;
}

enum { INVPCID_ADDRESS, INVPCID_SINGLE, INVPCID_ALL_GLOBAL, INVPCID_ALL };

uint64_t hlp_invpcid(Cpu *c, uint64_t type, uint64_t at, uint64_t k UNUSED)
{
    X86Cpu *x = X86(c);
    uint64_t pcid = mem_load(c, at, 8, c->mmu_mode), va = mem_load(c, at + 8, 8, c->mmu_mode),
             space;
    bool pcide = x->cr4 & CR4_PCIDE;

    if (type > INVPCID_ALL || pcid >> 12 || (type <= INVPCID_SINGLE && pcid && !pcide) ||
        (type == INVPCID_ADDRESS && !x86_canonical(x, va)))
        x86_raise(c, EX_GP, 0);
    space = pcide ? space_of_pcid((unsigned)pcid) : space_of(x);
    switch (type) {
    case INVPCID_ADDRESS: tlb_flush_page(c, space, va); break;
    case INVPCID_SINGLE: tlb_flush_space(c, space); break;
    case INVPCID_ALL_GLOBAL: tlb_flush_all(c); break;
    default: tlb_flush_nonglobal(c); break;
    }
    return 0;
}

/* --- system calls --- */

static X86Seg flat_code(uint16_t sel, unsigned dpl, bool is64)
{
    return (X86Seg){.sel = sel,
                    .limit = UINT32_MAX,
                    .attr = (uint16_t)(ATTR_P | ATTR_S | ATTR_CODE | ATTR_RW | ATTR_A | ATTR_G |
                                       (is64 ? ATTR_L : ATTR_DB) | dpl << 5)};
}

static X86Seg flat_data(uint16_t sel, unsigned dpl)
{
    return (X86Seg){
        .sel = sel,
        .limit = UINT32_MAX,
        .attr = (uint16_t)(ATTR_P | ATTR_S | ATTR_RW | ATTR_A | ATTR_G | ATTR_DB | dpl << 5)};
}

/* Flat CS and SS of level @dpl and its mode; neither can fail. */
static void enter_flat(X86Cpu *x, uint16_t cs, uint16_t ss, unsigned dpl, bool is64, uint64_t pc)
{
    x->seg[SEG_CS] = flat_code(cs, dpl, is64);
    x->seg[SEG_SS] = flat_data(ss, dpl);
    x->cpu.r[V_SEG(SEG_CS)] = x->cpu.r[V_SEG(SEG_SS)] = 0;
    x->flat |= 1 << SEG_CS | 1 << SEG_SS;
    x->cpl = (uint8_t)dpl;
    X86_PC(&x->cpu) = pc;
    x86_update_mode(x);
}

uint64_t hlp_syscall(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t len)
{
    X86Cpu *x = X86(c);
    uint64_t next = X86_PC(c) + len, f = x86_flags(x) & ~(uint64_t)EFL_RF;
    uint16_t sel = x->star >> 32 & 0xfffc;

    if (UNLIKELY(!(x->efer & EFER_SCE)))
        x86_raise_noerr(c, EX_UD);
    if (LIKELY(x->efer & EFER_LMA)) {
        c->r[R_CX] = next;
        c->r[11] = f;
        f &= ~x->sfmask;
        c->cc = x86_cc_from_flags(f);
        x->rflags = (f & ~0x8d5ull) | 2;
        enter_flat(x, sel, sel + 8, 0, true, x86_is64(x) ? x->lstar : x->cstar);
        return 0;
    }
    c->r[R_CX] = (uint32_t)next;
    x->rflags &= ~(uint64_t)(EFL_VM | EFL_IF | EFL_RF);
    enter_flat(x, sel, sel + 8, 0, false, x->star & UINT32_MAX);
    return 0;
}

uint64_t hlp_sysret(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t os)
{
    X86Cpu *x = X86(c);
    uint16_t sel = (uint16_t)((x->star >> 48) | 3);
    uint64_t f = c->r[11];

    if (UNLIKELY(!(x->efer & EFER_SCE)))
        x86_raise_noerr(c, EX_UD);
    if (UNLIKELY(x->cpl != 0 || (os == 8 && !x86_canonical(x, c->r[R_CX]))))
        x86_raise(c, EX_GP, 0);
    if (LIKELY(x->efer & EFER_LMA)) {
        c->cc = x86_cc_from_flags(f);
        x->rflags = (f & 0x3c7702) | 2;
    } else {
        x->rflags |= EFL_IF;
    }
    if (os == 8)
        enter_flat(x, sel + 16, sel + 8, 3, true, c->r[R_CX]);
    else
        enter_flat(x, sel, sel + 8, 3, false, (uint32_t)c->r[R_CX]);
    return 0;
}

uint64_t hlp_sysenter(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    X86Cpu *x = X86(c);
    uint16_t sel = x->sysenter_cs & 0xfffc;
    bool is64 = x->efer & EFER_LMA;

    if (!sel || !(x->cr0 & CR0_PE))
        x86_raise(c, EX_GP, 0);
    x->rflags &= ~(uint64_t)(EFL_VM | EFL_IF | EFL_RF);
    c->r[R_SP] = is64 ? x->sysenter_esp : (uint32_t)x->sysenter_esp;
    enter_flat(x, sel, sel + 8, 0, is64, is64 ? x->sysenter_eip : (uint32_t)x->sysenter_eip);
    return 0;
}

uint64_t hlp_sysexit(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t os)
{
    X86Cpu *x = X86(c);
    uint16_t sel = x->sysenter_cs & 0xfffc;
    bool wide = os == 8;

    if (!sel || x->cpl != 0 || !(x->cr0 & CR0_PE) ||
        (wide && (!x86_canonical(x, c->r[R_CX]) || !x86_canonical(x, c->r[R_DX]))))
        x86_raise(c, EX_GP, 0);
    sel = (uint16_t)((sel + (wide ? 32 : 16)) | 3);
    c->r[R_SP] = wide ? c->r[R_CX] : (uint32_t)c->r[R_CX];
    enter_flat(x, sel, sel + 8, 3, wide, wide ? c->r[R_DX] : (uint32_t)c->r[R_DX]);
    return 0;
}

uint64_t hlp_swapgs(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    X86Cpu *x = X86(c);
    uint64_t v = c->r[V_SEG(SEG_GS)];

    c->r[V_SEG(SEG_GS)] = x->seg[SEG_GS].base = x->kernel_gs_base;
    x->kernel_gs_base = v;
    return 0;
}

/* --- I/O --- */

/* SDM vol 1 19.5.2 */
static bool io_bitmap_allows(X86Cpu *x, uint16_t port, unsigned size)
{
    const X86Seg *tr = &x->seg[SEG_TR];
    unsigned mode = x86_sys_mode(x), at;

    if ((tr->attr & 15) < SYS_TSS32 || tr->limit < 103)
        return false;
    at = (unsigned)mem_load(&x->cpu, tr->base + 102, 2, mode) + port / 8;
    if (at + 1 > tr->limit)
        return false;
    return !(mem_load(&x->cpu, tr->base + at, 2, mode) >> (port & 7) & ((1u << size) - 1));
}

uint64_t hlp_io_check(Cpu *c, uint64_t port, uint64_t b UNUSED, uint64_t size)
{
    X86Cpu *x = X86(c);

    if (c->mode & MODE_PE && (c->mode & MODE_VM86 || !(c->mode & MODE_IOPL)) &&
        !io_bitmap_allows(x, (uint16_t)port, (unsigned)size))
        x86_raise(c, EX_GP, 0);
    if (UNLIKELY(c->mode & MODE_IOBP))
        debug_io(x, (uint16_t)port, (unsigned)size);
    return 0;
}

uint64_t hlp_in(Cpu *c, uint64_t port, uint64_t b UNUSED, uint64_t size)
{
    uint64_t v = 0;

    hlp_io_check(c, port, 0, size);
    as_read(c->io, port & 0xffff, &v, size);
    return v;
}

uint64_t hlp_out(Cpu *c, uint64_t port, uint64_t v, uint64_t size)
{
    hlp_io_check(c, port, 0, size);
    as_write(c->io, port & 0xffff, &v, size);
    return 0;
}

/* --- processor information --- */

uint64_t hlp_cpuid(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    uint32_t out[4];

    x86_cpuid(X86(c), (uint32_t)c->r[R_AX], (uint32_t)c->r[R_CX], out);
    c->r[R_AX] = out[0];
    c->r[R_BX] = out[1];
    c->r[R_CX] = out[2];
    c->r[R_DX] = out[3];
    return 0;
}

uint64_t hlp_rdtsc(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t with_aux)
{
    X86Cpu *x = X86(c);
    uint64_t v = tsc_read(x);

    if (x->cr4 & CR4_TSD && x->cpl != 0)
        x86_raise(c, EX_GP, 0);
    c->r[R_AX] = (uint32_t)v;
    c->r[R_DX] = v >> 32;
    if (with_aux)
        c->r[R_CX] = (uint32_t)x->tsc_aux;
    return 0;
}

/* There are no performance counters. */
uint64_t hlp_rdpmc(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    x86_raise(c, EX_GP, 0);
}

uint64_t hlp_xgetbv(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    X86Cpu *x = X86(c);
    uint32_t n = (uint32_t)c->r[R_CX];

    if (!(x->cr4 & CR4_OSXSAVE))
        x86_raise_noerr(c, EX_UD);
    if (n > 1 || (n == 1 && !x86_has(x->features, X86F_XGETBV1)))
        x86_raise(c, EX_GP, 0);
    c->r[R_AX] = (uint32_t)x->xcr0; /* ECX 1: all that is enabled counts as in use */
    c->r[R_DX] = x->xcr0 >> 32;
    return 0;
}

uint64_t hlp_xsetbv(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    X86Cpu *x = X86(c);
    uint64_t v = (uint32_t)c->r[R_AX] | c->r[R_DX] << 32;

    if (!(x->cr4 & CR4_OSXSAVE))
        x86_raise_noerr(c, EX_UD);
    if (x->cpl != 0 || (uint32_t)c->r[R_CX] != 0 || !(v & 1) || v & ~x86_xcr0_mask(x->features) ||
        (v & 6) == 4)
        x86_raise(c, EX_GP, 0);
    x->xcr0 = v;
    x86_update_sys(x);
    return 0;
}

/* --- protection keys --- */

static void pkru_check(X86Cpu *x)
{
    if (!(x->cr4 & CR4_PKE))
        x86_raise_noerr(&x->cpu, EX_UD);
    if ((uint32_t)x->cpu.r[R_CX])
        x86_raise(&x->cpu, EX_GP, 0);
}

uint64_t hlp_rdpkru(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    pkru_check(X86(c));
    c->r[R_AX] = X86(c)->pkru;
    c->r[R_DX] = 0;
    return 0;
}

void pkru_set(X86Cpu *x, uint32_t v)
{
    if (x->pkru == v)
        return;
    x->pkru = v;
    if (x->cr4 & CR4_PKE)
        tlb_flush_all(&x->cpu); /* rights are part of the entries */
}

uint64_t hlp_wrpkru(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    pkru_check(X86(c));
    if ((uint32_t)c->r[R_DX])
        x86_raise(c, EX_GP, 0);
    pkru_set(X86(c), (uint32_t)c->r[R_AX]);
    return 0;
}

/* --- others --- */

uint64_t hlp_fpu_check(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t attr)
{
    uint32_t m = c->mode;
    bool ud = false;

    if (attr & XA_AVX)
        ud = !(m & MODE_AVX);
    else if (attr & XA_SSE)
        ud = m & MODE_EM || !(m & MODE_OSFXSR);
    else if (attr & XA_MMX)
        ud = m & MODE_EM;
    if (ud)
        x86_raise_noerr(c, EX_UD);
    if (m & MODE_TS || (attr & XA_X87 && m & MODE_EM))
        x86_raise_noerr(c, EX_NM);
    return 0;
}

uint64_t hlp_align_check(Cpu *c, uint64_t va, uint64_t b UNUSED, uint64_t size)
{
    if (va & (size - 1))
        x86_raise(c, EX_AC, 0);
    return va;
}

uint64_t hlp_clflush(Cpu *c, uint64_t va, uint64_t b UNUSED, uint64_t k UNUSED)
{
    mem_probe(c, va, 1, ACCESS_READ, c->mmu_mode);
    return 0;
}

/* Outside system management mode, which is not modelled. */
uint64_t hlp_rsm(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    x86_raise_noerr(c, EX_UD);
}
