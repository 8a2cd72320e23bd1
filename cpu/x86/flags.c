/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flags - RFLAGS as a whole, and the instructions that move it: PUSHF, POPF, CLI, STI, CLD, STD,
 * CLAC, STAC (SDM vol 2)
 */
#include "cpu/ir/ir.h"
#include "cpu/x86/sys_priv.h"

uint64_t x86_flags(const X86Cpu *x)
{
    return x->rflags | x86_flags_from_cc(x->cpu.cc);
}

void x86_set_flags(X86Cpu *x, uint64_t v, uint64_t mask)
{
    const uint64_t sys = ~(uint64_t)FL_ALL & mask;
    uint64_t old = x->rflags;

    if (mask & FL_ALL)
        x->cpu.cc = x86_cc_from_flags((x86_flags_from_cc(x->cpu.cc) & ~mask) | (v & mask));
    x->rflags = ((old & ~sys) | (v & sys)) | 2;
    if (x->rflags != old)
        x86_update_mode(x);
}

uint64_t flags_writable(const X86Cpu *x, unsigned os)
{
    uint64_t mask = FL_ALL | EFL_TF | EFL_DF | EFL_NT | EFL_AC | EFL_ID;

    if (x->cpl == 0)
        mask |= EFL_IOPL;
    if (x->cpu.mode & MODE_IOPL)
        mask |= EFL_IF;
    return os == 2 ? mask & 0xffff : mask;
}

uint64_t hlp_pushf(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t os)
{
    X86Cpu *x = X86(c);
    uint64_t f = x86_flags(x);

    if (c->mode & MODE_VM86 && !(c->mode & MODE_IOPL)) {
        if (!(x->cr4 & CR4_VME) || os != 2)
            x86_raise(c, EX_GP, 0);
        f = (f & ~(uint64_t)EFL_IF) | EFL_IOPL | (f & EFL_VIF ? EFL_IF : 0);
    }
    return f & ~(uint64_t)(EFL_VM | EFL_RF) & size_mask(os);
}

/* POPF in VM86 mode with IOPL < 3 under CR4.VME: IF stands for VIF. */
static void popf_vme(X86Cpu *x, uint64_t v)
{
    uint64_t mask = (flags_writable(x, 2) & ~(uint64_t)EFL_IF) | EFL_VIF;

    if (v & EFL_TF || (v & EFL_IF && x->rflags & EFL_VIP))
        x86_raise(&x->cpu, EX_GP, 0);
    x86_set_flags(x, (v & 0xffff) | (v & EFL_IF ? EFL_VIF : 0), mask);
}

uint64_t hlp_popf(Cpu *c, uint64_t v, uint64_t b UNUSED, uint64_t os)
{
    X86Cpu *x = X86(c);
    uint64_t mask = flags_writable(x, (unsigned)os);

    if (c->mode & MODE_VM86 && !(c->mode & MODE_IOPL)) {
        if (!(x->cr4 & CR4_VME) || os != 2)
            x86_raise(c, EX_GP, 0);
        popf_vme(x, v);
        return 0;
    }
    if (os != 2)
        mask |= EFL_RF, v &= ~(uint64_t)EFL_RF;
    x86_set_flags(x, v, mask);
    return 0;
}

/* IF may be changed; false: VIF is to be changed instead. */
static bool if_allowed(X86Cpu *x)
{
    if (x->cpu.mode & MODE_IOPL)
        return true;
    if (x->cpu.mode & MODE_VM86 ? !(x->cr4 & CR4_VME) : !(x->cr4 & CR4_PVI) || x->cpl != 3)
        x86_raise(&x->cpu, EX_GP, 0);
    return false;
}

uint64_t hlp_cli(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    X86Cpu *x = X86(c);

    x->rflags &= ~(uint64_t)(if_allowed(x) ? EFL_IF : EFL_VIF);
    return 0;
}

uint64_t hlp_sti(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    X86Cpu *x = X86(c);

    if (!if_allowed(x)) {
        if (x->rflags & EFL_VIP)
            x86_raise(c, EX_GP, 0);
        x->rflags |= EFL_VIF;
        return 0;
    }
    if (!(x->rflags & EFL_IF))
        x->shadow = 1;
    x->rflags |= EFL_IF;
    x86_irq_unmask(x);
    return 0;
}

uint64_t hlp_unshadow(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t k UNUSED)
{
    X86(c)->shadow = 0;
    x86_irq_unmask(X86(c));
    return 0;
}

uint64_t hlp_clac(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t set)
{
    X86Cpu *x = X86(c);

    x->rflags = set ? x->rflags | EFL_AC : x->rflags & ~(uint64_t)EFL_AC;
    if (x->cr4 & CR4_SMAP && c->mmu_mode != (set ? 0 : 2))
        tlb_set_mode(c, set ? 0 : 2);
    return 0;
}

uint64_t hlp_cld(Cpu *c, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t set)
{
    X86Cpu *x = X86(c);

    x->rflags = set ? x->rflags | EFL_DF : x->rflags & ~(uint64_t)EFL_DF;
    c->mode = set ? c->mode | MODE_DF : c->mode & ~(uint32_t)MODE_DF;
    return 0;
}
